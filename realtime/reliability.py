"""How far decoded evidence can be trusted: what it should look like for a clip, and how it scatters about that.

A decoder sees few directions of an embedding. Ridge predictions of a clip with embedding e are, out of fold and after n
volumes, p − m = Uᵀ(b_n U(e − m)) + noise with covariance S_n in the directions U that it sees, and tell nothing in the
others (m is the mean target of training). Two clips are therefore to be compared by what they would evoke, not by the
cosine of all they are, by the distance d² = |A_n (p − m) − B_n (e − m)|², with A_n = S_n^-½ U and B_n = S_n^-½ b_n U.

Some trials are noisier than others, by movement, breath or attention, and S_n is their mean: Gaussian log odds, −½ d²,
would be too modest in most trials to pay for the few. Noise of an unknown size in each trial has the tails of
Student's t (Lange, Little & Taylor 1989): log odds = −½ log(1 + τ d²) / τ, which is −½ d² at τ = 0. Which clip is
likeliest does not depend on τ, how sure one may be of it does.

All this is learnt from trials of hearing. What is imagined evokes less, and so does music that goes on; nobody knows
how much less. A clip then explains the evidence as well as its response of each size s would, on average over sizes:
d² = |A_n (p − m) − s B_n (e − m)|².
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]

HEARD = (1.0,)
"""Sizes of a response to what is heard: that of training."""
ANY_SIZE = tuple(tenths / 10 for tenths in range(11))
"""Sizes of a response of which nothing is known, each as probable as the others: from none to that of hearing."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Maps into a space in which the noise of the evidence has unit variance in every direction.

    Attributes
    ----------
    mean : float32 array of shape (dim,)
        Mean target of training.
    evidence_map : float32 array of shape (window_volumes, k, dim)
        A_n at element n-1: what is decoded goes there; the last serves all larger n. k may be 0, for a decoder that
        tells nothing.
    clip_map : float32 array of shape (window_volumes, k, dim)
        B_n: what a clip would evoke there.
    tail : float32 array of shape (window_volumes,)
        τ_n, at least 0: how unequal the noise of trials is; one over the degrees of freedom and k together.
    """

    mean: Floats32
    evidence_map: Floats32
    clip_map: Floats32
    tail: Floats32

    def log_odds(self, embedding: Floats32, clips: Floats32, n_volumes: int,
                 sizes: Sequence[float] = HEARD) -> NDArray[np.float64]:
        """How well each clip explains the evidence, shape (n_clips,); the same constant is missing from all.

        Parameters
        ----------
        embedding : float32 array of shape (dim,)
            Decoded from the mean of `n_volumes` volumes, finite.
        clips : float32 array of shape (n_clips, dim)
            Embeddings, finite.
        n_volumes : int
            Usable volumes behind the evidence; with 0 all clips explain it equally well.
        sizes : sequence of float
            Of the response against hearing's, equally probable: HEARD or ANY_SIZE.
        """
        if n_volumes < 1:
            return np.zeros(len(clips))
        evoked = self.evoked(clips, n_volumes).astype(np.float64)
        seen = self.seen(embedding, n_volumes).astype(np.float64)
        tail = float(self.tail[self._row(n_volumes)])
        by_size = [heavy_tailed(np.square(size * evoked - seen).sum(axis=1), tail) for size in sizes]
        odds: NDArray[np.float64] = np.logaddexp.reduce(by_size, axis=0)
        return odds

    def seen(self, embedding: Floats32, n_volumes: int) -> Floats32:
        """Where evidence of `n_volumes` volumes, at least one, lies: shape (k,), noise of unit variance."""
        # no BLAS: its sums depend on its number of threads, and a replay must repeat them to the bit
        found: Floats32 = np.einsum("kd,d->k", self.evidence_map[self._row(n_volumes)], embedding - self.mean,
                                    optimize=False)
        return found

    def evoked(self, clips: Floats32, n_volumes: int) -> Floats32:
        """Where clips (n_clips, dim) would bring the evidence of `n_volumes` volumes, at least one: (n_clips, k)."""
        found: Floats32 = np.einsum("nd,kd->nk", clips - self.mean, self.clip_map[self._row(n_volumes)],
                                    optimize=False)
        return found

    def towards(self, embedding: Floats32, n_volumes: int) -> Floats32:
        """Direction (dim,) in which clips explain the evidence better; zeros where it tells nothing."""
        if n_volumes < 1:
            return np.zeros_like(self.mean)
        found: Floats32 = np.einsum("kd,k->d", self.clip_map[self._row(n_volumes)], self.seen(embedding, n_volumes),
                                    optimize=False).astype(np.float32)
        return found

    def _row(self, n_volumes: int) -> int:
        return min(n_volumes, len(self.clip_map)) - 1


def heavy_tailed(distance: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
    """Log odds of squared distances under noise with a tail; Gaussian without."""
    return -0.5 * (np.log1p(tail * distance) / tail if tail > 0.0 else distance)
