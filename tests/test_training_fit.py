"""The ridge against scikit-learn, and against leaks: noise must score chance."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from offline_training.calibration import fit_posterior_scale, posterior_scales
from offline_training.errors import FitError
from offline_training.fit import FitSettings, Trials, fit_ridge
from offline_training.voxels import choose_voxels, encoding_correlations

DIM = 12
SETTINGS = FitSettings(n_voxels=60, alphas=(1.0, 30.0, 1000.0, 30_000.0))


def trials(n_runs: int = 4, per_run: int = 10, n_voxels: int = 300, signal: float = 0.0, seed: int = 0) -> Trials:
    """`signal` SDs of music in the first 40 voxels, noise elsewhere, runs with means of their own."""
    rng = np.random.default_rng(seed)
    n = n_runs * per_run
    targets = rng.normal(size=(n, DIM))
    features = rng.normal(size=(n, n_voxels)) + 0.3 * rng.normal(size=(n_runs, n_voxels)).repeat(per_run, axis=0)
    features[:, :40] += signal * targets @ rng.normal(size=(DIM, 40)) / np.sqrt(DIM)
    return Trials(features.astype(np.float32), targets, tuple(f"clip-{i}" for i in range(n)),
                  tuple(f"run-{i}" for i in range(n_runs) for _ in range(per_run)))


def sklearn_predictions(features: NDArray[np.float32], targets: NDArray[np.float64], new: NDArray[np.float32],
                        alphas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Oracle: one plain sklearn Ridge per target on standardised columns."""
    wide = features.astype(np.float64)
    mu, sigma = wide.mean(axis=0), wide.std(axis=0)
    return np.stack([Ridge(alpha=alpha, solver="svd").fit((wide - mu) / sigma, target).predict((new - mu) / sigma)
                     for alpha, target in zip(alphas, targets.T, strict=True)], axis=1)


def test_decoder_and_folds_are_scikit_learns_ridge() -> None:
    data = trials(signal=1.0)
    fit = fit_ridge(data, SETTINGS)
    oracle = sklearn_predictions(data.features[:, fit.decoder.voxels], data.targets,
                                 data.features[:, fit.decoder.voxels], fit.alphas)
    np.testing.assert_allclose(fit.decoder.predict(data.features), oracle, atol=1e-8)
    runs = np.array(data.run_ids)
    for run, fold in fit.folds.items():
        known = runs != run
        rest = Trials(data.features[known], data.targets[known], tuple(np.array(data.clip_ids)[known]),
                      tuple(runs[known]))
        nested = fit_ridge(rest, SETTINGS)
        # A fold is exactly what training without its run would have exported: voxels, α and weights.
        np.testing.assert_array_equal(fold.voxels, nested.decoder.voxels)
        np.testing.assert_allclose(fold.weights, nested.decoder.weights, atol=1e-9)
        np.testing.assert_allclose(fit.predictions[~known], nested.decoder.predict(data.features[~known]), atol=1e-8)


def test_alpha_has_the_smallest_error_over_held_out_runs() -> None:
    data = trials(signal=1.0, seed=2)
    runs = np.array(data.run_ids)
    errors = np.zeros((len(SETTINGS.alphas), DIM))
    for run in np.unique(runs):
        known = runs != run
        folds = np.unique(runs[known], return_inverse=True)[1]
        scores = encoding_correlations(data.features[known], data.targets[known], folds, SETTINGS.encoding_alpha)
        voxels = choose_voxels(scores, data.features[known], SETTINGS.n_voxels)
        for a, alpha in enumerate(SETTINGS.alphas):
            predicted = sklearn_predictions(data.features[known][:, voxels], data.targets[known],
                                            data.features[~known][:, voxels], np.full(DIM, alpha))
            errors[a] += ((predicted - data.targets[~known]) ** 2).sum(axis=0)
    np.testing.assert_array_equal(fit_ridge(data, SETTINGS).alphas, np.array(SETTINGS.alphas)[errors.argmin(axis=0)])


def test_a_held_out_run_changes_nothing_in_the_fold_that_predicts_it() -> None:
    data = trials(signal=1.0)
    features, targets = data.features.copy(), data.targets.copy()
    held = np.array(data.run_ids) == "run-2"
    features[held] = np.random.default_rng(9).normal(size=features[held].shape) * 7
    targets[held] = 5.0
    before, after = fit_ridge(data, SETTINGS), fit_ridge(replace(data, features=features, targets=targets), SETTINGS)
    np.testing.assert_array_equal(before.folds["run-2"].weights, after.folds["run-2"].weights)
    np.testing.assert_array_equal(before.folds["run-2"].voxels, after.folds["run-2"].voxels)
    assert not np.array_equal(before.folds["run-1"].weights, after.folds["run-1"].weights)


