"""Messages as bytes and back: no sockets, no clock, no pickle.

A message is exactly two frames::

    frame 0   prefix (28 bytes, little-endian) + header (msgpack)
              magic "IWV1" | version u16 | kind u16 | header length u32 | payload length u64
              | CRC32C of the payload u32 | CRC32C of (prefix up to here + header) u32
    frame 1   voxels as acquired, little-endian, x fastest; empty unless the message is a Volume

Every declared length is compared with the bytes in hand before anything else is read, so a
hostile length costs no memory; the voxel type comes from the closed set `WIRE_DTYPES`.
`pack` and `unpack` turn the frames into one blob and back: that blob is what a journal stores.
"""

import struct
from collections.abc import Sequence

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ChecksumError, WireError
from scanner_bridge.volume import Message
from scanner_bridge.wire_headers import KINDS, MAX_PAYLOAD_BYTES, read_header, write_header

WIRE_VERSION = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_PACKED_FRAMES = 16

Frame = bytes | memoryview

_MAGIC = b"IWV1"
_PREFIX = struct.Struct("<4sHHIQI")
_CRC = struct.Struct("<I")
_PREFIX_BYTES = _PREFIX.size + _CRC.size
_PACK_MAGIC = b"IWP1"
_PACK_COUNT = struct.Struct("<4sI")
_PACK_LENGTH = struct.Struct("<Q")


def encode(message: Message) -> list[bytes]:
    """Bytes of one message, as two frames.

    Parameters
    ----------
    message : RunHeader, Volume or RunEnd
        Voxels may be of any byte order, memory order or stride: they leave little-endian, x fastest.
        Voxel values may be NaN or infinite; `Volume.due_s` may be NaN.

    Returns
    -------
    frames : list of two bytes objects
        What `decode` accepts.

    Raises
    ------
    WireError
        The message cannot cross the wire: voxel type outside `WIRE_DTYPES`, not three dimensions,
        too large, an affine, TR or slope that is not finite, a field of the wrong type.
    """
    kind, header, payload = write_header(message)
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"header of {len(header)} bytes; the wire takes {MAX_HEADER_BYTES}: shorten its texts")
    read_header(kind, header, memoryview(payload))  # what is sent is what the other side will accept
    prefix = _PREFIX.pack(_MAGIC, WIRE_VERSION, kind, len(header), len(payload), _crc32c(payload))
    return [prefix + _CRC.pack(_crc32c(prefix + header)) + header, payload]


def decode(frames: Sequence[Frame]) -> Message:
    """Message of two frames.

    Parameters
    ----------
    frames : sequence of bytes or memoryview
        Exactly two, as `encode` made them.

    Returns
    -------
    message : RunHeader, Volume or RunEnd
        Arrays are read-only; a volume's voxels are a view of frame 1, not a copy.

    Raises
    ------
    ChecksumError
        Lengths are right and the bytes are not those that were sent.
    WireError
        Anything else that is not a message of ours. No other exception is raised for any bytes.
    """
    if len(frames) != 2:
        raise WireError(f"a message has 2 frames, got {len(frames)}: the sender speaks another protocol")
    head, payload = bytes(_flat(frames[0], _PREFIX_BYTES + MAX_HEADER_BYTES)), _flat(frames[1], MAX_PAYLOAD_BYTES)
    kind = _check_prefix(head, payload)
    return read_header(kind, head[_PREFIX_BYTES:], payload)


def pack(frames: Sequence[Frame]) -> bytes:
    """One blob holding any frames (well formed or not), at most `MAX_PACKED_FRAMES` of them.

    Raises
    ------
    WireError
        More frames than that.
    """
    if len(frames) > MAX_PACKED_FRAMES:
        raise WireError(f"cannot pack {len(frames)} frames: {MAX_PACKED_FRAMES} at most")
    parts: list[Frame] = [_PACK_COUNT.pack(_PACK_MAGIC, len(frames))]
    for frame in frames:
        view = memoryview(frame)
        parts += [_PACK_LENGTH.pack(view.nbytes), view]
    return b"".join(parts)


