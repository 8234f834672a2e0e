"""What became of one object, as a value that callers act on and people read."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["part", "complete", "unfinished", "skipped", "foreign", "repeated", "conflicting"]


@dataclass(frozen=True)
class Verdict:
    """What became of one object.

    Attributes
    ----------
    kind : str
        part: slices of a volume that is not whole yet. complete: it made volumes whole. unfinished:
        still being written, or damaged. skipped: left alone by a rule. foreign: no MR image.
        repeated: it came before. conflicting: it contradicts what came before.
    reason : str
        A sentence for people that names the object; empty where nothing is to be said.
    run_id : str
        The series it belongs to; empty where that is not known.
    indices : tuple of int
        Volumes it belongs to; of `complete` those that are whole now.
    rule : str
        skipped: a key of `dicom_rules.RULES`. conflicting: ``protocol`` or ``second-image``.
    began : str
        A sentence with the first object of a series: how it relates to the series before.
    """

    kind: Kind
    reason: str = ""
    run_id: str = ""
    indices: tuple[int, ...] = ()
    rule: str = ""
    began: str = ""
