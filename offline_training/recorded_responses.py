"""Recorded runs as responses: aligned, scaled as the live program scales, one row per volume."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.design import Frame, RunSamples, feature_scale, scaled_features
from offline_training.responses import ResponseRun, Responses


def responses_of(subject: str, sampled: Sequence[RunSamples], frame: Frame, test_runs: Sequence[str],
                 folder: Path, scale: NDArray[np.float32] | None = None) -> Responses:
    """All sampled runs of a person, in the order given.

    Parameters
    ----------
    subject : str
    sampled : sequence of RunSamples
    frame : Frame
        What they were sampled in.
    test_runs : sequence of str
        Runs that are held out; the running variance is seeded from the others alone.
    folder : Path
        For the features, which stay on disk.
    scale : float32 array of shape (n_voxels,), optional
        `feature_scale`; that of the training runs when left out.

    Returns
    -------
    responses : Responses
        In one region that holds all voxels of the frame.
    """
    held = set(test_runs)
    if scale is None:
        scale = feature_scale([run for run in sampled if run.run.run_id not in held], frame.preprocessing)
    runs = tuple(_run(run, frame, scale, run.run.run_id in held, folder) for run in sampled)
    return Responses(subject, frame.preprocessing.tr_s, runs, np.zeros(len(frame.voxels), np.intp), ("frame",))


def _run(sampled: RunSamples, frame: Frame, scale: NDArray[np.float32], is_test: bool,
         folder: Path) -> ResponseRun:
    features = scaled_features(sampled, frame, scale, folder / f"{sampled.run.run_id}-features.npy")
    return ResponseRun(sampled.run.run_id, sampled.run.session, is_test, features, sampled.usable,
                       sampled.run.events, sampled.displacement_mm)
