"""Rigid alignment of each volume to the reference: inverse-compositional Gauss-Newton at jittered points."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.alignment_kernels import gauss_newton, hessian, spline_gradients
from realtime.preprocessing.filters import SmoothingFilter, smoothing_filter
from realtime.preprocessing.kernels import centre_of_mass, mean_intensity
from realtime.preprocessing.rigid import Pose, apply, inverse_affine, product, voxel_sizes
from realtime.preprocessing.settings import PreprocessorSettings

_TAP_TOLERANCE = 1e-4       # the reference is filtered by the same taps, so cutting them costs no accuracy
_STRONG_GRADIENT = 0.7      # points come from the 30 % of voxels with the steepest reference
_BORDER = 2                 # voxels: nearer the edge, smoothing sees mirrored tissue that does not move with the
                            # head (disagreement with a full registration of a real run: 0.019 mm, with 2: 0.010)
_FLAT = 1e-4                # of the largest squared gradient: an empty, masked background has no points
_FEWEST_VOXELS = 50
_COARSE_FACTOR = 3.0        # smoothing of the coarse level, in units of the fine one
_TRUSTED_RESIDUAL = 0.5     # an alignment must explain half of the reference's variance at the points
_TRUSTED_INSIDE = 0.5       # and keep half of the points inside the grid
_SUSPECT_GROWTH = 2.0       # a residual this much above the last trusted one asks for a second opinion,
_SUSPECT_RESIDUAL = 0.005   # unless it is as small as in a quiet run (real 3 T run: 0.0003 to 0.0017)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where one volume lies.

    Attributes
    ----------
    pose : Pose
        The estimate.
    gain : float
        Volume / reference intensity.
    residual : float
        Sum of squared residuals as a fraction of the reference's variance at the points.
    inside : float
        Fraction of the points inside the volume's grid.
    iterations : int
        Gauss-Newton steps over all starts and levels.
    converged : bool
        The last step was smaller than `stop_mm`.
    """

    pose: Pose
    gain: float
    residual: float
    inside: float
    iterations: int
    converged: bool

    @property
    def trusted(self) -> bool:
        """Whether the estimate may be used at all; False for a volume without a head in it."""
        return self.residual < _TRUSTED_RESIDUAL and self.inside >= _TRUSTED_INSIDE and self.gain > 0.0

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Sorts alignments, best first: trusted, converged, small residual."""
        return (not self.trusted, not self.converged, self.residual)


@dataclass(frozen=True, eq=False)
class _Level:
    """The reference at one smoothing, with all that does not change from volume to volume."""

    smoothing: SmoothingFilter
    points: NDArray[np.float64]
    template: NDArray[np.float64]
    descent: NDArray[np.float32]
    hessian: NDArray[np.float64]
    radius_mm: float


class Aligner:
    """Finds the head of the reference in a volume.

    A volume is first aligned from where the head last was. When that start is missing, does not
    converge, or leaves a residual twice as large as last time, three starts (the reference's own
    place, the same voxels, the centre of mass) are tried on a coarser smoothing, the best is
    refined, and the better of both ways is returned.

    Parameters
    ----------
    reference : float32 array of shape (nz, ny, nx)
        Canonical layout, finite.
    affine : float64 array of shape (4, 4)
        Voxel to mm of the reference.
    settings : PreprocessorSettings

    Raises
    ------
    VolumeError
        The reference has no structure to align to.
    """

    def __init__(self, reference: NDArray[np.float32], affine: NDArray[np.float64],
                 settings: PreprocessorSettings) -> None:
        self._settings = settings
        self._affine = affine
        centre_voxel = _centre(reference)
        if centre_voxel is None:
            raise VolumeError("the reference is constant: nothing to align to; pass a mean image of the run")
        self.centre: NDArray[np.float64] = apply(affine[:3, :3], centre_voxel) + affine[:3, 3]
        fwhm_mm = settings.alignment_fwhm_mm
        self._fine = self._level(reference, fwhm_mm)
        self._coarse = self._level(reference, _COARSE_FACTOR * fwhm_mm)

    def align(self, volume: NDArray[np.float32], affine: NDArray[np.float64],
              last: Alignment | None) -> Alignment:
        """Estimate the pose of a finite volume of shape (nz, ny, nx), starting from the last trusted alignment."""
        to_voxel = np.ascontiguousarray(inverse_affine(affine)[:3])
        coefficients = self._fine.smoothing.apply(volume)
        warm = None
        if last is not None:
            warm = self._run(self._fine, coefficients, to_voxel, last.pose, last.gain)
            usual = max(_SUSPECT_GROWTH * last.residual, _SUSPECT_RESIDUAL)
            if warm.converged and warm.trusted and warm.residual <= usual:
                return warm
        fresh = self._from_afar(volume, affine, to_voxel, coefficients)
        if warm is None:
            return fresh
        best = min(warm, fresh, key=lambda alignment: alignment.rank)
        return replace(best, iterations=warm.iterations + fresh.iterations)

    def _from_afar(self, volume: NDArray[np.float32], affine: NDArray[np.float64], to_voxel: NDArray[np.float64],
                   coefficients: NDArray[np.float32]) -> Alignment:
        coarse = self._coarse.smoothing.apply(volume)
        tried = [self._run(self._coarse, coarse, to_voxel, pose, 1.0) for pose in self._starts(volume, affine)]
        best = min(tried, key=lambda alignment: alignment.rank)
        if not best.gain > 0.0:
            return best
        fine = self._run(self._fine, coefficients, to_voxel, best.pose, best.gain)
        return replace(fine, iterations=fine.iterations + sum(alignment.iterations for alignment in tried))

    def _starts(self, volume: NDArray[np.float32], affine: NDArray[np.float64]) -> list[Pose]:
        """Places where the head may be when nothing is known of it."""
        starts = [Pose(np.eye(3), self.centre)]
        same_voxels = product(affine, inverse_affine(self._affine))
        rotation = np.ascontiguousarray(same_voxels[:3, :3])
        error = np.abs(product(rotation, np.ascontiguousarray(rotation.T)) - np.eye(3)).max()
        if error < 1e-3 and not np.array_equal(affine, self._affine):
            starts.append(Pose(rotation, apply(rotation, self.centre) + same_voxels[:3, 3]))
        centre_voxel = _centre(volume)
        if centre_voxel is not None:
            starts.append(Pose(starts[-1].rotation, apply(affine[:3, :3], centre_voxel) + affine[:3, 3]))
        return starts

    def _run(self, level: _Level, coefficients: NDArray[np.float32], to_voxel: NDArray[np.float64],
             start: Pose, gain: float) -> Alignment:
        rotation, position = start.rotation.copy(), start.position.copy()
        outcome = np.array([gain, 0.0, 0.0, 0.0, 0.0])
        gauss_newton(coefficients, to_voxel, level.points, level.template, level.descent, level.hessian,
                     level.radius_mm, self._settings.max_iterations, self._settings.stop_mm,
                     rotation, position, outcome)
        return Alignment(Pose(rotation, position), float(outcome[0]), float(outcome[3]), float(outcome[4]),
                         int(outcome[1]), bool(outcome[2]))

    def _level(self, reference: NDArray[np.float32], fwhm_mm: float) -> _Level:
        smoothing = smoothing_filter(voxel_sizes(self._affine), fwhm_mm, _TAP_TOLERANCE)
        coefficients = smoothing.apply(reference)
        coordinates = _jittered_points(coefficients, self._affine, self._settings)
        template = np.empty(len(coordinates))
        slopes = np.empty_like(coordinates)
        spline_gradients(coefficients, coordinates, template, slopes)
        world = product(coordinates, np.ascontiguousarray(self._affine[:3, :3].T)) + self._affine[:3, 3]
        points = world - self.centre
        gradient = product(slopes, np.ascontiguousarray(inverse_affine(self._affine)[:3, :3]))
        descent = np.empty((len(points), 7), np.float32)
        descent[:, :3] = gradient
        for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
            descent[:, 3 + i] = points[:, j] * gradient[:, k] - points[:, k] * gradient[:, j]
        descent[:, 6] = template
        full = np.empty((7, 7))
        hessian(descent, full)
        squares = (points[:, 0] ** 2 + points[:, 1] ** 2 + points[:, 2] ** 2).cumsum()
        return _Level(smoothing, points, template, descent, full, float(np.sqrt(squares[-1] / len(points))))


def _centre(volume: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Centre of mass of what is brighter than the mean, voxel coordinates; None without contrast."""
    centre = np.empty(4)
    centre_of_mass(volume, mean_intensity(volume), centre)
    return centre[:3].copy() if centre[3] > 0.0 else None


def _jittered_points(coefficients: NDArray[np.float32], affine: NDArray[np.float64],
                     settings: PreprocessorSettings) -> NDArray[np.float64]:
    """Voxel coordinates (n, 3) of points scattered off the grid where the image is steep.

    Points on the grid would see the reference without interpolation and the moved volume with
    it; scattered points see both through the same interpolator, which halves the error.
    """
    nz, ny, nx = coefficients.shape
    if min(coefficients.shape) < 4:
        raise VolumeError(f"the reference has shape {(nx, ny, nz)}; alignment needs at least 4 voxels along each axis")
    borders = [min(_BORDER, (n - 2) // 2) for n in coefficients.shape]
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
    chosen = steep[np.resize(order, n_points)]
    jitter = _scattered(settings.seed + 1, 3 * n_points).reshape(n_points, 3)
    points: NDArray[np.float64] = chosen + ((jitter >> np.uint64(11)).astype(np.float64) / 2.0**53 - 0.5)
    return np.ascontiguousarray(points)


def _scattered(seed: int, n: int) -> NDArray[np.uint64]:
    """First n numbers of SplitMix64 (Steele, Lea and Flood 2014): numpy's own streams may change with its version."""
    state = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
