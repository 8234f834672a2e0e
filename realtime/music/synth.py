"""A procedural synthesiser: ten genres, no samples, no downloads.

Each clip is a piece of whole bars written by `synth_score` in one of the styles of
`synth_styles`, and played by wavetable voices and synthetic drums into a circular buffer:
it repeats without a seam. The same `ClipSpec` always gives the same samples on one machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.errors import CatalogueError
from realtime.music.synth_kernels import add_reverb, mix_hit, mix_notes
from realtime.music.synth_score import STEPS_PER_BAR, Note, Score, compose
from realtime.music.synth_styles import GENRES
from realtime.music.synth_voices import VOICES, drum_kit, voice_tables

_PEAK = 0.89
_COMB_S = (0.0297, 0.0371, 0.0411, 0.0437)
_ALLPASS_S = (0.0050, 0.0017)


@dataclass(frozen=True)
class ClipSpec:
    """What to play.

    Attributes
    ----------
    genre : str
        One of `synth_styles.GENRES`.
    seed : int
        Chooses the piece, 0 or more.
    duration_s : float
        Shortest length; the clip is rounded up to whole bars.
    rate_hz : int
        Frames per second.
    borrow : float
        Probability that one part comes from another genre, 0 to 1.
    """

    genre: str
    seed: int
    duration_s: float = 10.0
    rate_hz: int = 48000
    borrow: float = 0.0


@dataclass(frozen=True, eq=False)
class RenderedClip:
    """A piece of music.

    Attributes
    ----------
    audio : float32 array of shape (n_frames, 2)
        Peak 0.89, whole bars; frame 0 follows the last frame without a seam.
    rate_hz : int
        Frames per second.
    bpm : float
        Tempo in quarter notes.
    first_beat_s : float
        Time of the first downbeat: 0.
    labels : dict of str to str
        Genre, key, scale, voices, mood, and what was borrowed.
    """

    audio: NDArray[np.float32]
    rate_hz: int
    bpm: float
    first_beat_s: float
    labels: dict[str, str]


def render(spec: ClipSpec) -> RenderedClip:
    """Compose and play one clip.

    Raises
    ------
    CatalogueError
        An unknown genre, or a duration, rate, seed or share out of range.
    """
    _check(spec)
    return perform(compose(spec.genre, spec.seed, spec.duration_s, spec.borrow), spec.rate_hz)


def perform(score: Score, rate_hz: int) -> RenderedClip:
    """Play a score that `compose` wrote, at 8000 to 192000 frames per second."""
    n_frames = round(score.n_bars * 240.0 / score.bpm * rate_hz)
    frames_per_step = n_frames / (score.n_bars * STEPS_PER_BAR)
    pitched = np.zeros((n_frames, 2), np.float32)
    for name in sorted({note.voice for note in score.notes}):
        pitched += _play_voice(name, score, n_frames, rate_hz)
    drums = _play_drums(score, n_frames, frames_per_step, rate_hz)
    mix = pitched + drums
    delays = np.array([[round(rate_hz * (s + spread)) for s in (*_COMB_S, *_ALLPASS_S)]
                       for spread in (0.0, 0.00053)])
    add_reverb(mix, _mono(pitched) + np.float32(0.4) * _mono(drums), delays, 0.8, score.reverb)
    mix -= np.array([mix[:, 0].mean(), mix[:, 1].mean()], np.float32)
    mix *= np.float32(0.9 / np.percentile(np.abs(mix[::7]), 99.5))
    np.tanh(mix, out=mix)  # the loudest half per cent is rounded off, as a mastering limiter would
    mix *= np.float32(_PEAK / max(mix.max(), -mix.min()))
    return RenderedClip(mix, rate_hz, score.bpm, 0.0, score.labels)


def _mono(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.float32(0.5) * (audio[:, 0] + audio[:, 1])  # three times faster than mean(axis=1)


def _check(spec: ClipSpec) -> None:
    problems = []
    if spec.genre not in GENRES:
        problems.append(f"genre {spec.genre!r}, wanted one of {', '.join(GENRES)}")
    if not 0 < spec.duration_s <= 600:
        problems.append(f"duration {spec.duration_s:g} s, wanted more than 0 and at most 600")
    if not 8000 <= spec.rate_hz <= 192000:
        problems.append(f"rate {spec.rate_hz} Hz, wanted 8000 to 192000")
    if spec.seed < 0:
        problems.append(f"seed {spec.seed}, wanted 0 or more")
    if not 0 <= spec.borrow <= 1:
        problems.append(f"borrow {spec.borrow:g}, wanted 0 to 1")
    if problems:
        raise CatalogueError(f"this clip cannot be made: {'; '.join(problems)}; correct its ClipSpec")


def _play_voice(name: str, score: Score, n_frames: int, rate_hz: int) -> NDArray[np.float32]:
    voice = VOICES[name]
    frames_per_step = n_frames / (score.n_bars * STEPS_PER_BAR)
    notes = [note for note in score.notes if note.voice == name]
    bus = np.zeros((n_frames, 2), np.float32)
    table = np.array([_note_row(note, frames_per_step, rate_hz) for note in notes])
    mix_notes(bus, table, voice_tables(name, rate_hz), voice.shape(), float(rate_hz))
    if voice.drive:
        bus *= np.float32(voice.drive)
        np.tanh(bus, out=bus)
        bus = _cabinet(bus, rate_hz)
    bus *= np.float32(0.3 * voice.level)
    return bus


def _note_row(note: Note, frames_per_step: float, rate_hz: int) -> tuple[float, float, float, float, float]:
    hertz = min(440.0 * 2.0 ** ((note.pitch - 69) / 12), 0.2 * rate_hz)
    angle = 0.25 * np.pi * (1 + note.pan)
    return (round(note.step * frames_per_step), round(note.n_steps * frames_per_step), hertz,
            note.velocity * float(np.cos(angle)), note.velocity * float(np.sin(angle)))


def _cabinet(bus: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Roll off the fizz of a saturated guitar above about 4 kHz, as a loudspeaker does; circular moving average."""
    width = max(1, rate_hz // 8000)
    smooth = bus.copy()
    for shift in range(1, width):
        smooth += np.roll(bus, shift, axis=0)
    return smooth / np.float32(width)


def _play_drums(score: Score, n_frames: int, frames_per_step: float, rate_hz: int) -> NDArray[np.float32]:
    levels = {"kick": 0.6, "snare": 0.55, "clap": 0.5, "rim": 0.45, "hat": 0.26, "open": 0.22, "ride": 0.24,
              "crash": 0.26, "tom": 0.4, "shaker": 0.24}
    kit = drum_kit(score.kit, rate_hz)
    bus = np.zeros((n_frames, 2), np.float32)
    for hit in score.hits:
        gain = 0.62 * score.drum_level * levels[hit.sound] * hit.velocity
        angle = 0.25 * np.pi * (1 + hit.pan)
        mix_hit(bus, kit[hit.sound], round(hit.step * frames_per_step), gain * np.cos(angle), gain * np.sin(angle))
    return bus
