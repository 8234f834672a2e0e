"""What a decoder is fitted on: where it looks, and one row of features per trial."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.design import (
    Frame,
    RunSamples,
    feature_scale,
    last_means,
    schedule_of,
    trial_means,
    volume_counts,
)
from offline_training.errors import DatasetError
from offline_training.fit import Trials
from offline_training.recordings import Recordings
from offline_training.reference import brain_voxels, make_reference
from offline_training.regions import read_region
from offline_training.runs import Dataset, RecordedRun, read_volumes
from offline_training.segmentation import read_tissues
from offline_training.train_settings import TrainSettings
from realtime.decoding.evidence import Schedule
from realtime.music.catalogue import Catalogue
from realtime.session.events import Event


@dataclass(frozen=True, eq=False)
class Material:
    """Sampled runs with their trials.

    Attributes
    ----------
    frame : Frame
        Candidate voxels, and the settings that the features were made with.
    sampled : tuple of RunSamples
    schedules : tuple of Schedule
        Of each run.
    kept : tuple of intp arrays
        Trials of each run that are rows: no dummy, and enough usable volumes.
    scale : float32 array of shape (n_voxels,)
        What the running variance was seeded with.
    trials : Trials
        The rows of all runs, in order.
    """

    frame: Frame
    sampled: tuple[RunSamples, ...]
    schedules: tuple[Schedule, ...]
    kept: tuple[NDArray[np.intp], ...]
    scale: NDArray[np.float32]
    trials: Trials


def choose_frame(dataset: Dataset, settings: TrainSettings) -> Frame:
    """Reference and candidate voxels of a data set, from its first training run.

    Raises
    ------
    DatasetError
        The images hold no head, the region lies outside it, slice times are asked for and not the
        same in all runs, or tissue means without a segmentation on the runs' grid.
    """
    first = dataset.training[0]
    preprocessing = replace(settings.preprocessing, tr_s=first.tr_s)
    if settings.slice_timing:
        preprocessing = replace(preprocessing, slice_times_s=_slice_times(dataset))
    reference = make_reference(read_volumes(first), preprocessing)
    candidates = _candidates(reference, first, settings.region or dataset.region)
    tissues = read_tissues(dataset.segmentations, first.shape, first.affine) if preprocessing.nuisance_tissues else None
    return Frame(reference, first.affine, candidates, preprocessing, tissues)


def make_material(frame: Frame, sampled: Sequence[RunSamples], catalogue: Catalogue, settings: TrainSettings,
                  scale: NDArray[np.float32] | None = None, recordings: Recordings | None = None,
                  held: frozenset[str] = frozenset()) -> Material:
    """Rows of the sampled runs.

    Parameters
    ----------
    frame : Frame
    sampled : sequence of RunSamples
    catalogue : Catalogue
        Embeddings of all clips heard.
    settings : TrainSettings
        Lag, window and share; its preprocessing is the frame's.
    scale : float32 array of shape (n_voxels,), optional
        `feature_scale` of the training runs; that of these runs when left out.
    recordings : Recordings, optional
        Which clips are of one recording; each its own when left out.
    held : frozenset of str
        Recordings whose trials are no rows: those of the test runs.

    Raises
    ------
    DatasetError
        No trial has enough usable volumes, or none is of other music than the test runs'.
    """
    recordings = recordings or Recordings()
    scale = feature_scale(sampled, frame.preprocessing) if scale is None else scale
    tr_s, events = frame.preprocessing.tr_s, sampled[0].run.events
    window_s = settings.window_s or float(np.median([event.duration_s for event in events]))
    lag, window = round(settings.lag_s / tr_s), max(round(window_s / tr_s), 1)
    schedules = tuple(schedule_of(run.run.events, tr_s, lag, window) for run in sampled)
    kept, features, clips, runs = [], [], [], []
    for run, schedule in zip(sampled, schedules, strict=True):
        means = trial_means(run, frame, schedule, scale)
        enough = volume_counts(means) >= settings.smallest_share * window
        rows = np.array([t for t, event in enumerate(run.run.events)
                         if event.clip_id and not event.is_dummy and enough[t]
                         and recordings.track(event.clip_id) not in held], np.intp)
        kept.append(rows)
        features.append(last_means(means)[rows])
        clips += [run.run.events[t].clip_id for t in rows]
        runs += [run.run.run_id] * len(rows)
    if not clips:
        raise DatasetError(f"no trial of {len(sampled)} training runs has half its window of usable volumes and music "
                           "that the test runs do not have; look at the motion of the runs, and at their events")
    targets = np.stack([catalogue.embedding(clip) for clip in clips]).astype(np.float64)
    trials = Trials(np.concatenate(features), targets, tuple(clips), tuple(runs),
                    tuple(recordings.track(clip) for clip in clips))
    return Material(frame, tuple(sampled), schedules, tuple(kept), scale, trials)


def check_clips(runs: Sequence[Sequence[Event]], catalogue: Catalogue) -> None:
    """Refuse runs with clips that the catalogue has no embedding of, or without any clip.

    Raises
    ------
    DatasetError
        Naming how many, and the first, and genres that no clip of the catalogue has.
    """
    heard = {event.clip_id: event.genre for events in runs for event in events if event.clip_id}
    if not heard:
        kinds = sorted({event.trial_type for events in runs for event in events if event.trial_type})
        raise DatasetError(f"no event of {len(runs)} runs names what was played, only {', '.join(kinds[:4]) or 'times'}"
                           "; add a column clip_id or stim_file to the events, or genre and track")
    missing = sorted(clip for clip in heard if clip not in catalogue)
    if missing:
        unknown = sorted({heard[clip] for clip in missing} - {clip.genre for clip in catalogue.clips} - {""})
        strange = f", and no clip there is of genre {', '.join(map(repr, unknown))}" if unknown else ""
        raise DatasetError(f"{len(missing)} of {len(heard)} clips of the events are not in the catalogue, the first is "
                           f"{missing[0]!r}{strange}; give the corpus that was heard with --catalogue")


def _slice_times(dataset: Dataset) -> tuple[float, ...]:
    """Slice times that all runs have in common."""
    runs = (*dataset.training, *dataset.test)
    stated = dataset.training[0].slice_times_s
    unlike = [run.run_id for run in runs
              if stated is None or run.slice_times_s is None or not np.allclose(run.slice_times_s, stated, atol=1e-3)]
    if stated is None or unlike:
        raise DatasetError(f"{len(unlike)} of {len(runs)} runs have no slice times or others than the first, the first "
                           f"is {unlike[0]}; correct SliceTiming in the sidecars, or train without slice_timing")
    return stated


def _candidates(reference: NDArray[np.float32], run: RecordedRun, region: Path | None) -> NDArray[np.int32]:
    """The brain's voxels, inside the region where there is one."""
    brain = brain_voxels(reference)
    if region is None:
        return brain
    inside: NDArray[np.int32] = brain[read_region(region, run.shape, run.affine)[tuple(brain.T)]]
    if not len(inside):
        raise DatasetError(f"region mask {region} lies outside the head of {run.run_id}; is it this person's?")
    return inside
