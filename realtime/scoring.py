"""Identification accuracy and its chance band: the figures a run is judged by.

The measure is Brain2Music's (arXiv 2307.11078, section 3.4): C_ij is Pearson's correlation
between prediction i and target j; a trial's score is the share of rival clips that its own
clip beats. Two errors of public implementations are avoided on purpose: ties count half
(counting `>=` adds 1/(n-1)), and a repeat of the same clip is no rival.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class IdentificationScore:
    """Identification accuracy of a set of trials; chance is 0.5.

    Attributes
    ----------
    per_trial : float64 array of shape (n_trials,)
        Share of rival clips the trial's own clip beats, ties half. NaN for a trial that cannot
        be scored: its prediction holds NaN (no evidence), or it has no rival.
    mean : float
        Mean over the trials that can be scored; NaN when there are none.
    """

    per_trial: NDArray[np.float64]
    mean: float

    @property
    def n_trials(self) -> int:
        """How many trials were scored."""
        return int(np.isfinite(self.per_trial).sum())


@dataclass(frozen=True)
class ChanceBand:
    """What random assignments of the run's clips would have scored.

    Attributes
    ----------
    p50, p95, p99 : float
        Quantiles of the mean score under permutation; NaN when nothing can be scored.
    p_value : float
        (1 + b) / (1 + n), b of n permutations scored at least what was observed.
    n_permutations : int
        Drawn permutations.
    n_trials : int
        Trials scored.
    smallest_p : float
        One over the number of distinct assignments: no result of this run can be rarer.
    """

    p50: float
    p95: float
    p99: float
    p_value: float
    n_permutations: int
    n_trials: int
    smallest_p: float

    @property
    def tells(self) -> bool:
        """Whether this run could differ from chance at all."""
        return self.smallest_p <= SIGNIFICANT and self.n_trials > 0


@dataclass(frozen=True)
class RankScore:
    """Where the true clip stood among the run's distinct clips.

    Attributes
    ----------
    median_rank : float
        1 is best; a tie counts half a place. NaN when nothing can be scored.
    top1, top3 : float
        Share of trials whose true clip ranked within the first 1 or 3.
    n_candidates : int
        Distinct clips.
    """

    median_rank: float
    top1: float
    top3: float
    n_candidates: int


@dataclass(frozen=True, eq=False)
class ClipCorrelations:
    """Every trial's prediction against every distinct clip.

    Attributes
    ----------
    names : tuple of str
        Distinct clips, sorted.
    own : intp array of shape (n_trials,)
        Place of each trial's clip among them.
    correlation : float64 array of shape (n_trials, n_clips)
        Pearson's correlation, rounded so that a tie is a tie; NaN rows for trials without evidence.
    """

    names: tuple[str, ...]
    own: NDArray[np.intp]
    correlation: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Distinct clips: `own[i]` is trial i's, `beaten[i, k]` its score if k were its clip."""

    own: NDArray[np.intp]
    beaten: NDArray[np.float64]
    names: tuple[str, ...]


def identification_accuracy(predictions: NDArray[np.floating], targets: NDArray[np.floating],
                            clip_ids: Sequence[str]) -> IdentificationScore:
    """Share of the other clips that each trial's own clip beats.

    Parameters
    ----------
    predictions : float array of shape (n_trials, dim)
        Decoded embeddings; a row with NaN is a trial without evidence and is not scored.
        A constant row correlates with nothing: it ties with every clip and scores 0.5.
    targets : float array of shape (n_trials, dim)
        Embeddings of the clips heard, finite; rows of one clip are equal.
    clip_ids : sequence of str, length n_trials
        What was heard. Candidates are the distinct clips, each once.

    Raises
    ------
    ValueError
        The three do not belong together.
    """
    candidates = _candidates(predictions, targets, clip_ids)
    per_trial = candidates.beaten[np.arange(len(candidates.own)), candidates.own]
    return IdentificationScore(per_trial, _mean(per_trial))


def permutation_band(predictions: NDArray[np.floating], targets: NDArray[np.floating], clip_ids: Sequence[str],
                     run_ids: Sequence[str] | None = None, n_permutations: int = 10_000, seed: int = 0) -> ChanceBand:
    """Chance band of `identification_accuracy`, permuting the clips within each run.

    A permutation exchanges whole clips: the repeats of one clip in a run stay together, since
    they are not independent. Trials and predictions stay in place, so that whatever the
    decoder follows besides the music (drift, order) is in the null too.

    Parameters
    ----------
    predictions, targets, clip_ids
        As in `identification_accuracy`.
    run_ids : sequence of str, length n_trials, optional
        The run of each trial; one run when left out.
    n_permutations : int
        At least 1000.
    seed : int
        Of the draw: the same trials give the same band.

    Raises
    ------
    ValueError
        Inputs that do not belong together, or fewer than 1000 permutations.
    """
    if n_permutations < 1000:
        raise ValueError(f"n_permutations is {n_permutations}, wanted at least 1000: the 99 % quantile needs them")
    candidates = _candidates(predictions, targets, clip_ids)
    runs = np.zeros(len(clip_ids), np.intp) if run_ids is None else np.unique(list(run_ids), return_inverse=True)[1]
    if len(runs) != len(clip_ids):
        raise ValueError(f"run_ids has {len(runs)} entries for {len(clip_ids)} trials; give one run per trial")
    trials = np.arange(len(candidates.own))
    observed = candidates.beaten[trials, candidates.own]
    scored = np.isfinite(observed)
    if not scored.any():
        return ChanceBand(float("nan"), float("nan"), float("nan"), 1.0, n_permutations, 0, 1.0)
    rng = np.random.default_rng(seed)
    null = np.empty(n_permutations)
    groups = [np.flatnonzero(runs == run) for run in np.unique(runs)]
    clips = [np.unique(candidates.own[group], return_inverse=True) for group in groups]
    assigned = candidates.own.copy()
    for i in range(n_permutations):
        for group, (names, position) in zip(groups, clips, strict=True):
            assigned[group] = rng.permutation(names)[position]
        null[i] = candidates.beaten[trials[scored], assigned[scored]].mean()
    arrangements = prod(factorial(len(names)) for names, _ in clips)
    reached = int((null >= observed[scored].mean() - 1e-12).sum())  # sums in another order differ in the last bits
    p50, p95, p99 = (float(value) for value in np.quantile(null, [0.5, 0.95, 0.99]))
    return ChanceBand(p50, p95, p99, (1 + reached) / (1 + n_permutations), n_permutations, int(scored.sum()),
                      float(Fraction(1, arrangements)))


