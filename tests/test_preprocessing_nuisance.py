"""The nuisance regression: equal to batch regressions, causal, and harmless where there is nothing to remove."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ConfigError, VolumeError
from realtime.preprocessing import CausalScaler, PreprocessorSettings
from realtime.preprocessing.nuisance import Nuisance, pose_parameters
from tests import naive
from tests.preprocessing_phantom import rigid

SETTINGS = PreprocessorSettings(tr_s=1.0, drift_tau_s=12.0, settle_s=3.0, scale_prior_s=5.0)
WHOLE_RUN = PreprocessorSettings(tr_s=1.0, drift_tau_s=1e6, settle_s=0.0)
EVENTS = st.lists(st.sampled_from(["volume", "volume", "volume", "censored", "lost"]), min_size=5, max_size=40)
KINDS = st.sampled_from([("trend", 0, False), ("mean", 6, False), ("trend", 6, True), ("mean", 12, False),
                         ("trend", 24, True), ("mean", 0, True)])


def wander(n_volumes, size=0.3, seed=1):
    return np.random.default_rng(seed).normal(0.0, size, (n_volumes, 6)).cumsum(axis=0)


def moved(n_volumes, n_voxels=5, seed=0, poses=None):
    """Noise of 1 % about 800, a slope, and what the poses do to each voxel."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(800.0, 8.0, (n_volumes, n_voxels)) + 0.5 * np.arange(n_volumes)[:, None]
    return (samples + (0 if poses is None else poses @ rng.normal(0.0, 10.0, (6, n_voxels)))).astype(np.float32)


def tissue_means(n_volumes, seed=2):
    """Percent of white matter and fluid: a random walk, and noise of half a percent."""
    rng = np.random.default_rng(seed)
    return 100.0 + np.column_stack([rng.normal(0.0, 0.2, n_volumes).cumsum(), rng.normal(0.0, 0.5, n_volumes)])


def regressors_of(chosen, poses):
    columns = [naive.motion_regressors(poses, chosen.nuisance_motion)]
    if chosen.nuisance_tissues:
        columns.insert(0, tissue_means(len(poses)))
    if chosen.drift == "trend":
        columns.insert(0, np.arange(len(poses))[:, None] * chosen.tr_s / chosen.drift_tau_s)
    return np.hstack(columns)


@settings(deadline=None, max_examples=40)
@given(EVENTS, KINDS)
def test_features_equal_a_regression_solved_anew_for_every_volume(events, kind):
    chosen = replace(SETTINGS, drift=kind[0], nuisance_motion=kind[1], nuisance_tissues=kind[2])
    events = ["volume", *events]  # the pose of the first volume that is not censored is the origin
    poses, tissues = wander(len(events)), tissue_means(len(events))
    for t in (t for t, event in enumerate(events) if event == "lost"):
        poses[t] = poses[t - 1]   # the change after a lost volume is against the last one that came
    samples, scale = moved(len(events), poses=poses), np.linspace(0.005, 0.02, 5)
    scaler = CausalScaler(5, chosen, scale.astype(np.float32))
    learnt = [{"volume": True, "censored": False, "lost": None}[event] for event in events[3:]]
    wanted = naive.regression_features(samples[3:].astype(float), regressors_of(chosen, poses)[3:], learnt,
                                       scale.astype(np.float32).astype(float), 12.0, 5.0, 10.0,
                                       Nuisance(5, chosen).ridge)
    for t, event in enumerate(events):
        if event == "lost":
            scaler.skip()
            continue
        features = scaler.push(samples[t], event == "censored", poses[t], tissues[t])
        if t < 3 or np.isnan(wanted[t - 3]).any():
            assert not features.any()
        else:
            np.testing.assert_allclose(features, wanted[t - 3], rtol=1e-4, atol=1e-5)


def test_mean_squared_residuals_are_the_least_squares_cost_of_numpy():
    chosen = replace(WHOLE_RUN, drift="trend", nuisance_motion=6)
    poses = wander(60)
    samples, scaler = moved(60, poses=poses), CausalScaler(5, chosen)
    for row, pose in zip(samples, poses, strict=True):
        scaler.push(row, False, pose)
    design = np.column_stack([np.ones(60), regressors_of(chosen, poses)])
    penalty = np.diag([0.0, *np.sqrt(Nuisance(5, chosen).ridge)])
    _, cost, *_ = np.linalg.lstsq(np.vstack([design, penalty]), np.vstack([samples, np.zeros((8, 5))]), rcond=None)
    np.testing.assert_allclose(scaler.state().spread * 60, cost, rtol=1e-6)


