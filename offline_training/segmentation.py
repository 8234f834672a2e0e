"""Where white matter and cerebrospinal fluid are: the data set's own segmentation, on the grid of its runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.errors import DatasetError

_DISCRETE = "_dseg.nii"
_SHARES = ("_label-WM_probseg.nii", "_label-CSF_probseg.nii")
_WHITE_MATTER, _FLUID = 2, 3  # of a *_dseg image: the labels that BIDS gives where no table says otherwise
_LIKELY = 0.9
_MOST_VOXELS = 2000  # the mean of more is no steadier, and costs the live program time


def find_segmentations(dataset: Path, subject: str) -> tuple[Path, ...]:
    """Segmentations below derivatives/ with a subject's name: `*_dseg`, `*_label-WM_probseg`, `*_label-CSF_probseg`.

    Images with a `desc-` are left out: theirs are a parcellation's labels (aseg, aparcaseg).
    """
    name = f"sub-{subject}_" if subject else ""
    kinds = (_DISCRETE, *_SHARES)
    return tuple(path for path in sorted((dataset / "derivatives").rglob(f"{name}*seg.nii*"))
                 if any(kind in path.name for kind in kinds) and "_desc-" not in path.name)


def read_tissues(segmentations: Sequence[Path], shape: tuple[int, ...],
                 affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """White matter and fluid without their outermost voxels, which hold a share of what lies beside them.

    Of a tissue with more than 2000 voxels left every second is taken, or every third and so on.

    Parameters
    ----------
    segmentations : sequence of Path
        One `*_dseg` image of those on the runs' grid is used (1 grey matter, 2 white matter, 3 fluid), else one pair
        of `*_probseg` images, where a tissue's share is above 0.9.
    shape : tuple of int
        (nx, ny, nz) of the runs.
    affine : float64 array of shape (4, 4)
        Voxel to mm of the runs; a segmentation's may differ by half a millimetre.

    Returns
    -------
    tissues : uint8 array of shape (nx, ny, nz)
        0, 1 white matter, 2 cerebrospinal fluid.

    Raises
    ------
    DatasetError
        No segmentation lies on that grid, several do, one cannot be read, or a tissue is nowhere two voxels thick.
    """
    fitting = {path: image for path in segmentations
               if (image := _on_grid(path, shape, affine)) is not None}
    discrete = [path for path in fitting if _DISCRETE in path.name]
    shares = [[path for path in fitting if kind in path.name] for kind in _SHARES]
    if len(discrete) == 1:
        used, labels = discrete[0], np.asarray(fitting[discrete[0]].dataobj)
        masks = [labels == _WHITE_MATTER, labels == _FLUID]
    elif not discrete and [len(paths) for paths in shares] == [1, 1]:
        used, masks = shares[0][0], [np.asarray(fitting[paths[0]].dataobj) > _LIKELY for paths in shares]
    else:
        raise DatasetError("nuisance_tissues needs one segmentation (*_dseg, or *_label-WM_probseg and "
                           f"*_label-CSF_probseg) on the runs' grid {tuple(shape)} below derivatives/, got "
                           f"{len(fitting)} of {len(segmentations)}; resample it to the functional images, or "
                           "train without nuisance_tissues")
    tissues = np.zeros(shape, np.uint8)
    for label, mask in enumerate(masks, start=1):
        voxels = np.argwhere(ndimage.binary_erosion(mask))
        tissues[tuple(voxels[:: math.ceil(len(voxels) / _MOST_VOXELS) or 1].T)] = label
    missing = [name for label, name in ((1, "white matter"), (2, "fluid")) if not (tissues == label).any()]
    if missing:
        raise DatasetError(f"the segmentation {used.name} holds no {' and no '.join(missing)} with that "
                           "tissue on every side; correct its labels (2 white matter, 3 fluid), or train without "
                           "nuisance_tissues")
    return tissues


def _on_grid(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64]) -> Any:
    try:
        image: Any = nibabel.load(path)
    except (OSError, ImageFileError, ValueError) as exc:
        raise DatasetError(f"segmentation {path} cannot be read ({exc}); give a NIfTI image") from exc
    return image if image.shape == tuple(shape) and np.allclose(image.affine, affine, atol=0.5) else None
