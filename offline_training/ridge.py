"""Ridge for many voxels and targets: one kernel, then Cholesky factors for each α that the folds share.

b* = argmin ‖Xb − y‖² + α‖b‖² (Brain2Music, arXiv 2307.11078, section 3.3) solved in its dual,
(K + αI) c = y with K = X Xᵀ: after the kernel, which is computed once, nothing depends on the number
of voxels. With up to some twenty α Cholesky factors cost a quarter of one eigendecomposition of the
kernel, an α per target comes free, and the folds share half of the work (`leave_out`). A fold's
intercept is its own and is not penalised: a mean of all rows would tell a fold that of the rows it is
tested on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from offline_training.errors import FitError
from offline_training.leave_out import NotPositiveError, penalised
from offline_training.progress import Progress, counted

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


@dataclass(frozen=True, eq=False)
class DualRidge:
    """A ridge of a kernel: `KernelRidge` with duals in place of weights.

    Attributes
    ----------
    alphas, errors, predictions
        As in `KernelRidge`.
    duals : float32 array of shape (n_rows, n_targets)
        Weights are Xᵀ duals; each column sums to nothing.
    mean : float32 array of shape (n_targets,)
        Of the targets.
    """

    alphas: NDArray[np.float64]
    errors: NDArray[np.float64]
    predictions: Floats
    duals: Floats
    mean: Floats


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Of each target, with its α: errors of all, the best one's place in the grid, duals and held-out residuals."""

    errors: NDArray[np.float64]
    best: NDArray[np.intp]
    duals: Floats
    residuals: Floats


def fit_kernel_ridge(features: Floats, targets: Floats, fold: NDArray[np.intp], alphas: Sequence[float],
                     progress: Progress | None = None) -> KernelRidge:
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
    progress : Progress, optional
        Told of every penalty that is done.

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
    _check(len(features), targets, fold)
    centre = column_means(features)
    dual = solve_kernel(linear_kernel(features, centre), targets, fold, alphas, progress)
    weights = primal_weights(features, dual.duals)
    return KernelRidge(dual.alphas, dual.errors, dual.predictions, weights,
                       np.asarray(dual.mean - centre @ weights, np.float32))


def solve_kernel(kernel: Floats, targets: Floats, fold: NDArray[np.intp], alphas: Sequence[float],
                 progress: Progress | None = None) -> DualRidge:
    """The same from a kernel, for whoever adds kernels or takes parts of them.

    Parameters
    ----------
    kernel : float32 array of shape (n_rows, n_rows)
        Inner products of the rows about any common point.
    targets, fold, alphas, progress
        As in `fit_kernel_ridge`.
    """
    grid = np.asarray(alphas, np.float64)
    _check(len(kernel), targets, fold)
    if grid.ndim != 1 or not len(grid) or not (grid > 0).all() or not (np.diff(grid) > 0).all():
        raise FitError(f"the α grid is {grid.tolist()}, wanted positive values in increasing order")
    mean = targets.mean(axis=0, dtype=np.float64).astype(np.float32)
    order = np.argsort(fold, kind="stable")
    chosen = _choose(np.asfortranarray(kernel[np.ix_(order, order)]), targets[order] - mean,
                     np.unique(fold, return_counts=True)[1].tolist(), grid, progress)
    back = np.argsort(order)
    return DualRidge(grid[chosen.best], chosen.errors, targets - chosen.residuals[back],
                     np.asfortranarray(chosen.duals[back]), mean)


def _check(n_rows: int, targets: Floats, fold: NDArray[np.intp]) -> None:
    if not n_rows == len(targets) == len(fold):
        raise FitError(f"{n_rows} rows of features, {len(targets)} of targets and {len(fold)} fold numbers do "
                       "not belong together; give one of each per row")
    if len(np.unique(fold)) < 2:
        raise FitError("all rows are in one fold: cross-validation needs at least 2")
    if not np.isfinite(targets).all():
        raise FitError("targets hold NaN or Inf; leave those rows out")


