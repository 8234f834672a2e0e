"""The session record: start, step, cue, note, stop documents, one JSON line each, append-only.

It is a pure function of the journal: no wall-clock time is in it (those are in `timing.jsonl`),
so that a replay writes the same bytes. That is also the self-check on resuming after a crash:
the core is fed the journal again, and every document it makes must equal the line on disk.
"""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import SessionError

Document = dict[str, Any]

RECORD_FORMAT = 4
"""What documents hold and how journals become documents; a session of another format is refused, not reinterpreted."""


def to_line(document: Document) -> bytes:
    """The document as its one line on disk; NaN is refused, keys stay in the order given."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def encode_vector(vector: NDArray[np.float32]) -> str:
    """The exact bits of a float32 vector as base64 text (little-endian)."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")


def decode_vector(text: str) -> NDArray[np.float32]:
    """The float32 vector of shape (n,) that `encode_vector` wrote; a new array."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


def read_documents(path: Path) -> Iterator[Document]:
    """Whole documents of a record or timing file, in order; a line cut off by a crash is left out."""
    for line in record_lines(path):
        yield json.loads(line)


def record_lines(path: Path) -> list[bytes]:
    """Whole lines of a file of documents, their ends included; none when there is no file."""
    return [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def is_finished(path: Path) -> bool:
    """Whether the record's last document is there."""
    return _ends(record_lines(path))


def _ends(lines: list[bytes]) -> bool:
    return bool(lines) and lines[-1].startswith(b'{"doc":"stop"')


def _readable(lines: list[bytes]) -> list[bytes]:
    """The lines before the first that a power cut left as something else; the rest follows from the journal again."""
    for place, line in enumerate(lines):
        try:
            json.loads(line)
        except ValueError:
            return lines[:place]
    return lines


class DocumentLog:
    """Append-only file of documents; used as it is for timing, where a repeated line is harmless.

    What a full disk refuses waits in memory until it has room again: it follows from the journal,
    and a session must not end for it.

    Attributes
    ----------
    path : Path
        The file.
    trouble : str
        Why documents wait, in words; "" while none do.

    Raises
    ------
    SessionError
        The file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._waiting = b""
        try:
            self._lines = _readable(record_lines(path))
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._file.truncate(sum(len(line) for line in self._lines))
            self._file.seek(0, os.SEEK_END)
        except OSError as exc:
            raise SessionError(f"{path} cannot be written ({exc.strerror}); choose another session folder, or make "
                               "this one writable") from exc

    def append(self, document: Document) -> None:
        """Hand one document to the operating system, after those that wait."""
        self._waiting += to_line(document)
        try:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting):]
            self.trouble = ""
        except OSError as exc:
            self.trouble = f"{self.path} cannot be written ({exc.strerror}); its lines wait: free space on that disk"

    def close(self) -> None:
        """Wait until the disk has what it took; what still waits is made again on resuming. May be called twice."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


class Record(DocumentLog):
    """The session record; checks what it already holds against what a resumed core says again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._repeated = 0

    @property
    def ended(self) -> bool:
        """Whether its last document was already there when it was opened."""
        return _ends(self._lines)

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
