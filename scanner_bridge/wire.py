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

import math
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import google_crc32c
import msgspec
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ChecksumError, WireError
from scanner_bridge.volume import WIRE_DTYPES, Message, RunEnd, RunHeader, Volume

WIRE_VERSION = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_PACKED_FRAMES = 16

Frame = bytes | memoryview

_MAGIC = b"IWV1"
_PREFIX = struct.Struct("<4sHHIQI")
_CRC = struct.Struct("<I")
_PREFIX_BYTES = _PREFIX.size + _CRC.size
_PACK_MAGIC = b"IWP1"
_PACK_COUNT = struct.Struct("<4sI")
_PACK_LENGTH = struct.Struct("<Q")

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Extent = Annotated[int, msgspec.Meta(ge=1, lt=2**16)]
_Shape = tuple[_Extent, _Extent, _Extent]
_Affine = Annotated[tuple[float, ...], msgspec.Meta(min_length=16, max_length=16)]
_Dtype = Literal["<i2", "<u2", "<i4", "<u4", "<f4", "<f8", "|u1", "|i1"]


class _Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Header fields of one kind of message: what msgspec checks, and what it becomes."""


_FieldsT = TypeVar("_FieldsT", bound=_Fields)


class _RunFields(_Fields, frozen=True):
    run_id: str
    shape: _Shape
    dtype: _Dtype
    affine: _Affine
    tr_s: float
    n_volumes: _Count | None
    slice_times_s: tuple[float, ...] | None
    source: str
    clock_id: str
    start_s: float


class _VolumeFields(_Fields, frozen=True):
    index: _Count
    shape: _Shape
    dtype: _Dtype
    affine: _Affine
    tr_s: float
    run_id: str
    due_s: float
    slope: float
    inter: float


class _EndFields(_Fields, frozen=True):
    run_id: str
    n_volumes: _Count
    status: Literal["complete", "aborted"]
    reason: str


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
    fields: _Fields
    payload = b""
    try:
        if isinstance(message, Volume):
            kind, (fields, payload) = _VOLUME, _volume_fields(message)
        elif isinstance(message, RunHeader):
            kind, fields = _RUN, _run_fields(message)
        elif isinstance(message, RunEnd):
            kind = _END
            fields = _EndFields(message.run_id, int(message.n_volumes), message.status, message.reason)
        else:
            raise WireError(f"cannot send a {type(message).__name__}: the wire carries RunHeader, Volume and RunEnd")
        header = msgspec.msgpack.encode(fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot send this {type(message).__name__}: {error}; correct the field it names") from error
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"header of {len(header)} bytes; the wire takes {MAX_HEADER_BYTES}: shorten its texts")
    _READERS[kind](header, payload)  # what is sent is what the other side will accept
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
    return _READERS[kind](head[_PREFIX_BYTES:], payload)


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
    if kind not in _READERS:
        raise WireError(f"message kind {kind} is unknown; known: {sorted(_READERS)}")
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


def _volume_fields(volume: Volume) -> tuple[_VolumeFields, bytes]:
    data = np.asarray(volume.data)
    dtype = data.dtype.newbyteorder("<").str
    if data.ndim != 3:
        raise WireError(f"volume {volume.index} has {data.ndim} dimensions, wanted 3 (nx, ny, nz)")
    if dtype not in WIRE_DTYPES:
        raise WireError(f"volume {volume.index} has voxels of type {data.dtype}; the wire carries {WIRE_DTYPES}")
    if data.nbytes > MAX_PAYLOAD_BYTES:
        raise WireError(f"volume {volume.index} has {data.nbytes} bytes; the wire takes {MAX_PAYLOAD_BYTES}")
    fields = _VolumeFields(
        index=int(volume.index),
        shape=data.shape,
        dtype=dtype,  # type: ignore[arg-type]  # membership was checked above
        affine=_flat_affine(volume.affine),
        tr_s=float(volume.tr_s),
        run_id=volume.run_id,
        due_s=float(volume.due_s),
        slope=float(volume.slope),
        inter=float(volume.inter),
    )
    return fields, data.astype(dtype, copy=False).tobytes(order="F")


def _run_fields(run: RunHeader) -> _RunFields:
    nx, ny, nz = run.shape
    times = run.slice_times_s
    return _RunFields(
        run_id=run.run_id,
        shape=(int(nx), int(ny), int(nz)),
        dtype=run.dtype,  # type: ignore[arg-type]  # checked when the header is read back
        affine=_flat_affine(run.affine),
        tr_s=float(run.tr_s),
        n_volumes=None if run.n_volumes is None else int(run.n_volumes),
        slice_times_s=None if times is None else tuple(float(time) for time in times),
        source=run.source,
        clock_id=run.clock_id,
        start_s=float(run.start_s),
    )


def _flat_affine(affine: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.asarray(affine, dtype=np.float64).ravel().tolist())


def _read_run(header: bytes, payload: Frame) -> RunHeader:
    fields = _read(header, _RunFields)
    _refuse_payload(payload)
    if fields.slice_times_s is not None and len(fields.slice_times_s) != fields.shape[2]:
        raise WireError(f"{len(fields.slice_times_s)} slice times for {fields.shape[2]} slices")
    _check_size(fields.shape, fields.dtype)
    return RunHeader(
        run_id=fields.run_id,
        shape=fields.shape,
        dtype=fields.dtype,
        affine=_square_affine(fields.affine),
        tr_s=_positive(fields.tr_s),
        n_volumes=fields.n_volumes,
        slice_times_s=fields.slice_times_s,
        source=fields.source,
        clock_id=fields.clock_id,
        start_s=fields.start_s,
    )


def _read_volume(header: bytes, payload: Frame) -> Volume:
    fields = _read(header, _VolumeFields)
    wanted = _check_size(fields.shape, fields.dtype)
    if len(payload) != wanted:
        raise WireError(f"voxels of {fields.shape} {fields.dtype} take {wanted} bytes, got {len(payload)}")
    if not (math.isfinite(fields.slope) and math.isfinite(fields.inter)):
        raise WireError(f"slope {fields.slope} and inter {fields.inter} must be finite")
    data: NDArray[Any] = np.frombuffer(payload, fields.dtype).reshape(fields.shape, order="F")
    data.flags.writeable = False
    return Volume(
        index=fields.index,
        data=data,
        affine=_square_affine(fields.affine),
        tr_s=_positive(fields.tr_s),
        run_id=fields.run_id,
        due_s=fields.due_s,
        slope=fields.slope,
        inter=fields.inter,
    )


def _read_end(header: bytes, payload: Frame) -> RunEnd:
    fields = _read(header, _EndFields)
    _refuse_payload(payload)
    return RunEnd(fields.run_id, fields.n_volumes, fields.status, fields.reason)


def _read(header: bytes, fields: type[_FieldsT]) -> _FieldsT:
    try:
        return msgspec.msgpack.decode(header, type=fields)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"header is not a {fields.__name__[1:-6].lower()} header: {error}") from error


def _refuse_payload(payload: Frame) -> None:
    if len(payload):
        raise WireError(f"only a volume carries voxels, got {len(payload)} bytes of them")


def _check_size(shape: tuple[int, int, int], dtype: str) -> int:
    """Bytes of one volume, refused when above the wire's limit."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes > MAX_PAYLOAD_BYTES:
        raise WireError(f"voxels of {shape} {dtype} take {n_bytes} bytes; the wire takes {MAX_PAYLOAD_BYTES}")
    return n_bytes


def _square_affine(values: tuple[float, ...]) -> NDArray[np.float64]:
    affine = np.array(values, dtype=np.float64).reshape(4, 4)
    if not np.isfinite(affine).all():
        raise WireError(f"affine must be finite, got {affine.tolist()}")
    affine.flags.writeable = False
    return affine


def _positive(tr_s: float) -> float:
    if not (math.isfinite(tr_s) and tr_s > 0):
        raise WireError(f"tr_s must be a positive number of seconds, got {tr_s}")
    return tr_s


_RUN, _VOLUME, _END = 1, 2, 3
_READERS: dict[int, Callable[[bytes, Frame], Message]] = {_RUN: _read_run, _VOLUME: _read_volume, _END: _read_end}
