"""Mean signal of white matter and of cerebrospinal fluid: what changes there too is not what music evoked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.kernels import mean_intensity
from realtime.preprocessing.sampling import VoxelSampler

TISSUES = ("white matter", "cerebrospinal fluid")
"""Label 1 and label 2 of an image of tissues; 0 is everything else."""


class TissueSampler:
    """Mean intensity of each tissue of a volume, in percent of the reference's.

    Read like the decoder's voxels, at the places of the reference's voxels in one step from the raw
    volume, but never smoothed: smoothing would mix in the grey matter beside them. Nor are the
    slices' times made up for: a mean over many slices has no single time.

    Parameters
    ----------
    tissues : uint8 array of shape (nx, ny, nz)
        Of `checked_tissues`.
    reference : float32 array of shape (nz, ny, nx)
        Canonical layout, finite.
    affine : float64 array of shape (4, 4)
        Voxel to mm of the reference.

    Raises
    ------
    VolumeError
        A tissue is dark in the reference: it lies outside the head.
    """

    def __init__(self, tissues: NDArray[np.uint8], reference: NDArray[np.float32],
                 affine: NDArray[np.float64]) -> None:
        voxels = [np.argwhere(tissues == 1 + k).astype(np.int32) for k in range(len(TISSUES))]
        self._sampler = VoxelSampler(affine, np.concatenate(voxels))
        self._starts = np.cumsum([len(own) for own in voxels])[:-1]
        self._reference_means = self._means(reference.T[tuple(np.concatenate(voxels).T)])
        for name, mean in zip(TISSUES, self._reference_means, strict=True):
            if not mean > 0.0:
                raise VolumeError(f"the {name} of the tissues has mean intensity {mean:g} in the reference, wanted "
                                  "more than 0; take both from the same bundle")

    def percent(self, volume: NDArray[np.float32], affine: NDArray[np.float64],
                motion: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means of one volume, shape (2,), in the order of `TISSUES`; parameters as in `VoxelSampler`."""
        return 100.0 * self._means(self._sampler.sample_in_place(volume, affine, motion)) / self._reference_means

    def _means(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        # added in one order, whatever the machine: numpy's own sum may take another with other vector instructions
        return np.array([mean_intensity(own.reshape(1, 1, -1)) for own in np.split(samples, self._starts)])


def checked_tissues(tissues: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A copy of an image of tissues.

    Parameters
    ----------
    tissues : integer array of shape (nx, ny, nz) or None
        0, 1 white matter, 2 cerebrospinal fluid, in the reference's space.
    shape : tuple of int
        (nx, ny, nz) of the reference.

    Raises
    ------
    VolumeError
        There is none, or it has another shape, other labels or lacks a tissue.
    """
    if tissues is None:
        raise VolumeError("the settings ask for tissue means (nuisance_tissues), and no tissues are given; train the "
                          "bundle on a data set with a segmentation, or without nuisance_tissues")
    array = np.asarray(tissues)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise VolumeError(f"tissues have shape {array.shape} and type {array.dtype}, wanted integers of shape {shape} "
                          "as the reference; take both from the same bundle")
    found = np.unique(array).tolist()
    if not {1, 2} <= set(found) <= {0, 1, 2}:
        raise VolumeError(f"tissues hold labels {found[:6]}, wanted 1 ({TISSUES[0]}) and 2 ({TISSUES[1]}) in 0; take "
                          "them from the bundle")
    return np.array(array, np.uint8, order="C")
