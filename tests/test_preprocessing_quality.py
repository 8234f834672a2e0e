"""DVARS and temporal signal-to-noise ratio of the decoder's voxels."""

import numpy as np
import pytest

from realtime.preprocessing import CausalScaler, PreprocessorSettings
from realtime.preprocessing.quality import dvars_percent, tsnr


def test_dvars_is_the_root_mean_square_change_in_percent_of_the_mean():
    rng = np.random.default_rng(0)
    before, after = rng.normal(700.0, 200.0, (2, 500)).astype(np.float32)
    change = after.astype(float) - before.astype(float)
    wanted = 100.0 * np.sqrt((change**2).mean()) / before.astype(float).mean()
    assert dvars_percent(after, before) == pytest.approx(wanted, rel=1e-12)


def test_dvars_knows_no_percent_of_nothing():
    assert dvars_percent(np.ones(4, np.float32), np.zeros(4, np.float32)) is None


def test_tsnr_of_one_percent_noise_is_a_hundred():
    scaler = CausalScaler(2000, PreprocessorSettings(tr_s=1.0, settle_s=2.0))
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(120):
        scaler.push(rng.normal(800.0, 8.0, 2000).astype(np.float32), False)
        seen.append(scaler.tsnr)
    assert seen[:11] == [None] * 11  # two volumes settle, and nine are too few
    assert seen[-1] == pytest.approx(100.0, rel=0.03)


def test_a_voxel_without_noise_counts_as_no_signal_rather_than_infinity():
    assert tsnr(np.full(3, 500.0), np.zeros(3), 50.0) == 0.0
