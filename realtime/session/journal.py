"""The journal: everything a live session received, on disk before it is acknowledged or decoded.

An append-only file of framed records (`scanner_bridge.framing`). Space for the whole run is
reserved before its first volume, so that a full disk is refused before the scan, and what lies
behind the last record is zeros. Every append ends with fdatasync: what was acknowledged
survives SIGKILL. HDF5 was unreadable after 15 of 15 kills; this format after none.

The last letter of the magic is the format's version. What a record means may change with it, so
that a journal of another version is refused: replaying it would decide otherwise without a word.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from mmap import ACCESS_READ, mmap
from pathlib import Path

from realtime.errors import JournalError
from scanner_bridge.framing import FramedRecord, Raw, frame, record_at, records_from, whole_record_behind

MAGIC = b"IEJ2"
_FAMILY = MAGIC[:-1]


class Kind(IntEnum):
    """What a record holds."""

    MESSAGE = 1
    """A message of the bridge: sender, sequence number, arrival time and the wire's own bytes."""
    REJECTED = 2
    """Bytes of the bridge that could not be read, kept as they came."""
    EVENT = 3
    """Something that happened here and counts for replay: a command, a mark, a stall; JSON."""


@dataclass(frozen=True)
class JournalRecord:
    """One record.

    Attributes
    ----------
    number : int
        Counts from 0 without holes.
    kind : Kind
        What the payload is.
    payload : bytes
        Unread.
    """

    number: int
    kind: Kind
    payload: bytes


@dataclass(frozen=True)
class JournalScan:
    """What a journal holds.

    Attributes
    ----------
    records : tuple of JournalRecord
        Whole records, in order.
    end : int
        Offset behind the last of them.
    torn_bytes : int
        Bytes of a record cut off by a crash, behind `end`.
    """

    records: tuple[JournalRecord, ...]
    end: int
    torn_bytes: int


def scan_journal(path: Path) -> JournalScan:
    """Read every whole record.

    A torn tail is normal after a crash and only counted. A damaged record with whole ones
    behind it is not.

    Raises
    ------
    JournalError
        The file cannot be read, or a record in the middle is damaged; it is named.
    """
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    found = tuple(_whole(raw))
    end = found[-1].end if found else 0
    return JournalScan(tuple(map(_meaning, found)), end, _torn_bytes(path, raw, end, len(found)))


def stream_journal(path: Path) -> Iterator[JournalRecord]:
    """Every whole record, one at a time: a journal of gigabytes is never held; errors as `scan_journal`."""
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return
            with mmap(file.fileno(), 0, access=ACCESS_READ) as raw:
                n_records = end = 0
                for found in _whole(raw):
                    n_records, end = n_records + 1, found.end
                    yield _meaning(found)
                _torn_bytes(path, raw, end, n_records)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _unreadable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"journal {path} cannot be read ({error.strerror}); check the session folder")


def _whole(raw: Raw) -> Iterator[FramedRecord]:
    """Whole records from the beginning, as long as they count without holes."""
    for number, found in enumerate(records_from(raw, 0, MAGIC)):
        if found.number != number or found.kind not in Kind.__members__.values():
            return
        yield found


def _meaning(found: FramedRecord) -> JournalRecord:
    return JournalRecord(found.number, Kind(found.kind), found.payload)


def _torn_bytes(path: Path, raw: Raw, end: int, n_records: int) -> int:
    """How many bytes behind the last whole record are of one that was cut off; JournalError where it is damage."""
    rest = raw[end:].rstrip(b"\0")
    if not n_records and rest.startswith(_FAMILY) and record_at(raw, 0, rest[:len(MAGIC)]) \
            and not rest.startswith(MAGIC):
        raise JournalError(f"journal {path} is of format {rest[3:4].decode('ascii', 'replace')}, this program reads "
                           f"format {MAGIC[3:].decode()}: use the release of Innerear that recorded it")
    if rest and whole_record_behind(raw, end, MAGIC, n_records):
        raise JournalError(f"journal {path}: record {n_records} at byte {end} is damaged though whole records "
                           "follow it; the disk changed what was written. Keep the file and restore a copy")
    return len(rest)


class Journal:
    """Append-only writer; opens a new file, or goes on behind the last whole record of an old one."""

    def __init__(self, path: Path, *, reserve_bytes: int = 1 << 20) -> None:
        self.path = path
        scan = scan_journal(path) if path.exists() else JournalScan((), 0, 0)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise JournalError(f"journal {path} cannot be opened for writing ({_why(exc)}); choose another session "
                               "folder, or make this one writable") from exc
        self._end, self._next = scan.end, len(scan.records)
        self.recovered = scan
        if scan.torn_bytes:
            # a stale tail behind a new, shorter record could look like damage later
            os.ftruncate(self._fd, scan.end)
            os.fsync(self._fd)
        self.reserve(reserve_bytes)
        _sync_folder(path.parent)

    def reserve(self, n_bytes: int) -> None:
        """Make sure that `n_bytes` more fit, or say so now rather than in the middle of a run.

        Raises
        ------
        JournalError
            The disk does not have the room.
        """
        try:
            os.posix_fallocate(self._fd, self._end, max(n_bytes, 1))
        except (OSError, OverflowError) as exc:
            raise JournalError(f"journal {self.path} cannot reserve {n_bytes / 1e6:.1f} MB ({_why(exc)}); free "
                               "space on that disk or choose another session folder") from exc

    def append(self, kind: Kind, payload: bytes) -> int:
        """Write one record and wait until the disk has it; returns its number.

        Raises
        ------
        JournalError
            The disk refused. Nothing was recorded: the caller must not acknowledge.
        """
        record = frame(MAGIC, kind, self._next, payload)
        try:
            self._write_all(record)
            os.fdatasync(self._fd)
        except OSError as exc:
            raise JournalError(f"journal {self.path} cannot be written ({exc.strerror}); nothing is acknowledged "
                               "until it can: free space on that disk") from exc
        number, self._next = self._next, self._next + 1
        self._end += len(record)
        return number

    def _write_all(self, data: bytes) -> None:
        # a full disk first shows as a short write without an error
        done = 0
        while done < len(data):
            written = os.pwrite(self._fd, memoryview(data)[done:], self._end + done)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done += written

    def close(self) -> None:
        """Give back the reserved space that was not used; may be called twice."""
        if self._fd >= 0:
            os.ftruncate(self._fd, self._end)
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __iter__(self) -> Iterator[JournalRecord]:
        return iter(self.recovered.records)


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
