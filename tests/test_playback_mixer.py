"""Which sample of which clip sounds when; cues on the beat, cross-fades, loops."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.messages import Clip
from realtime.playback.clips import ClipLibrary, Loop, make_loop
from realtime.playback.mixer import CueStart, Mixer

RATE_HZ = 1000  # makes the frames of these tests easy to count


def loop(clip_id: str, level: float, beat_frames: float = 250.0, n_frames: int = 4000) -> Loop:
    """Samples that say which clip they are of, and where in it."""
    frames = np.full((n_frames, 2), level, np.float32)
    frames[:, 1] = np.arange(n_frames)
    return Loop(clip_id, frames, beat_frames)


def naive_mix(voices: list[tuple[int, int, Loop | None]], n_frames: int) -> NDArray[np.float64]:
    """One frame at a time: voices as (start, fade, loop), each fading the one before it out."""
    out = np.zeros((n_frames, 2))
    for frame in range(n_frames):
        begun = [voice for voice in voices if voice[0] <= frame]
        if not begun:
            continue
        start, fade, now = begun[-1]
        done = min((frame - start + 0.5) / fade, 1.0)
        if now is not None:
            out[frame] += now.frames[(frame - start) % len(now.frames)] * np.sin(done * np.pi / 2)
        if len(begun) > 1 and done < 1.0 and (old := begun[-2][2]) is not None:
            out[frame] += old.frames[(frame - begun[-2][0]) % len(old.frames)] * np.cos(done * np.pi / 2)
    return out


def test_a_cue_starts_its_clip_at_the_next_beat_of_the_playing_one() -> None:
    mixer = Mixer(RATE_HZ)
    a, b = loop("a", 1.0), loop("b", 2.0)
    mixer.cue(0, a)
    mixed = [mixer.mix(600)]
    mixer.cue(1, b)
    mixed.append(mixer.mix(2000))
    assert mixer.take_news() == [CueStart(0, "a", 0), CueStart(1, "b", 750)]
    np.testing.assert_allclose(np.concatenate(mixed), naive_mix([(0, 500, a), (750, 250, b)], 2600), rtol=1e-5)


def test_a_cue_exactly_on_a_beat_starts_there() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.cue(0, loop("a", 1.0))
    mixer.mix(1000)
    mixer.cue(1, loop("b", 1.0))
    mixer.mix(1)
    assert mixer.take_news()[-1] == CueStart(1, "b", 1000)


def test_the_first_cue_sounds_at_once() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.mix(123)
    mixer.cue(7, loop("a", 1.0))
    assert mixer.mix(1)[0, 0] > 0
    assert mixer.take_news() == [CueStart(7, "a", 123)]


def test_without_a_tempo_the_change_comes_at_once_but_not_within_a_cross_fade() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.cue(0, loop("a", 1.0, beat_frames=0.0))
    mixer.mix(700)
    mixer.cue(1, loop("b", 1.0, beat_frames=0.0))
    mixer.mix(100)
    mixer.cue(2, loop("c", 1.0, beat_frames=0.0))
    mixer.mix(1000)
    assert mixer.take_news() == [CueStart(0, "a", 0), CueStart(1, "b", 700), CueStart(2, "c", 1200)]


def test_the_newest_of_waiting_cues_wins() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.cue(0, loop("a", 1.0))
    mixer.mix(510)
    mixer.cue(1, loop("b", 1.0))
    mixer.mix(10)
    mixer.cue(2, loop("c", 1.0))
    mixer.mix(1000)
    assert mixer.take_news() == [CueStart(0, "a", 0), CueStart(1, "b", -1), CueStart(2, "c", 750)]


def test_a_cue_for_what_plays_changes_nothing_and_takes_back_the_waiting_one() -> None:
    mixer, undisturbed = Mixer(RATE_HZ), Mixer(RATE_HZ)
    for each in (mixer, undisturbed):
        each.cue(0, loop("a", 1.0))
    start = mixer.mix(600)
    mixer.cue(1, loop("b", 2.0))
    mixer.cue(2, loop("a", 1.0))
    np.testing.assert_array_equal(np.concatenate([start, mixer.mix(1000)]), undisturbed.mix(1600))
    assert mixer.take_news() == [CueStart(0, "a", 0), CueStart(1, "b", -1), CueStart(2, "a", 600)]


def test_the_empty_cue_fades_to_digital_silence_in_half_a_second() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.cue(0, loop("a", 1.0))
    mixer.mix(777)
    assert mixer.playing is not None
    mixer.cue(1, None)
    faded = mixer.mix(1000)[:, 0]
    assert mixer.take_news()[-1] == CueStart(1, "", 777)
    assert (np.diff(faded[:500]) < 0).all()
    assert not faded[500:].any()
    assert mixer.playing is None


def test_cross_fades_of_unlike_sounds_keep_their_power() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 4000, 2)).astype(np.float32)
    mixer = Mixer(RATE_HZ)
    mixer.cue(0, Loop("a", noise[0], 400.0))
    mixer.mix(1000)
    mixer.cue(1, Loop("b", noise[1], 400.0))
    fade = mixer.mix(1000)[200:600]
    assert np.sqrt(np.mean(np.square(fade))) == pytest.approx(0.1, rel=0.1)


@settings(deadline=None)
@given(
    cues=st.lists(st.tuples(st.integers(1, 700), st.sampled_from(["a", "b", "c", "d", ""])), max_size=6),
    cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
)
def test_how_the_mix_is_cut_into_blocks_does_not_change_a_bit(cues: list[tuple[int, str]], cuts: list[int]) -> None:
    loops = {
        "a": loop("a", 1.0),
        "b": loop("b", 2.0, 333.3, 1333),
        "c": loop("c", 3.0, 0.0, 77),
        "d": loop("d", 4.0, 61.7, 987),
    }
    cue_frames = list(itertools.accumulate(wait for wait, _ in cues))
    results = []
    for extra in ([], cuts):
        mixer, blocks = Mixer(RATE_HZ), []
        stops = sorted({*cue_frames, *(cut for cut in extra if cut < 5000), 5000})
        for stop in stops:
            blocks.append(mixer.mix(stop - mixer.frame))
            for number, (frame, (_, clip_id)) in enumerate(zip(cue_frames, cues, strict=True)):
                if frame == stop:
                    mixer.cue(number, loops.get(clip_id))
        results.append((np.concatenate(blocks), mixer.take_news()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    reported = [start.number for start in results[0][1]]
    assert reported == sorted(set(reported))  # in order, none twice


@settings(deadline=None)
@given(beat=st.floats(1.5, 900), at=st.integers(0, 9000))
def test_every_change_is_on_a_beat_of_the_playing_loop_and_within_one_beat(beat: float, at: int) -> None:
    playing = loop("a", 1.0, beat, n_frames=max(round(4 * beat), 4))
    mixer = Mixer(RATE_HZ, fade_s=0.001)
    mixer.cue(0, playing)
    mixer.mix(at + 1)
    mixer.cue(1, loop("b", 1.0))
    mixer.mix(2000)
    start = mixer.take_news()[-1].frame
    within = start % len(playing.frames)
    assert min(abs(within - round(k * beat)) for k in range(5)) <= 1 or within == 0
    assert at + 1 <= start <= at + 2 + beat


@settings(deadline=None)
@given(bpm=st.floats(40, 220), first_beat_s=st.floats(0, 3), duration=st.integers(1, 12_000))
def test_a_loop_is_whole_bars_from_the_first_beat_on(bpm: float, first_beat_s: float, duration: int) -> None:
    audio = np.repeat(np.arange(duration, dtype=np.float32)[:, None], 2, axis=1)
    made = make_loop(Clip("a", Path("a.wav"), bpm=bpm, first_beat_s=first_beat_s), audio, RATE_HZ)
    first = min(round(first_beat_s * RATE_HZ), duration - 1)
    bars = len(made.frames) * bpm / (4 * 60 * RATE_HZ)
    assert made.frames.flags.owndata or made.frames.base is not audio
    if duration - first >= 4 * 60 * RATE_HZ / bpm:
        assert bars == pytest.approx(round(bars), abs=1e-3)
        assert duration - first - len(made.frames) < 4 * 60 * RATE_HZ / bpm + 1
    else:
        assert len(made.frames) == duration - first
    np.testing.assert_array_equal(made.frames[:-10, 0], audio[first : first + len(made.frames), 0][:-10])


def test_a_loop_has_no_step_at_its_seam() -> None:
    t = np.arange(5000) / RATE_HZ
    audio = np.repeat(np.sin(2 * np.pi * 3.3 * t).astype(np.float32)[:, None], 2, axis=1)
    made = make_loop(Clip("a", Path("a.wav"), bpm=120, first_beat_s=0.25, gain_db=-6.0206), audio, RATE_HZ)
    twice = np.concatenate([made.frames, made.frames])[:, 0]
    cut_short = np.abs(np.diff(np.tile(audio[250:4250, 0], 2))).max() / 2
    assert np.abs(np.diff(twice)).max() < 0.2
    assert cut_short > 0.2  # what the step would be
    assert len(made.frames) == 4000
    assert np.abs(twice).max() == pytest.approx(0.5, abs=0.01)


def write_clip(folder: Path, name: str, rate_hz: int = RATE_HZ, channels: int = 1, n_frames: int = 4000) -> Clip:
    path = folder / f"{name}.wav"
    soundfile.write(path, np.full((n_frames, channels), 0.25, np.float32), rate_hz, subtype="FLOAT")
    return Clip(name, path, bpm=120)


def test_mono_and_stereo_clips_play_in_stereo(tmp_path: Path) -> None:
    library = ClipLibrary([write_clip(tmp_path, "mono"), write_clip(tmp_path, "stereo", channels=2)], RATE_HZ)
    for name in ("mono", "stereo"):
        assert library.load(name).frames.shape == (4000, 2)
        assert library.load(name).frames.dtype == np.float32


def test_all_unplayable_clips_are_named_at_once(tmp_path: Path) -> None:
    slow = write_clip(tmp_path, "slow", rate_hz=500)
    empty = write_clip(tmp_path, "empty", n_frames=0)
    gone = Clip("gone", tmp_path / "gone.wav")
    odd = Clip("odd", write_clip(tmp_path, "odd").path, bpm=float("nan"))
    with pytest.raises(PlaybackError) as caught:
        ClipLibrary([slow, empty, gone, odd, write_clip(tmp_path, "good")], RATE_HZ)
    message = str(caught.value)
    assert message.startswith("4 of 5 clips cannot be played")
    assert "'slow' has 4000 frames at 500 Hz, wanted some at 1000 to 384000 Hz" in message
    for part in ("'empty' has 0 frames", "'gone' cannot be read", "'odd' has bpm, first beat and gain (nan"):
        assert part in message


def test_a_clip_that_went_missing_is_an_error_of_that_clip_only(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path, "a"), write_clip(tmp_path, "b")]
    library = ClipLibrary(clips, RATE_HZ)
    clips[0].path.unlink()
    with pytest.raises(PlaybackError, match=r"'a' cannot be read any more.*Restore"):
        library.load("a")
    with pytest.raises(PlaybackError, match="none of the player's 2 clips"):
        library.load("c")
    assert library.load("b").clip_id == "b"


def test_the_library_keeps_only_the_clips_used_lately(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.playback.clips.CACHE_BYTES", 2 * 4000 * 8)
    library = ClipLibrary([write_clip(tmp_path, name) for name in "abc"], RATE_HZ)
    first = library.load("a")
    library.load("b")
    assert library.load("a") is first
    library.load("c")  # b, used longest ago, makes room
    assert library.load("a") is first
    assert set(library._loops) == {"a", "c"}
