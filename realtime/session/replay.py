"""Proof that a session repeats: its journal, fed to a fresh core, gives the record again."""

from dataclasses import dataclass, field
from pathlib import Path

from realtime.errors import SessionError
from realtime.session.fold import SessionFold
from realtime.session.folder import SessionFolder
from realtime.session.journal import scan_journal
from realtime.session.kept import about_session, read_parts
from realtime.session.record import Document, record_lines, to_line
from realtime.session.summary import Figures


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


def replay_session(path: Path) -> Figures:
    """Feed a recorded session's journal to a fresh core and compare every document, byte for byte.

    Embeddings are compared by their bits: they stand in the documents as base64.

    Raises
    ------
    SessionError
        The folder holds no session, or a document differs; the first difference is named.
    """
    folder = SessionFolder(path)
    parts = read_parts(folder)
    repetition = _Repetition(folder.record, record_lines(folder.record))
    fold = SessionFold(parts, about_session(parts), repetition.compare)
    journal = scan_journal(folder.journal)
    for entry in journal.records:
        fold.feed(entry)
    if fold.core is not None and repetition.n_compared < len(repetition.lines):
        repetition.compare(fold.stop_document())
    if repetition.n_compared < len(repetition.lines):
        raise SessionError(f"{folder.record} goes on after line {repetition.n_compared}, where the journal ends; the "
                           "journal was cut")
    return {"session_dir": str(path), "identical": True, "journal_records": len(journal.records),
            "documents": repetition.n_compared, "steps": sum(b'"doc":"step"' in line for line in repetition.lines),
            "embeddings": sum(b'"embedding":"' in line for line in repetition.lines), "torn_bytes": journal.torn_bytes}
