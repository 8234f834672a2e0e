"""Framed records for append-only files: each says what it is, where it stands, how long it is, and its CRC.

::

    magic 4 | kind u8 | reserved 3 | number u64 | length u32 | crc32c u32 | payload

little-endian; the CRC covers the frame's fields and the payload. Bytes only: no files. The journal of
a session and the spool of a bridge are such files, each with its own magic.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

import google_crc32c

_FRAME = struct.Struct("<4sB3xQI")
_CRC = struct.Struct("<I")
FRAME_BYTES = _FRAME.size + _CRC.size
MAX_RECORD_BYTES = 128 * 1024 * 1024

Raw = bytes | mmap
"""A file's bytes, in memory or mapped: of a mapped one only the record that is looked at is read."""


@dataclass(frozen=True)
class FramedRecord:
    """One whole record.

    Attributes
    ----------
    kind : int
        What the payload is, 0 to 255.
    number : int
        Its place among the records.
    payload : bytes
        Unread.
    offset : int
        Where its frame begins.
    """

    kind: int
    number: int
    payload: bytes
    offset: int = 0

    @property
    def end(self) -> int:
        """Offset behind it."""
        return self.offset + FRAME_BYTES + len(self.payload)


def frame(magic: bytes, kind: int, number: int, payload: bytes) -> bytes:
    """Bytes of one record."""
    fields = _FRAME.pack(magic, kind, number, len(payload))
    return b"".join((fields, _CRC.pack(_crc(fields, payload)), payload))


def record_at(raw: Raw, offset: int, magic: bytes) -> FramedRecord | None:
    """The whole record at `offset`; None when there is none, for any bytes."""
    if offset + FRAME_BYTES > len(raw):
        return None
    got_magic, kind, number, length = _FRAME.unpack_from(raw, offset)
    start = offset + FRAME_BYTES
    if got_magic != magic or length > MAX_RECORD_BYTES or start + length > len(raw):
        return None
    payload = raw[start : start + length]
    (crc,) = _CRC.unpack_from(raw, offset + _FRAME.size)
    if crc != _crc(raw[offset : offset + _FRAME.size], payload):
        return None
    return FramedRecord(kind, number, payload, offset)


def records_from(raw: Raw, offset: int, magic: bytes) -> Iterator[FramedRecord]:
    """Whole records from `offset` on, up to the first bytes that are none."""
    while (record := record_at(raw, offset, magic)) is not None:
        yield record
        offset = record.end


def whole_record_behind(raw: Raw, offset: int, magic: bytes, number: int) -> bool:
    """Whether a whole record numbered `number` or higher lies anywhere behind `offset`: then what lies there is damage.

    Without one it is the torn tail of a write that a crash cut off.
    """
    at = raw.find(magic, offset + 1)
    while at >= 0:
        later = record_at(raw, at, magic)
        if later is not None and later.number >= number:
            return True
        at = raw.find(magic, at + 1)
    return False


def _crc(fields: bytes, payload: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(fields), payload))
