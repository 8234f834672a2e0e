"""Residuals of kernel ridge on every held-out block of rows, for one penalty, without starting anew for each block.

Eliminating rows E from the symmetric system (K + αI) c = y, as a Cholesky factorisation does, leaves of the rest its
Schur complement and y_rest − K_rest,E (K_EE + αI)⁻¹ y_E: what ridge fitted on E does not predict of them. So the
residual of a block is what is left when all others are eliminated, and blocks can share that work: first one half of
them is eliminated to go on within the other, then the other way round, and so on down to single blocks. For six
folds this takes half the operations of a factor per fold, and is as stable, being Cholesky in another order. An
intercept that is not penalised comes from one more right-hand side, of ones (Rasmussen & Williams 2006, section 2.7):
it is each fold's own, from the rows eliminated alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

Floats = NDArray[np.float32]


class NotPositiveError(Exception):
    """The penalty is lost in the rounding of the kernel."""


@dataclass(frozen=True, eq=False)
class Penalised:
    """Ridge of one penalty.

    Attributes
    ----------
    residuals : float32 array of shape (n_rows, n_targets)
        Targets minus predictions from all blocks but the row's own.
    duals : float32 array of shape (n_rows, n_targets)
        Of the fit on all rows, Fortran order; columns sum to 0, as an intercept makes them.
    """

    residuals: Floats
    duals: Floats


@dataclass(frozen=True, eq=False)
class _Rest:
    """What is left of the system when some blocks are eliminated.

    Attributes
    ----------
    rows : slice
        Left; whole blocks.
    sizes : tuple of int
        Of those blocks.
    matrix : float32 array of shape (n, n), Fortran order
        Schur complement; only its lower triangle counts.
    right : float32 array of shape (n, n_targets + 1), Fortran order
        Residuals of the targets and, last, of the ones.
    sums : float64 array of shape (n_targets + 1,)
        1ᵀ (K_EE + αI)⁻¹ of targets and ones over the rows eliminated.
    """

    rows: slice
    sizes: tuple[int, ...]
    matrix: Floats
    right: Floats
    sums: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Step:
    """An elimination: the factor of the rows gone, the factor's rows below it, the rows solved, and the rest."""

    factor: Floats
    below: Floats
    solved: Floats
    rest: _Rest


def penalised(kernel: Floats, targets: Floats, sizes: Sequence[int], alpha: float) -> Penalised:
    """Held-out residuals of every block, and the fit on all rows.

    Parameters
    ----------
    kernel : float32 array of shape (n_rows, n_rows), Fortran order
        Symmetric; rows of a block together, blocks in order. Not changed.
    targets : float32 array of shape (n_rows, n_targets)
        Should have about mean 0, for the rounding.
    sizes : sequence of int
        Rows of each block, at least two blocks.
    alpha : float

    Raises
    ------
    NotPositiveError
        `alpha` is lost in the rounding of the kernel.
    """
    matrix = np.array(kernel, np.float32, order="F")
    matrix[np.diag_indices_from(matrix)] += np.float32(alpha)
    right = np.ones((len(targets), targets.shape[1] + 1), np.float32, order="F")
    right[:, :-1] = targets
    whole = _Rest(slice(0, len(targets)), tuple(sizes), matrix, right, np.zeros(right.shape[1]))
    residuals = np.empty_like(targets)
    upper, lower = _halves(whole)
    step = _without(whole, upper)
    duals = _duals(step)
    for rest in (step.rest, _without(whole, lower).rest):
        for last in _single_blocks(rest):
            residuals[last.rows] = last.right[:, :-1] - last.right[:, -1:] * _intercept(last.sums)
    return Penalised(residuals, duals)


def _single_blocks(rest: _Rest) -> Iterator[_Rest]:
    if len(rest.sizes) == 1:
        yield rest
        return
    for gone in _halves(rest):
        yield from _single_blocks(_without(rest, gone).rest)


def _halves(rest: _Rest) -> tuple[slice, slice]:
    """Rows, counted within the rest, of its first and second half of blocks."""
    cut = sum(rest.sizes[: (len(rest.sizes) + 1) // 2])
    return slice(0, cut), slice(cut, len(rest.matrix))


def _without(rest: _Rest, gone: slice) -> _Step:
    """Eliminate one half of the rest."""
    first, second = _halves(rest)
    half = (len(rest.sizes) + 1) // 2
    left, sizes = (second, rest.sizes[half:]) if gone == first else (first, rest.sizes[:half])
    below = rest.matrix[left, gone] if gone == first else rest.matrix[gone, left].T  # of the lower triangle
    factor = _factor(rest.matrix[gone, gone])
    solved = blas.strsm(1.0, factor, _copy(rest.right[gone]), lower=1, overwrite_b=1)
    below = blas.strsm(1.0, factor, _copy(below), side=1, lower=1, trans_a=1, overwrite_b=1)
    right = blas.sgemm(-1.0, below, solved, beta=1.0, c=_copy(rest.right[left]), overwrite_c=1)
    matrix = _copy(rest.matrix[left, left])
    if len(sizes) > 1 or rest.sums[-1] == 0.0:  # the fit on all rows goes on from the first step
        matrix = blas.ssyrk(-1.0, below, beta=1.0, c=matrix, lower=1, overwrite_c=1)
    rows = slice(rest.rows.start + left.start, rest.rows.start + left.stop)
    sums = rest.sums + solved[:, -1].astype(np.float64) @ solved
    return _Step(factor, below, solved, _Rest(rows, sizes, matrix, right, sums))


def _duals(step: _Step) -> Floats:
    """Solve for all rows: factor the rest, too, and go backwards."""
    factor = _factor(step.rest.matrix)
    last = blas.strsm(1.0, factor, step.rest.right, lower=1)
    sums = step.rest.sums + last[:, -1].astype(np.float64) @ last
    last = blas.strsm(1.0, factor, last, lower=1, trans_a=1, overwrite_b=1)
    first = blas.sgemm(-1.0, step.below, last, trans_a=1, beta=1.0, c=step.solved)
    first = blas.strsm(1.0, step.factor, first, lower=1, trans_a=1, overwrite_b=1)
    both = np.concatenate([first, last])
    return np.asfortranarray(both[:, :-1] - both[:, -1:] * _intercept(sums))


def _intercept(sums: NDArray[np.float64]) -> Floats:
    return np.asarray(sums[:-1] / sums[-1], np.float32)


def _factor(matrix: Floats) -> Floats:
    factor: Floats
    factor, failed = lapack.spotrf(_copy(matrix), lower=1, clean=0, overwrite_a=1)
    if failed:
        raise NotPositiveError
    return factor


def _copy(part: Floats) -> Floats:
    """To be overwritten: `asfortranarray` would hand on a view of a block of one row."""
    return np.array(part, np.float32, order="F")
