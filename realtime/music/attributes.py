"""What can be read off a vector: genre, melody instrument, instruments, mood and tempo."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from realtime.errors import EmbedderError

CLASSES = ("genre", "lead", "mood")
KINDS = (*CLASSES, "instruments", "tempo")


@dataclass(frozen=True)
class Attributes:
    """What a vector says of its music.

    Attributes
    ----------
    genre, lead, mood : mapping of str to float
        Probability of every class, sum 1.
    instruments : mapping of str to float
        Probability that melody or chords are played by it, each on its own.
    bpm : float
        Tempo in quarter notes.
    """

    genre: Mapping[str, float]
    lead: Mapping[str, float]
    mood: Mapping[str, float]
    instruments: Mapping[str, float]
    bpm: float


class AttributeProbes:
    """Linear read-outs of an embedding, trained with it.

    Parameters
    ----------
    payload : bytes
        An .npz with, for each of KINDS, `<kind>_weight` float32 (n, dim) and `<kind>_bias` (n,), and, but for
        tempo (octaves above 100 bpm), `<kind>_names`.
    dim : int
        Of the vectors.

    Raises
    ------
    EmbedderError
        An array is missing, has another shape or holds NaN.
    """

    def __init__(self, payload: bytes, dim: int) -> None:
        try:
            with np.load(BytesIO(payload), allow_pickle=False) as arrays:
                self._weights = {kind: np.asarray(arrays[f"{kind}_weight"], np.float32) for kind in KINDS}
                self._biases = {kind: np.asarray(arrays[f"{kind}_bias"], np.float32) for kind in KINDS}
                self._names = {kind: tuple(map(str, arrays[f"{kind}_names"])) for kind in KINDS[:-1]}
        except (OSError, KeyError, ValueError) as exc:
            raise EmbedderError(f"the probes of this embedder cannot be read ({exc}); export it again") from exc
        for kind in KINDS:
            wanted = (len(self._names.get(kind, ("bpm",))), dim)
            got = self._weights[kind]
            if got.shape != wanted or self._biases[kind].shape != wanted[:1] or not np.isfinite(got).all():
                raise EmbedderError(f"the probe for {kind} has shape {got.shape} or holds NaN, wanted finite {wanted}; "
                                    "export the embedder again")

    def names(self, kind: str) -> tuple[str, ...]:
        """Classes of "genre", "lead", "mood" or "instruments", in the order of `logits`."""
        return self._names[kind]

    def logits(self, kind: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Read-out of shape (..., n_classes) of vectors of shape (..., dim); only their direction counts."""
        norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
        unit = vectors / np.where(norms > 0, norms, 1)
        return np.asarray(unit @ self._weights[kind].T + self._biases[kind], np.float32)

    def read(self, vector: NDArray[np.float32]) -> Attributes:
        """What one vector of shape (dim,) says."""
        genre, lead, mood = (dict(zip(self._names[kind], _softmax(self.logits(kind, vector)), strict=True))
                             for kind in CLASSES)
        sounding = 1 / (1 + np.exp(-self.logits("instruments", vector).astype(np.float64)))
        octaves = float(np.clip(self.logits("tempo", vector)[0], -2, 2))
        return Attributes(genre, lead, mood, dict(zip(self._names["instruments"], sounding.tolist(), strict=True)),
                          100.0 * 2.0**octaves)


def _softmax(logits: NDArray[np.float32]) -> list[float]:
    odds = np.exp(logits.astype(np.float64) - logits.max())
    shares: list[float] = (odds / odds.sum()).tolist()
    return shares
