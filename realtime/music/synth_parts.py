"""What each part of a piece plays in one bar: drums, bass, chords, pad and lead.

A part is drawn once (voice and pattern, for the lead a motif) and then written bar by bar, so
that a clip of four bars and music without end come from the same hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from realtime.music.synth_styles import MELODY_SCALES, SCALES, Style

STEPS_PER_BAR = 16
PARTS = ("tempo", "harmony", "drums", "bass", "chords", "lead")
_LIVELY_BPM = 104.0
_PANS = {"hat": 0.3, "open": 0.3, "ride": -0.35, "crash": -0.4, "shaker": 0.45, "tom": 0.2}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Note:
    """A pitch of a voice.

    Attributes
    ----------
    voice : str
        Of `synth_voices.VOICES`.
    step, n_steps : float
        Onset and length in sixteenths.
    pitch : int
        MIDI number.
    velocity : float
        Above 0, at most 1.
    pan : float
        -1 left, 1 right.
    brightness : float
        0 dark to 1 bright, at the attack.
    """

    voice: str
    step: float
    n_steps: float
    pitch: int
    velocity: float
    pan: float
    brightness: float = 1.0


@dataclass(frozen=True)
class Hit:
    """A drum sound: onset in sixteenths, velocity and pan."""

    sound: str
    step: float
    velocity: float
    pan: float


DrumPattern = tuple[tuple[str, str], ...]


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
    lead, chords, bass : str or None
        Voices of the melody, the chords and the bass.
    lead_density : float
        Factor on the notes of the melody.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    bpm: float | None = None
    scale: str | None = None
    lead: str | None = None
    chords: str | None = None
    bass: str | None = None
    lead_density: float = 1.0


AS_THE_STYLE_HAS_IT = Arrangement()


@dataclass(frozen=True)
class Plan:
    """Choices that hold for a whole piece.

    Attributes
    ----------
    style : dict of str to Style
        The style that each of PARTS is in.
    bpm : float
        Quarter notes per minute.
    key : int
        Semitones above C.
    scale : str
        Name in SCALES.
    progression : tuple of int
        Scale degree of each bar, repeated.
    arrangement : Arrangement
        What was asked for.
    """

    style: dict[str, Style]
    bpm: float
    key: int
    scale: str
    progression: tuple[int, ...]
    arrangement: Arrangement = AS_THE_STYLE_HAS_IT

    @property
    def swing(self) -> float:
        """Delay of every second eighth, in sixteenths."""
        return self.style["tempo"].swing

    @property
    def bright(self) -> bool:
        """Whether the scale has a major third."""
        return 4 in SCALES[self.scale]

    @property
    def touch(self) -> float:
        """Brightness of the attacks: what has a minor third is played darker."""
        return 1.0 if self.bright else 0.55

    @property
    def hold(self) -> float:
        """Factor on the length of bass and lead notes: detached when lively, bound when slow."""
        return 0.8 if self.bpm >= _LIVELY_BPM else 1.1


@dataclass(frozen=True)
class Line:
    """Voice, one-bar pattern and pan of the bass or the chords."""

    voice: str
    pattern: str
    pan: float = 0.0


@dataclass(frozen=True, eq=False)
class Tune:
    """A motif of one bar, repeated and varied: that is what makes it a tune rather than a random walk.

    Attributes
    ----------
    voice : str
        What plays it.
    ladder : tuple of int
        Pitches of its scale, rising.
    home, reach : int
        Place on the ladder it circles around, and how far it goes from there.
    motif : tuple of int
        Steps of its notes.
    moves : tuple of int
        Places up or down, note by note.
    place : int
        Where on the ladder it is.
    """

    voice: str
    ladder: tuple[int, ...]
    home: int
    reach: int
    motif: tuple[int, ...]
    moves: tuple[int, ...]
    place: int


def pick(rng: np.random.Generator, options: tuple[_T, ...]) -> _T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def draw_drums(rng: np.random.Generator, plan: Plan) -> DrumPattern:
    """A drum pattern; empty where the style has no drums."""
    patterns = plan.style["drums"].drums.patterns
    return pick(rng, patterns) if patterns else ()


def drum_bar(rng: np.random.Generator, plan: Plan, pattern: DrumPattern, bar: int, start: int) -> list[Hit]:
    """Hits of bar number `bar`, which begins at step `start`."""
    hits = []
    for sound, steps in pattern:
        if sound == "crash" and bar % 4:
            continue
        for step, symbol in enumerate(steps):
            if symbol != ".":
                velocity = (1.0 if symbol == "x" else 0.45) * rng.uniform(0.85, 1.0)
                hits.append(Hit(sound, swung(start + step, plan.swing), velocity, _PANS.get(sound, 0.0)))
    return hits


def drum_fill(rng: np.random.Generator, start: int) -> list[Hit]:
    """A few hits on the four steps from `start` on."""
    return [Hit("tom" if step % 2 else "snare", start + step, 0.6, 0.2) for step in range(4) if rng.random() < 0.4]


def draw_bass(rng: np.random.Generator, plan: Plan) -> Line:
    """Voice and pattern of the bass."""
    part = plan.style["bass"].bass
    voice, pattern = pick(rng, part.voices), pick(rng, part.patterns)
    return Line(plan.arrangement.bass or voice, pattern)


def bass_bar(rng: np.random.Generator, plan: Plan, line: Line, bar: int, start: int) -> list[Note]:
    """Bass notes of bar number `bar`, which begins at step `start`."""
    scale, notes = SCALES[plan.scale], []
    degree = plan.progression[bar % len(plan.progression)]
    following = plan.progression[(bar + 1) % len(plan.progression)]
    for step, symbol in enumerate(line.pattern):
        if symbol in ".-":
            continue
        offset = {"1": 0, "3": 2, "5": 4, "7": 6, "8": 7}.get(symbol, following - degree + 1)
        position = degree + offset
        pitch = 24 + (plan.key + 5) % 12 + 12 * (position // 7) + scale[position % 7]
        pitch += 12 if pitch < 30 else 0
        held = len(line.pattern[step + 1:]) - len(line.pattern[step + 1:].lstrip("-"))
        velocity = rng.uniform(0.8, 1.0)
        notes.append(Note(line.voice, swung(start + step, plan.swing), 0.9 * plan.hold * (1 + held), pitch, velocity,
                          line.pan, plan.touch))
    return notes


def draw_chords(rng: np.random.Generator, plan: Plan) -> Line:
    """Voice, pattern and side of the chords."""
    part = plan.style["chords"].chords
    voice, pattern = pick(rng, part.voices), pick(rng, part.patterns)
    return Line(plan.arrangement.chords or voice, pattern, float(rng.choice([-0.4, 0.4])))


def chord_bar(rng: np.random.Generator, plan: Plan, line: Line, bar: int, start: int) -> list[Note]:
    """Chord notes of bar number `bar`, which begins at step `start`."""
    part = plan.style["chords"].chords
    pitches, notes, order = chord_pitches(plan, bar, part.size, part.centre), [], 0
    for step, symbol in enumerate(line.pattern):
        if symbol == ".":
            continue
        rest = line.pattern[step + 1:]
        gap = 1 + len(rest) - len(rest.lstrip("."))
        n_steps = {"x": 0.8, "a": 2.5}.get(symbol, 0.95 * gap)
        chosen = [pitches[order % len(pitches)]] if symbol == "a" else pitches
        order += 1
        at = swung(start + step, plan.swing)
        force = rng.uniform(0.75, 1.0)
        velocity = force * (0.9 if symbol == "a" else 1.0 / np.sqrt(len(chosen)))
        notes += [Note(line.voice, at + 0.04 * i, n_steps, pitch, velocity, line.pan, plan.touch * force)
                  for i, pitch in enumerate(chosen)]
    return notes


def chord_pitches(plan: Plan, bar: int, size: int, centre: int) -> list[int]:
    """Chord of a bar around `centre`, stacked in thirds; size 2 is root, fifth and octave."""
    scale = SCALES[plan.scale]
    degree = plan.progression[bar % len(plan.progression)]
    thirds = range(0, 2 * size, 2) if size > 2 else (0, 4, 7)
    pitches = [plan.key + 12 * ((degree + third) // 7) + scale[(degree + third) % 7] for third in thirds]
    shift = 12 * round((centre - np.mean(pitches)) / 12)
    return [int(pitch + shift) for pitch in pitches]


def draw_pad(rng: np.random.Generator, plan: Plan) -> str:
    """The voice that holds the chords; "" where the style has none."""
    voices = plan.style["chords"].pad
    return pick(rng, voices) if voices else ""


def pad_bar(plan: Plan, voice: str, bar: int, start: int) -> list[Note]:
    """The held chord of bar number `bar`, which begins at step `start`."""
    if not voice:
        return []
    return [Note(voice, start, 0.97 * STEPS_PER_BAR, pitch, 0.32, 0.5 * (i - 1), plan.touch)
            for i, pitch in enumerate(chord_pitches(plan, bar, 3, 64))]


def draw_tune(rng: np.random.Generator, plan: Plan) -> Tune:
    """Voice and motif of the lead."""
    part = plan.style["lead"].lead
    voice = pick(rng, part.voices)
    ladder = ladder_of(plan.key, _melody_scale(plan))
    home = int(np.argmin([abs(pitch - part.centre) for pitch in ladder]))
    places = np.arange(STEPS_PER_BAR)
    weight = np.where(places % 4 == 0, 2.0, np.where(places % 2 == 0, 1.3, 0.25))
    n_notes = min(STEPS_PER_BAR, max(1, int(rng.poisson(4 * part.density * plan.arrangement.lead_density))))
    motif = np.sort(rng.choice(STEPS_PER_BAR, n_notes, replace=False, p=weight / weight.sum()))
    moves = rng.choice([-2, -1, -1, 0, 1, 1, 2], n_notes)
    return Tune(plan.arrangement.lead or voice, ladder, home, len(ladder) // 10, _whole(motif), _whole(moves), home)


def ladder_of(key: int, melody_scale: str) -> tuple[int, ...]:
    """Pitches of one of MELODY_SCALES in a key, rising through ten octaves."""
    return tuple(key + 12 * octave + step for octave in range(10) for step in MELODY_SCALES[melody_scale])


def _melody_scale(plan: Plan) -> str:
    """Scale of the melody: its style's, unless the harmony was asked to have the other third."""
    scale = plan.style["lead"].lead.scale
    if scale in ("major", "minor"):
        return "major" if plan.bright else "minor"
    if plan.arrangement.scale and plan.bright != (4 in MELODY_SCALES[scale]):
        return "major_pentatonic" if plan.bright else "minor_pentatonic"
    return scale


