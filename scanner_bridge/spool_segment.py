"""One file of the spool: messages of one run, framed, on disk before anyone counts on them.

A segment begins with a record that says which run it belongs to, so that it stands alone when those
before it are gone; the messages follow (`scanner_bridge.framing`). Space is reserved when it is made, and
every append ends with fdatasync. A torn tail, from a kill during a write, is cut when it is opened.
"""

import contextlib
import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from scanner_bridge.errors import SpoolError, WireError
from scanner_bridge.framing import FRAME_BYTES, FramedRecord, frame, record_at, records_from, whole_record_behind
from scanner_bridge.volume import RunHeader
from scanner_bridge.wire import decode, encode, pack, unpack

MAGIC = b"IES1"
_RUN, _MESSAGE = 1, 2
_BEFORE = struct.Struct("<16sQq")


@dataclass(frozen=True)
class Preamble:
    """What a segment says of its run before its first message.

    Attributes
    ----------
    nonce : bytes
        Of the stream, 16 bytes.
    header : RunHeader
        Of the run.
    n_volumes : int
        Volumes of the run in the segments before this one.
    last_index : int
        Highest volume index among them; -1 without any.
    """

    nonce: bytes
    header: RunHeader
    n_volumes: int = 0
    last_index: int = -1

    def to_bytes(self) -> bytes:
        """Payload of the segment's first record."""
        return _BEFORE.pack(self.nonce, self.n_volumes, self.last_index) + pack(encode(self.header))

    @staticmethod
    def from_bytes(payload: bytes) -> "Preamble":
        """What `to_bytes` wrote; WireError for anything else."""
        if len(payload) < _BEFORE.size:
            raise WireError(f"{len(payload)} bytes do not name a run")
        nonce, n_volumes, last_index = _BEFORE.unpack_from(payload)
        header = decode(unpack(payload[_BEFORE.size :]))
        if not isinstance(header, RunHeader):
            raise WireError(f"a {type(header).__name__} stands where a run should be named")
        return Preamble(nonce, header, n_volumes, last_index)


@dataclass(frozen=True)
class SegmentScan:
    """What the bytes of a segment hold.

    Attributes
    ----------
    preamble : Preamble
        Of the run.
    first_seq : int
        Number of the first message.
    messages : tuple of FramedRecord
        Whole ones, in order.
    end : int
        Offset behind the last.
    damaged : bool
        Whole records follow behind bytes that are none: the disk changed what was written.
    """

    preamble: Preamble
    first_seq: int
    messages: tuple[FramedRecord, ...]
    end: int
    damaged: bool


def scan_segment(raw: bytes, name: str) -> SegmentScan | None:
    """What a segment holds; None when it was never finished: then nothing in it was counted on.

    Raises
    ------
    SpoolError
        It is no segment of a spool of ours; `name` stands in the message.
    """
    first = record_at(raw, 0, MAGIC)
    if first is None:
        if whole_record_behind(raw, 0, MAGIC, 0):
            raise SpoolError(f"spool file {name} is damaged at its beginning: keep it, and move it elsewhere")
        return None
    try:
        if first.kind != _RUN:
            raise WireError(f"it begins with a record of kind {first.kind}, wanted {_RUN}")
        preamble = Preamble.from_bytes(first.payload)
    except WireError as error:
        raise SpoolError(f"spool file {name} was written by another version ({error}): move it elsewhere") from error
    messages: list[FramedRecord] = []
    end = first.end
    for record in records_from(raw, first.end, MAGIC):
        if record.number != first.number + len(messages) or record.kind != _MESSAGE:
            break
        messages.append(record)
        end = record.end
    damaged = whole_record_behind(raw, end, MAGIC, first.number + len(messages))
    return SegmentScan(preamble, first.number, tuple(messages), end, damaged)


class Segment:
    """One open file of the spool.

    Attributes
    ----------
    path : Path
        The file.
    first_seq : int
        Number of its first message.
    n_bytes : int
        What it holds, reserved space left out.
    """

    def __init__(self, path: Path, fd: int, first_seq: int, offsets: list[tuple[int, int]], end: int) -> None:
        self.path = path
        self.first_seq = first_seq
        self._fd = fd
        self._offsets = offsets
        self.n_bytes = end

    @staticmethod
    def create(path: Path, first_seq: int, preamble: Preamble, reserve_bytes: int) -> "Segment":
        """A new file with room for `reserve_bytes`.

        Raises
        ------
        SpoolError
            The disk refused; nothing is left behind.
        """
        first = frame(MAGIC, _RUN, first_seq, preamble.to_bytes())
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise SpoolError(f"spool file {path} cannot be made ({error.strerror}): {_REMEDY}") from error
        try:
            os.posix_fallocate(fd, 0, len(first) + reserve_bytes)
            _write(fd, first, 0)
            os.fdatasync(fd)
            _sync_folder(path.parent)
        except OSError as error:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise SpoolError(f"spool file {path} cannot be made ({error.strerror}): {_REMEDY}") from error
        return Segment(path, fd, first_seq, [], len(first))

    @staticmethod
    def reopen(path: Path, scan: SegmentScan) -> "Segment":
        """A file found on disk, to read; what lies behind its last whole record is cut off."""
        fd = os.open(path, os.O_RDWR)
        os.ftruncate(fd, scan.end)
        offsets = [(record.offset + FRAME_BYTES, len(record.payload)) for record in scan.messages]
        return Segment(path, fd, scan.first_seq, offsets, scan.end)

    @property
    def next_seq(self) -> int:
        """Number of the message that would follow."""
        return self.first_seq + len(self._offsets)

    def n_bytes_from(self, seq: int) -> int:
        """Length of the messages from this one on."""
        return sum(length for _, length in self._offsets[max(seq - self.first_seq, 0) :])

    def append(self, payload: bytes) -> None:
        """Write one message and wait until the disk has it.

        Raises
        ------
        SpoolError
            The disk refused. The message was not taken; this file must not be written again.
        """
        record = frame(MAGIC, _MESSAGE, self.next_seq, payload)
        try:
            _write(self._fd, record, self.n_bytes)
            os.fdatasync(self._fd)
        except OSError as error:
            raise SpoolError(f"spool file {self.path} cannot be written ({error.strerror}): {_REMEDY}") from error
        self._offsets.append((self.n_bytes + FRAME_BYTES, len(payload)))
        self.n_bytes += len(record)

    def read(self, seq: int) -> bytes:
        """Payload of a message.

        Raises
        ------
        SpoolError
            The disk does not give it back.
        """
        offset, length = self._offsets[seq - self.first_seq]
        try:
            payload = os.pread(self._fd, length, offset)
        except OSError as error:
            raise SpoolError(f"spool file {self.path} cannot be read ({error.strerror})") from error
        if len(payload) != length:
            raise SpoolError(f"spool file {self.path} gives {len(payload)} of {length} bytes: it was cut from outside")
        return payload

    def seal(self) -> None:
        """Give back the reserved space that was not used."""
        with contextlib.suppress(OSError):  # a disk that refuses this, too, has nothing to give back
            os.ftruncate(self._fd, self.n_bytes)

    def close(self) -> None:
        """Let go of the file; what it holds stays."""
        os.close(self._fd)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
        self.close()


_REMEDY = "make room on that disk; nothing is lost meanwhile, the source waits"


def _write(fd: int, data: bytes, at: int) -> None:
    # a full disk first shows as a short write without an error
    done = 0
    while done < len(data):
        written = os.pwrite(fd, memoryview(data)[done:], at + done)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += written


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
