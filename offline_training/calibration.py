"""How sure a decoder may be: what its out-of-fold evidence looks like for a clip after n volumes, and its scatter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from realtime.reliability import Reliability, heavy_tailed

Floats = NDArray[np.float64]

_MOST_AXES = 32
_TRIALS_PER_AXIS = 8
_FEWEST_TRIALS = 12
_OFF_DIAGONAL = 0.8  # of the noise covariance: a few hundred trials do not pin down every entry
_TAILS = (0.0, 1 / 64, 1 / 32, 1 / 24, 1 / 16, 1 / 12, 1 / 8, 1 / 4)
_SCALES = (1e-4, 1e3)


@dataclass(frozen=True)
class Temper:
    """How much of squared distances to believe.

    Attributes
    ----------
    scale : float
        What they are to be multiplied with, at least 0.
    log_likelihood : float
        Of what was heard, over all trials, under that scale.
    """

    scale: float
    log_likelihood: float


@dataclass(frozen=True, eq=False)
class _Noise:
    """Evidence of n volumes, seen along axes (k, dim): gain (k,) times what was heard, plus noise (root: S^-½)."""

    axes: Floats
    gain: Floats
    root: Floats

    def maps(self, scale: float) -> tuple[Floats, Floats]:
        scaled = np.sqrt(scale) * self.root
        return scaled @ self.axes, (scaled * self.gain) @ self.axes


@dataclass(frozen=True, eq=False)
class _Trusted:
    """Maps (k, dim) and tail of `Reliability` after n volumes."""

    evidence_map: Floats
    clip_map: Floats
    tail: float


def estimate_reliability(growing: Floats, targets: Floats, clips: Sequence[str], runs: Sequence[str],
                         fold: NDArray[np.intp]) -> Reliability:
    """Reliability of evidence after each number of volumes.

    Gain and noise are fitted along the targets' principal axes, keeping those along which evidence and target correlate
    by more than two standard errors. How much of the resulting distances to believe (the temperature), and how
    unequal the noise of trials is (the tail), make what was heard likeliest on folds that gain and noise were not
    fitted on, rivals being the clips of the same run.

    Parameters
    ----------
    growing : float64 array of shape (window_volumes, n_trials, dim)
        Out-of-fold predictions after n usable volumes; NaN where a trial had fewer. Predictions of trials that were
        trained on would promise far too much.
    targets : float64 array of shape (n_trials, dim)
    clips, runs : sequences of str, length n_trials
    fold : intp array of shape (n_trials,)
    """
    mean, rivals = targets.mean(axis=0), _rivals(clips, runs)
    axes = np.linalg.svd(targets - mean, full_matrices=False)[2][:_MOST_AXES]
    found: list[_Trusted] = []
    for evidence in growing:
        there = np.isfinite(evidence).all(axis=1)
        few = there.sum() < _FEWEST_TRIALS and found
        found.append(found[-1] if few else _trusted(evidence - mean, targets - mean, axes, rivals, fold, there))
    k = max(len(one.evidence_map) for one in found)
    evidence_map, clip_map = (np.stack([np.pad(each, ((0, k - len(each)), (0, 0))) for each in maps]).astype(np.float32)
                              for maps in ([one.evidence_map for one in found], [one.clip_map for one in found]))
    tail = np.array([one.tail for one in found], np.float32)
    return Reliability(mean.astype(np.float32), evidence_map, clip_map, tail)


def _trusted(evidence: Floats, heard: Floats, axes: Floats, rivals: Sequence[NDArray[np.intp]],
             fold: NDArray[np.intp], there: NDArray[np.bool_]) -> _Trusted:
    cases: list[Floats] = []
    for k in np.unique(fold[there]):
        held = there & (fold == k)
        said, evoked = _noise(evidence[there & ~held], heard[there & ~held], axes).maps(1.0)
        cases += [np.square(evidence[trial] @ said.T - heard[rivals[trial]] @ evoked.T).sum(axis=1)
                  for trial in np.flatnonzero(held).tolist()]
    tempers = {tail: fit_temper(cases, tail) for tail in _TAILS}
    tail = max(_TAILS, key=lambda tail: tempers[tail].log_likelihood)
    return _Trusted(*_noise(evidence[there], heard[there], axes).maps(tempers[tail].scale), tail)


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


def fit_temper(cases: Sequence[Floats], tail: float = 0.0) -> Temper:
    """The scale of distances with which what was heard is likeliest.

    Parameters
    ----------
    cases : sequence of float64 arrays of shape (n_clips,)
        Squared distances of one trial each; the clip heard is the first.
    tail : float
        Of the noise, as `Reliability.tail`.

    Returns
    -------
    temper : Temper
        Its scale is 0, a uniform posterior, where what was heard is on average no nearer than its rivals.
    """
    alike: dict[int, list[Floats]] = {}
    for case in cases:
        alike.setdefault(len(case), []).append(case)
    blocks = [np.stack(block) for length, block in alike.items() if length > 1]
    nearer = sum(float((block.mean(axis=1) - block[:, 0]).sum()) for block in blocks)
    if nearer <= 0.0:  # the slope at 0, whatever the tail
        return Temper(0.0, _log_likelihood(blocks, 0.0, tail))
    low, high = np.log(_SCALES)
    found = minimize_scalar(lambda at: -_log_likelihood(blocks, float(np.exp(at)), tail), bounds=(low, high),
                            method="bounded", options={"xatol": 1e-3})
    return Temper(float(np.exp(found.x)), -float(found.fun))


def _log_likelihood(blocks: Sequence[Floats], scale: float, tail: float) -> float:
    total = 0.0
    for distances in blocks:
        odds = heavy_tailed(scale * distances, tail)
        best = odds.max(axis=1)
        total += float((odds[:, 0] - best - np.log(np.exp(odds - best[:, None]).sum(axis=1))).sum())
    return total
