"""Pyneal's messages: handshake, JSON header and voxels of a volume, replies; bytes to values and back, no sockets.

The scanner's side says ``hello from ...`` and hears the same back; then every volume is one message of two
parts, answered by ``received volIdx N``, with ``STOP`` in it when no more are wanted. The affine is a JSON
string inside the JSON, the repetition time a string; voxels are in C order. Pyneal's own programs disagree
on the unit of TR: a value above `SECONDS_UP_TO` is taken as milliseconds.
"""

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ProtocolError
from scanner_bridge.sources.grid import Grid, affine_of, checked_index

DEFAULT_PORT = 5555
HELLO = b"hello"
MAX_HELLO_BYTES = 1024
MAX_HEADER_BYTES = 64 * 1024
SECONDS_UP_TO = 30.0

_TYPES = {"int8": "|i1", "uint8": "|u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4",
          "float32": "<f4", "float64": "<f8"}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _TYPES.items()}


class _Header(msgspec.Struct, frozen=True):
    volIdx: int  # Pyneal's names
    dtype: str
    shape: tuple[int, int, int]
    affine: str
    TR: str | float


@dataclass(frozen=True, eq=False)
class PynealHeader:
    """What a sender says of the volume that follows.

    Attributes
    ----------
    index : int
        Number of the volume, from 0.
    grid : Grid
        Shape, type, position and repetition time.
    """

    index: int
    grid: Grid


def decode_header(data: bytes) -> PynealHeader:
    """The first part of a volume's message.

    Raises
    ------
    ProtocolError
        No header of Pyneal's, or one of a volume that cannot be.
    """
    if len(data) > MAX_HEADER_BYTES:
        raise ProtocolError(f"it sent a header of {len(data)} bytes; at most {MAX_HEADER_BYTES} are read")
    try:
        fields = msgspec.json.decode(data, type=_Header)
        affine = msgspec.json.decode(fields.affine, type=tuple[tuple[float, float, float, float], ...])
        tr_s = float(fields.TR)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        told = str(error) if isinstance(error, msgspec.DecodeError) else "a value is no number"  # never the value
        raise ProtocolError(
            f"it sent {len(data)} bytes, wanted Pyneal's header (volIdx, dtype, shape, affine, TR): {told}"
        ) from None
    if fields.dtype not in _TYPES:
        raise ProtocolError(f"its dtype is not known, wanted one of {', '.join(_TYPES)}")
    if tr_s > SECONDS_UP_TO:
        tr_s /= 1000
    grid = Grid(fields.shape, _TYPES[fields.dtype], affine_of([value for row in affine for value in row]), tr_s)
    return PynealHeader(checked_index(fields.volIdx), grid)


def encode_header(header: PynealHeader) -> bytes:
    """The first part of a volume's message, as Pyneal's scanner side sends it."""
    grid = header.grid
    fields = {
        "volIdx": header.index,
        "dtype": _NAMES[grid.stored_dtype],
        "shape": list(grid.shape),
        "affine": json.dumps(grid.affine.tolist()),
        "TR": str(grid.tr_s),
    }
    return json.dumps(fields).encode()


def decode_voxels(data: bytes, header: PynealHeader) -> NDArray[Any]:
    """The second part of a volume's message: voxels of shape `header.grid.shape`.

    Raises
    ------
    ProtocolError
        Not as many bytes as the header announces.
    """
    return header.grid.voxels(data, "C")


def encode_voxels(voxels: NDArray[Any], header: PynealHeader) -> bytes:
    """The second part of a volume's message."""
    return np.ascontiguousarray(voxels, header.grid.stored_dtype).tobytes(order="C")


def reply(index: int, *, stop: bool) -> bytes:
    """What the sender of a volume waits for."""
    return f"received volIdx {index}{' STOP' if stop else ''}".encode()