def _blocks(features: Floats) -> list[slice]:
    width = max(1, _BLOCK_VALUES // len(features))
    return [slice(start, start + width) for start in range(0, features.shape[1], width)]


def column_means(features: Floats) -> Floats:
    """Mean (n_voxels,) of each column; FitError when it holds NaN or Inf."""
    means = np.empty(features.shape[1], np.float32)
    for columns in _blocks(features):
        means[columns] = features[:, columns].mean(axis=0, dtype=np.float64)
    if not np.isfinite(means).all():
        raise FitError(f"features hold NaN or Inf in {np.count_nonzero(~np.isfinite(means))} voxels; leave those "
                       "voxels or rows out")
    return means


def linear_kernel(features: Floats, centre: Floats) -> Floats:
    """X Xᵀ (n_rows, n_rows) of centred columns: a float32 kernel of large means would lose the digits that matter."""
    n = len(features)
    kernel: Any = np.zeros((n, n), np.float32, order="F")
    for columns in _blocks(features):
        block = np.ascontiguousarray(features[:, columns]) - centre[columns]
        kernel = blas.ssyrk(1.0, block.T, beta=1.0, c=kernel, trans=1, lower=1, overwrite_c=1)
    return np.asarray(np.tril(kernel) + np.tril(kernel, -1).T, np.float32)


def inner_products(features: Floats) -> NDArray[np.float64]:
    """X Xᵀ (n_rows, n_rows) in float64 about the origin, to be centred by whoever knows some of the rows only."""
    n = len(features)
    kernel: Any = np.zeros((n, n), np.float64, order="F")
    for columns in _blocks(features):
        block = np.ascontiguousarray(features[:, columns], np.float64)
        kernel = blas.dsyrk(1.0, block.T, beta=1.0, c=kernel, trans=1, lower=1, overwrite_c=1)
    return np.asarray(np.tril(kernel) + np.tril(kernel, -1).T)


def about_own_mean(kernel: NDArray[np.float64]) -> Floats:
    """The kernel of rows about their mean, from one about any point: the means go before float32 would lose digits."""
    across = kernel.mean(axis=0)
    return np.asarray(kernel - across - across[:, None] + across.mean(), np.float32)


def _choose(kernel: Floats, targets: Floats, sizes: list[int], grid: NDArray[np.float64],
            progress: Progress | None) -> _Chosen:
    """Every penalty in turn; of each target, what the best one so far gave is kept, the largest α among equals.

    Where nothing can be predicted the weights should be small.
    """
    errors, best = np.empty((len(grid), targets.shape[1])), np.zeros(targets.shape[1], np.intp)
    duals, residuals = (np.empty(targets.shape, np.float32, order="F") for _ in range(2))
    for a, alpha in enumerate(counted(grid, "penalties", len(grid), progress)):
        try:
            made = penalised(kernel, targets, sizes, alpha)
        except NotPositiveError as exc:
            raise FitError(f"α = {alpha:g} is lost in the rounding of a kernel of trace {np.trace(kernel):.3g}: raise "
                           "the smallest α of the grid, or bring the features to unit variance") from exc
        errors[a] = np.square(made.residuals, dtype=np.float64).sum(axis=0)
        better = errors[a] <= errors[best, np.arange(len(best))]
        best[better] = a
        duals[:, better], residuals[:, better] = made.duals[:, better], made.residuals[:, better]
    return _Chosen(errors, best, duals, residuals)


def _product(left: Floats, right: Floats) -> Floats:
    """`left @ right` by scipy's BLAS: numpy brings one of its own, and two pools of threads fight over the cores."""
    product: Floats = blas.sgemm(1.0, left, right)
    return product


def primal_weights(features: Floats, duals: Floats) -> Floats:
    """Xᵀ c (n_voxels, n_targets); the duals sum to nothing, so no mean is to be taken off."""
    weights = np.empty((features.shape[1], duals.shape[1]), np.float32)
    for columns in _blocks(features):
        weights[columns] = _product(np.ascontiguousarray(features[:, columns]).T, duals)
    return weights
