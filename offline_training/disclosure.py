"""What may be told of a recorded session: all of it, or nothing by which a blinded arm could be known."""

from pathlib import Path

from realtime.errors import SessionError
from realtime.experiment.allocation import read_allocation
from realtime.experiment.run_design import RunDesign, read_run_design
from realtime.session.blinding import blinded
from realtime.session.folder import SessionFolder
from realtime.session.record import Document


def design_of(folder: SessionFolder) -> RunDesign | None:
    """The session's design; None without one."""
    return read_run_design(folder.design) if folder.design.exists() else None


def is_hidden(folder: SessionFolder, subject: str, allocation: Path | None) -> bool:
    """Whether the session's arm must not be told: it is blinded, and no opened allocation is given.

    Raises
    ------
    SessionError
        As `opened_arm`.
    """
    design = design_of(folder)
    if allocation is None:
        return design is not None and design.blinded
    opened_arm(allocation, subject, design)
    return False


def opened_arm(path: Path, subject: str, design: RunDesign | None) -> str:
    """The subject's arm by an allocation that was opened; SessionError where it is sealed, or another study's."""
    arms = read_allocation(path).all_arms()
    if subject not in arms:
        raise SessionError(f"subject {subject!r} is not in allocation {path}; name the one of this visit")
    if design is not None and design.sealed_arm and design.arm != arms[subject]:
        raise SessionError(f"allocation {path} has subject {subject!r} in another arm than run {design.name!r} was "
                           "made for; name the one of this visit")
    return arms[subject]


def told(document: Document, hidden: bool) -> Document:
    """A step's document with all its keys; hidden: without what an arm may change. Where the head was stays."""
    if not hidden or document["doc"] != "step":
        return document
    return {**blinded("step", document), "doc": "step", "motion": document["motion"]}


HIDDEN = "withheld: it could tell the arm"
COMMANDS = ("start", "stop", "abort", "pause", "resume", "mute", "unmute", "volume", "mark", "note", "rate", "stale",
            "overdue", "aborted")
"""Commands of a blinded session that say nothing of its arm."""
