"""A run as one 4-D NIfTI file, written as it would be streamed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from scanner_bridge.errors import SourceError
from scanner_bridge.ports import VolumeSource
from scanner_bridge.volume import RunHeader, Volume

_NIFTI1: Any = nibabel.Nifti1Header  # nibabel is not typed


def export_run(source: VolumeSource, out: Path, *, on_volume: Callable[[Volume], None] = lambda volume: None) -> int:
    """Write what a source would stream; a JSON sidecar with TR and slice times goes beside it.

    A run that begins later than with its first volume, as when a copy of it was cut, is written from
    there on; the sidecar's FirstVolume says with which.

    Parameters
    ----------
    source : VolumeSource
        Read to its end.
    out : Path
        ``.nii`` or ``.nii.gz``; appears only when it is complete. Stored values keep their type, with
        slope and inter in the header; float32 scanner units when these differ between volumes.
    on_volume : callable
        Called with every volume, for progress.

    Returns
    -------
    n_volumes : int
        How many were written.

    Raises
    ------
    SourceError
        The source failed, a volume in between is missing (it would shift all after it), or the file
        cannot be written.
    """
    if not out.name.endswith((".nii", ".nii.gz")):
        raise SourceError(f"cannot export to {out.name}: the name has to end in .nii or .nii.gz")
    run = source.header
    volumes: list[Volume] = []
    for volume in source:
        wanted = volumes[-1].index + 1 if volumes else volume.index
        if volume.index != wanted:
            raise SourceError(f"volume {wanted} is missing (volume {volume.index} came): nothing was exported")
        volumes.append(volume)
        on_volume(volume)
    if not volumes:
        raise SourceError(f"{run.source or 'the source'} gave no volume: nothing was exported")
    try:
        _write(run, volumes, out)
    except OSError as error:
        raise SourceError(f"cannot write {out}: {error}; choose another place") from error
    return len(volumes)


def _write(run: RunHeader, volumes: list[Volume], out: Path) -> None:
    scaling = {(volume.slope, volume.inter) for volume in volumes}
    slope, inter = scaling.pop() if len(scaling) == 1 else (1.0, 0.0)
    one_scale = not scaling
    dtype = np.dtype(run.dtype) if one_scale else np.dtype("<f4")
    header = nifti_header(_NIFTI1(), run, len(volumes), dtype)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, inter, 352
    ending = ".nii.gz" if out.name.endswith(".gz") else ".nii"
    partial = out.with_name(f".{out.name.removesuffix(ending)}.partial{ending}")
    try:
        with ImageOpener(str(partial), "wb") as file:
            header.write_to(file)
            for volume in volumes:
                file.write(_stored(volume, dtype, one_scale).tobytes(order="F"))
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    fields: dict[str, Any] = {"RepetitionTime": run.tr_s}
    if volumes[0].index > 0:
        fields["FirstVolume"] = volumes[0].index
    if run.slice_times_s is not None:
        fields["SliceTiming"] = list(run.slice_times_s)
    out.with_name(out.name.removesuffix(ending) + ".json").write_text(json.dumps(fields, indent=2) + "\n", "utf-8")


def nifti_header(header: Any, run: RunHeader, n_volumes: int, dtype: np.dtype[Any]) -> Any:
    """A new NIfTI header with a run's size, place and repetition time; the same object."""
    header.set_data_dtype(dtype)
    header.set_data_shape((*run.shape, n_volumes))
    header.set_sform(run.affine, code=1)
    header.set_qform(run.affine, code=1, strip_shears=True)
    header.set_zooms((*np.linalg.norm(run.affine[:3, :3], axis=0), run.tr_s))
    header.set_xyzt_units("mm", "sec")
    return header


def _stored(volume: Volume, dtype: np.dtype[Any], one_scale: bool) -> NDArray[Any]:
    if one_scale:
        return volume.data.astype(dtype, copy=False)
    return (volume.slope * volume.data + volume.inter).astype(dtype)
