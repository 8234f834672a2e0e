"""The log-mel front end: a textbook twin, the same bits hop by hop, the same levels at any sample rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import EmbedderError
from realtime.music.logmel import LogMelSettings, LogMelStream, band_power, levels_db
from tests.naive import logmel_levels

SETTINGS = LogMelSettings(n_bands=24)
RATE_HZ = 16000
FINE = LogMelSettings()


def noise(n_s, rate_hz=RATE_HZ, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(n_s * rate_hz))).astype(np.float32)


def levels(audio, rate_hz=RATE_HZ, front_end=SETTINGS):
    return levels_db(band_power(audio, rate_hz, front_end), front_end)


@pytest.mark.parametrize("rate_hz", [16000, 22050])
def test_levels_are_those_of_the_textbook(rate_hz):
    audio = noise(0.3, rate_hz) + np.sin(np.arange(int(0.3 * rate_hz)) * 0.3).astype(np.float32)
    # float32 transforms and sums of a few hundred terms: 1e-4 of a level is 0.001 dB
    np.testing.assert_allclose(levels(audio, rate_hz), logmel_levels(audio, rate_hz, SETTINGS), atol=1e-4)


@given(cuts=st.lists(st.integers(0, 5000), max_size=12), n_s=st.floats(0.1, 1.6))
@settings(max_examples=40, deadline=None)
def test_hops_give_the_bits_of_the_whole_window(cuts, n_s):
    audio = noise(n_s)
    stream, at = LogMelStream(SETTINGS, RATE_HZ, window_s=1.0), 0
    for cut in [*cuts, len(audio)]:
        stream.push(audio[at:at + cut])
        at += cut
    power = band_power(audio[:at], RATE_HZ, SETTINGS)[-SETTINGS.n_frames(1.0):]
    assert stream.n_frames == len(power)
    if len(power):
        np.testing.assert_array_equal(stream.levels(), levels_db(power, SETTINGS))


@pytest.mark.parametrize("rate_hz", [16000, 22050, 32000, 44100, 48000, 96000])
def test_a_chord_has_the_same_levels_at_any_sample_rate(rate_hz):
    def chord(rate):
        t = np.arange(rate) / rate
        return sum(np.sin(2 * np.pi * hz * t) / n for n, hz in enumerate((110, 440, 1234, 5000), 1)).astype(np.float32)

    here, there = levels(chord(rate_hz), rate_hz, FINE), levels(chord(48000), 48000, FINE)
    assert here.shape == there.shape
    np.testing.assert_allclose(here, there, atol=2e-3)


def test_no_band_is_empty_at_any_rate():
    for rate_hz in (15600, 16000, 44100, 192000):
        assert (band_power(noise(0.2, rate_hz), rate_hz, LogMelSettings(n_bands=200)) > 0).all()


def test_semitones_above_400_hz_fall_into_different_bands():
    def peak(hertz):
        return int(levels(np.sin(2 * np.pi * hertz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32),
                          front_end=FINE).mean(axis=0).argmax())

    peaks = [peak(440 * 2 ** (n / 12)) for n in range(24)]
    assert len(set(peaks)) == len(peaks)


@pytest.mark.parametrize("gain", [1e-3, 0.5, 100.0])
def test_loudness_drops_out(gain):
    np.testing.assert_allclose(levels(np.float32(gain) * noise(0.5)), levels(noise(0.5)), atol=1e-4)


def test_silence_is_all_floor():
    np.testing.assert_array_equal(levels(np.zeros(RATE_HZ, np.float32)), np.float32(-6.0))


def test_less_than_a_window_has_no_frame():
    assert band_power(noise(0.05), RATE_HZ, SETTINGS).shape == (0, 24)
    assert SETTINGS.n_frames(10.0) == len(band_power(noise(10.0), RATE_HZ, SETTINGS)) == 249


@pytest.mark.parametrize("wrong", [{"n_bands": 0}, {"lowest_hz": 9000.0}, {"hop_s": 0.2}, {"floor_db": -1.0}])
def test_an_impossible_front_end_is_refused(wrong):
    with pytest.raises(EmbedderError, match="no front end has"):
        LogMelSettings(**wrong)
