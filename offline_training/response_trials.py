"""Rows to fit on, from responses: one mean per trial, as the live program would take it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.fit import Trials
from offline_training.responses import ResponseRun
from realtime.decoding.evidence import Schedule

Embedding = Callable[[str], NDArray[np.floating]]
_VOXELS_AT_ONCE = 4096


@dataclass(frozen=True)
class Window:
    """Which volumes of a trial are its evidence.

    Attributes
    ----------
    lag_volumes : int
        Volumes after an onset that still belong to what came before.
    window_volumes : int
        Volumes from there on; a run's last trial has fewer.
    smallest_share : float
        A trial counts with at least this share of them usable.
    """

    lag_volumes: int = 3
    window_volumes: int = 10
    smallest_share: float = 0.5


def trials_of(runs: Sequence[ResponseRun], tr_s: float, window: Window, embedding: Embedding,
              track: Callable[[str], str] = str) -> Trials:
    """Rows of all trials that name a clip, are no dummy, and have enough usable volumes.

    Parameters
    ----------
    runs : sequence of ResponseRun
    tr_s : float
    window : Window
    embedding : callable
        Clip id to vector of shape (dim,).
    track : callable
        Clip id to the recording it was cut from.

    Raises
    ------
    DatasetError
        No trial is left.
    """
    features, clips, names = [], [], []
    for run in runs:
        kept, rows = trial_rows(run, tr_s, window)
        features.append(rows)
        clips += [run.events[t].clip_id for t in kept]
        names += [run.run_id] * len(kept)
    if not clips:
        raise DatasetError(f"no trial of {len(runs)} runs names a clip and has {window.smallest_share:.0%} of its "
                           f"{window.window_volumes} volumes usable; look at the events and the motion of the runs")
    targets = np.stack([embedding(clip) for clip in clips]).astype(np.float64)
    return Trials(np.concatenate(features), targets, tuple(clips), tuple(names), tuple(track(clip) for clip in clips))


def trial_rows(run: ResponseRun, tr_s: float, window: Window) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Events of a run that are rows, and those rows (n_rows, n_voxels): means of each trial's usable volumes.

    Read in blocks of voxels: a run that is mapped from disk is not held whole.
    """
    schedule = Schedule.from_onsets([event.onset_s for event in run.events], tr_s, window.lag_volumes,
                                    window.window_volumes)
    trial = np.array([schedule.trial_of(volume) for volume in range(len(run.responses))])
    trial[~run.usable] = -1
    counts = np.bincount(trial[trial >= 0], minlength=len(run.events))
    kept = np.array([t for t, event in enumerate(run.events) if event.clip_id and not event.is_dummy
                     and counts[t] > 0 and counts[t] >= window.smallest_share * window.window_volumes], np.intp)
    share = np.zeros((len(kept), len(trial)))
    for row, t in enumerate(kept):
        share[row, trial == t] = 1 / counts[t]
    used = np.flatnonzero(share.any(axis=0))
    rows = np.empty((len(kept), run.responses.shape[1]), np.float32)
    for start in range(0, rows.shape[1], _VOXELS_AT_ONCE):
        columns = slice(start, start + _VOXELS_AT_ONCE)
        rows[:, columns] = share[:, used] @ np.asarray(run.responses[:, columns], np.float64)[used]
    return kept, rows
