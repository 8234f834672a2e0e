"""Agreement of classes: genre, instruments and mood of what was heard and of what was decoded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often a genre was decoded as another.

    Attributes
    ----------
    names : tuple of str
    counts : float64 array of shape (n_genres, n_genres)
        Row heard, column decoded.
    """

    names: tuple[str, ...]
    counts: Floats


def top_n(probabilities: Floats, n: int) -> NDArray[np.bool_]:
    """The n most probable labels of each row (..., n_labels); among equals the first."""
    order = np.argsort(-probabilities, axis=-1, kind="stable")[..., :n]
    chosen = np.zeros(probabilities.shape, bool)
    np.put_along_axis(chosen, order, True, axis=-1)
    return chosen


def agreement(decoded: Floats, heard: Floats, n: int) -> Floats:
    """Top-n class agreement of every decoded row with every clip (Brain2Music, arXiv 2307.11078, appendix A.1.3).

    The paper names the overlap of the n most probable labels and leaves its formula open; here it is
    the number of labels in both top-n(decoded) and top-n(heard), over n. Of L labels, independent choices agree by
    n / L on average, and more when all clips share their labels: the null says how much.

    Parameters
    ----------
    decoded : float64 array of shape (n_trials, n_labels)
        NaN rows for trials without evidence.
    heard : float64 array of shape (n_clips, n_labels)
        Finite.
    n : int

    Returns
    -------
    table : float64 array of shape (n_trials, n_clips)
    """
    table = top_n(decoded, n).astype(np.float64) @ top_n(heard, n).T.astype(np.float64) / n
    table[~np.isfinite(decoded).all(axis=1)] = np.nan
    return np.asarray(table, np.float64)


def nearest_genres(similarity: Floats, genres: Sequence[str]) -> tuple[str, ...]:
    """Genre of the most similar clip in each row (n_trials, n_clips); "" without evidence, the first among equals."""
    return tuple(genres[int(row.argmax())] if np.isfinite(row).all() else "" for row in similarity)


def genre_hits(decoded: Sequence[str], genres: Sequence[str]) -> Floats:
    """Whether the genre decoded is that of each clip, shape (n_trials, n_clips); NaN rows where none was decoded."""
    table: Floats = np.asarray(np.asarray(decoded)[:, None] == np.asarray(genres)[None, :], np.float64)
    table[[genre == "" for genre in decoded]] = np.nan
    return table


def confusion(heard: Sequence[str], decoded: Sequence[str]) -> Confusion:
    """Count genres decoded for genres heard; trials where none was decoded are left out."""
    names = tuple(sorted({*heard, *decoded} - {""}))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    for true, said in zip(heard, decoded, strict=True):
        if true and said:
            counts[place[true], place[said]] += 1
    return Confusion(names, counts)
