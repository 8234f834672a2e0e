"""Whether a decoder is as sure as it is right: Brier score, expected calibration error, accuracy against coverage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_N_BINS = 10
SHARES = tuple(twentieth / 20 for twentieth in range(1, 21))


@dataclass(frozen=True)
class ReliabilityBin:
    """Trials of about the same confidence: mean confidence, share that was right, how many."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class Calibration:
    """How well probabilities of candidates fit what was heard.

    Attributes
    ----------
    brier : float
        Mean over trials of the sum over candidates of (probability - heard)² (Brier 1950): 0 is best.
    brier_uniform : float
        That of saying 1 / n of everything.
    log_loss, log_loss_uniform : float
        In nats; a probability below 1e-12 counts as that.
    ece : float
        Expected calibration error of the best candidate's probability over ten bins of equally many trials: the mean of
        the gap between accuracy and confidence, weighted by trials (Nguyen & O'Connor 2015). With equal widths,
        decoders of many candidates have all trials in one or two bins.
    ece_equal_width : float
        The same over ten bins of width 0.1 (Guo et al. 2017), for comparison with others.
    ece_if_calibrated, ece_if_calibrated_p95 : float
        Mean and 95 % quantile of `ece` when outcomes are drawn with the very probabilities that were said: what few
        trials alone make of a perfect decoder.
    bins : tuple of ReliabilityBin
        Of `ece`, by rising confidence.
    n_trials, n_candidates, n_draws, seed : int
    """

    brier: float
    brier_uniform: float
    log_loss: float
    log_loss_uniform: float
    ece: float
    ece_equal_width: float
    ece_if_calibrated: float
    ece_if_calibrated_p95: float
    bins: tuple[ReliabilityBin, ...]
    n_trials: int
    n_candidates: int
    n_draws: int
    seed: int


@dataclass(frozen=True)
class Coverage:
    """Accuracy of the surest trials only.

    Attributes
    ----------
    coverage, accuracy, smallest_confidence : tuple of float
        Share of trials kept, accuracy among them, and the threshold that keeps them.
    area_under_risk : float
        Mean error over all coverages (AURC, Geifman et al. 2019); smaller is better.
    gain_at_40 : float
        Accuracy of the surest 40 % over that of all; NaN when none is right.
    n_trials : int
    """

    coverage: tuple[float, ...]
    accuracy: tuple[float, ...]
    smallest_confidence: tuple[float, ...]
    area_under_risk: float
    gain_at_40: float
    n_trials: int


def calibration(probabilities: Floats, heard: NDArray[np.intp], n_draws: int = 1000, seed: int = 0) -> Calibration:
    """Calibration of probabilities.

    Parameters
    ----------
    probabilities : float64 array of shape (n_trials, n_candidates)
        Rows sum to 1; finite, at least one row.
    heard : intp array of shape (n_trials,)
        Column of what was heard.
    n_draws, seed : int
        Of the outcomes behind `ece_if_calibrated`.

    Raises
    ------
    ValueError
        Rows that do not belong together, or are no probabilities.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(heard) or not len(heard):
        raise ValueError(f"probabilities {probabilities.shape} and {len(heard)} trials do not belong together; wanted "
                         "(n, k) and n, at least one")
    if not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-6) or (probabilities < 0).any():
        raise ValueError("rows of probabilities are negative or do not sum to 1; give a posterior per trial")
    n, k = probabilities.shape
    own = probabilities[np.arange(n), heard]
    confidence, correct = probabilities.max(axis=1), top_hits(probabilities, heard)
    bins = _equal_mass(confidence)
    drawn = (np.random.default_rng(seed).random((n_draws, n)) < confidence).astype(np.float64)
    by_chance = np.array([_ece(confidence, row, bins) for row in drawn])
    brier = float(((probabilities**2).sum(axis=1) - 2 * own + 1).mean())
    return Calibration(
        brier, 1 - 1 / k, float(-np.log(np.maximum(own, 1e-12)).mean()), float(np.log(k)),
        _ece(confidence, correct, bins), _ece(confidence, correct, _equal_width(confidence)), float(by_chance.mean()),
        float(np.quantile(by_chance, 0.95)), _curve(confidence, correct, bins), n, k, n_draws, seed)


def top_hits(probabilities: Floats, heard: NDArray[np.intp]) -> Floats:
    """Whether the most probable candidate was heard, shape (n_trials,); ties for the first place share it."""
    best = probabilities.max(axis=1, keepdims=True)
    first = probabilities >= best
    return np.asarray(first[np.arange(len(heard)), heard] / first.sum(axis=1), np.float64)


def coverage(confidence: Floats, correct: Floats, shares: tuple[float, ...] = SHARES) -> Coverage:
    """Accuracy of the surest trials.

    Parameters
    ----------
    confidence, correct : float64 arrays of shape (n_trials,)
        At least one trial. Trials of equal confidence count by their mean, so that their order does not matter.
    shares : tuple of float
        Coverages wanted; the number of trials is rounded up.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, right = confidence[order], np.asarray(correct, np.float64)[order]
    _, level = np.unique(-sure, return_inverse=True)
    right = (np.bincount(level, right) / np.bincount(level))[level]
    running, n = np.cumsum(right) / np.arange(1, len(right) + 1), len(right)
    kept = [max(1, int(np.ceil(share * n - 1e-9))) for share in shares]
    at_40 = running[max(1, int(np.ceil(0.4 * n - 1e-9))) - 1]
    return Coverage(tuple(k / n for k in kept), tuple(float(running[k - 1]) for k in kept),
                    tuple(float(sure[k - 1]) for k in kept), float(1 - running.mean()),
                    float(at_40 / running[-1]) if running[-1] > 0 else float("nan"), n)


def _equal_mass(confidence: Floats) -> NDArray[np.intp]:
    """Bin of each trial: tenths of the trials by confidence, equal confidences together."""
    n = len(confidence)
    first = np.searchsorted(np.sort(confidence), confidence, side="left")
    return np.asarray(first * min(_N_BINS, n) // n, np.intp)


def _equal_width(confidence: Floats) -> NDArray[np.intp]:
    """Bin of each trial; as others have it, a bin's upper edge belongs to it."""
    return np.asarray(np.clip(np.ceil(confidence * _N_BINS) - 1, 0, _N_BINS - 1), np.intp)


def _ece(confidence: Floats, correct: Floats, bins: NDArray[np.intp]) -> float:
    return float(np.abs(np.bincount(bins, correct - confidence)).sum() / len(bins))


def _curve(confidence: Floats, correct: Floats, bins: NDArray[np.intp]) -> tuple[ReliabilityBin, ...]:
    return tuple(ReliabilityBin(float(confidence[bins == b].mean()), float(correct[bins == b].mean()),
                                int((bins == b).sum())) for b in np.unique(bins))
