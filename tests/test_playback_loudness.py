"""Loudness as the library measures it, level and dose at the ear as the standards define them."""

import itertools
import math

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from realtime.playback import kernels
from realtime.playback.drift import DriftMeter
from realtime.playback.levels import db_of_gain
from realtime.playback.loudness import (
    DoseRule,
    LoudnessMeter,
    Reading,
    a_weighting,
    k_weighting,
    level_dba,
)
from tests import naive_playback as naive

RATE_HZ = 48000
CHUNK = 240


def measured(sound: NDArray[np.floating], rate_hz: int = RATE_HZ) -> Reading:
    meter = LoudnessMeter(rate_hz, CHUNK)
    for start in range(0, len(sound) - CHUNK + 1, CHUNK):
        meter.add(np.ascontiguousarray(sound[start : start + CHUNK], dtype=np.float32))
    return meter.read()


def tone(hz: float, level: float, seconds: float, rate_hz: int = RATE_HZ) -> NDArray[np.float64]:
    sound = level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(sound[:, None], 2, axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_short_term_loudness_is_the_librarys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colour = np.cumsum(rng.normal(0, 0.01, (3 * RATE_HZ, 2)), axis=0) if seed % 2 else 0.0
    sound = np.clip(colour + rng.normal(0, 0.05 * (seed + 1), (3 * RATE_HZ, 2)), -1, 1)
    wanted = pyloudnorm.Meter(RATE_HZ, block_size=3.0).integrated_loudness(sound)
    assert measured(sound).short_term_lufs == pytest.approx(wanted, abs=0.05)


def test_a_tone_of_997_hz_has_the_loudness_that_the_standard_says() -> None:
    reading = measured(tone(997.0, 1.0, 4.0))
    assert reading.short_term_lufs == pytest.approx(0.0, abs=0.1)  # full scale in both channels: -3.01 + 3.01
    assert reading.momentary_lufs == pytest.approx(0.0, abs=0.1)


def test_momentary_loudness_forgets_after_four_tenths_of_a_second() -> None:
    sound = np.concatenate([tone(997.0, 1.0, 3.0), np.zeros((RATE_HZ // 2, 2))])
    reading = measured(sound)
    assert reading.momentary_lufs < -60
    assert reading.short_term_lufs == pytest.approx(10 * math.log10(25 / 30), abs=0.1)


A_WEIGHTING_DB = {31.5: -39.4, 63: -26.2, 125: -16.1, 250: -8.6, 500: -3.2, 1000: 0.0, 2000: 1.2, 4000: 1.0, 8000: -1.1}


@pytest.mark.parametrize(("hz", "wanted_db"), A_WEIGHTING_DB.items())
def test_the_a_weighting_is_the_standards_table(hz: float, wanted_db: float) -> None:
    z = np.exp(-2j * np.pi * hz / RATE_HZ)
    gains = [(b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z) for b0, b1, b2, a1, a2 in a_weighting(RATE_HZ)]
    tolerance_db = 0.2 if hz < 4000 else 1.0  # the bilinear transform warps the top octave; class 1 allows 1.5 and more
    assert 20 * np.log10(abs(np.prod(gains))) == pytest.approx(wanted_db, abs=tolerance_db)


def test_the_level_at_the_ear_is_that_of_the_louder_ear() -> None:
    sound = tone(1000.0, 0.1, 2.0)
    sound[:, 0] = 0.0
    assert level_dba(measured(sound).a_weighted_dbfs, db_spl_at_0dbfs=100.0) == pytest.approx(80.0, abs=0.05)


@pytest.mark.parametrize(
    ("criterion_dba", "level", "hours", "dose"), [(85, 85, 8, 1), (85, 94, 1, 1), (85, 100, 0.25, 1), (80, 83, 2, 0.5)]
)
def test_the_dose_doubles_every_three_decibels(criterion_dba: float, level: float, hours: float, dose: float) -> None:
    assert DoseRule(criterion_dba).dose(level, hours * 3600) == pytest.approx(dose)


def test_silence_has_no_level_and_no_dose() -> None:
    reading = measured(np.zeros((RATE_HZ, 2)))
    assert reading.a_weighted_dbfs == reading.momentary_lufs == reading.peak_dbfs == -math.inf
    assert DoseRule().dose(level_dba(reading.a_weighted_dbfs, 110.0), 3600.0) == 0.0
    assert db_of_gain(0.0) == -math.inf


def test_readings_add_up_to_the_whole() -> None:
    meter = LoudnessMeter(RATE_HZ, CHUNK)
    sound = np.random.default_rng(0).normal(0, 0.1, (RATE_HZ, 2)).astype(np.float32)
    powers, n_read = 0.0, 0.0
    for part in np.split(sound[: 200 * CHUNK], [37 * CHUNK, 38 * CHUNK, 111 * CHUNK]):
        for start in range(0, len(part), CHUNK):
            meter.add(part[start : start + CHUNK])
        reading = meter.read()
        powers += 10 ** (reading.rms_dbfs / 10) * reading.metered_s
        n_read += reading.metered_s
    assert powers / n_read == pytest.approx(np.square(sound[: 200 * CHUNK], dtype=np.float64).mean())


def test_the_compiled_meter_is_the_naive_one() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (300, 2)).astype(np.float32)
    k, a = k_weighting(RATE_HZ), a_weighting(RATE_HZ)
    sums = np.zeros((3, 2))
    kernels.meter(sound, np.concatenate([k, a]), len(k), np.zeros((5, 2, 2)), sums)
    for channel in range(2):
        one = sound[:, channel].astype(np.float64)
        wanted = [np.square(part).sum() for part in (naive.filtered(one, k), naive.filtered(one, a), one)]
        np.testing.assert_allclose(sums[:, channel], wanted, rtol=1e-9)


@settings(max_examples=30)
@given(ppm=st.floats(-500, 500), jitter_ms=st.floats(0, 5), seed=st.integers(0, 99))
def test_drift_is_found_under_jitter(ppm: float, jitter_ms: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    meter = DriftMeter(RATE_HZ)
    assert meter.ppm is None
    for second in range(600):
        meter.add(round(second * RATE_HZ * (1 + ppm * 1e-6)), 1e5 + second + rng.uniform(0, jitter_ms) * 1e-3)
    assert meter.ppm == pytest.approx(ppm, abs=2.0)


def test_chunks_of_any_rate_can_be_metered() -> None:
    for rate_hz, hz in itertools.product((8000, 44100, 96000), (997.0,)):
        assert measured(tone(hz, 0.5, 3.5, rate_hz), rate_hz).short_term_lufs == pytest.approx(-6.0, abs=0.2)