def test_noise_scores_chance_out_of_fold_although_voxels_are_chosen() -> None:
    """40 trials and 3000 voxels: choosing voxels on all trials would score far above chance (next test).

    Ten clips a run give an SD of about .09 per run, .045 for four runs, .016 for eight such subjects.
    """
    scores = [fit_ridge(trials(n_voxels=3000, seed=seed), SETTINGS).identification for seed in range(8)]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.05)
    assert max(scores) < 0.5 + 3.5 * 0.045


def test_choosing_voxels_outside_the_folds_would_be_seen() -> None:
    data = trials(n_voxels=3000)
    runs = np.unique(data.run_ids, return_inverse=True)[1]
    voxels = choose_voxels(encoding_correlations(data.features, data.targets, runs, 3.0), data.features, 60)
    leaky = fit_ridge(replace(data, features=data.features[:, voxels]), SETTINGS)
    honest = fit_ridge(data, SETTINGS)
    assert leaky.identification > 0.7
    assert honest.identification < 0.65


def test_planted_music_is_decoded_from_the_voxels_that_hold_it() -> None:
    fit = fit_ridge(trials(signal=1.5, n_voxels=1000), replace(SETTINGS, n_voxels=40))
    assert fit.identification > 0.85
    assert (fit.decoder.voxels < 40).mean() > 0.8


def test_more_runs_than_folds_are_dealt_out_and_none_is_predicted_by_itself() -> None:
    data = trials(n_runs=8, per_run=5, signal=1.0)
    fit = fit_ridge(data, replace(SETTINGS, n_folds=3))
    assert len({id(fold) for fold in fit.folds.values()}) == 3
    assert fit.folds["run-0"] is fit.folds["run-3"]
    assert fit.folds["run-0"] is not fit.folds["run-1"]


def test_runs_that_share_a_track_are_held_out_together() -> None:
    data = trials(signal=1.0)
    fit = fit_ridge(replace(data, tracks=("clip-39", *data.clip_ids[1:])), SETTINGS)
    assert fit.folds["run-0"] is fit.folds["run-3"]
    assert len({id(fold) for fold in fit.folds.values()}) == 3


def test_two_runs_are_enough() -> None:
    assert fit_ridge(trials(n_runs=2, per_run=40, signal=2.0), SETTINGS).identification > 0.7


def test_what_cannot_be_fitted_is_refused() -> None:
    data = trials()
    with pytest.raises(FitError, match=r"1 training runs with \[10\] trials"):
        fit_ridge(trials(n_runs=1), SETTINGS)
    with pytest.raises(FitError, match=r"all 4 runs share music with each other, 'clip-0' in run-0, run-1, run-2"):
        fit_ridge(replace(data, clip_ids=("clip-0", *data.clip_ids[1:10]) * 4), SETTINGS)
    with pytest.raises(FitError, match="NaN"):
        fit_ridge(replace(data, features=np.full_like(data.features, np.nan)), SETTINGS)
    with pytest.raises(FitError, match="none of the 300 voxels varies"):
        fit_ridge(replace(data, features=np.ones_like(data.features)), SETTINGS)
    with pytest.raises(FitError, match="do not belong together"):
        fit_ridge(replace(data, clip_ids=("a",)), SETTINGS)


def test_constant_voxels_are_never_chosen() -> None:
    data = trials(n_voxels=80, signal=1.0)
    features = data.features.copy()
    features[:, ::2] = 3.0
    fit = fit_ridge(replace(data, features=features), SETTINGS)
    assert (fit.decoder.voxels % 2 == 1).all()
    assert len(fit.decoder.voxels) == 40


def test_posterior_scale_is_the_one_the_trials_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    similarities = rng.uniform(-1, 1, size=(4000, 20))
    weights = np.exp(6.0 * similarities)
    cumulative = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
    true_rows = (rng.random((4000, 1)) > cumulative).sum(axis=1)
    assert fit_posterior_scale(similarities, true_rows) == pytest.approx(6.0, abs=0.4)  # 3 standard errors, 4000 trials


def test_misleading_similarities_give_a_uniform_posterior() -> None:
    similarities = -np.eye(5)
    assert fit_posterior_scale(similarities, np.arange(5)) == 0.0
    assert fit_posterior_scale(np.empty((0, 5)), np.empty(0, np.intp)) == 0.0


def test_scales_do_not_fall_with_more_volumes_and_skip_trials_without_them() -> None:
    rng = np.random.default_rng(1)
    similarities = np.stack([0.5 * np.eye(6) + noise * rng.normal(size=(6, 6)) for noise in (0.4, 0.2, 5.0)])
    similarities[2, 3:] = np.nan
    scales = posterior_scales(similarities, np.arange(6))
    assert len(scales) == 3
    assert 0 <= scales[0] <= scales[1] <= scales[2]
