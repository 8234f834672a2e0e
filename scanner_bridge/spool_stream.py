"""One run in the spool: its messages in numbered order, over one or several files."""

import contextlib
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import google_crc32c

from scanner_bridge.errors import SpoolError, WireError
from scanner_bridge.sender import Held
from scanner_bridge.spool_segment import Preamble, Segment, SegmentScan, scan_segment
from scanner_bridge.volume import Message, RunEnd, RunHeader, Volume
from scanner_bridge.wire import decode, encode, pack, unpack

SEGMENT_BYTES = 32 * 1024 * 1024
"""Files are about this long: what is acknowledged can be let go of in such pieces."""

SUFFIX = ".spool"

_MARK = struct.Struct("<QI")


class SpooledStream:
    """The messages of one run, from its header to its end, on disk.

    Attributes
    ----------
    number : int
        Counts the runs of a spool: the order in which they are delivered.
    nonce : bytes
        Names the stream to the receiver.
    header : RunHeader
        Of the run.
    acknowledged : int
        Everything before this message is stored by the live program.
    end : RunEnd or None
        The stream's last message, once it has one.
    n_volumes, last_index : int
        How many volumes it was given, and the highest index among them (-1 without any).
    damaged : bool
        The disk changed what was written: what lies before the damage is delivered, nothing is added.
    """

    def __init__(self, folder: Path, number: int, preamble: Preamble, segments: list[Segment]) -> None:
        self.number = number
        self.nonce = preamble.nonce
        self.header = preamble.header
        self.acknowledged = segments[0].first_seq if segments else 0
        self.end: RunEnd | None = None
        self.n_volumes = preamble.n_volumes
        self.last_index = preamble.last_index
        self.damaged = False
        self._folder = folder
        self._segments = segments
        self._checksums: dict[int, set[int]] = {}
        self._writable = False
        self._marks = -1

    @staticmethod
    def begin(folder: Path, number: int, nonce: bytes, header: RunHeader) -> "SpooledStream":
        """A new stream whose first message is the header; SpoolError when the disk refuses."""
        stream = SpooledStream(folder, number, Preamble(nonce, header), [])
        try:
            stream.append(header, encode(header))
        except SpoolError:
            stream.remove()
            raise
        return stream

    @staticmethod
    def reopen(folder: Path, number: int, paths: list[Path]) -> "SpooledStream | None":
        """The stream of these files, in order; None when nothing in them was ever counted on.

        Raises
        ------
        SpoolError
            A file is no file of a spool, or cannot be read.
        """
        begun: list[tuple[Path, SegmentScan]] = []
        damaged = False
        for path in paths:
            scan = _scan(path)
            if scan is None:
                path.unlink()
            elif damaged or (begun and scan.first_seq != _behind(begun[-1][1])):
                damaged = True
                path.rename(path.with_suffix(".damaged"))
            else:
                damaged = scan.damaged
                begun.append((path, scan))
        if not begun:
            return None
        stream = SpooledStream(folder, number, begun[0][1].preamble, [Segment.reopen(*found) for found in begun])
        # and in every later life: numbers behind the damage may be with the receiver, and must not be used again
        stream.damaged = damaged or any(folder.glob(f"{number:06d}-{stream.nonce.hex()}-*.damaged"))
        for record in (record for _, scan in begun for record in scan.messages):
            with contextlib.suppress(WireError):  # whole as it was written: at worst another version wrote it
                frames = unpack(record.payload)
                stream._note(decode(frames), frames)
        stream.acknowledged = min(max(stream._read_mark(), stream.acknowledged), stream.next_seq)
        return stream

    @property
    def first_seq(self) -> int:
        """The oldest message that is still held."""
        return self._segments[0].first_seq if self._segments else 0

    @property
    def next_seq(self) -> int:
        """Number of the message that would follow."""
        return self._segments[-1].next_seq if self._segments else 0

    @property
    def held(self) -> Held:
        """What a sender can send of it."""
        return Held(self.first_seq, self.acknowledged, self.next_seq)

    @property
    def unacknowledged(self) -> int:
        """Messages that the live program has not said it stored."""
        return self.next_seq - self.acknowledged

    @property
    def n_bytes(self) -> int:
        """On disk."""
        return sum(segment.n_bytes for segment in self._segments)

    @property
    def n_bytes_unacknowledged(self) -> int:
        """Of those messages."""
        return sum(segment.n_bytes_from(self.acknowledged) for segment in self._segments)

    @property
    def done(self) -> bool:
        """Whether all of it is stored by the live program, and nothing will follow."""
        return self.unacknowledged == 0 and (self.end is not None or self.damaged)

    @property
    def written_s(self) -> float:
        """When it was last written, seconds of the epoch."""
        return max(segment.path.stat().st_mtime for segment in self._segments)

    def knows(self, message: Message, frames: Sequence[bytes]) -> bool:
        """Whether this very volume, index and voxels, was given before."""
        return isinstance(message, Volume) and _checksum(frames) in self._checksums.get(message.index, ())

    def append(self, message: Message, frames: Sequence[bytes]) -> int:
        """Put a message, and its frames as `scanner_bridge.wire.encode` gave them, on disk; returns its number.

        Raises
        ------
        SpoolError
            The disk refused; the message was not taken, and may be given again.
        """
        payload = pack(frames)
        if not self._writable or self._segments[-1].n_bytes + len(payload) > SEGMENT_BYTES:
            self._begin_segment(len(payload))
        try:
            self._segments[-1].append(payload)
        except SpoolError:
            self._writable = False  # a file that failed to sync is not to be trusted with more
            self._segments[-1].seal()
            raise
        self._note(message, frames)
        return self.next_seq - 1

    def read(self, seq: int) -> list[bytes]:
        """Frames of a message; SpoolError when the disk does not give them back."""
        segment = next(segment for segment in reversed(self._segments) if segment.first_seq <= seq)
        payload = segment.read(seq)
        try:
            return unpack(payload)
        except WireError:
            return [payload]  # changed on disk: the receiver keeps it as it came, and the stream goes on

    def acknowledge(self, before_seq: int) -> None:
        """Remember that everything before this message is stored; unsynced, for losing it only costs repetitions."""
        self.acknowledged = before_seq
        if self._marks < 0:
            with contextlib.suppress(OSError):
                self._marks = os.open(self._mark_path, os.O_RDWR | os.O_CREAT, 0o600)
        body = struct.pack("<Q", before_seq)
        with contextlib.suppress(OSError):
            os.pwrite(self._marks, body + struct.pack("<I", google_crc32c.value(body)), 0)

    def let_go(self) -> int:
        """Delete the oldest file if all of it is acknowledged and another follows; returns the bytes that freed."""
        if len(self._segments) < 2 or self._segments[0].next_seq > self.acknowledged:
            return 0
        oldest = self._segments.pop(0)
        oldest.remove()
        return oldest.n_bytes

    def remove(self) -> None:
        """Delete all of it."""
        while self._segments:
            self._segments.pop(0).remove()
        self._close_marks()
        self._mark_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; what they hold stays."""
        for segment in self._segments:
            segment.seal()
            segment.close()
        self._close_marks()
        self._segments = []

    def _close_marks(self) -> None:
        if self._marks >= 0:
            os.close(self._marks)
            self._marks = -1

    def _begin_segment(self, n_bytes: int) -> None:
        if self._segments:
            self._segments[-1].seal()
        preamble = Preamble(self.nonce, self.header, self.n_volumes, self.last_index)
        path = self._folder / f"{self.number:06d}-{self.nonce.hex()}-{self.next_seq:010d}{SUFFIX}"
        if self._segments and self._segments[-1].next_seq == self._segments[-1].first_seq:
            self._segments.pop().remove()  # the disk refused its very first message
        self._segments.append(Segment.create(path, self.next_seq, preamble, max(n_bytes, SEGMENT_BYTES)))
        self._writable = True

    def _note(self, message: Message, frames: Sequence[bytes]) -> None:
        if isinstance(message, RunEnd) and message.run_id == self.header.run_id:
            self.end = message
        elif isinstance(message, Volume):
            self.n_volumes += message.index not in self._checksums
            self.last_index = max(self.last_index, message.index)
            self._checksums.setdefault(message.index, set()).add(_checksum(frames))

    @property
    def _mark_path(self) -> Path:
        return self._folder / f"{self.number:06d}-{self.nonce.hex()}.stored"

    def _read_mark(self) -> int:
        try:
            count, crc = _MARK.unpack(self._mark_path.read_bytes())
        except (OSError, struct.error):
            return 0
        return int(count) if crc == google_crc32c.value(struct.pack("<Q", count)) else 0


def _scan(path: Path) -> SegmentScan | None:
    try:
        scan = scan_segment(path.read_bytes(), str(path))
        if scan is not None and scan.damaged:
            shutil.copy(path, path.with_suffix(".damaged"))  # opening cuts off what lies behind the damage
    except OSError as error:
        raise SpoolError(f"spool file {path} cannot be read ({error.strerror}): check whose it is") from error
    return scan


def _behind(scan: SegmentScan) -> int:
    return scan.first_seq + len(scan.messages)


def _checksum(frames: Sequence[bytes]) -> int:
    """Of the voxels."""
    return int(google_crc32c.value(frames[-1]))
