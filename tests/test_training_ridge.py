"""The kernel ridge against scikit-learn's: same α, same weights, and no row leaks into its own fold."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from offline_training.errors import FitError
from offline_training.leave_out import penalised
from offline_training.ridge import fit_kernel_ridge

GRID = (1.0, 10.0, 100.0, 1000.0)


Floats = NDArray[np.float32]


def rows(n: int = 60, p: int = 200, t: int = 5, seed: int = 0) -> tuple[Floats, Floats, NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    features = rng.normal(2.0, 1.0, size=(n, p))
    targets = features @ rng.normal(size=(p, t)) / np.sqrt(p) + rng.normal(1.0, np.linspace(0.2, 20, t), size=(n, t))
    return features.astype(np.float32), targets.astype(np.float32), np.arange(n) % 6


def sklearn_errors(features: Floats, targets: Floats, fold: NDArray[np.intp]) -> NDArray[np.float64]:
    wide, errors = features.astype(np.float64), np.zeros((len(GRID), targets.shape[1]))
    for a, alpha in enumerate(GRID):
        for k in np.unique(fold):
            model = Ridge(alpha=alpha, solver="cholesky").fit(wide[fold != k], targets[fold != k])
            predicted = model.predict(wide[fold == k]).reshape(-1, targets.shape[1])
            errors[a] += ((predicted - targets[fold == k]) ** 2).sum(axis=0)
    return errors


@settings(max_examples=15, deadline=None)
@given(n=st.integers(12, 80), p=st.integers(1, 120), t=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_penalties_errors_and_weights_are_scikit_learns(n: int, p: int, t: int, seed: int) -> None:
    features, targets, fold = rows(n, p, t, seed)
    ridge = fit_kernel_ridge(features, targets, fold, GRID)
    expected = sklearn_errors(features, targets, fold)
    np.testing.assert_allclose(ridge.errors, expected, rtol=2e-3)
    chosen = expected[np.searchsorted(GRID, ridge.alphas), np.arange(t)]
    np.testing.assert_allclose(chosen, expected.min(axis=0), rtol=2e-3)  # the same α, or one as good to three digits
    oracle = Ridge(alpha=ridge.alphas, solver="cholesky").fit(features.astype(np.float64), targets)
    scale = float(targets.std())
    np.testing.assert_allclose(ridge.predict(features), oracle.predict(features.astype(np.float64)).reshape(n, t),
                               atol=2e-3 * scale)


def test_each_target_gets_the_penalty_that_predicts_it_best() -> None:
    features, targets, fold = rows()
    ridge = fit_kernel_ridge(features, targets, fold, GRID)
    np.testing.assert_array_equal(ridge.alphas, np.array(GRID)[sklearn_errors(features, targets, fold).argmin(axis=0)])
    assert len(set(ridge.alphas)) > 1
    assert ridge.alphas[-1] > ridge.alphas[0]  # the noisy target is shrunk more


def test_a_held_out_row_changes_no_prediction_of_its_fold() -> None:
    features, targets, fold = rows()
    before = fit_kernel_ridge(features, targets, fold, (10.0,))
    features[fold == 2] += 100.0
    targets[fold == 2] *= -3
    after = fit_kernel_ridge(features, targets, fold, (10.0,))
    shift = 100.0 * np.ones(features.shape[1])
    for ridge, back in ((before, np.zeros_like(shift)), (after, shift)):
        model = Ridge(alpha=10.0, solver="svd").fit(features[fold != 2].astype(np.float64), targets[fold != 2])
        there = features[fold == 2].astype(np.float64) - shift + back
        np.testing.assert_allclose(ridge.predictions[fold == 2], model.predict(there), rtol=5e-3)


def test_noise_is_silenced_by_the_largest_penalty_and_a_constant_target_by_any() -> None:
    features, targets, fold = rows(n=300, p=100)
    targets[:, 0] = np.random.default_rng(5).normal(size=len(targets))
    targets[:, 1] = 7.0
    ridge = fit_kernel_ridge(features, targets, fold, (1.0, 1e2, 1e6))
    assert ridge.alphas[0] == 1e6
    assert ridge.alphas[1] == 1e6
    np.testing.assert_allclose(ridge.predictions[:, 1], 7.0, atol=1e-4)


def test_a_penalty_below_the_kernels_rounding_is_refused() -> None:
    features, targets, fold = rows(n=40, p=3)
    with pytest.raises(FitError, match=r"α = 0.001 is lost in the rounding of a kernel of trace"):
        fit_kernel_ridge(features * 1e3, targets, fold, (1e-3,))


def test_features_on_disk_are_read_in_blocks_and_never_copied_whole(tmp_path: Path) -> None:
    path = tmp_path / "features.npy"
    stored = np.lib.format.open_memmap(path, "w+", np.float32, (64, 600_000))
    for start in range(0, stored.shape[1], 100_000):
        stored[:, start : start + 100_000] = np.random.default_rng(start).normal(size=(64, 100_000))
    tracemalloc.start()
    fit_kernel_ridge(np.load(path, mmap_mode="r"), rows(64)[1][:, :1], np.arange(64) % 4, (10.0,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < stored.nbytes


def test_what_cannot_be_fitted_is_refused() -> None:
    features, targets, fold = rows()
    with pytest.raises(FitError, match="60 rows of features, 59 of targets"):
        fit_kernel_ridge(features, targets[1:], fold, GRID)
    with pytest.raises(FitError, match="one fold"):
        fit_kernel_ridge(features, targets, np.zeros(60, np.intp), GRID)
    with pytest.raises(FitError, match="increasing order"):
        fit_kernel_ridge(features, targets, fold, (10.0, 1.0))
    with pytest.raises(FitError, match="targets hold NaN"):
        fit_kernel_ridge(features, np.full_like(targets, np.nan), fold, GRID)
    features[3, 4] = np.nan
    with pytest.raises(FitError, match="in 1 voxels"):
        fit_kernel_ridge(features, targets, fold, GRID)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=7), t=st.integers(1, 3), seed=st.integers(0, 2**31),
       alpha=st.sampled_from([1.0, 30.0, 1e4]))
def test_blocks_of_any_size_leave_what_scikit_learn_leaves(sizes: list[int], t: int, seed: int, alpha: float) -> None:
    features, targets, _ = rows(sum(sizes), 20, t, seed)
    block, wide = np.repeat(np.arange(len(sizes)), sizes), (features - features.mean(axis=0)).astype(np.float64)
    made = penalised(np.asfortranarray(wide @ wide.T, np.float32), targets, sizes, alpha)
    for k in range(len(sizes)):
        model = Ridge(alpha=alpha, solver="svd").fit(wide[block != k], targets[block != k])
        left = targets[block == k] - model.predict(wide[block == k]).reshape(-1, t)
        np.testing.assert_allclose(made.residuals[block == k], left, atol=2e-3 * np.abs(targets).max())
    oracle = Ridge(alpha=alpha, solver="svd").fit(wide, targets)
    np.testing.assert_allclose(wide.T @ made.duals, oracle.coef_.reshape(t, -1).T,
                               atol=2e-3 * max(float(np.abs(oracle.coef_).max()), 1e-3))
