"""The voxels a peer on the network announces: bounded before anything is allocated, checked before use."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ProtocolError
from scanner_bridge.volume import WIRE_DTYPES

MAX_EXTENT = 1024
MAX_VOLUME_BYTES = 32 * 1024 * 1024
"""No peer makes the bridge reserve more than this for one volume (208 × 208 × 132 float32 take 22 MiB)."""

MAX_TR_S = 600.0
_TOO_FAR_MM = 1e6
_SAME_AFFINE_MM = 1e-3
MAX_VOLUMES = 100_000
"""No run has more: an index beyond it is damage, and would become as many gaps."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape, type, place and repetition time of every volume of a run, as a peer announces them.

    Attributes
    ----------
    shape : tuple of int
        (nx, ny, nz), each from 1 to `MAX_EXTENT`.
    dtype : str
        numpy type string with the byte order of the peer, such as ``>i2``.
    affine : float64 array of shape (4, 4)
        Voxel index to millimetres, RAS+; within a kilometre, and invertible.
    tr_s : float
        Repetition time, up to `MAX_TR_S`.

    Raises
    ------
    ProtocolError
        A value that cannot be, or a volume of more than `MAX_VOLUME_BYTES`.
    """

    shape: tuple[int, int, int]
    dtype: str
    affine: NDArray[np.float64]
    tr_s: float

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        shape, affine = self.shape, self.affine
        if not all(1 <= extent <= MAX_EXTENT for extent in shape):
            raise ProtocolError(f"it announces volumes of {shape} voxels, wanted 1 to {MAX_EXTENT} along each axis")
        if self.stored_dtype not in WIRE_DTYPES:
            raise ProtocolError(f"it announces {self.dtype} voxels; the bridge carries {', '.join(WIRE_DTYPES)}")
        if self.n_bytes > MAX_VOLUME_BYTES:
            raise ProtocolError(
                f"it announces volumes of {self.n_bytes} bytes ({shape} {self.dtype}); "
                f"at most {MAX_VOLUME_BYTES} are read"
            )
        if not (np.abs(affine) < _TOO_FAR_MM).all() or not abs(np.linalg.det(affine[:3, :3])) > 0:
            raise ProtocolError(f"it announces a position that no volume can have: affine {affine.tolist()}")
        if not 0 < self.tr_s <= MAX_TR_S:
            raise ProtocolError(f"it announces a repetition time of {self.tr_s} s, wanted up to {MAX_TR_S:g} s")

    @property
    def n_bytes(self) -> int:
        """Bytes of one volume."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def stored_dtype(self) -> str:
        """The same type in the byte order of the wire."""
        return np.dtype(self.dtype).newbyteorder("<").str

    def voxels(self, data: bytes | bytearray, order: Literal["C", "F"]) -> NDArray[Any]:
        """Voxels of shape `shape` from the peer's bytes, little-endian.

        Raises
        ------
        ProtocolError
            Not exactly `n_bytes`.
        """
        if len(data) != self.n_bytes:
            raise ProtocolError(
                f"it sent {len(data)} bytes of voxels, wanted {self.n_bytes} for {self.shape} {self.dtype}"
            )
        voxels = np.frombuffer(data, self.dtype).reshape(self.shape, order=order)
        return voxels.astype(self.stored_dtype, copy=False)

    def difference(self, other: "Grid") -> str:
        """In what another grid differs, in words; empty when it is the same."""
        if (self.shape, self.stored_dtype, self.tr_s) != (other.shape, other.stored_dtype, other.tr_s):
            return (
                f"shape, type and TR are {other.shape}, {other.stored_dtype}, {other.tr_s:g} s, "
                f"wanted {self.shape}, {self.stored_dtype}, {self.tr_s:g} s"
            )
        moved_mm = float(np.abs(self.affine - other.affine).max())
        return "" if moved_mm <= _SAME_AFFINE_MM else f"the position differs by {moved_mm:.3g} mm"


def affine_of(values: Sequence[float]) -> NDArray[np.float64]:
    """A (4, 4) affine from 16 numbers in row-major order; the last row is the one an affine has.

    Raises
    ------
    ProtocolError
        Not 16 numbers.
    """
    if len(values) != 16:
        raise ProtocolError(f"it sent an affine of {len(values)} numbers, wanted 16")
    affine = np.array(values, dtype=np.float64).reshape(4, 4)
    affine[3] = 0, 0, 0, 1
    return affine


def checked_index(index: int) -> int:
    """The index of a volume, when it can be one.

    Raises
    ------
    ProtocolError
        Below 0, or not below `MAX_VOLUMES`.
    """
    if not 0 <= index < MAX_VOLUMES:
        raise ProtocolError(f"it sent volume {index}, counted from 0; wanted 0 to {MAX_VOLUMES - 1}")
    return index
