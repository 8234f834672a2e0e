"""Which trials are held out together: whole runs, and runs that share music never on both sides of a border.

Neighbouring volumes share noise, and so do the trials made of them: a border inside a run scores 0.98 on
pure noise. A clip, or another clip of the same track, on both sides tests what was trained on. So a
fold is made of whole runs, and runs that have a track in common are always in one fold. The four
repeats of a test clip in ds003720 lie in one run and stay together by the same rule.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError


def deal_folds(runs: Sequence[str], tracks: Sequence[str], n_folds: int) -> NDArray[np.intp]:
    """Fold of every trial.

    Runs that share a track are one group; groups, in order of their first trial, go each to the fold that has
    fewest trials by then. With runs of equal length that share nothing, run k goes to fold k mod `n_folds`.

    Parameters
    ----------
    runs : sequence of str, length n_trials
        Run of each trial.
    tracks : sequence of str, length n_trials
        Recording that each trial's clip was cut from; the clip's id where nothing else is known.
    n_folds : int
        At least 2; fewer are made where there are fewer groups.

    Returns
    -------
    fold : intp array of shape (n_trials,)
        From 0, all numbers used.

    Raises
    ------
    FitError
        Fewer than two groups of runs, or fewer tracks than folds.
    """
    if len(runs) != len(tracks):
        raise FitError(f"{len(runs)} runs and {len(tracks)} tracks do not belong together; give one of each per trial")
    if n_folds < 2:
        raise FitError(f"{n_folds} folds cannot hold anything out; wanted at least 2")
    group = _groups(runs, tracks)
    names = list(dict.fromkeys(group))
    n_folds = min(n_folds, len(set(runs)))
    if len(set(tracks)) < n_folds:
        raise FitError(f"{len(set(tracks))} clips cannot be dealt into {n_folds} folds: each needs clips that no other "
                       "has; ask for fewer folds, or record more music")
    if len(names) < 2:
        raise FitError(f"all {len(set(runs))} runs share music with each other, {_shared(runs, tracks)}: a fold would "
                       "test what it was trained on; leave the repeats out, or record other music")
    load = [0] * min(n_folds, len(names))
    fold_of: dict[str, int] = {}
    for name in names:
        fold_of[name] = load.index(min(load))
        load[fold_of[name]] += group.count(name)
    return np.array([fold_of[name] for name in group], np.intp)


def border_crossings(fold: Sequence[int] | NDArray[np.intp], runs: Sequence[str],
                     tracks: Sequence[str]) -> tuple[str, ...]:
    """What lies on both sides of a fold's border, in words, runs first; empty for a split that holds.

    Parameters
    ----------
    fold : sequence of int, length n_trials
    runs, tracks : sequences of str, length n_trials
        As in `deal_folds`; for a split of volumes, those of each volume.
    """
    found = []
    for what, names in (("run", runs), ("track", tracks)):
        folds: dict[str, set[int]] = {}
        for name, number in zip(names, fold, strict=True):
            folds.setdefault(name, set()).add(int(number))
        found += [f"{what} {name} is in folds {', '.join(map(str, sorted(numbers)))}"
                  for name, numbers in folds.items() if len(numbers) > 1]
    return tuple(found)


def _groups(runs: Sequence[str], tracks: Sequence[str]) -> list[str]:
    """For each trial the first run of those it is bound to by shared tracks."""
    bound = {run: run for run in runs}

    def first(run: str) -> str:
        while bound[run] != run:
            run = bound[run]
        return run

    order = {run: place for place, run in enumerate(dict.fromkeys(runs))}
    heard_in: dict[str, str] = {}
    for run, track in zip(runs, tracks, strict=True):
        one, other = sorted((first(heard_in.setdefault(track, run)), first(run)), key=order.__getitem__)
        bound[other] = one
    return [first(run) for run in runs]


def _shared(runs: Sequence[str], tracks: Sequence[str]) -> str:
    heard: dict[str, list[str]] = {}
    for run, track in zip(runs, tracks, strict=True):
        if run not in heard.setdefault(track, []):
            heard[track].append(run)
    return next((f"{track!r} in {', '.join(where[:3])}" for track, where in heard.items() if len(where) > 1),
                "there is one run only")
