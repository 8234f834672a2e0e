"""Where in the brain to look: a mask drawn beforehand, and regions within it, from an atlas or a localizer.

With a few hundred trials nothing tells the thousand voxels that respond to music from tens of
thousands that happen to correlate. Every published music decoder therefore starts from regions
(Brain2Music: the best 6 of 150 FreeSurfer regions, nearly all auditory).
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from offline_training.errors import DatasetError

PARCEL_VOXELS = 300
"""Where no atlas says what belongs together: about the size of Brain2Music's regions (mean 259 voxels)."""


@dataclass(frozen=True, eq=False)
class Parcellation:
    """Voxels by region.

    Attributes
    ----------
    regions : intp array of shape (n_voxels,)
        Index into `names`.
    names : tuple of str
    note : str
        What the reader should know: regions without a voxel, or why these are no atlas's; "" for nothing.
    """

    regions: NDArray[np.intp]
    names: tuple[str, ...]
    note: str = ""


def find_atlas(dataset: Path, subject: str) -> Path | None:
    """The data set's own parcellation: derivatives/regions/**/sub-SUBJECT*_desc-*_dseg.nii[.gz], if there is one.

    Raises
    ------
    DatasetError
        There are several.
    """
    name = f"sub-{subject}" if subject else ""
    found = sorted((dataset / "derivatives" / "regions").rglob(f"{name}*_desc-*_dseg.nii*"))
    if len(found) > 1:
        raise DatasetError(f"{len(found)} parcellations for {name} in {dataset / 'derivatives' / 'regions'}: "
                           f"{', '.join(path.name for path in found)}; name one in the settings (atlas)")
    return found[0] if found else None


def read_atlas(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.int32]:
    """Labels (nx, ny, nz) on the runs' own grid; 0 is outside. Parameters as `read_region`.

    Raises
    ------
    DatasetError
        It cannot be read, lies on another grid, holds no label, or labels that are not whole numbers.
    """
    labels = _on_grid(path, "atlas", shape, affine)
    whole = np.round(labels)
    if not np.isfinite(labels).all() or np.abs(labels - whole).max() > 1e-3 or whole.min() < 0:
        raise DatasetError(f"atlas {path} holds values that are no labels (whole numbers from 0); resample it to the "
                           "functional images with nearest neighbours")
    if not whole.any():
        raise DatasetError(f"atlas {path} holds no region; draw it again")
    return np.asarray(whole, np.int32)


def parcellation_of(labels: NDArray[np.int32], voxels: NDArray[np.int32], path: Path) -> Parcellation:
    """Regions of the voxels (n, 3), all of them inside the atlas; names from the table beside it (index, name)."""
    here = labels[tuple(voxels.T)]
    numbers, regions = np.unique(here, return_inverse=True)
    missing = np.setdiff1d(np.unique(labels[labels > 0]), numbers)
    names = _names(path)
    note = ""
    if len(missing):
        shown = ", ".join(names.get(int(number), f"region {number}") for number in missing[:5])
        note = f"{len(missing)} regions of {path.name} hold no voxel of the head and are left out: {shown}"
    return Parcellation(np.asarray(regions, np.intp),
                        tuple(names.get(int(number), f"region {number}") for number in numbers), note)


def parcels(voxels: NDArray[np.int32], most: int = PARCEL_VOXELS) -> Parcellation:
    """Contiguous boxes of at most `most` voxels (n, 3): halved at the median of their longest side until they are."""
    regions, waiting, n_parcels = np.zeros(len(voxels), np.intp), [np.arange(len(voxels))], 0
    while waiting:
        own = waiting.pop()
        if len(own) <= most:
            regions[own], n_parcels = n_parcels, n_parcels + 1
            continue
        axis = int(np.argmax(np.ptp(voxels[own], axis=0)))
        order = own[np.argsort(voxels[own, axis], kind="stable")]
        waiting += [np.sort(order[len(order) // 2:]), np.sort(order[:len(order) // 2])]
    return Parcellation(regions, tuple(f"parcel {number}" for number in range(n_parcels)),
                        f"no atlas names regions: the mask is cut into {n_parcels} parcels of at most {most} voxels "
                        "(derivatives/regions/sub-*_desc-*_dseg.nii.gz would name them)")


def _names(path: Path) -> dict[int, str]:
    table = path.with_name(path.name.split(".nii")[0] + ".tsv")
    if not table.is_file():
        return {}
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
        return {int(row["index"]): row["name"] for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError) as exc:
        raise DatasetError(f"{table} does not name the regions of {path.name} ({exc!r}); wanted columns index and "
                           "name, separated by tabs") from exc


def find_region(dataset: Path, subject: str) -> Path | None:
    """The data set's own mask for a subject: derivatives/regions/**/sub-SUBJECT*_mask.nii[.gz], if there is one.

    Raises
    ------
    DatasetError
        There are several.
    """
    name = f"sub-{subject}" if subject else ""
    found = sorted((dataset / "derivatives" / "regions").rglob(f"{name}*_mask.nii*"))
    if len(found) > 1:
        raise DatasetError(f"{len(found)} region masks for {name} in {dataset / 'derivatives' / 'regions'}: "
                           f"{', '.join(path.name for path in found)}; name one in the settings (region)")
    return found[0] if found else None


def read_region(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """A mask on the runs' own grid.

    Parameters
    ----------
    path : Path
        NIfTI image; above 0.5 counts as inside.
    shape : tuple of int
        (nx, ny, nz) of the runs.
    affine : float64 array of shape (4, 4)
        Voxel to mm of the runs; the mask's may differ by half a millimetre.

    Returns
    -------
    mask : bool array of shape (nx, ny, nz)
        True where the decoder may look.

    Raises
    ------
    DatasetError
        It cannot be read, lies on another grid, or is empty.
    """
    mask = _on_grid(path, "region mask", shape, affine) > 0.5
    if not mask.any():
        raise DatasetError(f"region mask {path} is empty; draw it again")
    return np.asarray(mask, bool)


def _on_grid(path: Path, what: str, shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        image: Any = nibabel.load(path)
        values = np.asarray(image.dataobj, np.float64)
    except (OSError, ImageFileError, ValueError) as exc:
        raise DatasetError(f"{what} {path} cannot be read ({exc}); give a NIfTI image") from exc
    if values.shape != tuple(shape) or not np.allclose(image.affine, affine, atol=0.5):
        raise DatasetError(f"{what} {path} has shape {values.shape} or an affine that is not the runs' ({shape}); "
                           "resample it to the functional images")
    return values
