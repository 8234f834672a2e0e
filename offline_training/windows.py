"""Trials as rows: the mean response of a trial's window, whole and volume by volume, by the live program's rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError
from offline_training.responses import ResponseRun
from realtime.decoding.evidence import RunningMean, Schedule
from realtime.session.events import Event

_VOXELS_AT_ONCE = 4096


@dataclass(frozen=True, order=True)
class Window:
    """Which volumes speak for a trial.

    Attributes
    ----------
    lag_volumes : int
        Volumes after the onset that still belong to what came before.
    n_volumes : int
        Volumes from then on.
    """

    lag_volumes: int
    n_volumes: int


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials that can be rows: no dummy, music that is known, enough usable volumes.

    Attributes
    ----------
    runs : tuple of ResponseRun
    run : intp array of shape (n_trials,)
        Place of a trial's run among `runs`, not falling.
    event : intp array of shape (n_trials,)
        Place of the trial among its run's events.
    """

    runs: tuple[ResponseRun, ...]
    run: NDArray[np.intp]
    event: NDArray[np.intp]

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """What was heard."""
        return tuple(self.runs[run].events[event].clip_id for run, event in zip(self.run, self.event, strict=True))

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Where."""
        return tuple(self.runs[run].run_id for run in self.run)


def schedule_of(events: Sequence[Event], tr_s: float, window: Window) -> Schedule:
    """The live session's schedule for these events; dummies are trials too, they are only not scored."""
    return Schedule.from_onsets([event.onset_s for event in events], tr_s, window.lag_volumes, window.n_volumes)


def trial_means(responses: NDArray[np.float32], usable: NDArray[np.bool_], schedule: Schedule) -> NDArray[np.float32]:
    """Mean response of each trial after its first n usable volumes.

    Parameters
    ----------
    responses : float32 array of shape (n_volumes, n_voxels)
    usable : bool array of shape (n_volumes,)
    schedule : Schedule
        The run's trials.

    Returns
    -------
    means : float32 array of shape (window_volumes, n_trials, n_voxels)
        Element [n-1, t] after n usable volumes of trial t; NaN where it had fewer.
    """
    shape = (schedule.window_volumes, len(schedule.onset_volumes), responses.shape[1])
    means, running = np.full(shape, np.nan, np.float32), RunningMean(schedule)
    for volume, row in enumerate(responses):
        mean = running.push(volume, row, bool(usable[volume]))
        if mean is not None:
            means[mean.n_volumes - 1, mean.trial] = mean.features
    return means


def find_trials(runs: Sequence[ResponseRun], tr_s: float, windows: Sequence[Window], smallest_share: float,
                left_out: Callable[[str, str], bool] = lambda _run, _clip: False) -> TrialTable:
    """Trials with at least this share of every one of the windows usable, but those of clips that are left out.

    Raises
    ------
    FitError
        There is none.
    """
    run_of, event_of = [], []
    for place, run in enumerate(runs):
        enough = np.all([_counts(run, schedule_of(run.events, tr_s, one)) >= max(smallest_share * one.n_volumes, 1)
                         for one in windows], axis=0)
        events = [t for t, event in enumerate(run.events) if event.clip_id and not event.is_dummy
                  and enough[t] and not left_out(run.run_id, event.clip_id)]
        run_of += [place] * len(events)
        event_of += events
    if not event_of:
        raise FitError(f"no trial of {len(runs)} runs names a clip of its own and has {smallest_share:.0%} of its "
                       "window usable; look at the motion of the runs, and at their events")
    return TrialTable(tuple(runs), np.array(run_of, np.intp), np.array(event_of, np.intp))


def _counts(run: ResponseRun, schedule: Schedule) -> NDArray[np.intp]:
    """Usable volumes in each trial's window."""
    counts = np.zeros(len(schedule.onset_volumes), np.intp)
    for volume in np.flatnonzero(run.usable):
        trial = schedule.trial_of(int(volume))
        if trial >= 0:
            counts[trial] += 1
    return counts


def growing_rows(table: TrialTable, trials: NDArray[np.intp], tr_s: float, window: Window,
                 columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """Rows (n_volumes, len(trials), len(columns)) of some trials of the table, as `trial_means`."""
    rows = np.full((window.n_volumes, len(trials), len(columns)), np.nan, np.float32)
    for place in np.unique(table.run[trials]):
        run, here = table.runs[place], table.run[trials] == place
        means = trial_means(np.asarray(run.responses[:, columns]), run.usable, schedule_of(run.events, tr_s, window))
        rows[:, here] = means[:, table.event[trials[here]]]
    return rows


def whole_rows(table: TrialTable, tr_s: float, window: Window) -> NDArray[np.float32]:
    """Rows (n_trials, n_voxels): means over all usable volumes of each trial's window.

    Read in blocks of voxels: runs that are mapped from disk are not held whole.
    """
    rows = np.empty((len(table.run), table.runs[0].responses.shape[1]), np.float32)
    for place in np.unique(table.run):
        run, here = table.runs[place], np.flatnonzero(table.run == place)
        schedule = schedule_of(run.events, tr_s, window)
        trial = np.array([schedule.trial_of(volume) for volume in range(len(run.responses))])
        share = np.stack([(trial == event) & run.usable for event in table.event[here]]).astype(np.float64)
        share /= share.sum(axis=1, keepdims=True)
        used = np.flatnonzero(share.any(axis=0))
        for start in range(0, rows.shape[1], _VOXELS_AT_ONCE):
            columns = slice(start, start + _VOXELS_AT_ONCE)
            rows[here, columns] = share[:, used] @ np.asarray(run.responses[:, columns], np.float64)[used]
    return rows


def last_rows(growing: NDArray[np.floating]) -> NDArray[np.float64]:
    """Element [t] of (window_volumes, n_trials, dim) with all volumes each trial had; NaN where it had none."""
    counts = volume_counts(growing)
    return np.asarray(growing[np.maximum(counts - 1, 0), np.arange(growing.shape[1])], np.float64)


def volume_counts(growing: NDArray[np.floating]) -> NDArray[np.intp]:
    """Usable volumes (n_trials,) behind each trial of `trial_means`, or of what was decoded from them."""
    return np.asarray(np.isfinite(growing[:, :, 0]).sum(axis=0), np.intp)
