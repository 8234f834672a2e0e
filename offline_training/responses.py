"""Responses of one person, run by run: what every offline analysis works on, wherever they came from.

A recorded session after alignment, a simulated one, and the ready-made arrays of ds003720 all become this; fitting,
evaluation and encoding models read nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.session.events import Event


@dataclass(frozen=True, eq=False)
class ResponseRun:
    """One run.

    Attributes
    ----------
    run_id : str
        Such as "task-Training_run-01".
    session : int
        Scanning session it belongs to, from 0.
    is_test : bool
        Held out: never trained on, nothing chosen by it.
    responses : float32 array of shape (n_volumes, n_voxels)
        One row per volume, in order of acquisition. Rows that are not `usable` may hold anything finite.
    usable : bool array of shape (n_volumes,)
        False for what the live program would not count: settling, lost, censored volumes.
    events : tuple of Event
        What was heard, dummies marked.
    displacement_mm : float64 array of shape (n_volumes,)
        Framewise displacement; zeros where it is not known.
    """

    run_id: str
    session: int
    is_test: bool
    responses: NDArray[np.float32]
    usable: NDArray[np.bool_]
    events: tuple[Event, ...]
    displacement_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Responses:
    """All runs of one person, over the same voxels.

    Attributes
    ----------
    subject : str
    tr_s : float
    runs : tuple of ResponseRun
        In order of acquisition.
    regions : intp array of shape (n_voxels,)
        Index into `region_names`; -1 where a voxel is in none.
    region_names : tuple of str
    """

    subject: str
    tr_s: float
    runs: tuple[ResponseRun, ...]
    regions: NDArray[np.intp]
    region_names: tuple[str, ...]

    @property
    def training(self) -> tuple[ResponseRun, ...]:
        """Runs that may be learnt from."""
        return tuple(run for run in self.runs if not run.is_test)

    @property
    def test(self) -> tuple[ResponseRun, ...]:
        """Runs held out."""
        return tuple(run for run in self.runs if run.is_test)
