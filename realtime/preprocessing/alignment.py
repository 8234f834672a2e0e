"""Rigid alignment of each volume to the reference: inverse-compositional Gauss-Newton at jittered points."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.alignment_kernels import histogram_median, robust_sums
from realtime.preprocessing.kernels import centre_of_mass, mean_intensity
from realtime.preprocessing.rigid import Pose, apply, inverse_affine, product
from realtime.preprocessing.rigid_kernels import gauss_newton_step, place_points
from realtime.preprocessing.settings import PreprocessorSettings
from realtime.preprocessing.template import N_SHADING, Template, make_template

_COARSE_FACTOR = 3.0        # smoothing of the coarse level, in units of the fine one
_COARSE_STEPS, _FINE_STEPS = 30, 100
_N_BINS = 2048
_BIN = 1.0 / 512.0          # of the reference's spread: residuals up to four times the spread are told apart
_SIGMA_PER_MEDIAN = 1.4826  # of absolute normal deviates
_TUKEY = (3.25,)            # standard deviations: the edges of another contrast, or of lost signal, pull no more
_TUKEY_FROM_AFAR = (4.7, 3.25)  # the narrow one alone ends now and then where only part of the head fits
_SLOW = 15.0                # in units of stop_mm: below it, all points are used
_LARGEST_BEND = 0.6         # of the gain: beyond it, brighter tissue would have become darker, as it does in no head
_STEADY_GAIN = 1e-3
_FEWEST_INSIDE = 0.25
_TRUSTED_RESIDUAL = 0.1     # quiet runs have 0.0002, a fifth dropped out gives 0.003, half the brain missing 0.2
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
        Squared robust SD of the residuals (1.4826 times their median size), as a fraction of the
        reference's variance at the points.
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
        # kept between volumes: the pages of fresh arrays of this size cost a third of the filter's time
        self._smoothed = np.empty_like(reference)
        fwhm_mm = settings.alignment_fwhm_mm
        self._fine = make_template(reference, affine, self.centre, fwhm_mm, settings)
        self._ring = self._fine.smoothing.ring(reference.shape)
        self._coarse = make_template(reference, affine, self.centre, _COARSE_FACTOR * fwhm_mm, settings)

    def align(self, volume: NDArray[np.float32], affine: NDArray[np.float64],
              last: Alignment | None) -> Alignment:
        """Estimate the pose of a finite volume of shape (nz, ny, nx), starting from the last trusted alignment."""
        to_voxel = np.ascontiguousarray(inverse_affine(affine)[:3])
        coefficients = self._fine.smoothing.apply(volume, self._ring, self._smoothed)
        warm = None
        if last is not None:
            warm = self._run(self._fine, coefficients, to_voxel, last.pose, last.gain, _TUKEY,
                             self._settings.max_iterations)
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
        tried = [self._run(self._coarse, coarse, to_voxel, pose, 1.0, _TUKEY_FROM_AFAR[:1], _COARSE_STEPS)
                 for pose in self._starts(volume, affine)]
        best = min(tried, key=lambda alignment: alignment.rank)
        if not best.gain > 0.0:
            return best
        fine = self._run(self._fine, coefficients, to_voxel, best.pose, best.gain, _TUKEY_FROM_AFAR, _FINE_STEPS)
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

    def _run(self, template: Template, coefficients: NDArray[np.float32], to_voxel: NDArray[np.float64],
             start: Pose, gain: float, cuts: tuple[float, ...], max_iterations: int) -> Alignment:
        """Gauss-Newton: on a quarter of the points until it slows down, then on all, weights from the step before.

        What lies beyond the first of `cuts` (robust standard deviations) does not count; when the
        steps have become small, the next one takes over.
        """
        rotation, position, shading = start.rotation.copy(), start.position.copy(), np.zeros(N_SHADING)
        shading[0] = gain
        transform, right, sums = np.empty((3, 4)), np.empty(template.rows.shape[1]), np.empty(2)
        histogram = np.empty(_N_BINS, np.int64)
        n_all = len(template.rows)
        n_points, cutoff, residual, inside = n_all // 4, 0.0, 1.0, 0.0
        iteration, converged = 0, False
        while iteration < max_iterations and not converged:
            iteration += 1
            place_points(to_voxel, rotation, position, transform)
            bin_width = float(shading[0]) * template.spread * _BIN
            robust_sums(coefficients, transform, template.places, template.rows, n_points, shading, cutoff,
                        template.margin, bin_width, histogram, right, sums)
            inside = float(sums[0]) / n_points
            if inside < _FEWEST_INSIDE:
                break
            sigma_bins = _SIGMA_PER_MEDIAN * histogram_median(histogram, float(sums[0]))
            residual = (sigma_bins * _BIN) ** 2 if abs(shading[4]) < _LARGEST_BEND * shading[0] else 1.0
            before = float(shading[0])
            size_mm = gauss_newton_step(template.hessian * (sums[1] / n_all), right, template.radius_mm,
                                        rotation, position, shading)
            if math.isnan(size_mm):
                break
            settled = size_mm < self._settings.stop_mm and abs(shading[0] - before) < _STEADY_GAIN * before
            if settled and n_points == n_all:
                converged, cuts = len(cuts) == 1, cuts[1:] or cuts
            if size_mm < _SLOW * self._settings.stop_mm:
                n_points = n_all
            cutoff = cuts[0] * max(sigma_bins, 1.0) * bin_width
        return Alignment(Pose(rotation, position), float(shading[0]), residual, inside, iteration, converged)


def _centre(volume: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Centre of mass of what is brighter than the mean, voxel coordinates; None without contrast."""
    centre = np.empty(4)
    centre_of_mass(volume, mean_intensity(volume), centre)
    return centre[:3].copy() if centre[3] > 0.0 else None
