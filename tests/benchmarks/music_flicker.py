"""How the selection follows a decoder whose errors are those of a trained ridge."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from realtime.music.catalogue import Catalogue
from realtime.music.index import direction
from realtime.music.selection import SelectionSettings, SelectionState, look, select, steer

TR_S, TARGET_S = 1.5, 30.0
_MEMORY = 0.6  # of the errors from one volume to the next
_SURE = 100.0


@dataclass(frozen=True, eq=False)
class Residuals:
    """What a decoder adds to the truth.

    Attributes
    ----------
    rows : float64 array of shape (n_trials, dim)
        Prediction less the truth shrunk as the decoder shrinks it; mean zero.
    """

    rows: NDArray[np.float64]

    @classmethod
    def of(cls, predictions: NDArray[np.floating], targets: NDArray[np.floating]) -> Self:
        """Of out-of-fold predictions and their targets, both of shape (n_trials, dim)."""
        said, true = predictions - predictions.mean(axis=0), targets - targets.mean(axis=0)
        shrinkage = float((said * true).sum() / (true**2).sum())
        return cls(said - shrinkage * true)


@dataclass(frozen=True)
class Flicker:
    """How often the music changed, how long it was of the right genre, and the cosine decoded with."""

    switches_per_minute: float
    right_genre: float
    cosine: float


def flicker(corpus: Catalogue, residuals: Residuals, cosine: float, settings: SelectionSettings, n_targets: int,
            seed: int = 0) -> Flicker:
    """Follow a clip of another genre every 30 s, decoded with a mean cosine of `cosine`, TR 1.5 s.

    Errors are drawn from the residuals, with their directions and correlations, and remembered from volume to volume.
    """
    rng = np.random.default_rng(seed)
    per_target = round(TARGET_S / TR_S)
    targets = _targets(corpus, n_targets, rng)
    true = corpus.unit[np.repeat(targets, per_target)].astype(np.float64)
    errors = _errors(residuals, len(true), rng)
    said = true + _scale(true, errors, cosine) * errors
    genres = np.array([clip.genre for clip in corpus.clips])
    wanted = genres[np.repeat(targets, per_target)]
    state, n_switches, n_right = SelectionState(), 0, 0
    for volume, embedding in enumerate(said):
        towards = direction((corpus.centre + embedding).astype(np.float32), corpus.centre)
        state = steer(state, towards, settings.smoothing)
        decision = select(state, look(state, corpus, ()), _SURE, volume, TR_S, settings)
        n_switches += decision.kind == "switch"
        state = decision.state
        n_right += corpus.clip(state.playing).genre == wanted[volume]
    return Flicker(n_switches / (len(said) * TR_S / 60), n_right / len(said), _mean_cosine(true, said))


def _targets(corpus: Catalogue, n_targets: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows of clips, each of another genre than the one before."""
    genres = [clip.genre for clip in corpus.clips]
    rows = [int(rng.integers(len(genres)))]
    while len(rows) < n_targets:
        row = int(rng.integers(len(genres)))
        if genres[row] != genres[rows[-1]]:
            rows.append(row)
    return np.array(rows)


def _errors(residuals: Residuals, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    fresh = residuals.rows[rng.integers(0, len(residuals.rows), n)]
    errors = np.empty_like(fresh)
    errors[0] = fresh[0]
    for k in range(1, n):
        errors[k] = _MEMORY * errors[k - 1] + np.sqrt(1 - _MEMORY**2) * fresh[k]
    return errors


def _mean_cosine(true: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    return float(np.mean((true * said).sum(axis=1) / np.linalg.norm(said, axis=1)))


def _scale(true: NDArray[np.float64], errors: NDArray[np.float64], cosine: float) -> float:
    """The size of errors at which the mean cosine is as wanted, by halving."""
    low, high = 0.0, 1.0
    while _mean_cosine(true, true + high * errors) > cosine:
        high *= 2
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _mean_cosine(true, true + middle * errors) > cosine else (low, middle)
    return high
