"""Where each clip stands for each trial, and the measures that follow from it.

Every measure here is a table of shape (n_trials, n_clips): what the trial would score if that clip had been heard.
The column of the clip that was heard gives the score; the columns of shuffled clips give its null. Ties are broken
fairly everywhere: a decoder that says the same of all clips scores exactly chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Standings:
    """How many rivals a clip leaves behind, or ties with, in each trial.

    Attributes
    ----------
    below, ties : float64 arrays of shape (n_trials, n_clips)
        Rivals with a smaller, and with the same similarity; NaN rows where the trial has no evidence.
    n_rivals : int or float64 array of shape (n_clips,)
        Other clips that each is compared with.
    """

    below: Floats
    ties: Floats
    n_rivals: NDArray[np.float64] | int

    @property
    def above(self) -> Floats:
        """Rivals with a larger similarity."""
        return self.n_rivals - self.below - self.ties


def standings(similarity: Floats) -> Standings:
    """Count, in each row, how many other columns are smaller and how many are equal.

    Parameters
    ----------
    similarity : float64 array of shape (n_trials, n_clips)
        Rounded, so that equal is equal (`realtime.scoring.clip_correlations`); a row with NaN has no evidence.
    """
    n_trials, n_clips = similarity.shape
    below, ties = np.full((n_trials, n_clips), np.nan), np.full((n_trials, n_clips), np.nan)
    for trial in np.flatnonzero(np.isfinite(similarity).all(axis=1)):
        ordered = np.sort(similarity[trial])
        below[trial] = np.searchsorted(ordered, similarity[trial], side="left")
        ties[trial] = np.searchsorted(ordered, similarity[trial], side="right") - below[trial] - 1
    return Standings(below, ties, n_clips - 1)


def standings_within(similarity: Floats, groups: Sequence[str]) -> Standings:
    """`standings` with the clips of the same group as the only rivals; groups of one clip have none.

    Parameters
    ----------
    similarity : float64 array of shape (n_trials, n_clips)
    groups : sequence of str, length n_clips
        Such as genres.
    """
    names = np.asarray(groups)
    below, ties = np.full(similarity.shape, np.nan), np.full(similarity.shape, np.nan)
    n_rivals = np.zeros(len(names))
    for group in np.unique(names):
        columns = names == group
        inside = standings(similarity[:, columns])
        below[:, columns], ties[:, columns], n_rivals[columns] = inside.below, inside.ties, columns.sum() - 1
    return Standings(below, ties, n_rivals)


def identification(stand: Standings) -> Floats:
    """Share of rivals left behind, ties half (Brain2Music, arXiv 2307.11078, section 3.4); NaN without rivals."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((stand.below + 0.5 * stand.ties) / stand.n_rivals, np.float64)


def rank(stand: Standings) -> Floats:
    """Place among the clips, 1 the best; a tie counts half a place."""
    return np.asarray(1 + stand.above + 0.5 * stand.ties, np.float64)


def top(stand: Standings, k: int) -> Floats:
    """Probability of being among the k best, ties broken by lot; chance is k over the number of clips."""
    return np.asarray(np.clip((k - stand.above) / (stand.ties + 1), 0.0, 1.0), np.float64)


def n_way(stand: Standings, n: int) -> Floats:
    """Probability of being the best of n clips, the n - 1 rivals drawn without replacement; exact, nothing is drawn.

    Ties are broken by lot, so that 2-way is identification accuracy. Chance is 1 / n; NaN with fewer than n clips.
    """
    drawn = n - 1
    if np.ndim(stand.n_rivals) or int(stand.n_rivals) < drawn:
        return np.full(stand.below.shape, np.nan)
    share = np.zeros(stand.below.shape)
    most = np.nanmax(stand.ties, initial=0.0) if np.isfinite(stand.ties).any() else 0.0
    for tied in range(int(min(most, drawn)) + 1):
        ways = _log_choose(stand.ties, tied) + _log_choose(stand.below, drawn - tied)
        share += np.exp(ways - _log_choose(np.float64(stand.n_rivals), drawn)) / (1 + tied)
    share[~np.isfinite(stand.below)] = np.nan
    return share


def _log_choose(n: Floats | np.float64, k: int) -> Floats:
    """Log of the binomial coefficient; -inf where k is larger than n."""
    values = np.asarray(n, np.float64)
    room = np.maximum(values - k, 0.0)
    return np.where(values >= k, gammaln(values + 1) - gammaln(k + 1) - gammaln(room + 1), -np.inf)
