"""From an embedding to the parameters of a piece: linear read-outs, fitted on procedural music.

A file of read-outs is an .npz: `spec` (JSON: embedding space, classes of each attribute), `mean`
and `scale` of the embeddings it was fitted on, shape (dim,), and per attribute `weights/NAME`,
shape (dim, n_classes), and `bias/NAME`. Classes are scored around 1 for "is" and 0 for "is not";
numbers have one column.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realtime.atomic import write_bytes
from realtime.errors import GeneratorError
from realtime.messages import EmbeddingSpace
from realtime.music.synth_parts import PARTS, Band
from realtime.music.synth_styles import GENRES, SCALES, STYLES, Style
from realtime.music.synth_voices import VOICES

STYLE_OF = tuple(f"style of {part}" for part in PARTS)
VOICE_OF = ("bass", "chords", "lead")
NUMBERS = ("log2_bpm", "lead_notes")
_MARGIN = 0.08  # by which another class must be likelier before a playing piece changes it
_TEMPO_MARGIN = 0.05


@dataclass(frozen=True)
class Traits:
    """The parameters of a piece.

    Attributes
    ----------
    styles : dict of str to str
        Genre of each of PARTS.
    scale : str
        Of SCALES.
    voices : dict of str to str
        Of bass, chords and lead.
    bass_pattern, chord_pattern : str
        One of the patterns of their styles.
    drum_pattern : int
        Which of its style's patterns; 0 where there are none.
    bpm : float
        Quarter notes per minute.
    lead_notes : int
        In the motif of a bar.
    """

    styles: Mapping[str, str]
    scale: str
    voices: Mapping[str, str]
    bass_pattern: str
    chord_pattern: str
    drum_pattern: int
    bpm: float
    lead_notes: int

    def classes(self) -> dict[str, str]:
        """The class of each attribute that has classes."""
        return {**{name: self.styles[part] for part, name in zip(PARTS, STYLE_OF, strict=True)}, **self.voices,
                "scale": self.scale, "bass pattern": self.bass_pattern, "chord pattern": self.chord_pattern,
                "drum pattern": f"{self.styles['drums']} {self.drum_pattern}"}

    def numbers(self) -> dict[str, float]:
        """The value of each of NUMBERS."""
        return {"log2_bpm": float(np.log2(self.bpm)), "lead_notes": float(self.lead_notes)}


def traits_of(band: Band) -> Traits:
    """The traits of a band, to learn from; voices and patterns are as drawn."""
    plan = band.plan
    patterns = plan.style["drums"].drums.patterns
    genre_of = {id(style): genre for genre, style in STYLES.items()}
    return Traits({part: genre_of[id(plan.style[part])] for part in PARTS}, plan.scale,
                  {"bass": band.bass.voice, "chords": band.chords.voice, "lead": band.tune.voice}, band.bass.pattern,
                  band.chords.pattern, patterns.index(band.drums) if band.drums else 0, plan.bpm, len(band.tune.motif))


@dataclass(frozen=True, eq=False)
class Readouts:
    """Linear maps from an embedding to attributes.

    Attributes
    ----------
    space : EmbeddingSpace
        Of the embeddings it reads.
    classes : dict of str to tuple of str
        Of each attribute; numbers have one class, their own name.
    mean, scale : float32 arrays of shape (dim,)
        What embeddings are standardised by.
    weights : dict of str to float32 array of shape (dim, n_classes)
        Per attribute.
    biases : dict of str to float32 array of shape (n_classes,)
        Per attribute.
    """

    space: EmbeddingSpace
    classes: Mapping[str, tuple[str, ...]]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    biases: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def scores(self, attribute: str, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of every class, shape (n_classes,), for a finite embedding of shape (dim,); summed without BLAS."""
        standard = (embedding.astype(np.float64) - self.mean) / self.scale
        scores: NDArray[np.float64] = np.einsum("i,ij->j", standard, self.weights[attribute]) + self.biases[attribute]
        return scores

    def read(self, embedding: NDArray[np.float32], playing: Traits | None = None) -> Traits:
        """The likeliest traits; those of the piece that plays stay unless others are clearly likelier."""
        now = playing.classes() if playing else {}

        def best(attribute: str, options: Sequence[str]) -> str:
            scores = dict(zip(self.classes[attribute], self.scores(attribute, embedding).tolist(), strict=True))
            winner = max(options, key=lambda option: scores.get(option, -np.inf))
            kept = now.get(attribute, "")
            stays = kept in options and scores.get(winner, 0.0) - scores.get(kept, -np.inf) < _MARGIN
            return kept if stays else winner

        styles = {part: best(name, GENRES) for part, name in zip(PARTS, STYLE_OF, strict=True)}
        style = {part: STYLES[genre] for part, genre in styles.items()}
        drums = [f"{styles['drums']} {number}" for number in range(max(1, len(style["drums"].drums.patterns)))]
        return Traits(
            styles, best("scale", style["harmony"].scales), {part: best(part, tuple(VOICES)) for part in VOICE_OF},
            best("bass pattern", style["bass"].bass.patterns), best("chord pattern", style["chords"].chords.patterns),
            int(best("drum pattern", drums).split()[-1]), self._bpm(embedding, style["tempo"], playing),
            int(np.clip(round(self.scores("lead_notes", embedding)[0]), 1, 16)))

    def _bpm(self, embedding: NDArray[np.float32], style: Style, playing: Traits | None) -> float:
        bpm = float(np.clip(2.0 ** self.scores("log2_bpm", embedding)[0], *style.bpm))
        if playing is not None and abs(bpm / playing.bpm - 1) < _TEMPO_MARGIN:
            return playing.bpm
        return round(bpm, 1)

    def save(self, path: Path) -> None:
        """Write as .npz, atomically."""
        buffer = BytesIO()
        arrays = {f"weights/{name}": values for name, values in self.weights.items()}
        arrays |= {f"bias/{name}": values for name, values in self.biases.items()}
        spec = {"space": vars(self.space), "classes": {name: list(known) for name, known in self.classes.items()}}
        np.savez(buffer, allow_pickle=False, spec=np.array(json.dumps(spec)), mean=self.mean, scale=self.scale,
                 **arrays)
        write_bytes(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> "Readouts":
        """Read what `save` wrote.

        Raises
        ------
        GeneratorError
            No such file, not read-outs, or read-outs for another version of the synthesiser.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                spec = json.loads(str(arrays["spec"]))
                classes = {name: tuple(known) for name, known in spec["classes"].items()}
                read = Readouts(EmbeddingSpace(**spec["space"]), classes, arrays["mean"], arrays["scale"],
                                {name: arrays[f"weights/{name}"] for name in classes},
                                {name: arrays[f"bias/{name}"] for name in classes})
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise GeneratorError(f"no read-outs in {path} ({exc}); train them with: innerear generator train") from exc
        read.check(path)
        return read

    def check(self, path: Path) -> None:
        """Refuse read-outs that do not fit their space or this program's styles; GeneratorError."""
        wanted = {*STYLE_OF, *VOICE_OF, *NUMBERS, "scale", "bass pattern", "chord pattern", "drum pattern"}
        shapes = all(self.weights[name].shape == (self.space.dim, len(known)) for name, known in self.classes.items())
        finite = all(np.isfinite(values).all() for values in (*self.weights.values(), *self.biases.values()))
        if set(self.classes) != wanted or not shapes or not finite or self.mean.shape != (self.space.dim,):
            raise GeneratorError(f"the read-outs in {path} hold {sorted(self.classes)} of space {self.space}, fitting "
                                 f"shapes: {shapes}, finite: {finite}; wanted {sorted(wanted)}; train them again with: "
                                 "innerear generator train")
        strange = {*self.classes["scale"]} - {*SCALES} | {*self.classes["lead"]} - {*VOICES}
        if strange:
            raise GeneratorError(f"the read-outs in {path} name {sorted(strange)}, which this synthesiser does not "
                                 "know; train them again with: innerear generator train")
