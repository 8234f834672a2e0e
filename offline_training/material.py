"""What a decoder is fitted on: where it looks, and the responses of every run there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.design import Frame, RunSamples, feature_scale
from offline_training.errors import DatasetError
from offline_training.recorded_responses import responses_of
from offline_training.reference import brain_voxels, make_reference
from offline_training.regions import Parcellation, parcellation_of, parcels, read_atlas, read_region
from offline_training.responses import Responses
from offline_training.runs import Dataset, RecordedRun, read_volumes
from offline_training.segmentation import read_tissues
from offline_training.train_settings import TrainSettings
from realtime.music.catalogue import Catalogue
from realtime.session.events import Event


@dataclass(frozen=True, eq=False)
class Place:
    """Where features are read, and which region each voxel belongs to.

    Attributes
    ----------
    frame : Frame
        Candidate voxels, and the settings that the features are made with.
    parcellation : Parcellation
        Of its voxels.
    """

    frame: Frame
    parcellation: Parcellation


@dataclass(frozen=True, eq=False)
class Material:
    """Features of sampled runs.

    Attributes
    ----------
    place : Place
    scale : float32 array of shape (n_voxels,)
        What the running variance was seeded with.
    responses : Responses
        Features mapped from files in the folder they were made in.
    """

    place: Place
    scale: NDArray[np.float32]
    responses: Responses


def choose_place(dataset: Dataset, settings: TrainSettings) -> Place:
    """Reference, candidate voxels and regions of a data set, from its first training run.

    Raises
    ------
    DatasetError
        The images hold no head, mask or atlas lie outside it, slice times are asked for and not the
        same in all runs, or tissue means without a segmentation on the runs' grid.
    """
    first = dataset.training[0]
    preprocessing = replace(settings.preprocessing, tr_s=first.tr_s)
    if settings.slice_timing:
        preprocessing = replace(preprocessing, slice_times_s=_slice_times(dataset))
    reference = make_reference(read_volumes(first), preprocessing)
    voxels = _inside(brain_voxels(reference), first, settings.region or dataset.region)
    atlas = settings.atlas or dataset.atlas
    if atlas is None:
        parcellation = parcels(voxels)
    else:
        labels = read_atlas(atlas, first.shape, first.affine)
        voxels = voxels[labels[tuple(voxels.T)] > 0]
        if not len(voxels):
            raise DatasetError(f"atlas {atlas} has no region in the part of the head that is looked at of "
                               f"{first.run_id}; is it this person's?")
        parcellation = parcellation_of(labels, voxels, atlas)
    tissues = read_tissues(dataset.segmentations, first.shape, first.affine) if preprocessing.nuisance_tissues else None
    return Place(Frame(reference, first.affine, voxels, preprocessing, tissues), parcellation)


def make_material(place: Place, dataset: Dataset, sampled: Sequence[RunSamples], folder: Path,
                  scale: NDArray[np.float32] | None = None) -> Material:
    """Features of the sampled runs.

    Parameters
    ----------
    place : Place
    dataset : Dataset
        Says which of the runs are held out.
    sampled : sequence of RunSamples
    folder : Path
        For the features; has to stay while they are used.
    scale : float32 array of shape (n_voxels,), optional
        `feature_scale`; that of the sampled training runs when left out.
    """
    tests = {run.run_id for run in dataset.test}
    if scale is None:
        scale = feature_scale([run for run in sampled if run.run.run_id not in tests], place.frame.preprocessing)
    responses = responses_of(dataset.subject, sampled, place.frame, tuple(tests), folder, scale)
    named = replace(responses, regions=place.parcellation.regions, region_names=place.parcellation.names)
    return Material(place, scale, named)


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


def _inside(brain: NDArray[np.int32], run: RecordedRun, region: Path | None) -> NDArray[np.int32]:
    """The brain's voxels, inside the region where there is one."""
    if region is None:
        return brain
    inside: NDArray[np.int32] = brain[read_region(region, run.shape, run.affine)[tuple(brain.T)]]
    if not len(inside):
        raise DatasetError(f"region mask {region} lies outside the head of {run.run_id}; is it this person's?")
    return inside
