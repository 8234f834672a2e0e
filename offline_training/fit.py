"""Ridge from voxels to the embedding: one α per target, cross-validated by run, voxels chosen inside the folds.

Brain2Music (arXiv 2307.11078, section 3.3) fits b* = argmin ‖Xb − y‖² + α‖b‖² with one α per
target dimension. Here a fold is a run, never a set of volumes: neighbouring volumes share noise,
and a split within a run scores 0.98 on pure noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from offline_training.errors import FitError
from offline_training.splits import deal_folds
from offline_training.voxels import choose_voxels, encoding_correlations
from realtime.scoring import identification_accuracy

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """How a decoder is fitted.

    Attributes
    ----------
    n_voxels : int
        Voxels kept, the best predicted from the music; all when there are fewer. On the demo's session
        (100 trials) 500, 1000 and 1500 of 2312 voxels of a temporal region gave cross-validated
        identification of 0.91, 0.91 and 0.90; of 63,716 voxels of the head, 0.82, 0.82 and 0.78.
    alphas : tuple of float
        Grid for α, increasing. Wide on purpose: a target that cannot be predicted gets the largest,
        which silences it, and the others may keep a small one. On the whole head 10 to 10⁶ gave 0.82,
        10³ to 3·10⁴ gave 0.74, and one α for all targets 0.67.
    encoding_alpha : float
        Ridge penalty of the encoding model that ranks the voxels, in units of the mean squared
        length of a centred target. Of the best 250 voxels of the head, 53 % were truly auditory
        with 3, 67 % with 30, 68 % with 1000; within the region it hardly matters.
    n_folds : int
        Runs are dealt into at most this many folds (`deal_folds`); with as many runs or fewer, a fold is a run, or the
        runs that share music.
    """

    n_voxels: int = 1000
    alphas: tuple[float, ...] = tuple(float(alpha) for alpha in np.logspace(1, 6, 16))
    encoding_alpha: float = 30.0
    n_folds: int = 6


@dataclass(frozen=True, eq=False)
class Trials:
    """What is fitted: one row per trial.

    Attributes
    ----------
    features : float32 array of shape (n_trials, n_voxels)
        Mean z-scores of a trial's window, finite.
    targets : float64 array of shape (n_trials, dim)
        Embedding of the clip heard, finite.
    clip_ids : tuple of str
        What was heard.
    run_ids : tuple of str
        Where; folds are made of runs.
    tracks : tuple of str
        Recording each clip was cut from: two clips of one are never on both sides of a fold's border. Empty
        where a clip's id says it.
    """

    features: NDArray[np.float32]
    targets: Floats
    clip_ids: tuple[str, ...]
    run_ids: tuple[str, ...]
    tracks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Features to embedding: ((x − mu) / sigma) @ weights + intercept, everything float64.

    Attributes
    ----------
    voxels : intp array of shape (n_kept,)
        Columns of `Trials.features` it reads, increasing.
    mu, sigma : arrays of shape (n_kept,)
        Mean and standard deviation of those columns over the training trials; sigma above 0.
    weights : array of shape (n_kept, dim)
    intercept : array of shape (dim,)
    """

    voxels: NDArray[np.intp]
    mu: Floats
    sigma: Floats
    weights: Floats
    intercept: Floats

    def predict(self, features: NDArray[np.floating]) -> Floats:
        """Embeddings (n, dim) of rows (n, n_voxels) of all voxels, as in `Trials.features`."""
        return self.apply(features[:, self.voxels])

    def apply(self, chosen: NDArray[np.floating]) -> Floats:
        """Embeddings (n, dim) of rows (n, n_kept) of its own voxels."""
        return ((np.asarray(chosen, np.float64) - self.mu) / self.sigma) @ self.weights + self.intercept


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A decoder with its cross-validation.

    Attributes
    ----------
    decoder : LinearMap
        Fitted on all training trials by scikit-learn's Ridge.
    alphas : float64 array of shape (dim,)
        Penalty of each target.
    folds : dict of str to LinearMap
        For each run, the map fitted without the runs of its fold: voxels, mu, sigma, α (chosen by
        cross-validation among the other folds) and weights know nothing of it.
    predictions : float64 array of shape (n_trials, dim)
        Out of fold.
    identification : float
        Identification accuracy of `predictions`, rivals being the clips of the same run: clips of the
        other runs were trained on, attract the predictions, and would push noise below chance.
    """

    decoder: LinearMap
    alphas: Floats
    folds: dict[str, LinearMap]
    predictions: Floats
    identification: float


@dataclass(frozen=True, eq=False)
class _Dual:
    """Ridge of one training set for every α at little cost: the eigenvectors of its Gram matrix."""

    voxels: NDArray[np.intp]
    mu: Floats
    sigma: Floats
    rows: Floats
    values: Floats
    vectors: Floats
    rotated: Floats
    intercept: Floats

    def map(self, alphas: Floats) -> LinearMap:
        coefficients = self.vectors @ (self.rotated / (self.values[:, None] + alphas))
        return LinearMap(self.voxels, self.mu, self.sigma, self.rows.T @ coefficients, self.intercept)


def fit_ridge(trials: Trials, settings: FitSettings | None = None) -> RidgeFit:
    """Fit a decoder and its honest out-of-fold predictions.

    Raises
    ------
    FitError
        Fewer than two runs, runs that all share music, fewer clips than folds, rows that do not belong
        together, or no voxel that varies.
    """
    settings = settings or FitSettings()
    _check(trials)
    grid = np.array(settings.alphas)
    fold = deal_folds(trials.run_ids, trials.tracks or trials.clip_ids, settings.n_folds)
    n_folds, fold_of_run = int(fold.max()) + 1, dict(zip(trials.run_ids, fold.tolist(), strict=True))
    single, pairs = _held_out_errors(trials, fold, settings)
    maps, predictions = [], np.empty_like(trials.targets)
    for k in range(n_folds):
        # With two folds nothing is left to choose α from without looking at k: the grid's middle stands in.
        alphas = grid[np.argmin(pairs[k], axis=0)] if n_folds > 2 else np.full(
            trials.targets.shape[1], grid[len(grid) // 2])
        maps.append(_dual(trials, fold != k, fold, settings).map(alphas))
        predictions[fold == k] = maps[k].predict(trials.features[fold == k])
    alphas = grid[np.argmin(single, axis=0)]
    return RidgeFit(_final(trials, fold, alphas, settings), alphas, {run: maps[k] for run, k in fold_of_run.items()},
                    predictions, within_runs(trials, predictions))


def _held_out_errors(trials: Trials, fold: NDArray[np.intp], settings: FitSettings) -> tuple[Floats, Floats]:
    """Squared errors per α and target: over all folds (n_alphas, dim), and for each fold k over the
    other folds with k left out of training as well (n_folds, n_alphas, dim).
    """
    grid, n_folds = np.array(settings.alphas), int(fold.max()) + 1
    shape = (len(grid), trials.targets.shape[1])
    single, pairs = np.zeros(shape), np.zeros((n_folds, *shape))
    for k in range(n_folds):
        single += _errors(_dual(trials, fold != k, fold, settings), trials, fold == k, grid)
        for j in range(k + 1, n_folds if n_folds > 2 else 0):
            dual = _dual(trials, (fold != k) & (fold != j), fold, settings)
            pairs[k] += _errors(dual, trials, fold == j, grid)
            pairs[j] += _errors(dual, trials, fold == k, grid)
    return single, pairs


def within_runs(trials: Trials, predictions: Floats) -> float:
    """Identification accuracy of `predictions` (n_trials, dim), rivals being the clips of the same run."""
    runs, clips = np.array(trials.run_ids), np.array(trials.clip_ids)
    inside = [runs == run for run in np.unique(runs)]
    per_trial = np.concatenate([identification_accuracy(predictions[rows], trials.targets[rows],
                                                        clips[rows].tolist()).per_trial for rows in inside])
    return float(np.nanmean(per_trial)) if np.isfinite(per_trial).any() else float("nan")


def _check(trials: Trials) -> None:
    n = len(trials.features)
    if not (len(trials.targets) == len(trials.clip_ids) == len(trials.run_ids) == n):
        raise FitError(f"{n} rows of features, {len(trials.targets)} targets, {len(trials.clip_ids)} clips and "
                       f"{len(trials.run_ids)} runs do not belong together; give one of each per trial")
    if not (np.isfinite(trials.features).all() and np.isfinite(trials.targets).all()):
        raise FitError("features or targets hold NaN; leave trials without usable volumes out")
    sizes = [trials.run_ids.count(run) for run in sorted(set(trials.run_ids))]
    if len(sizes) < 2 or min(sizes) < 2:
        raise FitError(f"{len(sizes)} training runs with {sizes} trials: cross-validation leaves one run out and needs "
                       "at least 2 runs of at least 2 trials; record more, or leave out runs with few usable volumes")


def _dual(trials: Trials, known: NDArray[np.bool_], fold: NDArray[np.intp], settings: FitSettings) -> _Dual:
    features, targets = trials.features[known], trials.targets[known]
    scores = encoding_correlations(features, targets, fold[known], settings.encoding_alpha)
    voxels = choose_voxels(scores, features, settings.n_voxels)
    chosen = np.asarray(features[:, voxels], np.float64)
    mu, sigma, intercept = chosen.mean(axis=0), chosen.std(axis=0), targets.mean(axis=0)
    rows = (chosen - mu) / sigma
    values, vectors = np.linalg.eigh(rows @ rows.T)
    rotated = vectors.T @ (targets - intercept)
    return _Dual(voxels, mu, sigma, rows, np.maximum(values, 0.0), vectors, rotated, intercept)


def _errors(dual: _Dual, trials: Trials, held: NDArray[np.bool_], grid: Floats) -> Floats:
    """Squared error (n_alphas, dim) summed over held-out trials."""
    rows = (np.asarray(trials.features[held][:, dual.voxels], np.float64) - dual.mu) / dual.sigma
    projected, targets = rows @ dual.rows.T @ dual.vectors, trials.targets[held] - dual.intercept
    return np.stack([((projected @ (dual.rotated / (dual.values[:, None] + alpha)) - targets) ** 2).sum(axis=0)
                     for alpha in grid])


def _final(trials: Trials, fold: NDArray[np.intp], alphas: Floats, settings: FitSettings) -> LinearMap:
    """On all trials, by scikit-learn: the oracle that the folds are tested against is what is exported."""
    whole = _dual(trials, np.ones(len(fold), bool), fold, settings)
    ridge = Ridge(alpha=alphas, solver="cholesky").fit(whole.rows, trials.targets)
    weights, intercept = np.asarray(ridge.coef_, np.float64).T, np.asarray(ridge.intercept_, np.float64)
    return LinearMap(whole.voxels, whole.mu, whole.sigma, weights, intercept)
