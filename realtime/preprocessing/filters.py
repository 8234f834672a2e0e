"""FIR taps that turn a volume into the cubic B-spline coefficients of its smoothed self, in one pass per axis.

One symmetric kernel per axis: the inverse of the sampled cubic B-spline convolved with a
Gaussian. Taps are computed with `+ − × ÷` alone, so that they are the same on every machine, and
summed with `fsum`: the built-in `sum` rounds differently from Python 3.12 on.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.filter_kernels import filter_separable

_POLE = math.sqrt(3.0) - 2.0
_SIGMA_PER_FWHM = 0.42466090014400953  # 1 / (2 √(2 ln 2))


@dataclass(frozen=True, eq=False)
class SmoothingFilter:
    """Volume to the cubic B-spline coefficients of the smoothed volume, with mirrored borders.

    Attributes
    ----------
    taps_x, taps_y, taps_z : float32 arrays of shape (radius + 1,)
        Half of each symmetric kernel, centre first.
    """

    taps_x: NDArray[np.float32]
    taps_y: NDArray[np.float32]
    taps_z: NDArray[np.float32]

    def apply(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coefficients, a new float32 array of shape (nz, ny, nx), of a volume in that layout."""
        padded = np.empty(volume.shape[2] + 2 * (self.taps_x.size - 1), np.float32)
        scratch, target = np.empty_like(volume), np.empty_like(volume)
        filter_separable(volume, self.taps_x, self.taps_y, self.taps_z, padded, scratch, target)
        return target


def smoothing_filter(voxel_mm: tuple[float, float, float], fwhm_mm: float, tolerance: float) -> SmoothingFilter:
    """Filter for voxels of these sizes (x, y, z); `fwhm_mm` 0 means no smoothing.

    Taps smaller than `tolerance` times the centre are cut off, and the rest scaled to sum 1.
    """
    taps = [np.array(_half_kernel(fwhm_mm / size, tolerance), np.float32) for size in voxel_mm]
    return SmoothingFilter(*taps)


def _half_kernel(fwhm_voxels: float, tolerance: float) -> list[float]:
    sigma = fwhm_voxels * _SIGMA_PER_FWHM
    radius = math.ceil(5.0 * sigma) if sigma > 0.0 else 0
    half = [_exp_of_minus(0.5 * k * k / (sigma * sigma)) if sigma > 0.0 else 1.0 for k in range(radius + 1)]
    reach = radius + 24  # 0.268 ** 24 is 2e-14: nothing is lost before the cut below
    convolved = [math.fsum(half[abs(j)] * _inverse_spline(abs(k - j)) for j in range(-radius, radius + 1))
                 for k in range(reach + 1)]
    last = max(k for k, tap in enumerate(convolved) if abs(tap) >= tolerance * abs(convolved[0]))
    kept = convolved[: last + 1]
    total = kept[0] + 2.0 * math.fsum(kept[1:])
    return [tap / total for tap in kept]


def _inverse_spline(k: int) -> float:
    """Tap k of the inverse of (1, 4, 1) / 6; Unser, Aldroubi and Eden 1993, IEEE Trans. Signal Process. 41:821."""
    tap = -6.0 * _POLE / (1.0 - _POLE * _POLE)
    for _ in range(k):
        tap *= _POLE
    return tap


def _exp_of_minus(x: float) -> float:
    """exp(-x) for x ≥ 0 by Taylor series and squaring: libm's `exp` differs between machines in the last bit."""
    halvings = 0
    while x > 0.5:
        x *= 0.5
        halvings += 1
    term = total = 1.0
    for k in range(1, 18):
        term *= -x / k
        total += term
    for _ in range(halvings):
        total *= total
    return total
