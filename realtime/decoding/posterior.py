"""From similarities to a posterior over the candidate clips and over their genres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.messages import Clip
from realtime.ports import MusicIndex

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
        Centred cosines they come from.
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
        """The n most probable clips, best first, ties by position."""
        order = np.lexsort((np.arange(len(self.clips)), -self.similarities, -self.probabilities))[:n]
        return tuple(RankedClip(self.clips[i], float(self.probabilities[i]), float(self.similarities[i]))
                     for i in order)


def believe(index: MusicIndex, embedding: NDArray[np.float32], posterior_scale: Sequence[float],
            n_volumes: int) -> Posterior:
    """Posterior over the clips of an index, best first; over its `N_CANDIDATES` best when it has more.

    Parameters
    ----------
    index : MusicIndex
        The clips that may have been heard.
    embedding : float32 array of shape (dim,)
        Decoded, finite.
    posterior_scale, n_volumes
        As `posterior`.
    """
    found = index.search(embedding, N_CANDIDATES)
    return posterior(np.array([match.score for match in found]), [match.clip for match in found], posterior_scale,
                     n_volumes)


def posterior(similarities: NDArray[np.floating], clips: Sequence[Clip], posterior_scale: Sequence[float],
              n_volumes: int) -> Posterior:
    """Softmax of scale × similarity, the scale fitted for this many volumes.

    Parameters
    ----------
    similarities : float array of shape (n_clips,)
        Centred cosine of the evidence's embedding to each clip, finite.
    clips : sequence of Clip
        The candidates, at least one, in the same order.
    posterior_scale : sequence of float
        `Manifest.posterior_scale`: element n-1 is for n volumes; the last serves all larger n.
    n_volumes : int
        Usable volumes behind the evidence; with 0 every clip is equally probable.

    Raises
    ------
    ValueError
        No candidate, or as many similarities as clips are not given.
    """
    values = np.asarray(similarities, np.float64)
    if not len(clips) or values.shape != (len(clips),):
        raise ValueError(f"{values.shape} similarities for {len(clips)} clips; wanted one for each, and at least one")
    scale = float(posterior_scale[min(n_volumes, len(posterior_scale)) - 1]) if n_volumes > 0 else 0.0
    weights = np.exp(scale * (values - values.max()))
    probabilities = weights / weights.sum()
    return Posterior(clips, probabilities, values, _genres(clips, probabilities))


def _genres(clips: Sequence[Clip], probabilities: NDArray[np.float64]) -> tuple[GenreShare, ...]:
    shares: dict[str, float] = {}
    for clip, probability in zip(clips, probabilities, strict=True):
        shares[clip.genre] = shares.get(clip.genre, 0.0) + float(probability)
    best_first = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return tuple(GenreShare(genre, share) for genre, share in best_first)
