"""Ridge for many voxels and targets: one kernel, then one Cholesky factor per fold and α.

b* = argmin ‖Xb − y‖² + α‖b‖² (Brain2Music, arXiv 2307.11078, section 3.3) solved in its dual,
(K + αI) c = y with K = X Xᵀ: after the kernel, which is computed once, nothing depends on the number
of voxels. With up to some twenty α a Cholesky factor of each costs a quarter of one eigendecomposition
of the kernel, and an α per target comes free. A fold's intercept is kept out of the penalty by
centring its part of the kernel (Schölkopf, Smola & Müller 1998, appendix A), never the whole of it: a
kernel centred on all rows would tell a fold the mean of the rows it is tested on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from offline_training.errors import FitError

Floats = NDArray[np.float32]
_BLOCK_VALUES = 2**23  # columns are read in blocks of at most so many values, 32 MiB: the features may be a memory map


@dataclass(frozen=True, eq=False)
class KernelRidge:
    """A ridge and what chose its penalties.

    Attributes
    ----------
    alphas : float64 array of shape (n_targets,)
        Penalty of each target: the smallest held-out squared error, the largest α among equals.
    errors : float64 array of shape (n_alphas, n_targets)
        Held-out squared error, summed over rows.
    predictions : float32 array of shape (n_rows, n_targets)
        Out of fold, each target with its α. That α has seen these rows: nest for an unbiased score.
    weights : float32 array of shape (n_voxels, n_targets)
        Fitted on all rows.
    intercept : float32 array of shape (n_targets,)
    """

    alphas: NDArray[np.float64]
    errors: NDArray[np.float64]
    predictions: Floats
    weights: Floats
    intercept: Floats

    def predict(self, features: Floats) -> Floats:
        """Targets (n, n_targets) of rows (n, n_voxels)."""
        return np.asarray(features @ self.weights + self.intercept, np.float32)


def fit_kernel_ridge(features: Floats, targets: Floats, fold: NDArray[np.intp], alphas: Sequence[float]) -> KernelRidge:
    """Choose α per target over folds, then fit all rows.

    Parameters
    ----------
    features : float32 array of shape (n_rows, n_voxels)
        Finite, on a common scale; may be a memory map, is read four times, in blocks, and never copied whole.
    targets : float32 array of shape (n_rows, n_targets)
        Finite.
    fold : int array of shape (n_rows,)
        Rows of one number are held out together.
    alphas : sequence of float
        Grid, positive and increasing.

    Returns
    -------
    ridge : KernelRidge
        Exact in exact arithmetic; in float32 within about 1e-4 of the targets' SD of a solution in float64.

    Raises
    ------
    FitError
        Rows that do not belong together, NaN, fewer than two folds, or a grid that is not one or begins
        below what float32 resolves of this kernel.
    """
    grid = np.asarray(alphas, np.float64)
    _check(features, targets, fold, grid)
    centre = _column_means(features)
    kernel = _kernel(features, centre)
    errors = np.zeros((len(grid), targets.shape[1]))
    predictions = np.empty((len(grid), *targets.shape), np.float32)
    for k in np.unique(fold):
        held = fold == k
        predictions[:, held] = _held_out(kernel, targets, held, grid)
        errors += np.square(predictions[:, held] - targets[held], dtype=np.float64).sum(axis=1)
    # among equal errors the largest α: where nothing can be predicted the weights should be small
    best = len(grid) - 1 - np.argmin(errors[::-1], axis=0)
    mean = targets.mean(axis=0, dtype=np.float64).astype(np.float32)
    duals = _duals_per_target(_centred(kernel), targets - mean, grid, best)
    weights = _weights(features, duals)
    return KernelRidge(grid[best], errors, np.take_along_axis(predictions, best[None, None], axis=0)[0], weights,
                       np.asarray(mean - centre @ weights, np.float32))


def _check(features: Floats, targets: Floats, fold: NDArray[np.intp], grid: NDArray[np.float64]) -> None:
    if not len(features) == len(targets) == len(fold):
        raise FitError(f"{len(features)} rows of features, {len(targets)} of targets and {len(fold)} fold numbers do "
                       "not belong together; give one of each per row")
    if len(np.unique(fold)) < 2:
        raise FitError("all rows are in one fold: cross-validation needs at least 2")
    if grid.ndim != 1 or not len(grid) or not (grid > 0).all() or not (np.diff(grid) > 0).all():
        raise FitError(f"the α grid is {grid.tolist()}, wanted positive values in increasing order")
    if not np.isfinite(targets).all():
        raise FitError("targets hold NaN or Inf; leave those rows out")


def _blocks(features: Floats) -> list[slice]:
    width = max(1, _BLOCK_VALUES // len(features))
    return [slice(start, start + width) for start in range(0, features.shape[1], width)]


def _column_means(features: Floats) -> Floats:
    means = np.empty(features.shape[1], np.float32)
    for columns in _blocks(features):
        means[columns] = features[:, columns].mean(axis=0, dtype=np.float64)
    if not np.isfinite(means).all():
        raise FitError(f"features hold NaN or Inf in {np.count_nonzero(~np.isfinite(means))} voxels; leave those "
                       "voxels or rows out")
    return means


def _kernel(features: Floats, centre: Floats) -> Floats:
    """X Xᵀ (n_rows, n_rows) of centred columns: a float32 kernel of large means would lose the digits that matter."""
    n = len(features)
    kernel: Any = np.zeros((n, n), np.float32, order="F")
    for columns in _blocks(features):
        block = np.ascontiguousarray(features[:, columns]) - centre[columns]
        kernel = blas.ssyrk(1.0, block.T, beta=1.0, c=kernel, trans=1, lower=1, overwrite_c=1)
    return np.asarray(np.tril(kernel) + np.tril(kernel, -1).T, np.float32)


def _centred(kernel: Floats) -> Floats:
    """The kernel (n, n) of its rows about their own mean."""
    rows = kernel.mean(axis=0, dtype=np.float64)
    return np.asfortranarray(kernel - rows[:, None] - rows + rows.mean(), dtype=np.float32)


def _held_out(kernel: Floats, targets: Floats, held: NDArray[np.bool_], grid: NDArray[np.float64]) -> Floats:
    """Predictions (n_alphas, n_held, n_targets) of the held-out rows from the others."""
    inside, across = kernel[np.ix_(~held, ~held)], kernel[np.ix_(held, ~held)]
    rows = inside.mean(axis=0, dtype=np.float64)
    across = (across - across.mean(axis=1, dtype=np.float64)[:, None] - rows + rows.mean()).astype(np.float32)
    mean = targets[~held].mean(axis=0, dtype=np.float64).astype(np.float32)
    centred, wanted = _centred(inside), np.asfortranarray(targets[~held] - mean)
    across = np.asfortranarray(across)
    return np.stack([_product(across, _dual(centred, wanted, alpha)) + mean for alpha in grid])


def _duals_per_target(centred: Floats, wanted: Floats, grid: NDArray[np.float64], best: NDArray[np.intp]) -> Floats:
    duals = np.empty(wanted.shape, np.float32, order="F")
    for a in np.unique(best):
        duals[:, best == a] = _dual(centred, np.asfortranarray(wanted[:, best == a]), grid[a])
    return duals


def _dual(centred: Floats, wanted: Floats, alpha: float) -> Floats:
    """Solve (K + αI) c = wanted."""
    shifted = np.array(centred, np.float32, order="F")
    shifted[np.diag_indices_from(shifted)] += np.float32(alpha)
    factor, failed = lapack.spotrf(shifted, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise FitError(f"α = {alpha:g} is lost in the rounding of a kernel of trace {np.trace(centred):.3g}: raise the "
                       "smallest α of the grid, or bring the features to unit variance")
    dual: Floats = lapack.spotrs(factor, wanted, lower=1)[0]
    return dual


def _product(left: Floats, right: Floats) -> Floats:
    """`left @ right` by scipy's BLAS: numpy brings one of its own, and two pools of threads fight over the cores."""
    product: Floats = blas.sgemm(1.0, left, right)
    return product


def _weights(features: Floats, duals: Floats) -> Floats:
    """Xᵀ c (n_voxels, n_targets); the duals sum to nothing, so no mean is to be taken off."""
    weights = np.empty((features.shape[1], duals.shape[1]), np.float32)
    for columns in _blocks(features):
        weights[columns] = _product(np.ascontiguousarray(features[:, columns]).T, duals)
    return weights
