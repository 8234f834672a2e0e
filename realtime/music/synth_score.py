"""From a style and a seed to notes: the composer of the synthesiser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from realtime.music.synth_styles import GENRES, MELODY_SCALES, SCALES, STYLES, Style

STEPS_PER_BAR = 16
PARTS = ("tempo", "harmony", "drums", "bass", "chords", "lead")
MOODS = ("calm", "happy", "sad", "tense")
_LIVELY_PER_S = 11.0  # the median of the ten styles; blues and country lie on both sides of it
_T = TypeVar("_T")


@dataclass(frozen=True)
class Note:
    """A pitch of a voice: onset and length in sixteenths, velocity and pan (-1 left, 1 right)."""

    voice: str
    step: float
    n_steps: float
    pitch: int
    velocity: float
    pan: float


@dataclass(frozen=True)
class Hit:
    """A drum sound: onset in sixteenths, velocity and pan."""

    sound: str
    step: float
    velocity: float
    pan: float


@dataclass(frozen=True)
class Score:
    """A piece of whole bars, and what it is made of."""

    bpm: float
    n_bars: int
    kit: str
    drum_level: float
    reverb: float
    notes: tuple[Note, ...]
    hits: tuple[Hit, ...]
    labels: dict[str, str]


@dataclass(frozen=True)
class Arrangement:
    """What is asked of a piece beyond its genre; whatever is left out, the style and the seed decide.

    Attributes
    ----------
    parts : mapping of str to str
        Genre that a part of PARTS comes from.
    bpm : float or None
        Tempo in quarter notes.
    scale : str or None
        One of SCALES; the melody follows where its own scale has the other third.
    lead, chords : str or None
        Voices of the melody and the chords.
    lead_density : float
        Factor on the notes of the melody.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    bpm: float | None = None
    scale: str | None = None
    lead: str | None = None
    chords: str | None = None
    lead_density: float = 1.0


_AS_THE_STYLE_HAS_IT = Arrangement()


@dataclass(frozen=True)
class _Plan:
    """Choices that hold for the whole piece."""

    style: dict[str, Style]
    bpm: float
    key: int
    scale: str
    progression: tuple[int, ...]
    swing: float
    n_bars: int
    arrangement: Arrangement


def compose(genre: str, seed: int, duration_s: float, borrow: float,
            arrangement: Arrangement = _AS_THE_STYLE_HAS_IT) -> Score:
    """A piece of the genre that lasts at least `duration_s`, in whole bars.

    Parameters
    ----------
    genre : str
        One of GENRES.
    seed : int
        Same seed, same piece.
    duration_s : float
        Shortest length.
    borrow : float
        Probability that one part (tempo, harmony, drums, bass, chords or lead) comes from another
        genre, from 0 (textbook examples) to 1.
    arrangement : Arrangement
        Asks for more than a genre; the seed's draws stay the same, so a piece changes only where asked.
    """
    rng = np.random.default_rng([seed, GENRES.index(genre)])
    style = {part: STYLES[arrangement.parts.get(part, genre)] for part in PARTS}
    borrowed = ""
    if rng.random() < borrow:
        part = PARTS[int(rng.integers(len(PARTS)))]
        other = [name for name in GENRES if name != genre][int(rng.integers(len(GENRES) - 1))]
        style[part] = STYLES[other]
        borrowed = f"{part} from {other}"
    bpm = round(float(rng.uniform(*style["tempo"].bpm)), 1)
    bpm = arrangement.bpm or bpm
    n_bars = max(1, int(np.ceil(duration_s * bpm / 240.0 - 1e-9)))
    harmony = style["harmony"]
    key, scale, progression = int(rng.integers(12)), _pick(rng, harmony.scales), _pick(rng, harmony.progressions)
    plan = _Plan(style, bpm, key, arrangement.scale or scale, progression, style["tempo"].swing, n_bars, arrangement)
    bass, bass_voice = _bass(rng, plan)
    chords, chord_voice = _chords(rng, plan)
    lead, lead_voice = _lead(rng, plan)
    drums, notes, hits = style["drums"].drums, [*bass, *chords, *lead, *_pad(rng, plan)], _drums(rng, plan)
    labels = {"genre": genre, "key": str(plan.key), "scale": plan.scale, "bass": bass_voice, "chords": chord_voice,
              "lead": lead_voice, "borrowed": borrowed,
              "mood": _mood(plan.scale, _liveliness(notes, hits, drums.level) / (n_bars * 240.0 / bpm))}
    return Score(bpm, n_bars, drums.kit, drums.level, style["chords"].reverb, tuple(notes), tuple(hits), labels)


