"""Shuffles of the clips that keep the design: within runs, every block of a run still holding each genre once.

In ds003720 ten clips in a row hold all ten genres. A shuffle that broke this would put the null at a design that was
never used: neighbours of one genre, runs without another. With the design kept, the test is a randomisation test:
exact where the order of the clips was drawn among the arrangements drawn here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Design:
    """What was heard where.

    Attributes
    ----------
    own : intp array of shape (n_trials,)
        Each trial's clip.
    runs : intp array of shape (n_trials,)
        Each trial's run; clips stay in theirs.
    blocks : intp array of shape (n_trials,)
        Each trial's block within its run (`genre_blocks`).
    genres : tuple of str
        Of each clip.
    """

    own: Indices
    runs: Indices
    blocks: Indices
    genres: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _RunPlan:
    """One run: its trials, its distinct clips, and the columns of clips that change places together."""

    trials: Indices
    clips: Indices
    position: Indices
    across: tuple[Indices, ...]
    within: tuple[Indices, ...]


def genre_blocks(genres: Sequence[str], runs: Sequence[str]) -> Indices:
    """Number the blocks of each run: stretches as long as the run has genres, each holding every genre once.

    Parameters
    ----------
    genres, runs : sequences of str, length n_trials
        In order of presentation within each run; dummies left out.

    Returns
    -------
    blocks : intp array of shape (n_trials,)
        From 0 in each run. A run that is not made of such blocks, to its last clip, is one block.
    """
    blocks, run_of, labels = np.zeros(len(genres), np.intp), np.asarray(runs), np.asarray(genres)
    for run in dict.fromkeys(runs):
        trials = np.flatnonzero(run_of == run)
        size = len(set(labels[trials].tolist()))
        parts = [labels[trials[start:start + size]].tolist() for start in range(0, len(trials), size)]
        if size > 1 and all(len(set(part)) == size for part in parts):
            blocks[trials] = np.arange(len(trials)) // size
    return blocks


def shuffles(design: Design, n: int, seed: int, within_genre: bool = False) -> Indices:
    """Clips of all trials under n shuffles.

    In each run, clips of one genre first change places between the blocks that hold every genre once, then the clips
    of each block among themselves: all arrangements of that kind are equally probable. Repeats of a clip in a run stay
    together, since they are not independent.

    Parameters
    ----------
    design : Design
    n : int
    seed : int
    within_genre : bool
        Only clips of one genre change places, over all runs: the null of what is decoded beyond genre.

    Returns
    -------
    assigned : intp array of shape (n, n_trials)
    """
    rng = np.random.default_rng(seed)
    if within_genre:
        return _within_genres(design, n, rng)
    assigned = np.empty((n, len(design.own)), np.intp)
    for plan in _plans(design):
        mapped = np.tile(np.arange(len(plan.clips)), (n, 1))
        for columns in (*plan.across, *plan.within):
            mapped[:, columns] = rng.permuted(mapped[:, columns], axis=1)
        assigned[:, plan.trials] = plan.clips[mapped[:, plan.position]]
    return assigned


def log_arrangements(design: Design) -> float:
    """Natural logarithm of the number of shuffles that `shuffles` draws from: no p can be below one over it."""
    return float(sum(lgamma(len(columns) + 1) for plan in _plans(design) for columns in (*plan.across, *plan.within)))


def _within_genres(design: Design, n: int, rng: np.random.Generator) -> Indices:
    labels, mapped = np.asarray(design.genres), np.tile(np.arange(len(design.genres)), (n, 1))
    heard = np.unique(design.own)
    for genre in np.unique(labels):
        columns = heard[labels[heard] == genre]
        mapped[:, columns] = rng.permuted(mapped[:, columns], axis=1)
    return np.asarray(mapped[:, design.own], np.intp)


def _plans(design: Design) -> list[_RunPlan]:
    return [_plan(design, np.flatnonzero(design.runs == run)) for run in np.unique(design.runs)]


def _plan(design: Design, trials: Indices) -> _RunPlan:
    clips, position = np.unique(design.own[trials], return_inverse=True)
    # Clips that were heard in the same blocks may change places freely: each block keeps the clips it has.
    where = [tuple(sorted(set(design.blocks[trials[position == k]].tolist()))) for k in range(len(clips))]
    within = [np.array([k for k, blocks in enumerate(where) if blocks == kind], np.intp)
              for kind in dict.fromkeys(where)]
    labels = [[design.genres[clips[k]] for k in columns] for columns in within]
    complete = [columns for columns, names in zip(within, labels, strict=True)
                if len(set(names)) == len(names) and set(names) == set(labels[0])]
    across: list[Indices] = []
    if len(complete) > 1 and len(complete) == len(within):
        across = [np.array([columns[names.index(genre)] for columns, names in zip(complete, labels, strict=True)],
                           np.intp) for genre in sorted(labels[0])]
    return _RunPlan(trials, clips, position, tuple(across), tuple(within))
