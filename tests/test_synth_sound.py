"""Whether the synthesiser sounds like music rather than test tones, in numbers; and that pieces make the whole."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from realtime.music.synth import ClipSpec, Hall, note_row, render
from realtime.music.synth_kernels import AGE, ENDED, START, mix_notes, play_notes
from realtime.music.synth_parts import Note
from realtime.music.synth_styles import GENRES
from realtime.music.synth_voices import VOICES, air_noise, voice_tables

RATE_HZ = 48000
BANDS_HZ = (20, 60, 250, 500, 2000, 4000, 8000, 16000)


@lru_cache(maxsize=10)
def clip(genre):
    return render(ClipSpec(genre, 3, 6.0, RATE_HZ)).audio


def spectrum(mono, size=4096):
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[:: size // 4]
    return np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))


def band_levels_db(mono):
    power = (spectrum(mono) ** 2).sum(axis=0)
    hertz = np.fft.rfftfreq(4096, 1 / RATE_HZ)
    edges = pairwise(BANDS_HZ)
    return np.array([10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() / power.sum()) for low, high in edges])


@pytest.mark.parametrize("genre", GENRES)
def test_the_spectrum_is_full_and_no_band_stands_alone(genre):
    levels = band_levels_db(clip(genre).mean(axis=1))
    assert levels.max() < -0.9  # a test tone has everything in one band: 0 dB
    assert levels[:4].min() > -18  # bass and middle are always there ...
    assert levels[4:].min() > -36  # ... and so is what makes it bright, within what recordings have


@pytest.mark.parametrize("genre", GENRES)
def test_it_has_the_dynamics_of_a_recording(genre):
    audio = clip(genre)
    crest_db = 20 * np.log10(np.abs(audio).max() / np.sqrt((audio**2).mean()))
    assert 8 < crest_db < 16  # a sine has 3, mastered music 8 to 16
    mono = audio.mean(axis=1)
    level = np.sqrt((mono[: len(mono) // 2400 * 2400].reshape(-1, 2400) ** 2).mean(axis=1))
    assert 20 * np.log10(np.percentile(level, 95) / np.percentile(level, 10)) > 2


@pytest.mark.parametrize("genre", GENRES)
def test_notes_begin_and_can_be_heard_to_begin(genre):
    """Onset strength: rise of the compressed spectrum between frames; a steady tone has none."""
    rise = np.maximum(np.diff(np.log1p(1e3 * spectrum(clip(genre).mean(axis=1), 4096) / 4096), axis=0), 0).sum(axis=1)
    assert np.percentile(rise, 95) > 1.3 * np.median(rise)
    assert (rise > 1.2 * np.median(rise)).mean() > 0.05


@pytest.mark.parametrize("genre", GENRES)
def test_nothing_clips_and_nothing_is_offset(genre):
    audio = clip(genre)
    assert np.abs(audio).max() < 0.9
    assert (np.abs(audio) > 0.885).mean() < 1e-3  # rounded peaks, not flat ones
    assert np.abs(audio.mean(axis=0)).max() < 1e-4


@pytest.mark.parametrize("genre", GENRES)
def test_the_middle_is_louder_than_the_sides_and_the_sides_are_not_silent(genre):
    left, right = clip(genre).T
    ratio_db = 20 * np.log10((left - right).std() / (left + right).std())
    assert -20 < ratio_db < 0


@pytest.mark.parametrize("name", sorted(VOICES))
def test_a_note_played_in_pieces_is_the_note_played_whole(name):
    note = Note(name, 0.5, 3.0, 60, 0.8, 0.2, 0.7)
    voice, frames_per_step = VOICES[name], 4000
    sound = (voice_tables(name, RATE_HZ), air_noise(RATE_HZ), voice.shape(), float(RATE_HZ))
    whole = np.zeros((400_000, 2), np.float32)
    mix_notes(whole, np.array([note_row(note, frames_per_step, RATE_HZ)]), *sound)
    row, pieces = np.array([note_row(note, frames_per_step, RATE_HZ)]), []
    for size in np.random.default_rng(0).integers(1, 3000, 200):
        pieces.append(np.zeros((size, 2), np.float32))
        play_notes(pieces[-1], row, *sound)
    got = np.concatenate(pieces)
    np.testing.assert_array_equal(got, whole[: len(got)])
    assert row[0, ENDED] == 1.0
    assert row[0, AGE] > 3 * frames_per_step
    assert row[0, START] == 2000 - len(got)


def test_a_hall_goes_on_ringing_over_the_cut():
    send = np.random.default_rng(1).standard_normal(20_000).astype(np.float32)
    whole, pieces = np.zeros((20_000, 2), np.float32), np.zeros((20_000, 2), np.float32)
    Hall.empty(RATE_HZ).add(whole, send, 0.2, 0.2)
    hall = Hall.empty(RATE_HZ)
    for begin in range(0, 20_000, 1700):
        hall.add(pieces[begin : begin + 1700], send[begin : begin + 1700], 0.2, 0.2)
    np.testing.assert_array_equal(pieces, whole)
