"""A procedural synthesiser: ten genres, no samples, no downloads.

Each clip is a piece of whole bars written by `synth_score` in one of the styles of
`synth_styles`, and played by wavetable voices and synthetic drums into a circular buffer:
it repeats without a seam. The same `ClipSpec` always gives the same samples on one machine.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from realtime.errors import CatalogueError
from realtime.music.synth_kernels import N_COLUMNS, mix_hit, mix_notes, reverberate
from realtime.music.synth_parts import STEPS_PER_BAR, Hit, Note
from realtime.music.synth_score import Score, compose
from realtime.music.synth_styles import GENRES
from realtime.music.synth_voices import VOICES, air_noise, drum_kit, voice_tables

_PEAK = 0.89
_COMB_S = (0.0297, 0.0371, 0.0411, 0.0437)
_ALLPASS_S = (0.0050, 0.0017)
_SPREAD_S = (0.0, 0.00053)
DRUM_SEND = np.float32(0.4)
DRUM_LEVELS = {"kick": 0.6, "snare": 0.55, "clap": 0.5, "rim": 0.45, "hat": 0.26, "open": 0.22, "ride": 0.24,
               "crash": 0.26, "tom": 0.4, "shaker": 0.24}


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
        Genre, key, scale, voices, mood, what was borrowed, and of `render` the seed.
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
    made = perform(compose(spec.genre, spec.seed, spec.duration_s, spec.borrow), spec.rate_hz)
    return replace(made, labels=made.labels | {"seed": str(spec.seed)})


def perform(score: Score, rate_hz: int) -> RenderedClip:
    """Play a score that `compose` wrote, at 8000 to 192000 frames per second."""
    n_frames = round(score.n_bars * 240.0 / score.bpm * rate_hz)
    frames_per_step = n_frames / (score.n_bars * STEPS_PER_BAR)
    pitched = np.zeros((n_frames, 2), np.float32)
    for name in sorted({note.voice for note in score.notes}):
        pitched += _play_voice(name, score, n_frames, rate_hz)
    drums = _play_drums(score, n_frames, frames_per_step, rate_hz)
    mix = pitched + drums
    _add_reverb(mix, mono(pitched) + DRUM_SEND * mono(drums), score.reverb, rate_hz)
    mix *= np.float32(0.9 / np.percentile(np.abs(mix[::7]), 99.5))
    np.tanh(mix, out=mix)  # the loudest half per cent is rounded off, as a mastering limiter would
    mix -= np.array([mix[:, 0].mean(), mix[:, 1].mean()], np.float32)  # rounding lopsided waves makes an offset
    mix *= np.float32(_PEAK / max(mix.max(), -mix.min()))
    return RenderedClip(mix, rate_hz, score.bpm, 0.0, score.labels)


def mono(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of both sides, shape (n_frames,)."""
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
    rows = np.array([note_row(note, frames_per_step, rate_hz) for note in score.notes if note.voice == name])
    bus = np.zeros((n_frames, 2), np.float32)
    mix_notes(bus, rows, voice_tables(name, rate_hz), air_noise(rate_hz), voice.shape(), float(rate_hz))
    if voice.drive:
        bus *= np.float32(voice.drive)
        np.tanh(bus, out=bus)
        bus = _cabinet(bus, rate_hz)
    bus *= np.float32(0.3 * voice.level)
    return bus


def note_row(note: Note, frames_per_step: float, rate_hz: int) -> NDArray[np.float64]:
    """A note as the kernels take it, shape (14,); START counts from the score's first step."""
    hertz = min(440.0 * 2.0 ** ((note.pitch - 69) / 12), 0.2 * rate_hz)
    angle = 0.25 * np.pi * (1 + note.pan)
    row = np.zeros(N_COLUMNS)
    row[:6] = (round(note.step * frames_per_step), round(note.n_steps * frames_per_step), hertz,
               note.velocity * np.cos(angle), note.velocity * np.sin(angle), note.brightness)
    return row


def _cabinet(bus: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Roll off the fizz of a saturated guitar above about 4 kHz, as a loudspeaker does; circular moving average."""
    width = max(1, rate_hz // 8000)
    smooth = bus.copy()
    for shift in range(1, width):
        smooth += np.roll(bus, shift, axis=0)
    return smooth / np.float32(width)


def _play_drums(score: Score, n_frames: int, frames_per_step: float, rate_hz: int) -> NDArray[np.float32]:
    kit = drum_kit(score.kit, rate_hz)
    bus = np.zeros((n_frames, 2), np.float32)
    for hit in score.hits:
        gain = hit_gain(hit, score.drum_level)
        mix_hit(bus, kit[hit.sound], round(hit.step * frames_per_step), gain[0], gain[1])
    return bus


def hit_gain(hit: Hit, drum_level: float) -> NDArray[np.float64]:
    """Gain of a drum sound on either side, shape (2,)."""
    angle = 0.25 * np.pi * (1 + hit.pan)
    gain: NDArray[np.float64] = 0.62 * drum_level * DRUM_LEVELS[hit.sound] * hit.velocity * np.array(
        [np.cos(angle), np.sin(angle)])
    return gain


@dataclass(frozen=True, eq=False)
class Hall:
    """The reverberation's memory; see `reverberate` for its arrays, all written in place."""

    delays: NDArray[np.int64]
    lines: NDArray[np.float32]
    places: NDArray[np.int64]
    lows: NDArray[np.float32]

    @staticmethod
    def empty(rate_hz: int) -> "Hall":
        """A hall in which nothing has sounded."""
        delays = np.array([[round(rate_hz * (s + spread)) for s in (*_COMB_S, *_ALLPASS_S)] for spread in _SPREAD_S])
        return Hall(delays, np.zeros((2, 6, delays.max()), np.float32), np.zeros((2, 6), np.int64),
                    np.zeros((2, 4), np.float32))

    def add(self, out: NDArray[np.float32], send: NDArray[np.float32], wet_from: float, wet_to: float) -> None:
        """Add what reverberates of `send`, shape (n_frames,), to `out`, shape (n_frames, 2), in place."""
        reverberate(out, send, self.delays, self.lines, self.places, self.lows, wet_from, wet_to)


def _add_reverb(out: NDArray[np.float32], send: NDArray[np.float32], wet: float, rate_hz: int) -> None:
    """Reverberate a clip that repeats: its last second and a half runs through first, so that the tail wraps round."""
    hall, before = Hall.empty(rate_hz), send[-72000:]
    hall.add(np.zeros((len(before), 2), np.float32), before, 0.0, 0.0)
    hall.add(out, send, wet, wet)
