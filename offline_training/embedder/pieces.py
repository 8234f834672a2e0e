"""Procedural pieces to learn from: genres mixed, instruments swapped, some combinations never heard.

In the plain corpus a genre has its own instruments, so knowing either gives the other away. Here
parts come from two genres, any instrument may play the melody, and a fifth of the pairs of a genre
and a foreign instrument is left out of training: they tell whether the two were learnt apart.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from offline_training.embedder.settings import EmbedderSettings, PieceSettings
from offline_training.embedder.truth import (
    INSTRUMENT_OF_VOICE,
    INSTRUMENTS,
    VOICES_OF_INSTRUMENT,
    Truth,
    Truths,
    draw_claims,
    tabulate,
)
from offline_training.progress import Progress, counted
from offline_training.targets import logmel_statistics
from realtime.music.logmel import LogMelSettings, band_power, levels_db
from realtime.music.synth import mono, perform
from realtime.music.synth_parts import PARTS, Arrangement
from realtime.music.synth_score import compose
from realtime.music.synth_styles import GENRES, SCALES, STYLES

Kind = Literal["training", "new seeds", "held-out pairs", "corpus", "scrambled"]
TEST_KINDS: tuple[Kind, ...] = ("new seeds", "held-out pairs", "corpus")
_KINDS: tuple[Kind, ...] = ("training", *TEST_KINDS, "scrambled")
_RATES_HZ = (24000, 48000)  # the drums' noise depends on the rate; half of each
_PER_TASK = 8
HALF_S = 6.0  # two of them fit into a piece without touching


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces as an embedder hears them.

    Attributes
    ----------
    levels : float16 array of shape (n, n_frames, n_bands)
        From the front end, normalised over the whole piece.
    statistics : float32 array of shape (n, 3, n_statistics)
        `logmel_statistics` of the first window, and of the first and the last six seconds, for comparison; of
        no training piece (n is 0).
    truths : Truths
        What is true of them.
    """

    levels: NDArray[np.float16]
    statistics: NDArray[np.float32]
    truths: Truths


def native_leads(genre: str) -> frozenset[str]:
    """Instruments that the genre's own style gives the melody."""
    return frozenset(INSTRUMENT_OF_VOICE[voice] for voice in STYLES[genre].lead.voices)


def is_held_out(genre: str, instrument: str) -> bool:
    """Whether no training piece of the genre has its melody played by that instrument."""
    place = 5 * GENRES.index(genre) + 7 * INSTRUMENTS.index(instrument)
    return place % 4 == 0 and instrument not in native_leads(genre)


def make_pieces(kind: Kind, settings: EmbedderSettings, executor: Executor,
                progress: Progress | None = None) -> Pieces:
    """Compose, play and listen to the pieces of one kind, in parallel.

    Parameters
    ----------
    kind : str
        "training"; "scrambled": the same with every part from any genre; "new seeds": more of "training";
        "held-out pairs": melodies on instruments that training never gave their genre; "corpus": as
        `innerear corpus build` makes them.
    settings : EmbedderSettings
        Same settings, same pieces, whatever the executor.
    executor : Executor
        Where the work is done.
    progress : Progress, optional
        Told of everything that is done.
    """
    numbers = {"training": settings.pieces.n_pieces, "scrambled": settings.pieces.n_scrambled}
    n_pieces = numbers.get(kind, settings.pieces.n_test_pieces)
    tasks = [_Task(kind, range(first, min(first + _PER_TASK, n_pieces)), settings.pieces,
                   settings.front_end, settings.window_s) for first in range(0, n_pieces, _PER_TASK)]
    parts = list(counted(executor.map(_make, tasks), f"composing {kind}", len(tasks), progress))
    return Pieces(np.concatenate([part.levels for part in parts]), np.concatenate([part.statistics for part in parts]),
                  tabulate([truth for part in parts for truth in part.truths]))


@dataclass(frozen=True, eq=False)
class Captioned:
    """A piece as it sounds, and one way to say what it is: mono float32 of shape (n_frames,)."""

    sound: NDArray[np.float32]
    rate_hz: int
    caption: str


def captioned(n: int, executor: Executor, progress: Progress | None = None, seed: int = 0) -> Iterator[Captioned]:
    """As many pieces as in training, with captions."""
    jobs = [(seed, number) for number in range(n)]
    yield from counted(executor.map(_caption, jobs), "composing pieces with captions", n, progress)


def _caption(job: tuple[int, int]) -> Captioned:
    seed, number = job
    rng = np.random.default_rng([seed, len(_KINDS), number])
    plan = draw_plan("training", number, PieceSettings(), rng)
    score = compose(plan.genre, int(rng.integers(2**31)), 10.0, plan.borrow, plan.arrangement)
    clip = perform(score, _RATES_HZ[1])
    truths = tabulate([_truth(plan, score.labels, score.bpm)])
    claims = draw_claims(truths, np.zeros(1, np.int64), rng)
    return Captioned(mono(clip.audio)[: 10 * clip.rate_hz], clip.rate_hz, claims.text(0, rng))


def together(some: Pieces, others: Pieces) -> Pieces:
    """Training pieces of two kinds as one set."""
    pairs = ((getattr(some.truths, name), getattr(others.truths, name)) for name in vars(some.truths))
    return Pieces(np.concatenate([some.levels, others.levels]), some.statistics,
                  Truths(*(np.concatenate(pair) for pair in pairs)))


@dataclass(frozen=True)
class _Task:
    kind: Kind
    numbers: range
    pieces: PieceSettings
    front_end: LogMelSettings
    window_s: float


@dataclass(frozen=True, eq=False)
class _Made:
    levels: NDArray[np.float16]
    statistics: NDArray[np.float32]
    truths: list[Truth]


