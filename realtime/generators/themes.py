"""Themes: procedural pieces in a nutshell, and where the music that comes of each lies in an embedding space.

A theme says everything of a piece but how it is played: style and voice of each part, patterns, key,
chords, the motif of the melody. A library of themes is searched by the embeddings of their pieces, so
what is looked for is music that is known to lie where the condition points.

A file of themes is an .npz: `spec` (JSON: embedding space, the themes) and `embeddings`, float16
(n, dim), of the first ten seconds of each piece.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.atomic import write_bytes
from realtime.errors import GeneratorError
from realtime.messages import EmbeddingSpace
from realtime.music.index import cosines, direction, unit_rows
from realtime.music.synth_parts import PARTS, STEPS_PER_BAR, Arrangement, Band, Line, Plan, Tune, ladder_of
from realtime.music.synth_styles import MELODY_SCALES, SCALES, STYLES
from realtime.music.synth_voices import VOICES

VOICE_OF = ("bass", "chords", "lead")
_MARGIN = 0.05  # of centred cosine, by which another theme must fit better before the music changes


@dataclass(frozen=True)
class Theme:
    """What a piece is made of.

    Attributes
    ----------
    styles : dict of str to str
        Genre of each of PARTS.
    scale, melody : str
        Of SCALES, for the chords, and of MELODY_SCALES.
    voices : dict of str to str
        Of bass, chords and lead.
    bass_pattern, chord_pattern : str
        One of the patterns of their styles.
    drum_pattern : int
        Which of its style's patterns; 0 where there are none.
    bpm : float
        Quarter notes per minute.
    key : int
        Semitones above C, 0 to 11.
    progression : tuple of int
        Scale degree of each bar, repeated.
    pad : str
        The voice that holds the chords; "" for none.
    chords_pan : float
        Side of the chords, -1 to 1.
    motif, moves : tuple of int
        Steps of the melody's notes in a bar, and places up or down on its scale, note by note.
    """

    styles: Mapping[str, str]
    scale: str
    melody: str
    voices: Mapping[str, str]
    bass_pattern: str
    chord_pattern: str
    drum_pattern: int
    bpm: float
    key: int
    progression: tuple[int, ...]
    pad: str
    chords_pan: float
    motif: tuple[int, ...]
    moves: tuple[int, ...]

    @cached_property
    def number(self) -> int:
        """A checksum: what its performance draws from, beside the generator's seed."""
        return zlib.crc32(json.dumps(asdict(self), sort_keys=True).encode())


def theme_of(band: Band) -> Theme:
    """The theme that a band plays, from its first bar on."""
    plan, tune = band.plan, band.tune
    patterns = plan.style["drums"].drums.patterns
    genre_of = {style: genre for genre, style in STYLES.items()}
    melody = next(name for name in MELODY_SCALES if ladder_of(plan.key, name) == tune.ladder)
    return Theme({part: genre_of[plan.style[part]] for part in PARTS}, plan.scale, melody,
                 {"bass": band.bass.voice, "chords": band.chords.voice, "lead": tune.voice}, band.bass.pattern,
                 band.chords.pattern, patterns.index(band.drums) if band.drums else 0, plan.bpm, plan.key,
                 plan.progression, band.pad, band.chords.pan, tune.motif, tune.moves)


def band_of(theme: Theme) -> Band:
    """The band that plays a theme."""
    style = {part: STYLES[genre] for part, genre in theme.styles.items()}
    plan = Plan(style, theme.bpm, theme.key, theme.scale, theme.progression, Arrangement(scale=theme.scale))
    ladder = ladder_of(theme.key, theme.melody)
    home = int(np.argmin([abs(pitch - style["lead"].lead.centre) for pitch in ladder]))
    patterns, voices = style["drums"].drums.patterns, theme.voices
    return Band(plan, Line(voices["bass"], theme.bass_pattern),
                Line(voices["chords"], theme.chord_pattern, theme.chords_pan),
                Tune(voices["lead"], ladder, home, len(ladder) // 10, theme.motif, theme.moves, home), theme.pad,
                patterns[theme.drum_pattern] if patterns else ())


def read_theme(kept: Mapping[str, Any]) -> Theme:
    """A theme out of JSON or a generator's state, whose tuples came back as lists.

    Raises
    ------
    ValueError, TypeError, KeyError
        This synthesiser cannot play it.
    """
    sequences = ("progression", "motif", "moves")
    values: dict[str, Any] = {name: tuple(value) if name in sequences else value for name, value in kept.items()}
    theme = Theme(**values)
    style = {part: STYLES[theme.styles[part]] for part in PARTS}
    known = [theme.scale in SCALES, theme.melody in MELODY_SCALES, {*theme.voices} == {*VOICE_OF},
             {*theme.voices.values(), *([theme.pad] if theme.pad else [])} <= {*VOICES},
             len(theme.bass_pattern) == len(theme.chord_pattern) == STEPS_PER_BAR, 30 < theme.bpm < 300,
             0 <= theme.drum_pattern < max(1, len(style["drums"].drums.patterns)), 0 <= theme.key < 12,
             len(theme.motif) == len(theme.moves) > 0, {*theme.motif} <= {*range(STEPS_PER_BAR)},
             bool(theme.progression), {*theme.progression} <= {*range(7)}]
    if not all(known):
        message = f"theme {theme} is not one that this synthesiser plays"
        raise ValueError(message)
    return theme


class Themes:
    """A library of themes, searched by centred cosine.

    Parameters
    ----------
    space : EmbeddingSpace
        Of the embeddings.
    themes : sequence of Theme
        At least one.
    embeddings : float32 array of shape (n, dim)
        Of their pieces.
    """

    def __init__(self, space: EmbeddingSpace, themes: Sequence[Theme], embeddings: NDArray[np.float32]) -> None:
        self.space, self.themes, self.embeddings = space, tuple(themes), embeddings
        self._centre = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._unit = unit_rows(embeddings - self._centre)

    def nearest(self, embedding: NDArray[np.float32], playing: int = -1) -> int:
        """Place of the theme whose music fits best; that which plays stays unless another fits clearly better.

        Parameters
        ----------
        embedding : float32 array of shape (dim,)
            Finite.
        playing : int
            Place of the theme that plays; -1 for none.
        """
        scores = cosines(self._unit, direction(embedding, self._centre))
        best = int(scores.argmax())
        return playing if playing >= 0 and scores[best] - scores[playing] < _MARGIN else best

    def save(self, path: Path) -> None:
        """Write as .npz, atomically."""
        buffer = BytesIO()
        spec = {"space": vars(self.space), "themes": [asdict(theme) for theme in self.themes]}
        np.savez_compressed(buffer, allow_pickle=False, embeddings=self.embeddings.astype(np.float16),
                            spec=np.frombuffer(json.dumps(spec, separators=(",", ":")).encode(), np.uint8))
        write_bytes(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> "Themes":
        """Read what `save` wrote.

        Raises
        ------
        GeneratorError
            No such file, not themes, or themes for another version of the synthesiser.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                spec, embeddings = json.loads(arrays["spec"].tobytes()), arrays["embeddings"].astype(np.float32)
            space = EmbeddingSpace(**spec["space"])
            themes = [read_theme(kept) for kept in spec["themes"]]
            if not themes or embeddings.shape != (len(themes), space.dim) or not np.isfinite(embeddings).all():
                message = f"embeddings of shape {embeddings.shape}, or not finite, for {len(themes)} themes of {space}"
                raise ValueError(message)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise GeneratorError(f"no themes that can be played in {path} ({exc}); make them again with: innerear "
                                 "generator train") from exc
        return Themes(space, themes, embeddings)
