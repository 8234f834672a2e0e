"""Decoders without music in their brain data: whatever they reach, a real decoder must beat.

Each gives predictions for the same trials, which then pass the very evaluation of the real one.

mean vector       the mean training target for every trial: what hubness and a skewed test set give
random vector     noise with the training targets' mean and covariance diagonal
genre only        the mean training target of the genre heard, told by an oracle: what knowing the genre alone gives
previous clip     the target of the clip before, told by an oracle: what carry-over in time gives
time only         ridge from the time in the run: what the order of the clips gives
motion only       ridge from framewise displacement over the trial: what moving to the music gives
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError
from offline_training.evaluation.heard import Heard, time_features
from offline_training.ridge import fit_kernel_ridge
from offline_training.splits import deal_folds

Floats = NDArray[np.float64]
ALPHAS = tuple(float(alpha) for alpha in np.logspace(-1, 5, 13))


@dataclass(frozen=True, eq=False)
class Known:
    """Trials with their targets.

    Attributes
    ----------
    heard : Heard
    targets : float64 array of shape (n_trials, dim)
    motion : float64 array of shape (n_trials, n_features) or None
        What the head did over each trial; None where that is not known.
    """

    heard: Heard
    targets: Floats
    motion: Floats | None = None


def controls(training: Known, test: Known, seed: int = 0) -> dict[str, Floats]:
    """Predictions of every control for the test trials.

    Parameters
    ----------
    training, test : Known
        Nothing but the training targets, and of the test trials what each control is told, is used.
    seed : int
        Of the random vectors.

    Returns
    -------
    predictions : dict of str to float64 array of shape (n_test, dim)
        "previous clip" is NaN where there was none. Controls that need more runs, or motion, than there are, are left
        out.
    """
    n_test, mean = len(test.targets), training.targets.mean(axis=0)
    spread = training.targets.std(axis=0)
    rng = np.random.default_rng(seed)
    found = {"mean vector": np.tile(mean, (n_test, 1)),
             "random vector": mean + spread * rng.standard_normal((n_test, len(mean))),
             "genre only": _genre_means(training, test), "previous clip": _previous(training, test)}
    ridges = {"time only": (time_features(training.heard), time_features(test.heard))}
    if training.motion is not None and test.motion is not None:
        ridges["motion only"] = (training.motion.astype(np.float32), test.motion.astype(np.float32))
    for name, (known, asked) in ridges.items():
        try:
            found[name] = _ridge(known, training, asked)
        except FitError:  # one run, or the same clips in all of them: nothing can be held out
            continue
    return found


def _genre_means(training: Known, test: Known) -> Floats:
    genres = np.asarray(training.heard.genres)
    means = {genre: training.targets[genres == genre].mean(axis=0) for genre in set(training.heard.genres)}
    everything = training.targets.mean(axis=0)
    return np.stack([means.get(genre, everything) for genre in test.heard.genres])


def _previous(training: Known, test: Known) -> Floats:
    known = {clip: row for trials in (training, test)
             for clip, row in zip(trials.heard.clip_ids, trials.targets, strict=True)}
    nothing = np.full(test.targets.shape[1], np.nan)
    return np.stack([known.get(clip, nothing) for clip in test.heard.previous])


def _ridge(features: NDArray[np.float32], training: Known, asked: NDArray[np.float32]) -> Floats:
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    fold = deal_folds(training.heard.run_ids, training.heard.tracks, 6)
    ridge = fit_kernel_ridge((features - mean) / spread, training.targets.astype(np.float32), fold, ALPHAS)
    return np.asarray(ridge.predict((asked - mean) / spread), np.float64)
