"""Responses as rows: the mean of a trial's usable volumes, by the rule of the live program."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.evaluation.heard import NOTHING, ClipFacts, Heard, heard_in
from offline_training.responses import ResponseRun
from realtime.decoding.evidence import Schedule


@dataclass(frozen=True, eq=False)
class TrialRows:
    """Trials with enough usable volumes.

    Attributes
    ----------
    heard : Heard
    features : float32 array of shape (n_trials, n_voxels)
        Mean over the window.
    motion : float64 array of shape (n_trials, window_volumes + 2)
        Framewise displacement in mm at each volume of the window, 0 where there is none, and its mean and maximum.
    """

    heard: Heard
    features: NDArray[np.float32]
    motion: NDArray[np.float64]

    def only(self, kept: NDArray[np.bool_]) -> "TrialRows":
        """Some of the trials."""
        rows = np.flatnonzero(kept)
        return TrialRows(self.heard.only(rows), self.features[rows], self.motion[rows])


def trial_rows(runs: Sequence[ResponseRun], tr_s: float, lag_volumes: int, window_volumes: int,
               known: ClipFacts = NOTHING, smallest_share: float = 0.5) -> TrialRows:
    """Rows of all runs.

    Parameters
    ----------
    runs : sequence of ResponseRun
    tr_s : float
    lag_volumes, window_volumes : int
        As a bundle's.
    known : ClipFacts
        What is known of the clips besides the events.
    smallest_share : float
        Trials with a smaller share of their window usable are left out.

    Raises
    ------
    DatasetError
        No trial has enough usable volumes.
    """
    features, motion, rows, before = [], [], [], 0
    for run in runs:
        schedule = Schedule.from_onsets([event.onset_s for event in run.events], tr_s, lag_volumes, window_volumes)
        trial_of = np.array([schedule.trial_of(volume) for volume in range(len(run.responses))], np.intp)
        numbers = heard_in([run], known).numbers
        for place, number in enumerate(numbers):
            usable = np.flatnonzero((trial_of == number) & run.usable)
            if len(usable) >= max(smallest_share * window_volumes, 1):
                rows.append(before + place)
                features.append(run.responses[usable].mean(axis=0, dtype=np.float64).astype(np.float32))
                motion.append(_motion(run.displacement_mm[trial_of == number], window_volumes))
        before += len(numbers)
    if not rows:
        raise DatasetError(f"none of {before} trials has {smallest_share:.0%} of its window of {window_volumes} "
                           "volumes usable; look at the motion of the runs")
    return TrialRows(heard_in(runs, known).only(np.array(rows, np.intp)), np.stack(features), np.stack(motion))


def _motion(displacement_mm: NDArray[np.float64], window_volumes: int) -> NDArray[np.float64]:
    padded = np.zeros(window_volumes)
    padded[:len(displacement_mm)] = displacement_mm
    return np.array([*padded, displacement_mm.mean(), displacement_mm.max()])
