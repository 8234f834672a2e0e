"""What the core says: of a volume before any decision, of the decision, of an event, and in total."""

from dataclasses import dataclass
from typing import Literal

from realtime.decoding.posterior import Posterior
from realtime.messages import Condition, Cue, Evidence, Rendering
from realtime.music.selection import Decision
from realtime.preprocessing import PreprocessedVolume
from realtime.session.record import Document
from scanner_bridge.volume import Volume

Status = Literal["OK", "SETTLING", "CENSORED", "GAP", "REJECTED"]


@dataclass(frozen=True, eq=False)
class Percept:
    """What one volume index brought, before any decision.

    Attributes
    ----------
    volume_index : int
        Of this volume.
    status : {"OK", "SETTLING", "CENSORED", "GAP", "REJECTED"}
        GAP: it never came; REJECTED: it came and cannot be used; CENSORED: moved too much to be
        trusted; SETTLING: the run's first volumes, before the signal is steady.
    reason : str
        A sentence for GAP and REJECTED.
    preprocessed : PreprocessedVolume or None
        None for GAP and REJECTED.
    evidence : Evidence or None
        Of the trial so far; None while there is none.
    volume : Volume or None
        What came, where it could be read.
    """

    volume_index: int
    status: Status
    reason: str = ""
    preprocessed: PreprocessedVolume | None = None
    evidence: Evidence | None = None
    volume: Volume | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """The decision for one volume index.

    Attributes
    ----------
    percept : Percept
        What it rests on.
    posterior : Posterior or None
        Over the clips of the catalogue; None without evidence.
    decision : Decision
        Of the selection policy.
    cue : Cue or None
        For the player, when something changes.
    document : dict
        The step as the record keeps it.
    condition : Condition or None
        For the generator, when there is one and something changes.
    rendering : Rendering or None
        For the player, when it changes.
    """

    percept: Percept
    posterior: Posterior | None
    decision: Decision
    cue: Cue | None
    document: Document
    condition: Condition | None = None
    rendering: Rendering | None = None


@dataclass(frozen=True)
class Reaction:
    """What an event leads to: documents for the record, perhaps a cue for the player."""

    documents: tuple[Document, ...]
    cue: Cue | None = None


@dataclass(frozen=True)
class Intake:
    """What a volume that arrived leads to.

    Attributes
    ----------
    percepts : tuple of Percept
        In order of index: gaps, the volume, those that waited for it; empty when it has to wait, or may not be used.
    documents : tuple of dict
        Notes about volumes that came late, twice, twice with different voxels, or with an index that cannot be.
    alarms : tuple of str
        Those of them that the operator should hear.
    """

    percepts: tuple[Percept, ...] = ()
    documents: tuple[Document, ...] = ()
    alarms: tuple[str, ...] = ()


@dataclass
class Counts:
    """Running totals, for the summary and the operator."""

    volumes: int = 0
    gaps: int = 0
    rejected: int = 0
    censored: int = 0
    duplicates: int = 0
    late: int = 0
    cues: int = 0
