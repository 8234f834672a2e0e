"""What every music index computes the same way, to the bit: directions, cosines, and their order.

An index may differ from another in which clips it finds, never in what it says of a clip: scores
are sums without BLAS, whose bits depend on its thread count, over the same unit vectors.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realtime.messages import Clip, Match


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of shape (n, dim) at length 1; a row of zeros stays one."""
    norms = np.sqrt(np.sum(rows.astype(np.float64) ** 2, axis=1, keepdims=True))
    unit: NDArray[np.float32] = (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return unit


def direction(embedding: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vector of shape (dim,) from the corpus mean to a finite embedding; zeros when they are the same."""
    towards: NDArray[np.float32] = unit_rows((np.asarray(embedding, np.float32) - centre)[None])[0]
    return towards


def cosines(unit: NDArray[np.float32], towards: NDArray[np.float32]) -> NDArray[np.float32]:
    """Products of shape (n,) of unit rows (n, dim) with one direction (dim,); each row's bits are its own."""
    scores: NDArray[np.float32] = np.einsum("ij,j->i", unit, towards, optimize=False)
    return scores


def best_rows(scores: NDArray[np.float32], n: int) -> NDArray[np.intp]:
    """Rows of the n highest scores, and of all that equal the lowest of these, in no order."""
    if n >= len(scores):
        return np.arange(len(scores))
    lowest = np.partition(scores, len(scores) - n)[len(scores) - n]
    return np.flatnonzero(scores >= lowest)


def ranked(clips: Sequence[Clip], scores: NDArray[np.float32], n: int) -> list[Match]:
    """At most n matches, best first, ties by clip id."""
    matches = [Match(clip, float(score)) for clip, score in zip(clips, scores, strict=True)]
    return sorted(matches, key=lambda match: (-match.score, match.clip.clip_id))[:n]
