"""The synthesiser: same seed same music, whole bars without a seam, genres that differ."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import CatalogueError
from realtime.music.synth import ClipSpec, render
from realtime.music.synth_parts import STEPS_PER_BAR, Arrangement
from realtime.music.synth_score import MOODS, compose
from realtime.music.synth_styles import GENRES, STYLES
from realtime.music.synth_voices import TABLE_SIZE, VOICES, voice_tables

RATE_HZ = 16000


@pytest.mark.parametrize("genre", GENRES)
def test_a_clip_is_whole_bars_of_finite_stereo_below_full_scale(genre):
    clip = render(ClipSpec(genre, 3, 4.0, RATE_HZ))
    bar_frames = 240 / clip.bpm * RATE_HZ
    n_bars = len(clip.audio) / bar_frames
    assert clip.audio.dtype == np.float32
    assert clip.audio.shape == (len(clip.audio), 2)
    assert n_bars == pytest.approx(round(n_bars), abs=1 / bar_frames)
    assert len(clip.audio) >= 4.0 * RATE_HZ
    assert np.isfinite(clip.audio).all()
    assert np.abs(clip.audio).max() == pytest.approx(0.89, abs=1e-3)
    assert np.sqrt((clip.audio**2).mean()) > 0.05
    low, high = STYLES[genre].bpm
    assert low <= clip.bpm <= high


@pytest.mark.parametrize("genre", GENRES)
def test_a_clip_repeats_without_a_click(genre):
    audio = render(ClipSpec(genre, 1, 4.0, RATE_HZ)).audio
    jump = np.abs(audio[0] - audio[-1]).max()
    steps = np.abs(np.diff(audio, axis=0)).max(axis=1)
    # The first sample carries the attack of beat one, so compare with the attacks inside the clip.
    assert jump <= np.percentile(steps, 99.9)


def test_the_tail_of_the_last_note_is_heard_at_the_start():
    with_tail = render(ClipSpec("classical", 2, 4.0, RATE_HZ)).audio
    before_first_attack = with_tail[: int(0.004 * RATE_HZ)]
    assert np.sqrt((before_first_attack**2).mean()) > 0.01  # strings and reverb ring over the seam


def test_the_same_spec_gives_the_same_samples_and_another_seed_does_not():
    spec = ClipSpec("jazz", 11, 3.0, RATE_HZ)
    first, again, other = render(spec).audio, render(spec).audio, render(ClipSpec("jazz", 12, 3.0, RATE_HZ)).audio
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other, atol=0.05)


def test_every_problem_of_a_spec_is_named_at_once():
    with pytest.raises(CatalogueError) as caught:
        render(ClipSpec("polka", -1, 0.0, 100, 2.0))
    for word in ("'polka'", "seed -1", "duration 0", "rate 100", "borrow 2"):
        assert word in str(caught.value)


@given(genre=st.sampled_from(GENRES), seed=st.integers(0, 2**32 - 1), duration_s=st.floats(0.5, 40),
       borrow=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_every_score_is_playable(genre, seed, duration_s, borrow):
    score = compose(genre, seed, duration_s, borrow)
    n_steps = score.n_bars * STEPS_PER_BAR
    assert score.n_bars * 240 / score.bpm >= duration_s - 1e-6
    assert (score.n_bars - 1) * 240 / score.bpm < duration_s
    assert score.notes
    for note in score.notes:
        assert note.voice in VOICES
        assert 0 <= note.step < n_steps + 1
        assert note.n_steps > 0
        assert 20 <= note.pitch <= 108
        assert 0 < note.velocity <= 1
    assert all(0 <= hit.step < n_steps + 1 and 0 < hit.velocity <= 1 for hit in score.hits)


def test_borrowing_is_never_at_share_0_and_always_at_share_1():
    assert {compose("rock", seed, 4, 0.0).labels["borrowed"] for seed in range(20)} == {""}
    assert "" not in {compose("rock", seed, 4, 1.0).labels["borrowed"] for seed in range(20)}


@pytest.mark.parametrize("name", sorted(VOICES))
def test_no_voice_has_harmonics_that_alias(name):
    tables = voice_tables(name, 48000)
    for octave, table in enumerate(tables[:, 0]):
        spectrum = np.abs(np.fft.rfft(table))
        highest = np.flatnonzero(spectrum > 1e-3 * spectrum.max()).max()
        top_hz = 20 * 2 ** (octave + 1)
        assert highest <= TABLE_SIZE // 2
        assert highest == 2 or highest * top_hz <= 24000


def test_a_piece_changes_only_where_an_arrangement_asks():
    plain = compose("jazz", 5, 8.0, 0.0)
    swapped = compose("jazz", 5, 8.0, 0.0, Arrangement(lead="harmonica"))
    assert swapped.labels == {**plain.labels, "lead": "harmonica"}
    assert swapped.hits == plain.hits
    assert [note.pitch for note in swapped.notes] == [note.pitch for note in plain.notes]
    assert {note.voice for note in swapped.notes} - {note.voice for note in plain.notes} == {"harmonica"}


def test_an_arrangement_sets_tempo_scale_voices_and_parts():
    asked = Arrangement({"drums": "metal"}, bpm=77.0, scale="major", lead="flute", chords="organ")
    score = compose("metal", 2, 8.0, 0.0, asked)
    assert (score.bpm, score.labels["scale"]) == (77.0, "major")
    assert (score.labels["lead"], score.labels["chords"]) == ("flute", "organ")
    assert compose("classical", 2, 8.0, 0.0, asked).kit == "heavy"


@pytest.mark.parametrize(("scale", "bpm", "mood"), [("major", 60.0, "calm"), ("major", 180.0, "happy"),
                                                    ("minor", 60.0, "sad"), ("minor", 180.0, "tense")])
def test_the_mood_is_the_third_and_the_number_of_onsets(scale, bpm, mood):
    assert compose("rock", 3, 8.0, 0.0, Arrangement(scale=scale, bpm=bpm)).labels["mood"] == mood
    assert mood in MOODS


def test_the_melody_has_the_third_of_a_scale_that_was_asked_for():
    score = compose("metal", 1, 16.0, 0.0, Arrangement(scale="major", lead="flute"))
    intervals = {(note.pitch - int(score.labels["key"])) % 12 for note in score.notes if note.voice == "flute"}
    assert 3 not in intervals
    assert intervals <= {0, 2, 4, 7, 9}