def _make(task: _Task) -> _Made:
    levels, statistics, truths = [], [], []
    n_frames = task.front_end.n_frames(task.pieces.piece_s)
    for number in task.numbers:
        rng = np.random.default_rng([task.pieces.seed, _KINDS.index(task.kind), number])
        plan = draw_plan(task.kind, number, task.pieces, rng)
        score = compose(plan.genre, int(rng.integers(2**31)), task.pieces.piece_s, plan.borrow, plan.arrangement)
        clip = perform(score, _RATES_HZ[number % 2])
        sound = mono(clip.audio)
        levels.append(levels_db(band_power(sound, clip.rate_hz, task.front_end)[:n_frames], task.front_end))
        if task.kind in TEST_KINDS:
            statistics.append([logmel_statistics(part, clip.rate_hz) for part in _excerpts(sound, clip.rate_hz, task)])
        truths.append(_truth(plan, score.labels, score.bpm))
    heard = np.array(statistics, np.float32) if statistics else np.zeros((0, 3, 0), np.float32)
    return _Made(np.stack(levels).astype(np.float16), heard, truths)


def _excerpts(sound: NDArray[np.float32], rate_hz: int, task: _Task) -> list[NDArray[np.float32]]:
    end, half, window = (round(seconds * rate_hz) for seconds in (task.pieces.piece_s, HALF_S, task.window_s))
    return [sound[:window], sound[:half], sound[end - half:end]]


@dataclass(frozen=True)
class Plan:
    """A piece before it is written: genre, what is asked of it, and the probability that it borrows a part."""

    genre: str
    arrangement: Arrangement
    borrow: float = 0.0


def draw_plan(kind: Kind, number: int, settings: PieceSettings, rng: np.random.Generator) -> Plan:
    """Plan of piece `number` of a kind; genres take turns."""
    genre = GENRES[number % len(GENRES)]
    if kind == "corpus":
        return Plan(genre, Arrangement(), borrow=0.3)
    parts = _mix(kind, genre, settings, rng)
    free = rng.random(5)
    lead = _lead_voice(kind, shares_of(genre, parts), rng)
    return Plan(genre, Arrangement(
        parts=parts,
        bpm=float(np.round(np.exp(rng.uniform(np.log(56), np.log(180))), 1)) if free[0] < 0.4 else None,
        scale=list(SCALES)[int(rng.integers(len(SCALES)))] if free[1] < 0.5 else None,
        lead=lead if kind == "held-out pairs" or free[2] < settings.swapped else _native_voice(genre, parts, rng),
        chords=_any_voice(rng) if free[3] < settings.swapped / 2 else None,
        lead_density=float(np.exp(rng.uniform(-0.7, 0.6))) if free[4] < 0.5 else 1.0))


def _mix(kind: Kind, genre: str, settings: PieceSettings, rng: np.random.Generator) -> dict[str, str]:
    """Parts from other genres: none, some from a second genre, or each from any."""
    if kind == "scrambled":
        return {part: GENRES[int(rng.integers(len(GENRES)))] for part in PARTS}
    if kind == "held-out pairs" or rng.random() >= settings.mixed:
        return {}
    other = [name for name in GENRES if name != genre][int(rng.integers(len(GENRES) - 1))]
    taken = rng.permutation(PARTS)[: int(rng.integers(1, 4))]
    return {str(part): other for part in taken}


def shares_of(genre: str, parts: Mapping[str, str]) -> dict[str, float]:
    """Share of each genre in the six parts, where `parts` names those that are not of `genre`."""
    names = [parts.get(part, genre) for part in PARTS]
    return {name: names.count(name) / len(PARTS) for name in set(names)}


def _any_voice(rng: np.random.Generator) -> str:
    instrument = INSTRUMENTS[int(rng.integers(len(INSTRUMENTS)))]
    voices = VOICES_OF_INSTRUMENT[instrument]
    return voices[int(rng.integers(min(len(voices), 2)))]  # muted and clean guitars carry no melody


def _lead_voice(kind: Kind, shares: dict[str, float], rng: np.random.Generator) -> str:
    """A voice whose pair with every genre that makes up a third of the piece is held out, or is not."""
    wanted = kind == "held-out pairs"
    genres = [name for name, share in shares.items() if share >= 1 / 3]
    while True:
        voice = _any_voice(rng)
        if any(is_held_out(name, INSTRUMENT_OF_VOICE[voice]) for name in genres) == wanted:
            return voice


def _native_voice(genre: str, parts: dict[str, str], rng: np.random.Generator) -> str:
    """A voice of the style that the melody comes from, but none that the piece's other genre must not have."""
    origin = parts.get("lead", genre)
    genres = [name for name, share in shares_of(genre, parts).items() if share >= 1 / 3]
    voices = [voice for voice in STYLES[origin].lead.voices
              if not any(is_held_out(name, INSTRUMENT_OF_VOICE[voice]) for name in genres)]
    if not voices:
        return _lead_voice("training", dict.fromkeys(genres, 1.0), rng)
    return voices[int(rng.integers(len(voices)))]


def _truth(plan: Plan, labels: dict[str, str], bpm: float) -> Truth:
    parts = dict(plan.arrangement.parts)
    if labels["borrowed"]:
        part, origin = labels["borrowed"].split(" from ")
        parts[part] = origin
    shares = shares_of(plan.genre, parts)
    lead, chords = (INSTRUMENT_OF_VOICE[labels[part]] for part in ("lead", "chords"))
    return Truth(tuple(shares.get(name, 0.0) for name in GENRES), lead, frozenset((lead, chords)), labels["mood"], bpm)
