"""Tempo and beats: known where the music is ours, steady where it was recorded, none where there is none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from offline_training.tempo import BeatGrid, find_grid, onset_strength, usual_tempo
from realtime.music.synth import ClipSpec, render
from realtime.music.synth_styles import GENRES

AUDIO = Path(__file__).resolve().parents[2] / "shared" / "data" / "audio"
RATE_HZ = 24000


def test_most_tempi_of_known_music_are_found_and_nearly_all_up_to_a_simple_ratio() -> None:
    right, related, on_beat = 0, 0, 0
    for seed, genre in enumerate(GENRES * 2):
        made = render(ClipSpec(genre, seed + 100, 10.0, RATE_HZ, 0.3))
        cut_s = 0.37
        grid = find_grid(onset_strength(made.audio.mean(axis=1)[round(cut_s * RATE_HZ) :], RATE_HZ))
        ratio = grid.bpm / made.bpm
        related += any(abs(ratio / simple - 1) < 0.02 for simple in (0.5, 2 / 3, 1, 1.5, 2))
        right += abs(ratio - 1) < 0.02
        beats = (grid.downbeat_s + cut_s) * made.bpm / 60
        on_beat += abs(ratio - 1) < 0.02 and abs(2 * beats - round(2 * beats)) < 0.2
    assert related >= 17  # of 20
    assert right >= 14
    assert on_beat >= 0.75 * right  # on the beat or halfway between two


@pytest.mark.parametrize("bpm", [63.0, 90.0, 120.0, 171.0])
def test_clicks_are_found_to_a_percent_and_to_the_frame(bpm: float) -> None:
    audio, first_s = np.zeros(10 * RATE_HZ, np.float32), 0.2
    rng = np.random.default_rng(0)
    for beat_s in np.arange(first_s, 9.9, 60 / bpm):
        start = round(beat_s * RATE_HZ)
        audio[start : start + 480] += rng.standard_normal(480).astype(np.float32)
    grid = find_grid(onset_strength(audio, RATE_HZ), near_bpm=bpm)
    assert grid.bpm == pytest.approx(bpm, rel=0.01)
    beats = (grid.downbeat_s - first_s) * bpm / 60
    assert beats == pytest.approx(round(beats), abs=0.08)
    assert grid.bar_s == pytest.approx(240 / bpm, rel=0.01)


def test_noise_silence_and_too_little_have_no_beat() -> None:
    noise = np.random.default_rng(1).standard_normal(10 * RATE_HZ).astype(np.float32)
    assert find_grid(onset_strength(noise, RATE_HZ)).bpm == 0.0
    assert find_grid(onset_strength(np.zeros(5 * RATE_HZ, np.float32), RATE_HZ)) == BeatGrid(0.0, 0.0, 0.0)
    assert find_grid(onset_strength(noise[:RATE_HZ], RATE_HZ)).bar_s == 0.0
    assert usual_tempo(onset_strength(noise[:RATE_HZ], RATE_HZ)) == 0.0


@pytest.mark.data
@pytest.mark.parametrize(("name", "at_least"), [("Kevin_MacLeod_-_Vibe_Ace", 0.8), ("Karissa_Hobbs", 0.8)])
def test_a_recording_with_a_band_keeps_its_tempo(name: str, at_least: float) -> None:
    if not AUDIO.is_dir():
        pytest.skip(f"no recorded data in {AUDIO}")
    audio, rate_hz = soundfile.read(next(AUDIO.glob(f"{name}*.ogg")), dtype="float32")
    onsets = onset_strength(audio, rate_hz)
    usual = usual_tempo(onsets)
    grids = [find_grid(onsets[k : k + 1000], usual) for k in range(0, len(onsets) - 500, 1000)]
    steady = [abs(grid.bpm / usual - 1) < 0.04 for grid in grids]
    assert np.mean(steady) >= at_least
