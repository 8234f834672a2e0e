"""A run as one 4-D NIfTI file, written volume by volume: no more than one is held.

What re-imports it must read the same bits as the live program did. So stored values keep their type, slope and
intercept; where these differ between volumes, the float32 scanner units that were decoded are stored. NIfTI-1 keeps
the affine in float32: where that would change it, the sidecar has it whole (`scanner_bridge.sources.sidecar`).
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import nibabel
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.export import nifti_header
from scanner_bridge.volume import RunHeader, Volume, scanner_units

_NIFTI1: Any = nibabel.Nifti1Header  # nibabel is not typed
_GZIP_LEVEL = 1  # as nibabel's own: noise hardly gets smaller with more


@dataclass(frozen=True)
class Storage:
    """How the voxels of a run are stored.

    Attributes
    ----------
    dtype : str
        numpy type string, little-endian.
    slope, inter : float
        Scanner units = slope × stored + inter.
    as_acquired : bool
        False where volumes were scaled differently, and scanner units are stored.
    """

    dtype: str
    slope: float = 1.0
    inter: float = 0.0
    as_acquired: bool = True

    def with_volume(self, volume: Volume) -> "Storage":
        """Storage that can take this volume, too."""
        alike = (volume.data.dtype.str, volume.slope, volume.inter) == (self.dtype, self.slope, self.inter)
        if not self.as_acquired or alike:
            return self
        return Storage("<f4", as_acquired=False)

    def values(self, volume: Volume) -> NDArray[Any]:
        """What to store of a volume, shape (nx, ny, nz)."""
        return (volume.data if self.as_acquired else scanner_units(volume)).astype(self.dtype, copy=False)


def first_storage(header: RunHeader, volume: Volume) -> Storage:
    """As the run's first volume was acquired."""
    return Storage(header.dtype, volume.slope, volume.inter)


class RunImage:
    """A 4-D NIfTI file (.nii.gz) that is being written.

    Parameters
    ----------
    path : Path
        To make.
    header : RunHeader
        Size, place and repetition time.
    n_volumes : int
        That will be written.
    storage : Storage
        Fits all of them.
    """

    def __init__(self, path: Path, header: RunHeader, n_volumes: int, storage: Storage) -> None:
        self._shape, self._storage = header.shape, storage
        self._raw: BinaryIO = path.open("wb")
        # no name and no time inside: the same run, the same bytes
        self._file = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._raw, mtime=0)
        _nifti_header(header, n_volumes, storage).write_to(self._file)

    def write(self, volume: Volume | None) -> None:
        """The next volume; None for one that is not there, whose voxels are all zero."""
        if volume is None:
            values = np.zeros(self._shape, self._storage.dtype)
        else:
            values = self._storage.values(volume)
        self._file.write(values.tobytes(order="F"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()
        self._raw.close()


def _nifti_header(run: RunHeader, n_volumes: int, storage: Storage) -> Any:
    header = nifti_header(_NIFTI1(), run, n_volumes, np.dtype(storage.dtype))
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = storage.slope, storage.inter, 352
    return header
