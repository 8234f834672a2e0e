"""How sure a decoder may be: what its out-of-fold evidence looks like for a clip after n volumes, and its scatter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.reliability import Reliability

Floats = NDArray[np.float64]

_MOST_AXES = 32
_TRIALS_PER_AXIS = 8
_FEWEST_TRIALS = 12
_OFF_DIAGONAL = 0.8  # of the noise covariance: a few hundred trials do not pin down every entry
_LARGEST = 1000.0
_BISECTIONS = 60


@dataclass(frozen=True, eq=False)
class _Noise:
    """Evidence of n volumes, seen along axes (k, dim): gain (k,) times what was heard, plus noise (root: S^-½)."""

    axes: Floats
    gain: Floats
    root: Floats

    def maps(self, temper: float) -> tuple[Floats, Floats]:
        scaled = np.sqrt(temper) * self.root
        return scaled @ self.axes, (scaled * self.gain) @ self.axes


def estimate_reliability(growing: Floats, targets: Floats, clips: Sequence[str], runs: Sequence[str],
                         fold: NDArray[np.intp]) -> Reliability:
    """Reliability of evidence after each number of volumes.

    Gain and noise are fitted along the targets' principal axes, keeping those along which evidence and target correlate
    by more than two standard errors. How much of the resulting log odds to believe (the temperature) is fitted on folds
    that gain and noise were not fitted on, rivals being the clips of the same run.

    Parameters
    ----------
    growing : float64 array of shape (window_volumes, n_trials, dim)
        Out-of-fold predictions after n usable volumes; NaN where a trial had fewer. Predictions of trials that were
        trained on would promise far too much.
    targets : float64 array of shape (n_trials, dim)
    clips, runs : sequences of str, length n_trials
    fold : intp array of shape (n_trials,)
    """
    mean = targets.mean(axis=0)
    axes = np.linalg.svd(targets - mean, full_matrices=False)[2][:_MOST_AXES]
    maps: list[tuple[Floats, Floats]] = []
    for evidence in growing:
        there = np.isfinite(evidence).all(axis=1)
        if there.sum() < _FEWEST_TRIALS and maps:
            maps.append(maps[-1])
            continue
        maps.append(_maps(evidence - mean, targets - mean, axes, _rivals(clips, runs), fold, there))
    k = max(len(evidence_map) for evidence_map, _ in maps)
    stacked = [np.stack([np.pad(pair[side], ((0, k - len(pair[side])), (0, 0))) for pair in maps]) for side in (0, 1)]
    return Reliability(mean.astype(np.float32), stacked[0].astype(np.float32), stacked[1].astype(np.float32))


def _maps(evidence: Floats, heard: Floats, axes: Floats, rivals: Sequence[NDArray[np.intp]], fold: NDArray[np.intp],
          there: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    cases = []
    for k in np.unique(fold[there]):
        held = there & (fold == k)
        noise = _noise(evidence[there & ~held], heard[there & ~held], axes)
        seen, evoked = noise.maps(1.0)
        for trial in np.flatnonzero(held).tolist():
            distance = np.square(evidence[trial] @ seen.T - heard[rivals[trial]] @ evoked.T).sum(axis=1)
            cases.append(-0.5 * distance)
    return _noise(evidence[there], heard[there], axes).maps(fit_temperature(cases))


def _rivals(clips: Sequence[str], runs: Sequence[str]) -> list[NDArray[np.intp]]:
    """For each trial the trials of its run with other clips, each clip once, itself in front."""
    rivals = []
    for trial, (clip, run) in enumerate(zip(clips, runs, strict=True)):
        first: dict[str, int] = {}
        for other, name in enumerate(clips):
            if runs[other] == run and name != clip:
                first.setdefault(name, other)
        rivals.append(np.array([trial, *first.values()], np.intp))
    return rivals


def _noise(evidence: Floats, heard: Floats, axes: Floats) -> _Noise:
    axes = axes[:max(len(heard) // _TRIALS_PER_AXIS, 1)]
    seen, wanted = evidence @ axes.T, heard @ axes.T
    power = np.maximum(np.square(wanted).sum(axis=0), 1e-30)
    gain = (seen * wanted).sum(axis=0) / power
    correlation = gain * np.sqrt(power / np.maximum(np.square(seen).sum(axis=0), 1e-30))
    told = correlation > 2.0 / np.sqrt(max(len(heard), 1))
    rest = (seen - gain * wanted)[:, told]
    covariance = _OFF_DIAGONAL * (rest.T @ rest) / max(len(rest), 1)
    covariance[np.diag_indices_from(covariance)] = np.maximum(np.square(rest).mean(axis=0) if len(rest) else 0.0, 1e-12)
    root = np.linalg.inv(np.linalg.cholesky(covariance)) if told.any() else np.zeros((0, 0))
    return _Noise(axes[told], gain[told], root)


def fit_temperature(cases: Sequence[Floats]) -> float:
    """Factor t ≥ 0 of log odds with which softmax(t × log odds) makes what was heard likeliest.

    The log likelihood is concave in t, so bisection on its derivative finds the maximum; noise gives 0, a uniform
    posterior.

    Parameters
    ----------
    cases : sequence of float64 arrays of shape (n_clips,)
        Log odds of one trial each; the clip heard is the first.
    """
    alike: dict[int, list[Floats]] = {}
    for case in cases:
        alike.setdefault(len(case), []).append(case - case[0])
    blocks = [np.stack(block) for length, block in alike.items() if length > 1]

    def slope(temper: float) -> float:
        total = 0.0
        for odds in blocks:
            weights = np.exp(temper * (odds - odds.max(axis=1, keepdims=True)))
            total -= float(((weights * odds).sum(axis=1) / weights.sum(axis=1)).sum())
        return total

    if not blocks or slope(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, _LARGEST
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)
