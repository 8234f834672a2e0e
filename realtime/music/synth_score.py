"""From a style and a seed to a piece: the composer of the synthesiser."""

from dataclasses import dataclass

import numpy as np

from realtime.music.synth_parts import (
    AS_THE_STYLE_HAS_IT,
    PARTS,
    STEPS_PER_BAR,
    Arrangement,
    Band,
    Hit,
    Note,
    Plan,
    bass_bar,
    chord_bar,
    draw_bass,
    draw_chords,
    draw_drums,
    draw_pad,
    draw_tune,
    drum_bar,
    drum_fill,
    pad_bar,
    pick,
    tune_bar,
)
from realtime.music.synth_styles import GENRES, STYLES

MOODS = ("calm", "happy", "sad", "tense")
_LIVELY_PER_S = 11.0  # the median of the ten styles; blues and country lie on both sides of it


@dataclass(frozen=True)
class Score:
    """A piece of whole bars, what it is made of, and who plays it."""

    bpm: float
    n_bars: int
    kit: str
    drum_level: float
    reverb: float
    notes: tuple[Note, ...]
    hits: tuple[Hit, ...]
    labels: dict[str, str]
    band: Band


def compose(genre: str, seed: int, duration_s: float, borrow: float,
            arrangement: Arrangement = AS_THE_STYLE_HAS_IT) -> Score:
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
    key, scale, progression = int(rng.integers(12)), pick(rng, harmony.scales), pick(rng, harmony.progressions)
    plan = Plan(style, bpm, key, arrangement.scale or scale, progression, arrangement)
    return _play_through(rng, plan, n_bars, {"genre": genre, "borrowed": borrowed})


def _play_through(rng: np.random.Generator, plan: Plan, n_bars: int, labels: dict[str, str]) -> Score:
    """Draw and write one part after the other."""
    bars = [(bar, bar * STEPS_PER_BAR) for bar in range(n_bars)]
    bass = draw_bass(rng, plan)
    notes = [note for bar, start in bars for note in bass_bar(rng, plan, bass, bar, start)]
    chords = draw_chords(rng, plan)
    notes += [note for bar, start in bars for note in chord_bar(rng, plan, chords, bar, start)]
    tune = drawn = draw_tune(rng, plan)
    for bar, start in bars:
        sung, tune = tune_bar(rng, plan, tune, bar, start)
        notes += sung
    pad = draw_pad(rng, plan)
    notes += [note for bar, start in bars for note in pad_bar(plan, pad, bar, start)]
    pattern = draw_drums(rng, plan)
    hits = [hit for bar, start in bars for hit in drum_bar(rng, plan, pattern, bar, start)]
    if pattern:
        hits += drum_fill(rng, n_bars * STEPS_PER_BAR - 4)
    drums = plan.style["drums"].drums
    mood = _mood(plan, _liveliness(notes, hits, drums.level) / (n_bars * 240.0 / plan.bpm))
    labels = labels | {"key": str(plan.key), "scale": plan.scale, "bass": bass.voice, "chords": chords.voice,
                       "lead": tune.voice, "mood": mood}
    return Score(plan.bpm, n_bars, drums.kit, drums.level, plan.style["chords"].reverb, tuple(notes), tuple(hits),
                 labels, Band(plan, bass, chords, drawn, pad, pattern))


def _liveliness(notes: list[Note], hits: list[Hit], drum_level: float) -> float:
    """Onsets of a piece, a chord being one, drums by their loudness."""
    onsets = {(note.voice, round(note.step, 1)) for note in notes}
    return len(onsets) + drum_level * sum(hit.velocity for hit in hits)


def _mood(plan: Plan, onsets_per_s: float) -> str:
    """Russell's plane of affect: a major third pleases, many onsets excite."""
    lively = onsets_per_s > _LIVELY_PER_S
    return ("happy" if lively else "calm") if plan.bright else ("tense" if lively else "sad")