def test_without_forgetting_or_regressors_to_move_the_score_is_that_of_the_mean():
    still, plain = CausalScaler(5, replace(SETTINGS, nuisance_motion=24)), CausalScaler(5, SETTINGS)
    for row in moved(2000):
        features = still.push(row, False, np.full(6, 3.0))  # a head that never moves does not wind the estimate up
        np.testing.assert_allclose(features, plain.push(row, False), rtol=1e-5, atol=1e-6)


def test_most_of_what_strong_movement_does_is_removed():
    poses = wander(400, 0.5)
    rng = np.random.default_rng(3)
    clean = rng.normal(800.0, 8.0, (400, 50)).astype(np.float32)
    spoilt = (clean + poses @ rng.normal(0.0, 10.0, (6, 50))).astype(np.float32)
    chosen = PreprocessorSettings(tr_s=1.0, settle_s=0.0)
    left = []
    for samples, n_motion in ((clean, 0), (spoilt, 0), (spoilt, 6)):
        scaler = CausalScaler(50, replace(chosen, nuisance_motion=n_motion))
        for row, pose in zip(samples, poses, strict=True):
            scaler.push(row, False, pose)
        left.append(np.sqrt(scaler.state().spread).mean())
    assert left[1] > 5.0 * left[0]
    assert left[2] < 0.25 * left[1]


def test_a_trend_follows_a_slope_that_a_mean_lags_behind():
    mean, trend = (CausalScaler(1, PreprocessorSettings(tr_s=1.0, settle_s=0.0, scale_prior_s=1e6, drift=drift))
                   for drift in ("mean", "trend"))
    for t in range(600):
        sample = np.array([800.0 + 0.04 * t], np.float32)
        lag, none = mean.push(sample, False)[0], trend.push(sample, False)[0]
    assert lag > 0.5
    assert abs(none) < 0.1 * lag


@pytest.mark.parametrize("n_motion", [6, 12, 24])
def test_where_the_table_stands_does_not_matter(n_motion):
    chosen = replace(SETTINGS, nuisance_motion=n_motion)
    here, there = CausalScaler(5, chosen), CausalScaler(5, chosen)
    poses = wander(40)
    for row, pose in zip(moved(40, poses=poses), poses, strict=True):
        features = here.push(row, False, pose)
        np.testing.assert_allclose(features, there.push(row, False, pose + 300.0), rtol=1e-4, atol=1e-5)


def test_a_censored_volume_is_predicted_but_not_learnt_from():
    scaler, poses = CausalScaler(5, replace(SETTINGS, nuisance_motion=6)), wander(31)
    samples = moved(31, poses=poses)
    for row, pose in zip(samples[:30], poses[:30], strict=True):
        scaler.push(row, False, pose)
    before = scaler.state()
    scaler.push(samples[30], True, poses[30])
    after = scaler.state()
    for name in ("mean", "cross", "voxel_cross"):
        np.testing.assert_array_equal(getattr(after.nuisance, name), getattr(before.nuisance, name))
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.spread, before.spread)


def test_ten_thousand_volumes_leave_the_estimate_finite_and_of_unit_variance():
    chosen = PreprocessorSettings(tr_s=1.0, settle_s=0.0, drift="trend", nuisance_motion=24)
    scaler, rng, scores = CausalScaler(8, chosen), np.random.default_rng(0), []
    for t in range(10_000):
        pose = np.sin(t / 400.0 + np.arange(6.0)) * (1.0 if t > 5000 else 0.0)
        scores.append(scaler.push(rng.normal(800.0, 8.0, 8).astype(np.float32), False, pose))
    for stretch in (scores[500:5000], scores[5500:]):
        assert np.std(stretch) == pytest.approx(1.0, abs=0.1)


def test_pose_parameters_are_shift_and_turn_of_the_head():
    motion, centre = rigid((2.0, 0.0, 0.0), (1.0, -2.0, 3.0)), np.array([3.0, -12.0, 20.0])
    pose = pose_parameters(motion, centre)
    np.testing.assert_allclose(pose[:3], motion[:3, :3] @ centre + motion[:3, 3] - centre, atol=1e-12)
    np.testing.assert_allclose(pose[3:], [50.0 * np.deg2rad(2.0), 0.0, 0.0], rtol=1e-3, atol=1e-12)


def test_a_missing_pose_and_unknown_choices_are_refused():
    scaler = CausalScaler(5, replace(SETTINGS, nuisance_motion=6))
    with pytest.raises(VolumeError, match=r"pose has shape None, wanted \(6,\): 6 motion regressors"):
        scaler.push(np.ones(5, np.float32), False)
    with pytest.raises(ConfigError, match=r"drift is 'median', wanted one of mean, trend; nuisance_motion is 7"):
        replace(SETTINGS, drift="median", nuisance_motion=7)