def unpack(blob: Frame) -> list[bytes]:
    """Frames of a blob made by `pack`.

    Raises
    ------
    WireError
        The blob is cut short, has bytes left over, or was not made by `pack`.
    """
    view = memoryview(blob)
    if view.nbytes < _PACK_COUNT.size:
        raise WireError(f"a packed message has {_PACK_COUNT.size} bytes or more, got {view.nbytes}: it was cut short")
    magic, n_frames = _PACK_COUNT.unpack_from(view)
    if magic != _PACK_MAGIC or n_frames > MAX_PACKED_FRAMES:
        raise WireError(f"not a packed message: begins {magic!r} with {n_frames} frames, wanted {_PACK_MAGIC!r}")
    frames, at = [], _PACK_COUNT.size
    for number in range(n_frames):
        if view.nbytes - at < _PACK_LENGTH.size:
            raise WireError(f"packed message ends before the length of frame {number}: it was cut short")
        (length,) = _PACK_LENGTH.unpack_from(view, at)
        at += _PACK_LENGTH.size
        if length > view.nbytes - at:
            raise WireError(f"frame {number} declares {length} bytes, {view.nbytes - at} are left: it was cut short")
        frames.append(bytes(view[at : at + length]))
        at += length
    if at != view.nbytes:
        raise WireError(f"{view.nbytes - at} bytes are left after the last of {n_frames} packed frames")
    return frames


def _crc32c(data: bytes | NDArray[np.uint8]) -> int:
    return int(google_crc32c.value(data))


def _flat(frame: Frame, limit_bytes: int) -> memoryview:
    """The frame as read-only bytes, refused unread when it is larger than any of ours."""
    try:
        view = memoryview(frame)
    except TypeError as error:
        raise WireError(f"a frame is bytes, got {type(frame).__name__}") from error
    if view.nbytes > limit_bytes:
        raise WireError(f"frame of {view.nbytes} bytes; the wire takes {limit_bytes}: the sender is not a bridge")
    return view.cast("B").toreadonly() if view.contiguous else memoryview(view.tobytes())


def _check_prefix(head: bytes, payload: memoryview) -> int:
    """Kind of the message, after magic, version, kind, both lengths and both checksums were found right."""
    if len(head) < _PREFIX_BYTES:
        raise WireError(f"frame 0 has {len(head)} bytes, its prefix alone has {_PREFIX_BYTES}: it was cut short")
    magic, version, kind, header_length, payload_length, payload_crc = _PREFIX.unpack_from(head)
    if magic != _MAGIC:
        raise WireError(f"frame 0 begins with {magic!r}, wanted {_MAGIC!r}: the sender is not a bridge")
    if version != WIRE_VERSION:
        raise WireError(f"wire version {version}, wanted {WIRE_VERSION}: run the same release on both hosts")
    if kind not in KINDS:
        raise WireError(f"message kind {kind} is unknown; known: {KINDS}")
    if header_length != len(head) - _PREFIX_BYTES:
        raise WireError(f"header declares {header_length} bytes, got {len(head) - _PREFIX_BYTES}: it was cut short")
    if payload_length != payload.nbytes:
        raise WireError(f"payload declares {payload_length} bytes, got {payload.nbytes}: it was cut short")
    (head_crc,) = _CRC.unpack_from(head, _PREFIX.size)
    if head_crc != _crc32c(head[: _PREFIX.size] + head[_PREFIX_BYTES:]):
        raise ChecksumError("CRC32C of the header differs: its bytes changed on the way; ask for it again")
    if payload_crc != _crc32c(np.frombuffer(payload, np.uint8)):
        raise ChecksumError("CRC32C of the voxels differs: their bytes changed on the way; ask for them again")
    return int(kind)