def rank_score(predictions: NDArray[np.floating], targets: NDArray[np.floating],
               clip_ids: Sequence[str]) -> RankScore:
    """Median rank and top-1 and top-3 share of the true clip among the distinct clips.

    Parameters and errors as in `identification_accuracy`.
    """
    candidates = _candidates(predictions, targets, clip_ids)
    beaten = candidates.beaten[np.arange(len(candidates.own)), candidates.own]
    n_rivals = len(candidates.names) - 1
    # Ranks are whole or half; 1 + 9 × (1 - 7/9) is not 3 in floating point, and top-3 must count it.
    ranks = np.round(2 * (1 + n_rivals * (1 - beaten[np.isfinite(beaten)]))) / 2
    if not len(ranks):
        return RankScore(float("nan"), float("nan"), float("nan"), len(candidates.names))
    return RankScore(float(np.median(ranks)), float((ranks <= 1).mean()), float((ranks <= 3).mean()),
                     len(candidates.names))


def verdict(score: IdentificationScore, band: ChanceBand) -> str:
    """One sentence for people: the score, and whether chance explains it."""
    if band.n_trials == 0:
        return "No trial could be scored: there is no statement about decoding in this run."
    trials = f"{band.n_trials} trial{'s' if band.n_trials > 1 else ''}"
    figure = f"Identification accuracy {score.mean:.2f} over {trials}"
    if not band.tells:
        return (f"{figure}: too few different clips to tell from chance (even a perfect run would have "
                f"p = {band.smallest_p:.2f}); at least 4 are needed.")
    null = f"95 % of {band.n_permutations} random assignments of the clips stay at or below {band.p95:.2f}"
    if band.p_value <= SIGNIFICANT:
        return f"{figure} lies above the chance band ({null}; p = {band.p_value:.4f}): the music heard was decoded."
    return (f"{figure} lies inside the chance band ({null}; p = {band.p_value:.2f}): this run does not show that "
            "the music heard was decoded.")


def clip_correlations(predictions: NDArray[np.floating], targets: NDArray[np.floating],
                      clip_ids: Sequence[str]) -> ClipCorrelations:
    """Correlate predictions with the distinct clips; parameters and errors as in `identification_accuracy`."""
    decoded, heard = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if decoded.ndim != 2 or decoded.shape != heard.shape or len(clip_ids) != len(decoded):
        raise ValueError(f"predictions {decoded.shape}, targets {heard.shape} and {len(clip_ids)} clip ids do not "
                         "belong together; wanted (n, d), (n, d) and n")
    if not np.isfinite(heard).all():
        raise ValueError("targets hold NaN or infinity; every clip heard needs its embedding")
    names, first, own = np.unique(list(clip_ids) or np.empty(0, str), return_index=True, return_inverse=True)
    # Equal correlations computed from different rows differ in the last bits; a tie is a tie.
    correlation = np.round(_standardised(decoded) @ _standardised(heard[first]).T, 12)
    correlation[~np.isfinite(decoded).all(axis=1)] = np.nan
    return ClipCorrelations(tuple(str(name) for name in names), own, correlation)


def _candidates(predictions: NDArray[np.floating], targets: NDArray[np.floating],
                clip_ids: Sequence[str]) -> _Candidates:
    against = clip_correlations(predictions, targets, clip_ids)
    correlation, names = against.correlation, against.names
    beaten = np.full(correlation.shape, np.nan)
    if len(names) > 1:
        for i in np.flatnonzero(np.isfinite(correlation).all(axis=1)):
            ordered = np.sort(correlation[i])
            below = np.searchsorted(ordered, correlation[i], side="left")
            ties = np.searchsorted(ordered, correlation[i], side="right") - below - 1
            beaten[i] = (below + 0.5 * ties) / (len(names) - 1)
    return _Candidates(against.own, beaten, names)


def _standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows with mean 0 and length 1; constant rows become zero."""
    with np.errstate(invalid="ignore"):
        centred = rows - rows.mean(axis=1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        flat = length <= 1e-12 * np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, length))


def _mean(per_trial: NDArray[np.float64]) -> float:
    scored = per_trial[np.isfinite(per_trial)]
    return float(scored.mean()) if len(scored) else float("nan")
