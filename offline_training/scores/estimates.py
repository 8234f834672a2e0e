"""A figure with what belongs to it: n, a bootstrap interval over clips, the null's quantiles and p."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.atomic import without_nan

Floats = NDArray[np.float64]
_CHUNK_VALUES = 2**24


@dataclass(frozen=True)
class Null:
    """What shuffled clips scored.

    Attributes
    ----------
    p01, p05, p50, p95, p99 : float
        Quantiles.
    p_value : float
        (1 + b) / (1 + n), b of n shuffles scored at least what was observed.
    n_permutations, seed : int
    """

    p01: float
    p05: float
    p50: float
    p95: float
    p99: float
    p_value: float
    n_permutations: int
    seed: int


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes
    ----------
    value : float
        NaN where it cannot be had.
    low, high : float
        95 % percentile bootstrap over clips, all trials of a clip together; the candidates stay as they are.
    chance : float
        What guessing scores on average, where that is known.
    n_trials, n_clips : int
        Behind it.
    n_resamples, seed : int
        Of the bootstrap.
    null : Null or None
    """

    value: float
    low: float
    high: float
    chance: float
    n_trials: int
    n_clips: int
    n_resamples: int
    seed: int
    null: Null | None = None

    def figures(self) -> dict[str, Any]:
        """For JSON: what cannot be had is null."""
        figures: dict[str, Any] = without_nan(asdict(self))
        return figures


def null_means(table: Floats, assigned: NDArray[np.intp]) -> Floats:
    """Mean score of every shuffle.

    Parameters
    ----------
    table : float64 array of shape (n_trials, n_clips)
        What each trial would score with each clip; NaN is left out.
    assigned : intp array of shape (n_shuffles, n_trials)

    Returns
    -------
    means : float64 array of shape (n_shuffles,)
        NaN where nothing can be scored.
    """
    trials = np.flatnonzero(np.isfinite(table).any(axis=1))
    means = np.full(len(assigned), np.nan)
    if not len(trials):
        return means
    step = max(1, _CHUNK_VALUES // len(trials))
    for start in range(0, len(assigned), step):
        scores = table[trials, assigned[start:start + step][:, trials]]
        there = np.isfinite(scores)
        n = there.sum(axis=1)
        means[start:start + step] = np.where(n > 0, np.where(there, scores, 0.0).sum(axis=1) / np.maximum(n, 1), np.nan)
    return means


def null_of(drawn: Floats, observed: float, seed: int, larger_is_better: bool = True) -> Null:
    """Quantiles and p of a null of shape (n_shuffles,)."""
    sign = 1.0 if larger_is_better else -1.0
    if not np.isfinite(observed) or not np.isfinite(drawn).any():
        nothing = float("nan")
        return Null(nothing, nothing, nothing, nothing, nothing, 1.0, len(drawn), seed)
    drawn = drawn[np.isfinite(drawn)]
    reached = int((sign * drawn >= sign * observed - 1e-12).sum())  # sums in another order differ in the last bits
    p01, p05, p50, p95, p99 = (float(q) for q in np.quantile(drawn, [0.01, 0.05, 0.5, 0.95, 0.99]))
    return Null(p01, p05, p50, p95, p99, (1 + reached) / (1 + len(drawn)), len(drawn), seed)


def clip_sums(per_trial: Floats, own: NDArray[np.intp], n_clips: int) -> tuple[Floats, Floats]:
    """Sum (n_clips,) and count (n_clips,) of the finite scores of each clip's trials."""
    there = np.isfinite(per_trial)
    sums = np.bincount(own[there], per_trial[there], n_clips).astype(np.float64)
    return sums, np.bincount(own[there], minlength=n_clips).astype(np.float64)


def bootstrap_means(sums: Floats, counts: Floats, n_resamples: int, seed: int) -> Floats:
    """Means under resampled clips, and resampled subjects where there are several.

    Clips are the same for all subjects and are drawn once for all of them; subjects are drawn besides (crossed
    resampling, Owen 2007), each weighing by its trials.

    Parameters
    ----------
    sums, counts : float64 arrays of shape (n_clips,) or (n_subjects, n_clips)
        As `clip_sums`; clips without a count are never drawn.

    Returns
    -------
    means : float64 array of shape (n_resamples,)
    """
    rng = np.random.default_rng(seed)
    sums, counts = np.atleast_2d(sums), np.atleast_2d(counts)
    there = counts.sum(axis=0) > 0
    sums, counts = sums[:, there], counts[:, there]
    n_subjects, n_clips = sums.shape
    if not n_clips:
        return np.full(n_resamples, np.nan)
    clips = rng.multinomial(n_clips, np.full(n_clips, 1 / n_clips), n_resamples).astype(np.float64)
    subjects = (rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), n_resamples)
                if n_subjects > 1 else np.ones((n_resamples, 1)))
    with np.errstate(invalid="ignore"):  # no trial drawn at all: NaN
        return np.asarray(((clips @ sums.T) * subjects).sum(axis=1) / ((clips @ counts.T) * subjects).sum(axis=1))


def estimate(table: Floats, own: NDArray[np.intp], chance: float, assigned: NDArray[np.intp] | None = None,
             n_resamples: int = 2000, seed: int = 0) -> Estimate:
    """The mean score of the clips heard, with interval and null.

    Parameters
    ----------
    table : float64 array of shape (n_trials, n_clips)
        What each trial would score with each clip.
    own : intp array of shape (n_trials,)
        The clip that was heard.
    chance : float
    assigned : intp array of shape (n_shuffles, n_trials), optional
        From `shuffles`; no null when left out.
    n_resamples, seed : int
        Of the bootstrap; the seed is named with the null, too, which `shuffles` drew by it.
    """
    per_trial = table[np.arange(len(own)), own]
    sums, counts = clip_sums(per_trial, own, table.shape[1])
    value = float(sums.sum() / counts.sum()) if counts.sum() else float("nan")
    low, high = interval(bootstrap_means(sums, counts, n_resamples, seed))
    null = None if assigned is None else null_of(null_means(table, assigned), value, seed)
    return Estimate(value, low, high, chance, int(counts.sum()), int((counts > 0).sum()), n_resamples, seed, null)


def paired_difference(first: Floats, second: Floats, own: NDArray[np.intp], n_clips: int, n_resamples: int = 2000,
                      seed: int = 0) -> Estimate:
    """Mean difference of two scores of the same trials, first minus second, by a paired bootstrap over clips.

    Parameters
    ----------
    first, second : float64 arrays of shape (n_trials,) or (n_subjects, n_trials)
        Trials that either cannot score are left out. With several subjects, `own` is the same for all of them.
    own : intp array of shape (n_trials,)
    n_clips : int
    """
    difference = np.atleast_2d(first - second)
    pairs = [clip_sums(row, own, n_clips) for row in difference]
    sums, counts = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    value = float(sums.sum() / counts.sum()) if counts.sum() else float("nan")
    low, high = interval(bootstrap_means(sums, counts, n_resamples, seed))
    return Estimate(value, low, high, 0.0, int(counts.sum()), int((counts.sum(axis=0) > 0).sum()), n_resamples, seed)


def interval(drawn: Floats) -> tuple[float, float]:
    """The middle 95 % of resampled means; NaN without any."""
    there = drawn[np.isfinite(drawn)]
    if not len(there):
        return float("nan"), float("nan")
    low, high = np.quantile(there, [0.025, 0.975])
    return float(low), float(high)
