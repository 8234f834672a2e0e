"""What repeats of a clip tell: how accuracy grows with them, and how far any model could get."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def occurrences(own: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which hearing of its clip each trial (n_trials,) is, from 0."""
    seen: dict[int, int] = {}
    numbers = np.empty(len(own), np.intp)
    for trial, clip in enumerate(own.tolist()):
        numbers[trial] = seen.get(clip, 0)
        seen[clip] = numbers[trial] + 1
    return numbers


def by_repeat(rows: NDArray[np.floating], own: NDArray[np.intp], n_clips: int) -> NDArray[np.floating]:
    """Rows (n_trials, d) sorted into (n_repeats, n_clips, d); NaN where a clip has no such hearing."""
    numbers = occurrences(own)
    sorted_rows = np.full((int(numbers.max(initial=-1)) + 1, n_clips, rows.shape[1]), np.nan, rows.dtype)
    sorted_rows[numbers, own] = rows
    return sorted_rows


def averages(repeats: NDArray[np.floating], k: int) -> list[NDArray[np.floating]]:
    """Means (n_clips, d) over every choice of k of the hearings (n_repeats, n_clips, d); NaN where one is missing."""
    return [repeats[list(chosen)].mean(axis=0) for chosen in combinations(range(len(repeats)), k)]


def half_splits(n_repeats: int) -> list[tuple[list[int], list[int]]]:
    """All ways to part the hearings into two equal halves, each once; with an odd number one is left over."""
    half = n_repeats // 2
    splits = []
    for first in combinations(range(n_repeats), half):
        rest = [r for r in range(n_repeats) if r not in first]
        splits += [(list(first), list(second)) for second in combinations(rest, half) if list(first) < list(second)]
    return splits


def split_half_reliability(repeats: NDArray[np.floating]) -> Floats:
    """Reliability of the mean over all hearings, of each column.

    Correlation over clips between the means of two halves, averaged over all splits, stepped up to all hearings by
    Spearman and Brown's formula, f r / (1 + (f - 1) r), with f the number of hearings over that of a half.

    Parameters
    ----------
    repeats : float array of shape (n_repeats, n_clips, d)
        At least two hearings; clips with a missing one (NaN) are left out.

    Returns
    -------
    reliability : float64 array of shape (d,)
        At most 1, negative where halves disagree; NaN where a column does not vary, or with fewer than two hearings or
        three clips. Its square root bounds the correlation of any model with the mean.
    """
    whole = repeats[:, np.isfinite(repeats).all(axis=(0, 2))]
    n_repeats, n_clips, d = whole.shape
    if n_repeats < 2 or n_clips < 3:
        return np.full(d, np.nan)
    splits = half_splits(n_repeats)
    r = np.mean([correlate(whole[a].mean(axis=0), whole[b].mean(axis=0)) for a, b in splits], axis=0)
    f = n_repeats / (n_repeats // 2)
    with np.errstate(invalid="ignore"):
        return np.asarray(f * r / (1 + (f - 1) * r), np.float64)


def correlate(first: NDArray[np.floating], second: NDArray[np.floating]) -> Floats:
    """Pearson's correlation of each column of two arrays (n, d); NaN where either does not vary."""
    a, b = unit_columns(first), unit_columns(second)
    r = np.einsum("ij,ij->j", a, b, dtype=np.float64)
    return np.where((np.abs(a).max(axis=0, initial=0) > 0) & (np.abs(b).max(axis=0, initial=0) > 0), r, np.nan)


def unit_columns(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Columns of (n, d) with mean 0 and length 1; zero where a column does not vary."""
    centred = rows - rows.mean(axis=0)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred, dtype=np.float64))
    flat = length <= 1e-6 * np.abs(rows).max(axis=0, initial=0.0)
    scaled = centred / np.where(flat, 1.0, length).astype(rows.dtype)
    scaled[:, flat] = 0.0
    return np.asarray(scaled)
