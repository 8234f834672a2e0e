"""Which recipe decodes best: the same people under several, scored alike, compared in pairs.

Everything that a recipe chooses it chooses on the training runs; the test runs are only scored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from offline_training.fit import DecoderFit, fit_decoder
from offline_training.fit_settings import FitSettings
from offline_training.responses import Responses
from offline_training.windows import find_trials, growing_rows, last_rows, volume_counts
from realtime.scoring import identification_accuracy

Floats = NDArray[np.float64]
EARLY_VOLUMES = 3
"""Usable volumes of a trial after which it is judged a second time: when most of what it tells is still to come."""


@dataclass(frozen=True, eq=False)
class Person:
    """One data set to compare on."""

    responses: Responses
    embeddings: Callable[[str], NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Decoded:
    """Predictions (n_trials, dim) of test trials, the usable volumes behind each, what was heard and in which run."""

    predictions: Floats
    counts: NDArray[np.intp]
    clip_ids: tuple[str, ...]
    run_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What one decoder said of the test runs.

    Attributes
    ----------
    single, averaged : float
        Identification accuracy of single trials, and after averaging the trials of each clip.
    by_likelihood : float
        Share of the other clips that explain a single trial's evidence less well than the one heard (ties half):
        what the posterior ranks by.
    confidence : float64 array of shape (n_trials,)
        Posterior of the best of the test runs' clips.
    right : bool array of shape (n_trials,)
        It was the clip heard.
    """

    single: float
    averaged: float
    by_likelihood: float
    confidence: Floats
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class PairedGain:
    """How much better one recipe is than another, over people.

    Attributes
    ----------
    mean : float
    low, high : float
        95 % interval of the mean: Student's t over people.
    n : int
    """

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores of every recipe (name to one `HeldOut` per person), with all volumes of a trial and early in it."""

    scores: Mapping[str, tuple[HeldOut, ...]]
    early: Mapping[str, tuple[HeldOut, ...]]

    def gain(self, better: str, baseline: str, figure: str = "averaged") -> PairedGain:
        """Paired difference of `averaged`, `single` or `by_likelihood`."""
        return paired_gain([getattr(one, figure) - getattr(other, figure) for one, other
                            in zip(self.scores[better], self.scores[baseline], strict=True)])


def pooled(people: Sequence[HeldOut]) -> tuple[Floats, NDArray[np.bool_]]:
    """Confidence and correctness of all people's trials."""
    return np.concatenate([one.confidence for one in people]), np.concatenate([one.right for one in people])


def compare_decoders(people: Iterable[Person], recipes: Mapping[str, FitSettings],
                     told: Callable[[str], None] | None = None) -> Comparison:
    """Fit every recipe to every person, and score it on the test runs.

    Parameters
    ----------
    people : iterable of Person
        Read once, one at a time: they may be made as they are asked for.
    recipes : mapping of str to FitSettings
    told : callable, optional
        Called with a line about each fit.

    Raises
    ------
    FitError
        As `fit_decoder`.
    """
    scores: dict[str, list[HeldOut]] = {name: [] for name in recipes}
    early: dict[str, list[HeldOut]] = {name: [] for name in recipes}
    for number, person in enumerate(people):
        for name, settings in recipes.items():
            fit = fit_decoder(person.responses, person.embeddings, settings)
            made = score_held_out(fit, person, settings.smallest_share)
            scores[name].append(made)
            early[name].append(score_held_out(fit, person, settings.smallest_share, EARLY_VOLUMES))
            if told is not None:
                told(f"person {number}, {name}: {made.averaged:.3f} averaged, {made.single:.3f} single, "
                     f"{made.by_likelihood:.3f} by likelihood, top-1 {made.right.mean():.3f}")
    return Comparison(*({name: tuple(made) for name, made in each.items()} for each in (scores, early)))


def decode_held_out(fit: DecoderFit, responses: Responses, smallest_share: float = 0.5,
                    most_volumes: int | None = None) -> Decoded:
    """What the decoder says of the test runs' trials, each with all its usable volumes, or the first of them."""
    table = find_trials(responses.test, responses.tr_s, [fit.window], smallest_share)
    rows = growing_rows(table, np.arange(len(table.run)), responses.tr_s, fit.window, fit.decoder.voxels)[:most_volumes]
    return Decoded(last_rows(fit.decoder.apply(rows)), volume_counts(rows), table.clip_ids, table.run_ids)


def score_held_out(fit: DecoderFit, person: Person, smallest_share: float = 0.5,
                   most_volumes: int | None = None) -> HeldOut:
    """Decode the test runs and score them; candidates are the test runs' distinct clips."""
    made = decode_held_out(fit, person.responses, smallest_share, most_volumes)
    names, own = np.unique(made.clip_ids, return_inverse=True)
    music = np.stack([np.asarray(person.embeddings(str(name)), np.float64) for name in names])
    averaged = np.stack([made.predictions[own == k].mean(axis=0) for k in range(len(names))])
    odds = np.stack([fit.reliability.log_odds(row.astype(np.float32), music.astype(np.float32), int(n))
                     for row, n in zip(made.predictions, made.counts, strict=True)])
    shares = np.exp(odds - odds.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    heard = odds[np.arange(len(own)), own][:, None]
    beaten = ((odds < heard).sum(axis=1) + 0.5 * ((odds == heard).sum(axis=1) - 1)) / max(len(names) - 1, 1)
    return HeldOut(identification_accuracy(made.predictions, music[own], made.clip_ids).mean,
                   identification_accuracy(averaged, music, names.tolist()).mean, float(beaten.mean()),
                   shares.max(axis=1), shares.argmax(axis=1) == own)


def paired_gain(differences: list[float]) -> PairedGain:
    """Mean and Student's interval of differences, one per person; at least two."""
    values = np.asarray(differences, np.float64)
    half = float(student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return PairedGain(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half, len(values))


def surest_gain(confidence: Floats, right: NDArray[np.bool_], share: float = 0.4) -> float:
    """By how much the top-1 rate of the surest trials exceeds that of all: a ratio."""
    kept = np.argsort(-confidence, kind="stable")[:max(round(share * len(confidence)), 1)]
    return float(right[kept].mean() / max(right.mean(), 1e-12))
