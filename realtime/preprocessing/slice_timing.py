"""Slice timing: what a voxel's signal was when the volume began, though its slice came later."""

import numpy as np
from numpy.typing import NDArray


def acquired_after(slice_times_s: NDArray[np.float64], transform: NDArray[np.float64],
                   voxels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Seconds after the volume's start at which the slice nearest to each voxel was acquired, shape (n,).

    Parameters
    ----------
    slice_times_s : float64 array of shape (nz,)
    transform : float64 array of shape (3, 4)
        Reference voxel to voxel of the volume: a head that has moved lies in other slices.
    voxels : int32 array of shape (n, 3)
        Reference voxels. One that has left the grid takes the time of the outermost slice.
    """
    x, y, z = voxels.T.astype(np.float64)
    place = transform[2, 0] * x + transform[2, 1] * y + transform[2, 2] * z + transform[2, 3]
    nearest = np.clip(np.floor(place + 0.5), 0, len(slice_times_s) - 1).astype(np.intp)
    times: NDArray[np.float64] = slice_times_s[nearest]
    return times


def at_volume_start(samples: NDArray[np.float32], before: NDArray[np.float32], after_s: NDArray[np.float64],
                    apart_s: float) -> NDArray[np.float32]:
    """Signal of each voxel at the volume's start, by a straight line from its sample in an earlier volume.

    Nothing of a later volume is needed, so nothing waits: features describe a time that is on average
    half a repetition time earlier, and the bundle's lag is fitted to that.

    Parameters
    ----------
    samples, before : float32 arrays of shape (n,)
        Of this volume and of the last one that came.
    after_s : float64 array of shape (n,)
        Of `acquired_after`, at most `apart_s`.
    apart_s : float
        Time between the two volumes: the repetition time, longer where volumes were lost.
    """
    late = samples.astype(np.float64)
    shifted: NDArray[np.float32] = (late - after_s / apart_s * (late - before)).astype(np.float32)
    return shifted
