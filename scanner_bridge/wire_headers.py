"""The msgpack header of each kind of message, and the rules a header must obey.

A header is written by `write_header` and read by `read_header`, which trusts nothing: every
field has its type and range, the declared shape must account for every byte of the payload, and
what numbers mean (a positive TR, a finite affine) is checked here, once, for both directions.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import WireError
from scanner_bridge.volume import WIRE_DTYPES, Message, RunEnd, RunHeader, TriggerSummary, Volume

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024

RUN, VOLUME, END = 1, 2, 3
KINDS = (RUN, VOLUME, END)


_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Extent = Annotated[int, msgspec.Meta(ge=1, lt=2**16)]
_Shape = tuple[_Extent, _Extent, _Extent]
_Affine = Annotated[tuple[float, ...], msgspec.Meta(min_length=16, max_length=16)]
_Dtype = Literal["<i2", "<u2", "<i4", "<u4", "<f4", "<f8", "|u1", "|i1"]  # WIRE_DTYPES, for the checker of types


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


class _TriggerFields(_Fields, frozen=True):
    n_pulses: _Count
    n_missing: _Count
    n_extra: _Count
    n_before: _Count
    n_after: _Count
    offset_s: float | None
    jitter_s: float | None
    sentence: str


class _EndFields(_Fields, frozen=True, omit_defaults=True):  # without a trigger: the same bytes as before there was one
    run_id: str
    n_volumes: _Count
    status: Literal["complete", "aborted"]
    reason: str
    trigger: _TriggerFields | None = None


def write_header(message: Message) -> tuple[int, bytes, bytes]:
    """Kind, header and payload of a message.

    Raises
    ------
    WireError
        The message cannot cross the wire; the text names the field.
    """
    fields: _Fields
    payload = b""
    try:
        if isinstance(message, Volume):
            kind, (fields, payload) = VOLUME, _volume_fields(message)
        elif isinstance(message, RunHeader):
            kind, fields = RUN, _run_fields(message)
        elif isinstance(message, RunEnd):
            kind = END
            fields = _end_fields(message)
        else:
            raise WireError(f"cannot send a {type(message).__name__}: the wire carries RunHeader, Volume and RunEnd")
        return kind, msgspec.msgpack.encode(fields), payload
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot send this {type(message).__name__}: {error}; correct the field it names") from error


def read_header(kind: int, header: bytes, payload: memoryview) -> Message:
    """Message of a header and its payload; a volume's voxels are a read-only view of the payload.

    Raises
    ------
    WireError
        The header is not one of that kind, or does not account for the payload.
    """
    return _READERS[kind](header, payload)


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


def _end_fields(end: RunEnd) -> _EndFields:
    trigger = None if end.trigger is None else _TriggerFields(**vars(end.trigger))
    return _EndFields(end.run_id, int(end.n_volumes), end.status, end.reason, trigger)


def _flat_affine(affine: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.asarray(affine, dtype=np.float64).ravel().tolist())


def _read_run(header: bytes, payload: memoryview) -> RunHeader:
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


def _read_volume(header: bytes, payload: memoryview) -> Volume:
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


def _read_end(header: bytes, payload: memoryview) -> RunEnd:
    fields = _read(header, _EndFields)
    _refuse_payload(payload)
    trigger = None if fields.trigger is None else _read_trigger(fields.trigger)
    return RunEnd(fields.run_id, fields.n_volumes, fields.status, fields.reason, trigger)


def _read_trigger(fields: _TriggerFields) -> TriggerSummary:
    if not all(time_s is None or math.isfinite(time_s) for time_s in (fields.offset_s, fields.jitter_s)):
        raise WireError(f"a trigger's offset {fields.offset_s} and jitter {fields.jitter_s} must be finite, or none")
    return TriggerSummary(**msgspec.structs.asdict(fields))


def _read(header: bytes, fields: type[_FieldsT]) -> _FieldsT:
    try:
        return msgspec.msgpack.decode(header, type=fields)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"header is not a {fields.__name__[1:-6].lower()} header: {error}") from error


def _refuse_payload(payload: memoryview) -> None:
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


_READERS: dict[int, Callable[[bytes, memoryview], Message]] = {RUN: _read_run, VOLUME: _read_volume, END: _read_end}