def _liveliness(notes: list[Note], hits: list[Hit], drum_level: float) -> float:
    """Onsets of a piece, a chord being one, drums by their loudness."""
    onsets = {(note.voice, round(note.step, 1)) for note in notes}
    return len(onsets) + drum_level * sum(hit.velocity for hit in hits)


def _mood(scale: str, onsets_per_s: float) -> str:
    """Russell's plane of affect: a major third pleases, many onsets excite."""
    lively = onsets_per_s > _LIVELY_PER_S
    return ("happy" if lively else "calm") if _is_bright(scale) else ("tense" if lively else "sad")


def _is_bright(scale: str) -> bool:
    return 4 in SCALES[scale]


def _pick(rng: np.random.Generator, options: tuple[_T, ...]) -> _T:
    return options[int(rng.integers(len(options)))]


def _swung(step: float, swing: float) -> float:
    """Every second eighth comes late; sixteenths between are stretched with it."""
    within = step % 4
    return step + swing * (within if within <= 2 else 4 - within) / 2


def _chord_pitches(plan: _Plan, bar: int, size: int, centre: int) -> list[int]:
    """Chord of a bar around `centre`, stacked in thirds; size 2 is root, fifth and octave."""
    scale = SCALES[plan.scale]
    degree = plan.progression[bar % len(plan.progression)]
    thirds = range(0, 2 * size, 2) if size > 2 else (0, 4, 7)
    pitches = [plan.key + 12 * ((degree + third) // 7) + scale[(degree + third) % 7] for third in thirds]
    shift = 12 * round((centre - np.mean(pitches)) / 12)
    return [int(pitch + shift) for pitch in pitches]


def _drums(rng: np.random.Generator, plan: _Plan) -> list[Hit]:
    part = plan.style["drums"].drums
    if not part.patterns:
        return []
    pattern = _pick(rng, part.patterns)
    pans = {"hat": 0.3, "open": 0.3, "ride": -0.35, "crash": -0.4, "shaker": 0.45, "tom": 0.2}
    hits = []
    for bar in range(plan.n_bars):
        for sound, steps in pattern:
            if sound == "crash" and bar % 4:
                continue
            for step, symbol in enumerate(steps):
                if symbol != ".":
                    velocity = (1.0 if symbol == "x" else 0.45) * rng.uniform(0.85, 1.0)
                    at = _swung(bar * STEPS_PER_BAR + step, plan.swing)
                    hits.append(Hit(sound, at, velocity, pans.get(sound, 0.0)))
    fill = plan.n_bars * STEPS_PER_BAR - 4
    hits += [Hit("tom" if step % 2 else "snare", fill + step, 0.6, 0.2) for step in range(4) if rng.random() < 0.4]
    return hits


def _bass(rng: np.random.Generator, plan: _Plan) -> tuple[list[Note], str]:
    part = plan.style["bass"].bass
    voice, pattern = _pick(rng, part.voices), _pick(rng, part.patterns)
    scale, notes = SCALES[plan.scale], []
    for bar in range(plan.n_bars):
        degree = plan.progression[bar % len(plan.progression)]
        following = plan.progression[(bar + 1) % len(plan.progression)]
        for step, symbol in enumerate(pattern):
            if symbol in ".-":
                continue
            offset = {"1": 0, "3": 2, "5": 4, "7": 6, "8": 7}.get(symbol, following - degree + 1)
            position = degree + offset
            pitch = 24 + (plan.key + 5) % 12 + 12 * (position // 7) + scale[position % 7]
            pitch += 12 if pitch < 30 else 0
            held = len(pattern[step + 1:]) - len(pattern[step + 1:].lstrip("-"))
            notes.append(Note(voice, _swung(bar * STEPS_PER_BAR + step, plan.swing), 0.9 * (1 + held), pitch,
                              rng.uniform(0.8, 1.0), 0.0))
    return notes, voice


def _chords(rng: np.random.Generator, plan: _Plan) -> tuple[list[Note], str]:
    part = plan.style["chords"].chords
    voice, pattern = _pick(rng, part.voices), _pick(rng, part.patterns)
    voice = plan.arrangement.chords or voice
    pan, notes = rng.choice([-0.4, 0.4]), []
    for bar in range(plan.n_bars):
        pitches = _chord_pitches(plan, bar, part.size, part.centre)
        order = 0
        for step, symbol in enumerate(pattern):
            if symbol == ".":
                continue
            rest = pattern[step + 1:]
            gap = 1 + len(rest) - len(rest.lstrip("."))
            n_steps = {"x": 0.8, "a": 2.5}.get(symbol, 0.95 * gap)
            chosen = [pitches[order % len(pitches)]] if symbol == "a" else pitches
            order += 1
            at = _swung(bar * STEPS_PER_BAR + step, plan.swing)
            velocity = rng.uniform(0.75, 1.0) * (0.9 if symbol == "a" else 1.0 / np.sqrt(len(chosen)))
            notes += [Note(voice, at + 0.04 * i, n_steps, pitch, velocity, pan) for i, pitch in enumerate(chosen)]
    return notes, voice


def _pad(rng: np.random.Generator, plan: _Plan) -> list[Note]:
    voices = plan.style["chords"].pad
    if not voices:
        return []
    voice = _pick(rng, voices)
    return [Note(voice, bar * STEPS_PER_BAR, 0.97 * STEPS_PER_BAR, pitch, 0.32, 0.5 * (i - 1))
            for bar in range(plan.n_bars) for i, pitch in enumerate(_chord_pitches(plan, bar, 3, 64))]


def _lead(rng: np.random.Generator, plan: _Plan) -> tuple[list[Note], str]:
    """A motif of one bar, repeated and varied: that is what makes it a tune rather than a random walk."""
    part = plan.style["lead"].lead
    voice = _pick(rng, part.voices)
    voice = plan.arrangement.lead or voice
    intervals = MELODY_SCALES[_melody_scale(part.scale, plan)]
    n = len(intervals)
    ladder = [plan.key + 12 * octave + step for octave in range(10) for step in intervals]
    home = int(np.argmin([abs(pitch - part.centre) for pitch in ladder]))
    weight = np.where(np.arange(STEPS_PER_BAR) % 4 == 0, 2.0, np.where(np.arange(STEPS_PER_BAR) % 2 == 0, 1.3, 0.25))
    n_notes = min(STEPS_PER_BAR, max(1, int(rng.poisson(4 * part.density * plan.arrangement.lead_density))))
    motif = np.sort(rng.choice(STEPS_PER_BAR, n_notes, replace=False, p=weight / weight.sum()))
    moves = rng.choice([-2, -1, -1, 0, 1, 1, 2], n_notes)
    notes, place = [], home
    for bar in range(plan.n_bars):
        if bar % 4 == 3:
            moves = rng.permutation(moves)
        for i, step in enumerate(motif):
            place = int(np.clip(place + moves[i], home - n, home + n))
            place += int(np.sign(home - place)) if rng.random() < 0.2 else 0
            following = motif[i + 1] if i + 1 < n_notes else STEPS_PER_BAR
            if rng.random() < 0.92:
                notes.append(Note(voice, _swung(bar * STEPS_PER_BAR + int(step), plan.swing),
                                  0.9 * min(following - step, 6), ladder[place], rng.uniform(0.6, 0.9), 0.1))
    return notes, voice


def _melody_scale(scale: str, plan: _Plan) -> str:
    """Scale of the melody: its style's, unless the harmony asks for the other third."""
    bright = _is_bright(plan.scale)
    if scale in ("major", "minor"):
        return "major" if bright else "minor"
    if plan.arrangement.scale and bright != (4 in MELODY_SCALES[scale]):
        return "major_pentatonic" if bright else "minor_pentatonic"
    return scale
