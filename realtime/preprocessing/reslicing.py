"""A whole volume on the reference's grid: for recordings, quality checks and display, never for decoding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.filter_kernels import spline_prefilter
from realtime.preprocessing.interpolation_kernels import sample_grid
from realtime.preprocessing.rigid import checked_affine, inverse_affine, product


def reslice(volume: NDArray[Any], affine: NDArray[np.float64], motion: NDArray[np.float64],
            onto: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The volume as if the head had not moved, by cubic B-spline in one step.

    Parameters
    ----------
    volume : real array of shape (nx, ny, nz)
        Finite; unchanged.
    affine : float64 array of shape (4, 4)
        Its voxel-to-mm matrix.
    motion : float64 array of shape (4, 4)
        Reference world to volume world: `PreprocessedVolume.motion`.
    onto : float64 array of shape (4, 4)
        The reference's voxel-to-mm matrix.
    shape : tuple of int
        Of the reference, (x, y, z).

    Returns
    -------
    resliced : float32 array of shape `shape`, Fortran order
        0 where the volume did not reach; never NaN.

    Raises
    ------
    VolumeError
        The volume is not three-dimensional, or an affine cannot be inverted.
    """
    array = np.asarray(volume)
    if array.ndim != 3 or len(shape) != 3:
        raise VolumeError(f"cannot reslice shape {array.shape} onto {tuple(shape)}; pass one 3-D volume")
    coefficients = np.array(array.T, np.float32, order="C")
    spline_prefilter(coefficients)
    coefficients = np.pad(coefficients, 2, mode="reflect")
    transform = product(inverse_affine(checked_affine(affine)), product(motion, checked_affine(onto)))[:3]
    out = np.empty(tuple(shape)[::-1], np.float32)
    sample_grid(coefficients, transform, out)
    return out.T