def tune_bar(rng: np.random.Generator, plan: Plan, tune: Tune, bar: int, start: int) -> tuple[list[Note], Tune]:
    """Lead notes of bar number `bar`, which begins at step `start`, and the tune as it goes on."""
    moves = tune.moves if bar % 4 != 3 else _whole(rng.permutation(np.array(tune.moves)))
    notes, place = [], tune.place
    for i, step in enumerate(tune.motif):
        place = int(np.clip(place + moves[i], tune.home - tune.reach, tune.home + tune.reach))
        place += int(np.sign(tune.home - place)) if rng.random() < 0.2 else 0
        following = tune.motif[i + 1] if i + 1 < len(tune.motif) else STEPS_PER_BAR
        if rng.random() < 0.92:
            velocity = rng.uniform(0.6, 0.9)
            notes.append(Note(tune.voice, swung(start + step, plan.swing),
                              0.9 * plan.hold * min(following - step, 6), tune.ladder[place], velocity, 0.1,
                              plan.touch * (0.4 + 0.65 * velocity)))
    return notes, replace(tune, moves=moves, place=place)


def _whole(values: NDArray[np.signedinteger]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def swung(step: float, swing: float) -> float:
    """A step as it is played: every second eighth comes late, sixteenths between are stretched with it."""
    within = step % 4
    return step + swing * (within if within <= 2 else 4 - within) / 2


@dataclass(frozen=True, eq=False)
class Band:
    """A plan, and what was drawn for each part; `pad` is "" and `drums` empty where there are none."""

    plan: Plan
    bass: Line
    chords: Line
    tune: Tune
    pad: str
    drums: DrumPattern


@dataclass(frozen=True, eq=False)
class Bar:
    """What a band plays in one bar, and the tune as it goes on."""

    notes: tuple[Note, ...]
    hits: tuple[Hit, ...]
    tune: Tune


def write_bar(rng: np.random.Generator, band: Band, bar: int) -> Bar:
    """Bar number `bar` of music without end, its steps counted from its own beginning; a fill every eighth bar."""
    plan = band.plan
    sung, tune = tune_bar(rng, plan, band.tune, bar, 0)
    notes = [*bass_bar(rng, plan, band.bass, bar, 0), *chord_bar(rng, plan, band.chords, bar, 0), *sung,
             *pad_bar(plan, band.pad, bar, 0)]
    hits = drum_bar(rng, plan, band.drums, bar, 0)
    if band.drums and bar % 8 == 7:
        hits += drum_fill(rng, STEPS_PER_BAR - 4)
    return Bar(tuple(notes), tuple(hits), tune)
