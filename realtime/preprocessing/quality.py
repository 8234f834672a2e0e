"""How good the data of a volume are, over the decoder's voxels: DVARS and temporal signal-to-noise ratio."""

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.kernels import signal_to_noise, squared_change

_FEWEST_VOLUMES = 10.0      # a standard deviation of fewer says nothing


def dvars_percent(samples: NDArray[np.float32], before: NDArray[np.float32]) -> float | None:
    """Root mean square change of the voxels from one volume to the next, in percent of their mean intensity.

    Power et al. 2012, NeuroImage 59:2142, before any drift removal; the mean intensity is that of
    `before`, over voxels.

    Parameters
    ----------
    samples, before : float32 arrays of shape (n_voxels,)
        Motion-corrected intensities, finite.

    Returns
    -------
    dvars : float or None
        None where the mean intensity is not positive.
    """
    squares, total = squared_change(samples, before)
    if total <= 0.0:
        return None
    n_voxels = len(samples)
    return float(100.0 * np.sqrt(squares / n_voxels) / (total / n_voxels))


def tsnr(mean: NDArray[np.float64], spread: NDArray[np.float64], count: float) -> float | None:
    """Median over voxels of mean over standard deviation, of what the run has shown so far.

    Parameters
    ----------
    mean, spread : float64 arrays of shape (n_voxels,)
        Of `ScalerState`: what drift and nuisance regression leave is the noise.
    count : float
        Volumes they stand for.

    Returns
    -------
    ratio : float or None
        None before they stand for ten volumes. A voxel that never changes counts as 0.
    """
    if count < _FEWEST_VOLUMES:
        return None
    ratios = np.empty(len(mean))
    signal_to_noise(mean, spread, count / (count - 1.0), ratios)
    upper = len(ratios) // 2
    lower = upper if len(ratios) % 2 else upper - 1
    parted = np.partition(ratios, (lower, upper))  # a third of the time of `median`, which looks for NaN first
    return float(0.5 * (parted[lower] + parted[upper]))
