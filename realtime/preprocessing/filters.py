"""FIR taps that turn a volume into the cubic B-spline coefficients of its smoothed self, in one pass per axis.

One symmetric kernel per axis: the inverse of the sampled cubic B-spline convolved with a
Gaussian, or with a sharpened one. Taps are computed with `+ − × ÷` alone, so that they are the
same on every machine, and summed with `fsum`: the built-in `sum` rounds differently from Python
3.12 on.
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
        Half of each symmetric kernel, centre first; one more than a multiple of four, the last ones may be 0.
    """

    taps_x: NDArray[np.float32]
    taps_y: NDArray[np.float32]
    taps_z: NDArray[np.float32]

    def ring(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Room that `apply` needs for volumes of this shape (nz, ny, nx)."""
        nz, ny, nx = shape
        return np.empty((min(2 * self.taps_z.size - 1, nz), ny, nx), np.float32)

    def apply(self, volume: NDArray[np.float32], ring: NDArray[np.float32] | None = None,
              target: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Coefficients, a float32 array of shape (nz, ny, nx), of a volume in that layout.

        `target`, returned, and `ring` are overwritten; new arrays are made for those that are None.
        """
        ring = self.ring(volume.shape) if ring is None else ring
        target = np.empty_like(volume) if target is None else target
        filter_separable(volume, self.taps_x, self.taps_y, self.taps_z, ring, target)
        return target


def smoothing_filter(voxel_mm: tuple[float, float, float], fwhm_mm: float, tolerance: float,
                     least_voxels: float = 0.0, order: int = 1) -> SmoothingFilter:
    """Filter for voxels of these sizes (x, y, z); `fwhm_mm` 0 means no smoothing.

    Along each axis the Gaussian is at least `least_voxels` wide. With G its transfer function, the
    filter's is 1 - (1 - G)^order: of order 1 it is the Gaussian, above it is flatter where it passes
    and steeper where it stops (Tukey 1977, Exploratory Data Analysis: "twicing").

    Taps smaller than `tolerance` times the centre are cut off, and the rest scaled to sum 1.
    """
    widths = [max(fwhm_mm / size, least_voxels) for size in voxel_mm]
    taps = [_half_kernel(width, tolerance, order) for width in widths]
    return SmoothingFilter(*(np.array(half + [0.0] * max((1 - len(half)) % 4, 5 - len(half)), np.float32)
                             for half in taps))


def _half_kernel(fwhm_voxels: float, tolerance: float, order: int) -> list[float]:
    sigma = fwhm_voxels * _SIGMA_PER_FWHM
    radius = math.ceil(5.0 * sigma) if sigma > 0.0 else 0
    half = [_exp_of_minus(0.5 * k * k / (sigma * sigma)) if sigma > 0.0 else 1.0 for k in range(radius + 1)]
    half = _sharpened(half, order)
    reach = len(half) + 24  # 0.268 ** 24 is 2e-14: nothing is lost before the cut below
    convolved = _convolved(half, [_inverse_spline(k) for k in range(reach)])
    last = max(k for k, tap in enumerate(convolved) if abs(tap) >= tolerance * abs(convolved[0]))
    kept = convolved[: last + 1]
    total = kept[0] + 2.0 * math.fsum(kept[1:])
    return [tap / total for tap in kept]


def _sharpened(half: list[float], order: int) -> list[float]:
    """1 - (1 - kernel)^order, in the sense of convolution, of a kernel that is first scaled to sum 1."""
    total = 2.0 * math.fsum(half) - half[0]
    removed = [1.0 - half[0] / total, *(-tap / total for tap in half[1:])]
    left = removed
    for _ in range(order - 1):
        left = _convolved(left, removed)
    return [1.0 - left[0], *(-tap for tap in left[1:])]


def _convolved(a: list[float], b: list[float]) -> list[float]:
    """Right half of the convolution of two symmetric kernels that are given as their right halves."""
    reach = len(a) + len(b) - 1
    b = b + [0.0] * (reach + len(a))
    return [math.fsum(a[abs(j)] * b[abs(k - j)] for j in range(1 - len(a), len(a))) for k in range(reach)]


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
