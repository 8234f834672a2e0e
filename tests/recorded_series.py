"""The recorded DICOM series and their references, and comparing voxels in world space."""

import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

nibabel: Any = untyped_nibabel
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = sorted(folder.name for folder in (DATA / "dicom").iterdir()) if (DATA / "dicom").is_dir() else []
_absent = pytest.mark.skipif(not NAMES, reason="the recorded scanner data are not here")
both_marks = [pytest.mark.data, _absent]


def needs_data(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test as one that reads the recorded data; it is skipped where they are absent."""
    marked: Callable[..., None] = pytest.mark.data(_absent(test))
    return marked


@dataclass(frozen=True, eq=False)
class Reference:
    """What dcm2niix makes of a series: scanner units of shape (nx, ny, nz, n), affine, sidecar."""

    values: NDArray[np.float64]
    affine: NDArray[np.float64]
    sidecar: dict[str, Any]


def reference(name: str) -> Reference:
    folder = DATA / "dicom" / name
    image = nibabel.load(folder / "ref.nii.gz")
    values = image.get_fdata()
    return Reference(values.reshape(*values.shape[:3], -1), image.affine, json.loads((folder / "ref.json").read_text()))


def series_folder(name: str, scratch: Path) -> Path:
    """The folder of a series' files; an archive is unpacked into the scratch folder."""
    folder = DATA / "dicom" / name
    if (folder / "dicom").is_dir():
        return folder / "dicom"
    with tarfile.open(folder / "dicom.tar.xz") as archive:
        archive.extractall(scratch / name, filter="data")
    return scratch / name


def contents(name: str, scratch: Path) -> list[bytes]:
    """The files of a series, by name."""
    return [path.read_bytes() for path in sorted(series_folder(name, scratch).iterdir())]


def voxels_there(affine: NDArray[np.float64], shape: tuple[int, ...], there: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each voxel of a grid its index in another grid, of shape (3, n); it must be a whole one."""
    to_there = np.linalg.inv(there) @ affine
    grid = np.indices(shape[:3]).reshape(3, -1)
    places = to_there[:3, :3] @ grid + to_there[:3, 3:]
    whole = np.rint(places).astype(int)
    np.testing.assert_allclose(places, whole, atol=1e-3)
    return whole
