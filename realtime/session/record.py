"""The session record: start, step, cue, note, stop documents, one JSON line each, append-only.

It is a pure function of the journal: no wall-clock time is in it (those are in `timing.jsonl`),
so that a replay writes the same bytes. That is also the self-check on resuming after a crash:
the core is fed the journal again, and every document it makes must equal the line on disk.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from realtime.errors import SessionError

Document = dict[str, Any]


def to_line(document: Document) -> bytes:
    """The document as its one line on disk; NaN is refused, keys stay in the order given."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read_documents(path: Path) -> Iterator[Document]:
    """Whole documents of a record or timing file, in order; a line cut off by a crash is left out."""
    for line in record_lines(path):
        yield json.loads(line)


def record_lines(path: Path) -> list[bytes]:
    """Whole lines of a file of documents, their ends included; none when there is no file."""
    return [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


class DocumentLog:
    """Append-only file of documents; used as it is for timing, where a repeated line is harmless."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = record_lines(path)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(sum(len(line) for line in self._lines))
        self._file.seek(0, os.SEEK_END)

    def append(self, document: Document) -> None:
        """Write one document and hand it to the operating system."""
        self._file.write(to_line(document))
        self._file.flush()

    def close(self) -> None:
        """Wait until the disk has it; may be called twice."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


class Record(DocumentLog):
    """The session record; checks what it already holds against what a resumed core says again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._repeated = 0

    @property
    def resumed(self) -> bool:
        """Whether documents on disk have still to be met again."""
        return self._repeated < len(self._lines)

    def append(self, document: Document) -> None:
        """Write one document, or compare it with the line that a run before the crash wrote.

        Raises
        ------
        SessionError
            The core decides differently than before the crash: bundle, catalogue, settings or
            program have changed. Nothing is overwritten.
        """
        if not self.resumed:
            super().append(document)
            return
        wanted, got = self._lines[self._repeated], to_line(document)
        self._repeated += 1
        if got != wanted:
            raise SessionError(
                f"{self.path} line {self._repeated} does not repeat: the record says {wanted[:200]!r}, now it would be "
                f"{got[:200]!r}; resume with the bundle, catalogue, events and settings the session began with")
