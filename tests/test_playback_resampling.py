"""Sound at other rates than the player's: whole or piece by piece; the chain's promises hold behind it."""

import asyncio
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from realtime.errors import PlaybackError
from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.client import PlayerClient
from realtime.playback.clips import ClipLibrary
from realtime.playback.device_sink import rate_of_card
from realtime.playback.recorder import read_played
from realtime.playback.resampling import (
    CUTOFF,
    HALF_TAPS,
    WINDOW_BETA,
    Resampler,
    resample,
    resample_taps,
    to_stereo,
)
from realtime.playback.safety import ChainSettings, SafetyChain
from realtime.playback.settings import PlayerSettings
from tests.naive_playback import resampled

RATES = [(44100, 48000), (48000, 44100), (8000, 48000), (96000, 48000), (22050, 48000), (11025, 44100), (48000, 12347)]


def sines(hz: list[float], rate_hz: int, n: int) -> np.ndarray:
    t = np.arange(n) / rate_hz
    wave = sum(np.sin(2 * np.pi * f * t + k) for k, f in enumerate(hz)) / len(hz)
    return np.stack([wave, -0.5 * wave], axis=1)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_every_frame_is_the_naive_twins(from_hz: int, to_hz: int) -> None:
    frames = np.random.default_rng(0).standard_normal((150, 2)).astype(np.float32)
    twin = resampled(frames, from_hz, to_hz, CUTOFF, HALF_TAPS, WINDOW_BETA)
    np.testing.assert_allclose(resample(frames, from_hz, to_hz), twin, atol=2e-4)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_what_both_rates_can_hold_keeps_its_shape_and_place_and_the_rest_is_gone(from_hz: int, to_hz: int) -> None:
    low = min(from_hz, to_hz)
    held = [0.01 * low, 0.13 * low, 0.4 * low]
    got = resample(sines(held, from_hz, from_hz // 2).astype(np.float32), from_hz, to_hz)
    wanted = sines(held, to_hz, len(got))
    inside = slice(len(got) // 8, -len(got) // 8)
    assert np.sqrt(np.mean((got - wanted)[inside] ** 2)) < 10 ** (-85 / 20) * np.sqrt(np.mean(wanted[inside] ** 2))
    if to_hz < from_hz:
        above = resample(sines([0.52 * to_hz], from_hz, from_hz // 2).astype(np.float32), from_hz, to_hz)
        assert np.abs(above[inside]).max() < 10 ** (-85 / 20)


def test_it_agrees_with_scipys_polyphase_filter_in_band() -> None:
    frames = sines([50.0, 440.0, 6000.0], 44100, 22050).astype(np.float32)
    wanted = resample_poly(frames.astype(np.float64), 160, 147, axis=0, window=("kaiser", 12.0))
    got = resample(frames, 44100, 48000)
    assert len(got) == len(wanted)
    assert np.abs(got - wanted)[2000:-2000].max() < 1e-4


@given(st.sampled_from(RATES), st.lists(st.integers(0, 700), max_size=8), st.integers(0, 2**32))
def test_how_a_sound_is_cut_does_not_change_a_bit(rates: tuple[int, int], cuts: list[int], seed: int) -> None:
    frames = np.random.default_rng(seed).standard_normal((700, 2)).astype(np.float32)
    resampler = Resampler(*rates)
    edges = [0, *sorted(cuts), 700]
    pieces = [resampler.process(frames[a:b]) for a, b in pairwise(edges)]
    whole = np.concatenate([*pieces, resampler.finish()])
    assert np.array_equal(whole, resample(frames, *rates))
    assert len(whole) == -(-700 * rates[1] // rates[0])


@pytest.mark.parametrize("to_hz", [44100, 32000])
def test_the_ceiling_holds_behind_any_conversion(to_hz: int) -> None:
    loud = 30.0 * np.sign(np.random.default_rng(1).standard_normal((48000, 2))).astype(np.float32)
    chain = SafetyChain(ChainSettings(to_hz, 0.0, -3.0))
    frames = resample(loud, 48000, to_hz)
    out = chain.process(frames[: len(frames) // chain.chunk_frames * chain.chunk_frames])
    assert np.abs(out).max() <= 10 ** (-3 / 20)
    assert np.abs(resample_poly(out.astype(np.float64), 8, 1, axis=0)).max() < 10 ** (-2.9 / 20)


def test_an_equaliser_keeps_its_response_at_another_rate() -> None:
    taps = np.random.default_rng(2).standard_normal((2, 64)) * np.hanning(64)
    there = resample_taps(taps, 48000, 44100)
    for hz in (100.0, 1000.0, 5000.0, 12000.0):
        def gain(filters: np.ndarray, rate_hz: int, hz: float = hz) -> np.ndarray:
            return np.abs(filters @ np.exp(-2j * np.pi * hz / rate_hz * np.arange(filters.shape[1])))
        np.testing.assert_allclose(gain(there, 44100), gain(taps, 48000), rtol=2e-3, atol=2e-3)
    assert np.array_equal(resample_taps(np.full((2, 1), 0.5), 48000, 44100), np.full((2, 1), 0.5))


def test_one_channel_goes_to_both_ears_and_eleven_do_as_their_mean() -> None:
    sound = np.random.default_rng(3).standard_normal((5, 11)).astype(np.float32)
    np.testing.assert_allclose(to_stereo(sound), np.repeat(sound.mean(axis=1)[:, None], 2, axis=1), atol=1e-6)
    assert np.array_equal(to_stereo(sound[:, :1]), np.repeat(sound[:, :1], 2, axis=1))
    assert to_stereo(sound[:, :2]) is not None


@pytest.mark.parametrize(("rate_hz", "channels", "subtype"), [
    (8000, 1, "PCM_16"), (44100, 2, "PCM_24"), (48000, 11, "PCM_24"), (96000, 2, "FLOAT"), (22050, 1, "PCM_U8")])
def test_files_of_every_kind_play_as_long_as_they_are_and_are_named(
        rate_hz: int, channels: int, subtype: str, tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(rate_hz) / rate_hz)
    soundfile.write(tmp_path / "x.wav", np.repeat(tone[:, None], channels, axis=1), rate_hz, subtype=subtype)
    library = ClipLibrary([Clip("x", tmp_path / "x.wav")], 48000)
    frames = library.load("x").frames
    assert frames.shape == (48000, 2)
    wanted = 0.5 * np.sin(2 * np.pi * 300 * np.arange(48000) / 48000)
    assert np.abs(frames[4800:-4800, 0] - wanted[4800:-4800]).max() < 0.01
    assert ("'x'" in library.converted) == (rate_hz != 48000 or channels > 2)
    assert (f"{rate_hz} Hz" in library.converted) == (rate_hz != 48000)
    assert ("11 channels" in library.converted) == (channels == 11)


def test_a_file_of_an_impossible_rate_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(100), 500)
    with pytest.raises(PlaybackError, match="'x' has 100 frames at 500 Hz, wanted some at 1000 to 384000 Hz"):
        ClipLibrary([Clip("x", tmp_path / "x.wav")], 48000)


def test_a_player_at_a_cards_own_rate_plays_clips_of_another_at_their_pitch_under_the_ceiling(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(96000) / 48000)
    soundfile.write(tmp_path / "x.wav", tone, 48000, subtype="FLOAT")
    settings = PlayerSettings(played_wav=tmp_path / "played.wav", sink="wav", rate_hz=44100, volume_db=12.0)

    async def play() -> None:
        async with await PlayerClient.start(settings, [Clip("x", tmp_path / "x.wav")]) as player:
            assert player.started.rate_hz == 44100
            assert player.started.converted.startswith("1 of 1 clips are converted when they are read: 'x' (48000 Hz)")
            player.play(Cue(0, 0, "x"))
            n_sounding = 0
            async for event in player.events():
                n_sounding += isinstance(event, protocol.Status) and event.peak_dbfs > -20
                if n_sounding == 3:
                    break
            assert (await player.close()).rate_hz == 44100

    asyncio.run(play())
    played = read_played(tmp_path / "played.wav")
    assert played.rate_hz == 44100
    begin = int(np.flatnonzero(np.abs(played.frames[:, 0]) > 0.1)[0]) + 22050
    spectrum = np.abs(np.fft.rfft(played.frames[begin:, 0][:22050] * np.hanning(22050)))
    assert int(spectrum.argmax()) == 250  # 500 Hz in half a second
    assert np.abs(played.frames).max() <= 10 ** (-3 / 20)


@pytest.mark.parametrize(("takes", "rate_hz"), [
    ({48000, 44100}, 48000), ({44100}, 44100), ({96000, 32000}, 96000), (set(), 48000)])
def test_a_card_is_opened_at_48_kilohertz_or_at_the_next_best_that_it_takes(
        takes: set[int], rate_hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sounddevice = pytest.importorskip("sounddevice", exc_type=OSError)

    def check(*, samplerate: int, channels: int, dtype: str) -> None:
        if samplerate not in takes:
            raise sounddevice.PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    monkeypatch.setattr(sounddevice, "check_output_settings", check)
    assert rate_of_card(48000) == rate_hz
