"""Intensities of the decoder's voxels, read from a volume where the head is now."""

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.alignment_kernels import sample_voxels
from realtime.preprocessing.filter_kernels import spline_prefilter
from realtime.preprocessing.rigid import inverse_affine, product


class VoxelSampler:
    """Cubic B-spline interpolation at a fixed list of reference voxels, in one step from the raw volume.

    Parameters
    ----------
    affine : float64 array of shape (4, 4)
        Voxel to mm of the reference.
    voxels : int32 array of shape (n, 3)
        Reference voxels.
    """

    def __init__(self, affine: NDArray[np.float64], voxels: NDArray[np.int32]) -> None:
        self._affine = affine
        self._voxels = voxels

    def sample_in_place(self, volume: NDArray[np.float32], affine: NDArray[np.float64],
                        motion: NDArray[np.float64]) -> NDArray[np.float32]:
        """Intensities, a new float32 array of shape (n,).

        Parameters
        ----------
        volume : float32 array of shape (nz, ny, nx)
            Canonical layout, finite, not smoothed. Overwritten by its spline coefficients.
        affine : float64 array of shape (4, 4)
            Voxel to mm of the volume.
        motion : float64 array of shape (4, 4)
            Reference world to volume world.

        Notes
        -----
        A voxel that has left the grid is read from the mirror image at the border (SciPy's
        mode "mirror"): finite, but not tissue.
        """
        transform = product(inverse_affine(affine), product(motion, self._affine))[:3]
        out = np.empty(len(self._voxels), np.float32)
        spline_prefilter(volume)
        sample_voxels(volume, transform, self._voxels, out)
        return out
