"""From a trial's evidence to a posterior over the candidate clips and over their genres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.messages import Clip
from realtime.ports import MusicIndex
from realtime.reliability import HEARD, Reliability

N_CANDIDATES = 2000
"""Of a larger corpus only the best are candidates: the others would share out what none of them earns."""


@dataclass(frozen=True)
class RankedClip:
    """A candidate with its share of the posterior."""

    clip: Clip
    posterior: float
    similarity: float


@dataclass(frozen=True)
class GenreShare:
    """A genre with the posterior of all its clips together."""

    genre: str
    posterior: float


@dataclass(frozen=True, eq=False)
class Posterior:
    """How probable each candidate is, given a trial's evidence and that one of them was heard.

    Attributes
    ----------
    clips : sequence of Clip
        The candidates.
    probabilities : float64 array of shape (n_clips,)
        Sum to 1; in the candidates' order.
    similarities : float64 array of shape (n_clips,)
        Centred cosines to the decoded embedding, for people; the probabilities do not come from them.
    genres : tuple of GenreShare
        Best first, ties by name.
    """

    clips: Sequence[Clip]
    probabilities: NDArray[np.float64]
    similarities: NDArray[np.float64]
    genres: tuple[GenreShare, ...]

    @property
    def confidence(self) -> float:
        """Posterior of the best clip."""
        return float(self.probabilities.max())

    def top(self, n: int) -> tuple[RankedClip, ...]:
        """The n most probable clips, best first, ties by similarity and position."""
        order = np.lexsort((np.arange(len(self.clips)), -self.similarities, -self.probabilities))[:n]
        return tuple(RankedClip(self.clips[i], float(self.probabilities[i]), float(self.similarities[i]))
                     for i in order)


def believe(index: MusicIndex, embedding: NDArray[np.float32], reliability: Reliability,
            n_volumes: int, sizes: Sequence[float] = HEARD) -> Posterior:
    """Posterior over the clips of an index; over the `N_CANDIDATES` that fit best when it has more.

    Parameters
    ----------
    index : MusicIndex
        The clips that may have been heard.
    embedding : float32 array of shape (dim,)
        Decoded, finite.
    reliability : Reliability
        The bundle's.
    n_volumes : int
        Usable volumes behind the evidence; with 0 every clip is equally probable.
    sizes : sequence of float
        How large the response may be against hearing's, `Reliability.log_odds`.
    """
    towards = reliability.towards(embedding, n_volumes)
    found = index.search(index.centre + towards if towards.any() else embedding, N_CANDIDATES)
    ids = [match.clip.clip_id for match in found]
    log_odds = reliability.log_odds(embedding, index.embeddings(ids), n_volumes, sizes)
    return posterior(log_odds, index.similarities(embedding, ids), [match.clip for match in found])


def posterior(log_odds: NDArray[np.floating], similarities: NDArray[np.floating], clips: Sequence[Clip]) -> Posterior:
    """The posterior for equal priors.

    Parameters
    ----------
    log_odds : float array of shape (n_clips,)
        Log likelihood of the evidence under each clip, up to a constant; finite.
    similarities : float array of shape (n_clips,)
        Centred cosines, finite.
    clips : sequence of Clip
        The candidates, at least one, in the same order.

    Raises
    ------
    ValueError
        No candidate, or not one value of each kind per clip.
    """
    odds, cosines = np.asarray(log_odds, np.float64), np.asarray(similarities, np.float64)
    if not len(clips) or odds.shape != (len(clips),) or cosines.shape != (len(clips),):
        raise ValueError(f"{odds.shape} log odds and {cosines.shape} similarities for {len(clips)} clips; wanted one "
                         "of each for every clip, and at least one")
    weights = np.exp(odds - odds.max())
    probabilities = weights / weights.sum()
    return Posterior(clips, probabilities, cosines, _genres(clips, probabilities))


def _genres(clips: Sequence[Clip], probabilities: NDArray[np.float64]) -> tuple[GenreShare, ...]:
    shares: dict[str, float] = {}
    for clip, probability in zip(clips, probabilities, strict=True):
        shares[clip.genre] = shares.get(clip.genre, 0.0) + float(probability)
    best_first = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return tuple(GenreShare(genre, share) for genre, share in best_first)
