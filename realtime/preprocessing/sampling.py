"""Intensities of the decoder's voxels, read from a volume where the head is now."""

import itertools

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.filters import SmoothingFilter, smoothing_filter
from realtime.preprocessing.interpolation_kernels import sample_sinc, sample_splines
from realtime.preprocessing.rigid import apply, inverse_affine, product, voxel_sizes

_TAP_TOLERANCE = 1e-5       # of the centre: what is cut off is far below the rounding of the scanner's integers
_SPLINE_REACH = 2           # voxels that a cubic B-spline reads beyond the one it is evaluated in


class VoxelSampler:
    """Interpolation at a fixed list of reference voxels, in one step from the raw volume.

    A windowed sinc over 8 × 8 × 8 voxels is as accurate as a cubic B-spline and needs no filter over
    the whole volume first (docs/decisions/0009). With `smoothing_fwhm_mm` what is read is the cubic B-spline
    of the volume convolved with a round Gaussian. Only the box
    that the voxels occupy is filtered, with as much around it as the Gaussian reaches: the result is
    that of filtering the whole volume, to the bit, so that a voxel's value does not depend on which
    other voxels are read.

    Parameters
    ----------
    affine : float64 array of shape (4, 4)
        Voxel to mm of the reference.
    voxels : int32 array of shape (n, 3)
        Reference voxels.
    smoothing_fwhm_mm : float
        0 for none.
    """

    def __init__(self, affine: NDArray[np.float64], voxels: NDArray[np.int32], smoothing_fwhm_mm: float = 0.0) -> None:
        self._affine = affine
        # neighbours in memory one after the other: half the time where the volume is larger than the cache
        self._order = np.lexsort(voxels.T)
        self._voxels = np.ascontiguousarray(voxels[self._order])
        self._smoothing = None
        if smoothing_fwhm_mm > 0.0:
            self._smoothing = smoothing_filter(voxel_sizes(affine), smoothing_fwhm_mm, _TAP_TOLERANCE)
        edges = zip(voxels.min(axis=0).tolist(), voxels.max(axis=0).tolist(), strict=True)
        self._corners = np.array(list(itertools.product(*edges)), np.float64)

    def transform(self, affine: NDArray[np.float64], motion: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reference voxel to voxel of a volume with this `affine` and `motion`, shape (3, 4)."""
        return product(inverse_affine(affine), product(motion, self._affine))[:3]

    def sample_in_place(self, volume: NDArray[np.float32], affine: NDArray[np.float64],
                        motion: NDArray[np.float64]) -> NDArray[np.float32]:
        """Intensities, a new float32 array of shape (n,).

        Parameters
        ----------
        volume : float32 array of shape (nz, ny, nx)
            Canonical layout, finite, not smoothed. With smoothing, overwritten where the voxels lie.
        affine : float64 array of shape (4, 4)
            Voxel to mm of the volume.
        motion : float64 array of shape (4, 4)
            Reference world to volume world.

        Notes
        -----
        A voxel that has left the grid is read from the mirror image at the border (SciPy's
        mode "mirror"): finite, but not tissue.
        """
        transform = self.transform(affine, motion)
        read, out = np.empty((2, len(self._voxels)), np.float32)
        if self._smoothing is None:
            sample_sinc(volume, transform, self._voxels, read)
        else:
            self._smooth_box(volume, transform, self._smoothing)
            sample_splines(volume, transform, self._voxels, read)
        out[self._order] = read
        return out

    def _smooth_box(self, volume: NDArray[np.float32], transform: NDArray[np.float64],
                    smoothing: SmoothingFilter) -> None:
        """Replace the part of the volume that the voxels read by its smoothed spline coefficients."""
        places = np.stack([apply(np.ascontiguousarray(transform[:, :3]), corner) for corner in self._corners])
        places += transform[:, 3]
        low, high = np.floor(places.min(axis=0)) - _SPLINE_REACH, np.ceil(places.max(axis=0)) + _SPLINE_REACH
        radii = np.array([taps.size - 1 for taps in (smoothing.taps_x, smoothing.taps_y, smoothing.taps_z)])
        last = np.array(volume.shape[::-1]) - 1
        leaves = (low < 0) | (high > last)  # mirrored places may lie anywhere on that axis
        first = np.where(leaves, 0, np.maximum(low - radii, 0)).astype(np.intp)
        stop = np.where(leaves, last + 1, np.minimum(high + radii, last) + 1).astype(np.intp)
        box = tuple(slice(first[axis], stop[axis]) for axis in (2, 1, 0))
        volume[box] = smoothing.apply(np.ascontiguousarray(volume[box]))
