"""What there is to export: a session, or all runs of a visit that ended; and what may be told of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_training.bids.naming import RunName, label
from offline_training.disclosure import design_of, is_hidden, opened_arm
from offline_training.errors import DatasetError
from offline_training.scan_order import entity
from realtime.experiment.run_design import RunDesign
from realtime.session.attempts import attempts_of
from realtime.session.folder import SessionFolder
from realtime.session.lock import recorded_by
from realtime.session.record import is_finished, read_documents

DIARY = "diary.jsonl"


@dataclass(frozen=True, eq=False)
class Recording:
    """A session folder to export.

    Attributes
    ----------
    folder : SessionFolder
    name : RunName
        Of its complete attempt.
    series : int
        Its place among the recordings, from 1.
    attempts : tuple of dict
        Number, run_id, status and reason of each.
    design : RunDesign or None
    hidden : bool
        Nothing may be told by which its arm could be known.
    """

    folder: SessionFolder
    name: RunName
    series: int
    attempts: tuple[dict[str, Any], ...]
    design: RunDesign | None
    hidden: bool

    @property
    def is_complete(self) -> bool:
        """Whether an attempt came to its end."""
        return any(attempt["status"] == "complete" for attempt in self.attempts)


@dataclass(frozen=True, eq=False)
class Source:
    """Everything to export.

    Attributes
    ----------
    path : Path
        Of the session or visit.
    subject : str
        Pseudonym, as recorded.
    arm : str
        "" while nobody may know it, and where there are no arms.
    recordings : tuple of Recording
        In order.
    """

    path: Path
    subject: str
    arm: str
    recordings: tuple[Recording, ...]


@dataclass(frozen=True)
class _Folder:
    path: Path
    task: str


def find_source(path: Path, task: str, session: str, allocation: Path | None) -> Source:
    """What a folder holds, checked.

    Parameters
    ----------
    path : Path
        Folder of a session or of a visit.
    task : str
        Name of a session's task; a visit's runs are named by their kinds.
    session : str
        Label of the scanning session; "" for the one in the folder's name, or the name itself.
    allocation : Path or None
        Where it was opened, the subject's arm may be told.

    Raises
    ------
    DatasetError
        Nothing to export, or something that is being recorded or was cut off.
    SessionError
        The allocation cannot be read, is sealed, or was not this visit's.
    """
    folders = _visit(path) if (path / DIARY).exists() else [_Folder(path, task)]
    for each in folders:
        _check_over(SessionFolder(each.path))
    ses = label(session or entity(path.resolve().name, "ses") or path.resolve().name)
    subject, arm = "", ""
    counts: dict[str, int] = {}
    recordings = []
    for series, each in enumerate(folders, start=1):
        folder = SessionFolder(each.path)
        documents = list(read_documents(folder.record))
        attempts = tuple(attempts_of(documents))
        if not attempts:
            continue  # aborted before a run began: there is nothing of it
        subject = str(documents[0]["bundle"]["subject"])
        design = design_of(folder)
        if allocation is not None:
            arm = opened_arm(allocation, subject, design)
        name = RunName(label(subject.removeprefix("sub-")), ses, label(each.task), counts.get(each.task, 0) + 1)
        recording = Recording(folder, name, series, attempts, design,
                              is_hidden(folder, subject, allocation))
        counts[each.task] = counts.get(each.task, 0) + recording.is_complete
        recordings.append(recording)
    if not any(recording.is_complete for recording in recordings):
        raise DatasetError(f"{path} has no complete run: there would be nothing in the data set; name the folder of a "
                           "session or visit with one")
    return Source(path, subject, arm, tuple(recordings))


def _visit(path: Path) -> list[_Folder]:
    """Folders of a visit's runs, with their kinds."""
    diary = list(read_documents(path / DIARY))
    kinds = {f"{place:02}-{name}": str(kind) for place, (name, kind, *_) in enumerate(diary[0]["runs"], start=1)}
    begun = dict.fromkeys(str(entry["run"]) for entry in diary if entry["what"] in ("begun", "ended"))
    return [_Folder(path / run, next(kind for name, kind in kinds.items() if run == name or run.startswith(f"{name}_")))
            for run in begun]


def _check_over(folder: SessionFolder) -> None:
    process = recorded_by(folder)
    if process:
        raise DatasetError(f"session {folder.path} is being recorded by process {process}; export it when it has ended")
    if not folder.record.exists() and not folder.journal.exists():
        raise DatasetError(f"no session in {folder.path}: {folder.record.name} is missing; give the folder of a "
                           "recorded session or visit")
    if next(read_documents(folder.record), None) is not None and not is_finished(folder.record):
        raise DatasetError(f"session {folder.path} was cut off: its record has no end; start it again to finish it, "
                           "and export it then")
