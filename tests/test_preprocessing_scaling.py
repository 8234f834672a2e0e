"""The causal scaler: what it learns, when, and what it makes of lost and censored volumes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ConfigError, VolumeError
from realtime.preprocessing import CausalScaler, PreprocessorSettings
from tests import naive

SETTINGS = PreprocessorSettings(tr_s=1.0, drift_tau_s=12.0, settle_s=3.0, scale_prior_s=5.0)
EVENTS = st.lists(st.sampled_from(["volume", "volume", "volume", "censored", "lost"]), min_size=1, max_size=50)


def noise(n_volumes, n_voxels=5, seed=0):
    return np.random.default_rng(seed).normal(800.0, 8.0, (n_volumes, n_voxels)).astype(np.float32)


@settings(deadline=None)
@given(EVENTS)
def test_features_equal_statistics_written_out_anew_for_every_volume(events):
    samples = noise(len(events))
    scale = np.linspace(0.005, 0.02, 5).astype(np.float32)
    scaler = CausalScaler(5, SETTINGS, scale)
    wanted = naive.features(samples[3:].astype(float), [{"volume": True, "censored": False, "lost": None}[event]
                                                        for event in events[3:]], scale.astype(float), 12.0, 5.0, 10.0)
    # volumes lost while settling age a baseline that does not exist yet: no effect
    for t, event in enumerate(events):
        if event == "lost":
            scaler.skip()
            continue
        features = scaler.push(samples[t], event == "censored")
        if t < 3:
            assert not features.any()
        else:
            np.testing.assert_allclose(features, wanted[t - 3], rtol=1e-4, atol=1e-5)


def test_a_steady_signal_scores_zero_and_a_step_scores_its_size_in_seeded_sds():
    scaler = CausalScaler(1, PreprocessorSettings(tr_s=1.0, settle_s=0.0, scale_prior_s=1e6),
                          np.array([0.01], np.float32))
    for _ in range(400):
        assert scaler.push(np.array([500.0], np.float32), False)[0] == pytest.approx(0.0, abs=1e-6)
    # one volume has a weight of 1/120 in the baseline
    assert scaler.push(np.array([515.0], np.float32), False)[0] == pytest.approx(3.0 * (1 - 1 / 120), rel=1e-3)


def test_scores_of_noise_have_unit_variance():
    scaler = CausalScaler(200, PreprocessorSettings(tr_s=1.0, settle_s=0.0), np.full(200, 0.01, np.float32))
    scores = np.array([scaler.push(row, False) for row in noise(300, 200)])[100:]
    assert scores.std() == pytest.approx(1.0, abs=0.05)
    assert abs(scores.mean()) < 0.02


def test_the_unit_of_intensity_does_not_matter():
    plain, scaled = (CausalScaler(5, SETTINGS) for _ in range(2))
    for row in noise(30):
        times_four = scaled.push(row * np.float32(4.0), False)
        np.testing.assert_allclose(plain.push(row, False), times_four, rtol=1e-5, atol=1e-6)


def test_a_slow_drift_is_followed():
    scaler = CausalScaler(1, PreprocessorSettings(tr_s=1.0, settle_s=0.0, scale_prior_s=1e6),
                          np.array([0.01], np.float32))
    # 1 % over 10 minutes lags by τ · slope = 0.2 % of the mean, a fifth of an SD
    scores = [scaler.push(np.array([800.0 + 8.0 * t / 600.0], np.float32), False)[0] for t in range(600)]
    assert max(scores) < 0.25


def test_a_censored_volume_changes_no_mean_but_is_scored():
    scaler = CausalScaler(5, SETTINGS)
    for row in noise(20):
        scaler.push(row, False)
    before = scaler.state()
    features = scaler.push(np.full(5, 900.0, np.float32), True)
    np.testing.assert_array_equal(scaler.state().mean, before.mean)
    np.testing.assert_array_equal(scaler.state().spread, before.spread)
    assert (features > 3.0).all()


def test_a_lost_volume_ages_the_baseline_and_invents_nothing():
    scaler = CausalScaler(5, SETTINGS)
    for row in noise(30):
        scaler.push(row, False)
    before = scaler.state()
    scaler.skip()
    after = scaler.state()
    np.testing.assert_array_equal(after.mean, before.mean)
    assert after.count == pytest.approx(before.count * (1 - 1 / 12))
    assert after.elapsed == before.elapsed + 1


def test_time_lost_while_settling_counts_as_settling():
    scaler = CausalScaler(5, SETTINGS)
    for _ in range(3):
        assert scaler.settling
        scaler.skip()
    assert not scaler.settling


def test_scores_stay_within_the_limit_and_finite_whatever_comes():
    scaler = CausalScaler(4, PreprocessorSettings(tr_s=1.0, settle_s=0.0),
                          np.array([0.0, 0.01, 0.01, 0.01], np.float32))
    for row in ([0, 0, -5, 1], [0, 1e30, -5, 1], [1, 0, 7, 1], [0, 0, 0, 1e-30]):
        for censored in (False, True):
            features = scaler.push(np.array(row, np.float32), censored)
            assert np.isfinite(features).all()
            assert np.abs(features).max() <= 10.0


def test_wrong_shapes_and_settings_are_refused_by_name():
    with pytest.raises(VolumeError, match=r"feature_scale has shape \(3,\), wanted \(5,\)"):
        CausalScaler(5, SETTINGS, np.ones(3, np.float32))
    with pytest.raises(VolumeError, match=r"samples have shape \(4,\), wanted \(5,\)"):
        CausalScaler(5, SETTINGS).push(np.ones(4, np.float32), False)
    with pytest.raises(ConfigError, match=r"tr_s is 0\.0.*max_iterations is 0"):
        PreprocessorSettings(tr_s=0.0, max_iterations=0)
