"""What of the reference the alignment compares volumes with: scattered points, their intensity and its slope."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.alignment_kernels import sum_of_outer_products
from realtime.preprocessing.filters import SmoothingFilter, smoothing_filter
from realtime.preprocessing.interpolation_kernels import spline_gradients
from realtime.preprocessing.rigid import inverse_affine, product, voxel_sizes
from realtime.preprocessing.settings import PreprocessorSettings
from realtime.preprocessing.vector_kernels import N_LANES

_TAP_TOLERANCE = 5e-3       # the reference is filtered by the same taps, so cutting them costs no accuracy
_LEAST_VOXELS = 2.5         # smoothing along each axis, at least: less lets aliasing through
_ORDER = 4                  # of the smoothing: a plain Gaussian of the same reach has a third more error
_STRONG_GRADIENT = 0.6      # points come from the 40 % of voxels with the steepest reference
_BORDER_MM = 8.0            # nearer the edge, smoothing sees mirrored tissue that does not move with the head
_BORDER_SHARE = 0.125       # of the field of view, at most
_FLAT = 1e-4                # of the largest squared gradient: an empty, masked background has no points
_FEWEST_VOXELS = 50
_N_MOTION = 6
N_SHADING = 7
"""Terms of intensity in the model of a volume (`robust_sums`)."""


@dataclass(frozen=True, eq=False)
class Template:
    """The reference at one smoothing, with all that does not change from volume to volume.

    Attributes
    ----------
    smoothing : SmoothingFilter
        For the volumes, too.
    places : float32 array of shape (3, n)
    rows : float32 array of shape (n, 16)
        As in `robust_sums`; the first quarter is a random sample of all.
    hessian : float64 array of shape (13, 13)
        Of all points, lower triangle.
    spread : float
        Standard deviation of the smoothed reference over the points.
    radius_mm : float
        Root mean square distance of the points from the head's centre.
    margin : float64 array of shape (3,)
        Voxels at the grid's edge where a volume is not looked at.
    """

    smoothing: SmoothingFilter
    places: NDArray[np.float32]
    rows: NDArray[np.float32]
    hessian: NDArray[np.float64]
    spread: float
    radius_mm: float
    margin: NDArray[np.float64]


def make_template(reference: NDArray[np.float32], affine: NDArray[np.float64], centre_mm: NDArray[np.float64],
                  fwhm_mm: float, settings: PreprocessorSettings) -> Template:
    """Smooth the reference and scatter the points.

    Parameters
    ----------
    reference : float32 array of shape (nz, ny, nx)
        Canonical layout, finite.
    affine : float64 array of shape (4, 4)
        Voxel to mm.
    centre_mm : float64 array of shape (3,)
        The head's centre, which it turns about.
    fwhm_mm : float
    settings : PreprocessorSettings

    Raises
    ------
    VolumeError
        The reference has no structure to align to.
    """
    sizes = voxel_sizes(affine)
    smoothing = smoothing_filter(sizes, fwhm_mm, _TAP_TOLERANCE, _LEAST_VOXELS, _ORDER)
    coefficients = smoothing.apply(reference)
    margin = np.array([max(min(_BORDER_MM / size, _BORDER_SHARE * n), 1.0)
                       for size, n in zip(sizes, coefficients.shape[::-1], strict=True)])
    points = _jittered_points(coefficients, affine, margin, settings)
    values, slopes = np.empty(len(points)), np.empty_like(points)
    spline_gradients(coefficients, points, values, slopes)
    x, y, z = product(np.ascontiguousarray(affine[:3, :3]), points.T) + (affine[:3, 3] - centre_mm)[:, None]
    gx, gy, gz = product(slopes, np.ascontiguousarray(inverse_affine(affine)[:3, :3])).T
    mean = values.cumsum()[-1] / len(values)
    brighter = (values - mean) / mean
    bend = values * brighter  # nothing in air, nothing at the mean: the gain stays the gain
    rows = np.zeros((len(points), N_LANES), np.float32)
    n_terms = _N_MOTION + N_SHADING
    rows[:, :n_terms] = np.stack([gx, gy, gz, y * gz - z * gy, z * gx - x * gz, x * gy - y * gx,
                                  values, values * x, values * y, values * z,
                                  bend, bend * brighter, bend * brighter * brighter], axis=1)
    hessian = np.empty((n_terms, n_terms))
    sum_of_outer_products(rows, hessian)
    squares = (x * x + y * y + z * z).cumsum()  # in index order: `sum` may pair terms up
    variance = np.square(values - mean).cumsum()[-1] / len(values)
    return Template(smoothing, np.array([x, y, z], np.float32), rows, hessian, float(np.sqrt(variance)),
                    float(np.sqrt(squares[-1] / len(rows))), margin)


def _jittered_points(coefficients: NDArray[np.float32], affine: NDArray[np.float64], margin: NDArray[np.float64],
                     settings: PreprocessorSettings) -> NDArray[np.float64]:
    """Voxel coordinates (n, 3) of points scattered off the grid where the image is steep.

    Points on the grid would see the reference without interpolation and the moved volume with
    it; scattered points see both through the same interpolator, which halves the error.
    """
    nz, ny, nx = coefficients.shape
    if min(coefficients.shape) < 4:
        raise VolumeError(f"the reference has shape {(nx, ny, nz)}; alignment needs at least 4 voxels along each axis")
    borders = [min(int(np.ceil(least)), (n - 2) // 2)
               for least, n in zip(margin[::-1], coefficients.shape, strict=True)]
    inner = tuple(slice(border, n - border) for border, n in zip(borders, coefficients.shape, strict=True))
    steepness = np.zeros(coefficients[inner].shape)
    for axis, size in zip((2, 1, 0), voxel_sizes(affine), strict=True):
        change = (np.roll(coefficients, -1, axis)[inner] - np.roll(coefficients, 1, axis)[inner]) / (2.0 * size)
        steepness += change.astype(np.float64) ** 2
    threshold = max(np.sort(steepness, axis=None)[int(_STRONG_GRADIENT * steepness.size)], _FLAT * steepness.max())
    steep = np.argwhere(steepness > threshold)[:, ::-1] + np.array(borders[::-1], np.float64)
    if len(steep) < _FEWEST_VOXELS:
        raise VolumeError(f"the reference has structure in {len(steep)} voxels only, alignment needs "
                          f"{_FEWEST_VOXELS}; pass a mean image of the run")
    n_points = settings.alignment_points
    order = np.argsort(_scattered(settings.seed, len(steep)), kind="stable")
    picked = np.resize(order, n_points)
    for part in (picked[: n_points // 4], picked[n_points // 4 :]):
        part.sort()  # neighbours in memory one after the other: twice as fast where the volume is larger than the cache
    chosen = steep[picked]
    jitter = _scattered(settings.seed + 1, 3 * n_points).reshape(n_points, 3)
    points: NDArray[np.float64] = chosen + ((jitter >> np.uint64(11)).astype(np.float64) / 2.0**53 - 0.5)
    return np.ascontiguousarray(points)


def _scattered(seed: int, n: int) -> NDArray[np.uint64]:
    """First n numbers of SplitMix64 (Steele, Lea and Flood 2014): numpy's own streams may change with its version."""
    state = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
