"""Proof that a session repeats: its journal, fed to a fresh core, gives the record again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from realtime.errors import SessionError
from realtime.session.fold import SessionFold
from realtime.session.folder import SessionFolder
from realtime.session.journal import scan_journal, stream_journal
from realtime.session.kept import about_session, read_parts
from realtime.session.record import Document, record_lines, to_line
from realtime.session.steps import Step
from realtime.session.summary import Figures
from scanner_bridge.volume import RunHeader


@dataclass(frozen=True, eq=False)
class RepeatedStep:
    """A step of a recorded session, made again from its journal and found to be the one that was recorded.

    Attributes
    ----------
    attempt : int
        It belongs to, from 1.
    header : RunHeader
        Of that attempt.
    step : Step
        With the volume that was used, what became of it, and the document.
    """

    attempt: int
    header: RunHeader
    step: Step


@dataclass
class _Repetition:
    """Compares documents with the lines of a record, one after the other."""

    path: Path
    lines: list[bytes]
    n_compared: int = field(default=0)

    def compare(self, document: Document) -> None:
        got = to_line(document)
        wanted = self.lines[self.n_compared] if self.n_compared < len(self.lines) else b"(nothing)"
        self.n_compared += 1
        if got != wanted:
            raise SessionError(f"replay differs from {self.path} at line {self.n_compared}: the session recorded "
                               f"{wanted[:300]!r}, the replay gives {got[:300]!r}; the program or the session's files "
                               "have changed since")

    def end(self, fold: SessionFold) -> None:
        """The last document, where there is one; nothing may follow."""
        if fold.core is not None and self.n_compared < len(self.lines):
            self.compare(fold.stop_document())
        if self.n_compared < len(self.lines):
            raise SessionError(f"{self.path} goes on after line {self.n_compared}, where the journal ends; the journal "
                               "was cut")


def _begin(folder: SessionFolder) -> tuple[SessionFold, _Repetition]:
    parts = read_parts(folder)
    repetition = _Repetition(folder.record, record_lines(folder.record))
    return SessionFold(parts, about_session(parts), repetition.compare), repetition


def repeat_session(path: Path) -> Iterator[RepeatedStep]:
    """The steps of a recorded session, one by one, each proven to be what was recorded; errors as `replay_session`."""
    folder = SessionFolder(path)
    fold, repetition = _begin(folder)
    for entry in stream_journal(folder.journal):
        for step in fold.feed(entry).steps:
            assert fold.header is not None  # a step exists, so a header came
            yield RepeatedStep(len(fold.attempts), fold.header, step)
    repetition.end(fold)


def replay_session(path: Path) -> Figures:
    """Feed a recorded session's journal to a fresh core and compare every document, byte for byte.

    Embeddings are compared by their bits: they stand in the documents as base64.

    Raises
    ------
    SessionError
        The folder holds no session, or a document differs; the first difference is named.
    """
    folder = SessionFolder(path)
    fold, repetition = _begin(folder)
    journal = scan_journal(folder.journal)
    for entry in journal.records:
        fold.feed(entry)
    repetition.end(fold)
    lines = repetition.lines
    return {"session_dir": str(path), "identical": True, "journal_records": len(journal.records),
            "documents": repetition.n_compared, "steps": sum(b'"doc":"step"' in line for line in lines),
            "embeddings": sum(b'"embedding":"' in line for line in lines), "torn_bytes": journal.torn_bytes}
