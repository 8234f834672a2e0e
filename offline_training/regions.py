"""Where in the brain to look: a region mask drawn beforehand, from an atlas or a localizer.

With a few hundred trials nothing tells the thousand voxels that respond to music from tens of
thousands that happen to correlate. Every published music decoder therefore starts from regions
(Brain2Music: the best 6 of 150 FreeSurfer regions, nearly all auditory).
"""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from offline_training.errors import DatasetError


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
    try:
        image: Any = nibabel.load(path)
        mask = np.asanyarray(image.dataobj) > 0.5
    except (OSError, ImageFileError, ValueError) as exc:
        raise DatasetError(f"region mask {path} cannot be read ({exc}); give a NIfTI image") from exc
    if mask.shape != tuple(shape) or not np.allclose(image.affine, affine, atol=0.5):
        raise DatasetError(f"region mask {path} has shape {mask.shape} or an affine that is not the runs' ({shape}); "
                           "resample it to the functional images")
    if not mask.any():
        raise DatasetError(f"region mask {path} is empty; draw it again")
    return np.asarray(mask, bool)
