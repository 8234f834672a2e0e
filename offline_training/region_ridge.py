"""One training set, fitted: regions ranked, joined or averaged, window, number of regions and α by cross-validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from offline_training.fit_settings import FitSettings
from offline_training.linear_map import LinearMap
from offline_training.ridge import DualRidge, about_own_mean, primal_weights, solve_kernel
from offline_training.windows import Window

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
_Solve = Callable[[int, tuple[int, ...]], DualRidge]  # of a plan's place and regions taken together

_RANKING_TARGETS = 24  # the leading components tell of a region; a ridge for each of 150 regions should not take hours
_RANKING_ALPHAS = 4
_LARGEST_STRETCH = 10.0


@dataclass(frozen=True, eq=False)
class Plan:
    """One window's view of all training trials.

    Attributes
    ----------
    window : Window
    rows : float32 array of shape (n_trials, n_voxels)
    kernels : float64 array of shape (n_regions, n_trials, n_trials)
        Inner products of the rows about the origin, by region: those of some rows depend on no other row.
    """

    window: Window
    rows: Floats32
    kernels: Floats


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What one fit may know.

    Attributes
    ----------
    plans : tuple of Plan
        One per window.
    columns : tuple of intp arrays
        Voxels of each region.
    targets : float64 array of shape (n_trials, dim)
    fold : intp array of shape (n_trials,)
    known : bool array of shape (n_trials,)
        Trials that may be learnt from; nothing of the others is looked at.
    """

    plans: tuple[Plan, ...]
    columns: tuple[NDArray[np.intp], ...]
    targets: Floats
    fold: NDArray[np.intp]
    known: NDArray[np.bool_]

    @property
    def inner_fold(self) -> NDArray[np.intp]:
        """Folds of the known trials; halves of them where all are in one, which serves for choices only."""
        inner = self.fold[self.known]
        return inner if len(np.unique(inner)) > 1 else (np.arange(len(inner)) >= len(inner) // 2).astype(np.intp)


@dataclass(frozen=True, eq=False)
class RegionRidge:
    """A fitted decoder.

    Attributes
    ----------
    decoder : LinearMap
    window : Window
    regions : tuple of int
        Places of the regions it reads, the best first.
    alphas : float64 array of shape (n_regions or 1, n_targets)
    """

    decoder: LinearMap
    window: Window
    regions: tuple[int, ...]
    alphas: Floats


@dataclass(frozen=True, eq=False)
class _Basis:
    """Targets as what gets an α of its own: wanted = (targets − mean) @ axes.T."""

    mean: Floats
    axes: Floats
    wanted: Floats32


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Ridges of some regions on one window."""

    plan: Plan
    regions: tuple[int, ...]
    ridges: tuple[DualRidge, ...]  # one for all, or one for each
    explained: float

    @property
    def predictions(self) -> Floats32:
        return np.asarray(np.mean([ridge.predictions for ridge in self.ridges], axis=0), np.float32)


def fit_regions(data: TrainingSet, settings: FitSettings) -> RegionRidge:
    """Fit the recipe on what is known."""
    basis = _basis(data.targets[data.known], settings.targets)

    @cache  # where regions are averaged, what ranks them is what is averaged
    def solve(place: int, regions: tuple[int, ...]) -> DualRidge:
        kernel = data.plans[place].kernels[list(regions)].sum(axis=0)
        return solve_kernel(_part(kernel, data.known), basis.wanted, data.inner_fold, settings.alphas)

    ranked = _ranked(data, len(data.plans) // 2, basis, settings, solve)
    fits = [fitted for place in range(len(data.plans))
            for fitted in _candidates(data, place, ranked, basis, settings, solve)]
    best = max(fits, key=lambda fitted: fitted.explained)  # the first among equals
    return RegionRidge(_linear_map(data, best, basis, settings), best.plan.window, best.regions,
                       np.stack([ridge.alphas for ridge in best.ridges]))


def _basis(targets: Floats, kind: str) -> _Basis:
    mean = targets.mean(axis=0)
    centred = targets - mean
    if kind == "dimensions":
        axes = np.eye(targets.shape[1])
    else:
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        axes = axes[lengths > 1e-6 * lengths[0]] if lengths[0] > 0 else axes[:1]
    return _Basis(mean, axes, np.asarray(centred @ axes.T, np.float32))


def _part(kernel: Floats, known: NDArray[np.bool_]) -> Floats32:
    """What is known, about its own mean."""
    return about_own_mean(kernel if known.all() else kernel[np.ix_(known, known)])


def _ranked(data: TrainingSet, place: int, basis: _Basis, settings: FitSettings, solve: _Solve) -> tuple[int, ...]:
    """Regions by the mean cross-validated correlation of a ridge of their own, the best first."""
    if settings.n_regions == (0,) or len(data.columns) == 1:
        return tuple(range(len(data.columns)))
    if settings.regions == "averaged":
        scores = [_mean_correlation(solve(place, (region,)).predictions, basis.wanted)
                  for region in range(len(data.columns))]
    else:
        every = np.linspace(0, len(settings.alphas) - 1, _RANKING_ALPHAS).astype(int)
        grid, wanted = [settings.alphas[i] for i in np.unique(every)], basis.wanted[:, :_RANKING_TARGETS]
        scores = [_mean_correlation(solve_kernel(_part(kernel, data.known), wanted, data.inner_fold, grid).predictions,
                                    wanted) for kernel in data.plans[place].kernels]
    return tuple(int(region) for region in np.argsort(-np.array(scores), kind="stable"))


def _mean_correlation(predictions: Floats32, wanted: Floats32) -> float:
    got, true = predictions - predictions.mean(axis=0), wanted - wanted.mean(axis=0)
    length = np.sqrt((got**2).sum(axis=0) * (true**2).sum(axis=0))
    return float(np.mean(np.where(length > 0, (got * true).sum(axis=0) / np.where(length > 0, length, 1.0), 0.0)))


def _candidates(data: TrainingSet, place: int, ranked: tuple[int, ...], basis: _Basis, settings: FitSettings,
                solve: _Solve) -> list[_Fitted]:
    """A fit for each number of regions, on one window."""
    fits = []
    for regions in _region_sets(data.columns, ranked, settings):
        alone = [(region,) for region in regions] if settings.regions == "averaged" else [regions]
        ridges = tuple(solve(place, together) for together in alone)
        mean = np.mean([ridge.predictions for ridge in ridges], axis=0)
        explained = 1.0 - float(np.square(mean - basis.wanted).sum() / max(np.square(basis.wanted).sum(), 1e-30))
        fits.append(_Fitted(data.plans[place], regions, ridges, explained))
    return fits


def _region_sets(columns: Sequence[NDArray[np.intp]], ranked: tuple[int, ...],
                 settings: FitSettings) -> list[tuple[int, ...]]:
    """Sets of best regions of the sizes asked for, cut where they would hold too many voxels; each once."""
    n_voxels = np.cumsum([len(columns[region]) for region in ranked])
    most = max(int((n_voxels <= settings.most_voxels).sum()), 1)
    sizes = dict.fromkeys(min(n or len(ranked), len(ranked), most) for n in settings.n_regions)
    return [ranked[:size] for size in sizes]


def _linear_map(data: TrainingSet, fitted: _Fitted, basis: _Basis, settings: FitSettings) -> LinearMap:
    voxels = np.sort(np.concatenate([data.columns[region] for region in fitted.regions]))
    rows = np.ascontiguousarray(fitted.plan.rows[data.known][:, voxels])
    mu = np.asarray(rows.mean(axis=0, dtype=np.float64))
    weights = np.zeros((len(voxels), len(basis.axes)))
    if len(fitted.ridges) == 1 and len(fitted.regions) > 1:
        weights += primal_weights(rows, fitted.ridges[0].duals)
    else:
        for region, ridge in zip(fitted.regions, fitted.ridges, strict=True):
            own = np.searchsorted(voxels, data.columns[region])
            weights[own] += primal_weights(np.ascontiguousarray(rows[:, own]), ridge.duals) / len(fitted.ridges)
    stretch = _stretch(fitted.predictions, basis.wanted) if settings.restore_spread else 1.0
    return LinearMap(voxels, mu, np.ones(len(voxels)), stretch * weights @ basis.axes, basis.mean)


def _stretch(predictions: Floats32, wanted: Floats32) -> float:
    """What brings out-of-fold predictions to the spread of the targets."""
    spread = float(np.square(predictions - predictions.mean(axis=0)).sum())
    return float(np.clip(np.sqrt(np.square(wanted).sum() / max(spread, 1e-30)), 1.0, _LARGEST_STRETCH))
