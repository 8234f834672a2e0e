"""From an embedding to the parameters of a piece: read-outs fitted on procedural music.

One layer of rectified features, the same for all attributes, and a linear read-out of each from
them: against read-outs of the embedding itself that takes the lead's voice from 63 to 80 % right
(log-mel space, 200 unseen pieces with borrowed parts and swapped voices).

A file of read-outs is an .npz: `spec` (JSON: embedding space, classes of each attribute), `mean`
and `scale` of the embeddings it was fitted on, shape (dim,), `features` (dim, n_features) and
`feature_bias` (n_features,), and per attribute `weights/NAME`, shape (n_features, n_classes), and
`bias/NAME`. Classes are scored in nats; numbers have one column.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
_MARGIN = 0.7  # nats by which another class must be likelier before a playing piece changes it
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
    """Maps from an embedding to attributes.

    Attributes
    ----------
    space : EmbeddingSpace
        Of the embeddings it reads.
    classes : dict of str to tuple of str
        Of each attribute; numbers have one class, their own name.
    mean, scale : float32 arrays of shape (dim,)
        What embeddings are standardised by.
    features : float32 array of shape (dim, n_features)
        Of which the positive part is read.
    feature_bias : float32 array of shape (n_features,)
        Added before.
    weights : dict of str to float32 array of shape (n_features, n_classes)
        Per attribute.
    biases : dict of str to float32 array of shape (n_classes,)
        Per attribute.
    """

    space: EmbeddingSpace
    classes: Mapping[str, tuple[str, ...]]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    features: NDArray[np.float32]
    feature_bias: NDArray[np.float32]
    weights: Mapping[str, NDArray[np.float32]]
    biases: Mapping[str, NDArray[np.float32]]

    def scores(self, embedding: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Of every class of every attribute, shape (n_classes,), for a finite embedding of shape (dim,).

        Summed without BLAS, whose bits depend on its thread count.
        """
        standard = (embedding.astype(np.float64) - self.mean) / self.scale
        seen = np.maximum(np.einsum("i,ij->j", standard, self.features) + self.feature_bias, 0.0)
        return {name: np.einsum("i,ij->j", seen, weights) + self.biases[name] for name, weights in self.weights.items()}

    def read(self, embedding: NDArray[np.float32], playing: Traits | None = None) -> Traits:
        """The likeliest traits; those of the piece that plays stay unless others are clearly likelier."""
        now, told = playing.classes() if playing else {}, self.scores(embedding)

        def best(attribute: str, options: Sequence[str]) -> str:
            scores = dict(zip(self.classes[attribute], told[attribute].tolist(), strict=True))
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
            int(best("drum pattern", drums).split()[-1]), _bpm(float(told["log2_bpm"][0]), style["tempo"], playing),
            int(np.clip(round(float(told["lead_notes"][0])), 1, 16)))

    def save(self, path: Path) -> None:
        """Write as .npz, atomically."""
        buffer = BytesIO()
        arrays = {f"weights/{name}": values for name, values in self.weights.items()}
        arrays |= {f"bias/{name}": values for name, values in self.biases.items()}
        spec = {"space": vars(self.space), "classes": {name: list(known) for name, known in self.classes.items()}}
        np.savez(buffer, allow_pickle=False, spec=np.array(json.dumps(spec)), mean=self.mean, scale=self.scale,
                 features=self.features, feature_bias=self.feature_bias, **arrays)
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
                                arrays["features"], arrays["feature_bias"],
                                {name: arrays[f"weights/{name}"] for name in classes},
                                {name: arrays[f"bias/{name}"] for name in classes})
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise GeneratorError(f"no read-outs in {path} ({exc}); train them with: innerear generator train") from exc
        read.check(path)
        return read

    def check(self, path: Path) -> None:
        """Refuse read-outs that do not fit their space or this program's styles; GeneratorError."""
        wanted = {*STYLE_OF, *VOICE_OF, *NUMBERS, "scale", "bass pattern", "chord pattern", "drum pattern"}
        n_features = len(self.feature_bias)
        shapes = self.features.shape == (self.space.dim, n_features) and self.mean.shape == (self.space.dim,) and all(
            self.weights[name].shape == (n_features, len(known)) for name, known in self.classes.items())
        arrays = (self.features, self.feature_bias, *self.weights.values(), *self.biases.values())
        finite = all(np.isfinite(values).all() for values in arrays)
        if set(self.classes) != wanted or not shapes or not finite:
            raise GeneratorError(f"the read-outs in {path} hold {sorted(self.classes)} of space {self.space}, fitting "
                                 f"shapes: {shapes}, finite: {finite}; wanted {sorted(wanted)}; train them again with: "
                                 "innerear generator train")
        strange = {*self.classes["scale"]} - {*SCALES} | {*self.classes["lead"]} - {*VOICES}
        if strange:
            raise GeneratorError(f"the read-outs in {path} name {sorted(strange)}, which this synthesiser does not "
                                 "know; train them again with: innerear generator train")


def _bpm(log2_bpm: float, style: Style, playing: Traits | None) -> float:
    bpm = float(np.clip(2.0**log2_bpm, *style.bpm))
    if playing is not None and abs(bpm / playing.bpm - 1) < _TEMPO_MARGIN:
        return playing.bpm
    return round(bpm, 1)
