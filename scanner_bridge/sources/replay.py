"""A recorded run, volume by volume, as it lies in its NIfTI file: stored integers, slope and inter."""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.sidecar import exact_affine, read_timing, run_name
from scanner_bridge.volume import WIRE_DTYPES, RunHeader, Volume
from scanner_bridge.wire_headers import MAX_PAYLOAD_BYTES


class ReplaySource:
    """The volumes of one 4-D NIfTI file (.nii or .nii.gz), one at a time: the run is never held whole.

    Parameters
    ----------
    path : Path
        The file; TR and slice times come from its sidecar, else the TR from its header.

    Raises
    ------
    SourceError
        Not a 4-D NIfTI, voxels of a type that cannot travel, no affine, no TR.
    """

    def __init__(self, path: Path) -> None:
        try:
            image: Any = nibabel.load(path)
        except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
            raise SourceError(f"cannot read {path.name} as NIfTI: {error}; check the file") from error
        if not isinstance(image, nibabel.Nifti1Image):
            raise SourceError(f"{path.name} is a {type(image).__name__}, wanted NIfTI in one file (.nii or .nii.gz)")
        self._path = path
        proxy: Any = image.dataobj
        self._proxy = proxy
        self._dtype = np.dtype(self._proxy.dtype)
        if len(image.shape) != 4:
            raise SourceError(f"{path.name} has {len(image.shape)} dimensions, wanted 4: give a run, not one image")
        if self._dtype.newbyteorder("<").str not in WIRE_DTYPES:
            raise SourceError(
                f"{path.name} holds {self._dtype}; the bridge carries {', '.join(WIRE_DTYPES)}: convert it"
            )
        if not np.isfinite(image.affine).all():
            raise SourceError(f"the affine of {path.name} has values that are not finite: correct its header")
        nx, ny, nz, n_volumes = (int(extent) for extent in image.shape)
        if nx * ny * nz * self._dtype.itemsize > MAX_PAYLOAD_BYTES:  # a header may state anything
            raise SourceError(
                f"{path.name} states volumes of {nx} x {ny} x {nz} voxels of {self._dtype}; the bridge carries "
                f"{MAX_PAYLOAD_BYTES} bytes: check the file"
            )
        timing = read_timing(path, image.header, nz)
        self._header = RunHeader(
            run_id=f"replay-{hashlib.sha256(run_name(path).encode()).hexdigest()[:8]}",
            shape=(nx, ny, nz),
            dtype=self._dtype.newbyteorder("<").str,
            affine=exact_affine(path, np.asarray(image.affine, dtype=np.float64)),
            tr_s=timing.tr_s,
            n_volumes=n_volumes,
            slice_times_s=timing.slice_times_s,
            source="replay of a NIfTI file",  # whose name may be a person's
        )
        self._file: Any = None

    @property
    def header(self) -> RunHeader:
        """The run's header."""
        return self._header

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run, in order; SourceError where the file ends early or is damaged, for the wire: unnamed."""
        run = self._header
        self._file = ImageOpener(str(self._path))
        try:
            self._file.seek(self._proxy.offset)
            for index in range(run.n_volumes or 0):
                yield Volume(
                    index=index,
                    data=self._read_voxels(index),
                    affine=run.affine,
                    tr_s=run.tr_s,
                    run_id=run.run_id,
                    slope=float(self._proxy.slope),
                    inter=float(self._proxy.inter),
                )
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_voxels(self, index: int) -> NDArray[Any]:
        run = self._header
        wanted = int(np.prod(run.shape)) * self._dtype.itemsize
        try:
            data = self._file.read(wanted)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"the NIfTI file is damaged in volume {index} of {run.n_volumes}: copy it") from error
        if len(data) != wanted:
            raise SourceError(f"the NIfTI file ends in volume {index} of {run.n_volumes}: copy it again")
        return np.frombuffer(data, self._dtype).reshape(run.shape, order="F")
