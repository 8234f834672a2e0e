"""From a data set to a proven bundle: reference, samples, rows, ridge, calibration, export, evaluation."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.calibration import posterior_scales
from offline_training.design import (
    Frame,
    RunSamples,
    feature_scale,
    last_means,
    sample_runs,
    schedule_of,
    trial_means,
    volume_counts,
    with_voxels,
)
from offline_training.errors import DatasetError
from offline_training.evaluate import Evaluation, evaluate
from offline_training.export import Parity, export_bundle
from offline_training.fit import FitSettings, RidgeFit, Trials, fit_ridge
from offline_training.progress import Progress
from offline_training.reference import brain_voxels, make_reference
from offline_training.regions import read_region
from offline_training.runs import Dataset, RecordedRun, read_volumes
from realtime.bundle import Bundle, Manifest, read_bundle, write_bundle
from realtime.decoding.evidence import Schedule
from realtime.music.catalogue import Catalogue
from realtime.preprocessing import PreprocessorSettings


@dataclass(frozen=True)
class TrainSettings:
    """How a bundle is made.

    Attributes
    ----------
    lag_s : float
        Haemodynamic lag, rounded to volumes; 4.5 s is 3 volumes at TR 1.5 s.
    window_s : float
        Stretch of a trial that carries its evidence; 0 takes the clips' median duration.
    smallest_share : float
        A training trial counts with at least this share of its window usable.
    region : Path or None
        Mask of where the decoder may look; the data set's own when left out, the whole brain when
        it has none.
    preprocessing : PreprocessorSettings
        Its `tr_s` is replaced by the data set's, and with `slice_timing` its slice times.
    slice_timing : bool
        Read every voxel as of its volume's start, by the slice times of the runs' sidecars.
    fit : FitSettings
    """

    lag_s: float = 4.5
    window_s: float = 0.0
    smallest_share: float = 0.5
    region: Path | None = None
    preprocessing: PreprocessorSettings = field(default_factory=PreprocessorSettings)
    slice_timing: bool = False
    fit: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True, eq=False)
class Trained:
    """A bundle and how it came about.

    Attributes
    ----------
    bundle : Bundle
        As read back from disk.
    fit : RidgeFit
    parity : Parity
        Of onnxruntime and scikit-learn.
    evaluation : Evaluation or None
        On the test runs; None without any.
    n_trials : int
        Training trials.
    """

    bundle: Bundle
    fit: RidgeFit
    parity: Parity
    evaluation: Evaluation | None
    n_trials: int


@dataclass(frozen=True, eq=False)
class _Material:
    """Sampled training runs with their trials."""

    frame: Frame
    sampled: tuple[RunSamples, ...]
    schedules: tuple[Schedule, ...]
    kept: tuple[NDArray[np.intp], ...]
    scale: NDArray[np.float32]
    trials: Trials


def train(dataset: Dataset, catalogue: Catalogue, folder: Path, executor: Executor,
          settings: TrainSettings | None = None, progress: Progress | None = None, made_by: str = "") -> Trained:
    """Make a bundle in `folder` from the training runs, and evaluate it on the test runs.

    Parameters
    ----------
    dataset : Dataset
    catalogue : Catalogue
        Embeddings of all clips heard; its space becomes the bundle's.
    folder : Path
        For the bundle; its name is the bundle's.
    executor : Executor
        Aligns runs in parallel: a process pool, or anything with its interface.
    settings : TrainSettings, optional
    progress : Progress, optional
        Told of everything that is done.
    made_by : str
        The command, for the manifest.

    Raises
    ------
    DatasetError
        No training runs, clips that the catalogue lacks, or images without a head.
    FitError
        Too little to fit, or an export that does not do what its fit did.
    """
    settings = settings or TrainSettings()
    if not dataset.training:
        raise DatasetError(f"subject {dataset.subject!r} has {len(dataset.test)} test runs and no training run; name "
                           "the task of training runs without 'test'")
    check_clips((*dataset.training, *dataset.test), catalogue)
    with tempfile.TemporaryDirectory(prefix="innerear-train-") as scratch:
        material = _material(dataset, catalogue, settings, Path(scratch), executor, progress)
        fit = fit_ridge(material.trials, settings.fit)
        scales = _scales(material, fit, catalogue)
        manifest = _manifest(folder.name, dataset, catalogue, material, scales, made_by)
        rows = _parity_rows(material, fit)
    columns, heard = fit.decoder.voxels, np.unique(material.trials.clip_ids)
    mean = np.mean([catalogue.embedding(str(clip)) for clip in heard], axis=0)
    frame = with_voxels(material.frame, columns)
    bundle, parity = export_bundle(folder, manifest, frame, material.scale[columns], mean, fit.decoder, rows)
    evaluation = evaluate(bundle, dataset.test, catalogue, executor, progress) if dataset.test else None
    n_trials = len(material.trials.clip_ids)
    accuracy = {"cross_validated_identification": fit.identification, "n_training_trials": n_trials,
                "onnx_largest_difference": parity.largest_difference}
    accuracy |= evaluation.figures() if evaluation is not None else {}
    write_bundle(folder, replace(bundle, manifest=replace(bundle.manifest, accuracy=accuracy)))
    return Trained(read_bundle(folder), fit, parity, evaluation, n_trials)


def check_clips(runs: Sequence[RecordedRun], catalogue: Catalogue) -> None:
    """Refuse runs with clips that the catalogue has no embedding of.

    Raises
    ------
    DatasetError
        Naming how many, and the first.
    """
    heard = {event.clip_id for run in runs for event in run.events if event.clip_id}
    missing = sorted(clip for clip in heard if clip not in catalogue)
    if missing:
        raise DatasetError(f"{len(missing)} of {len(heard)} clips of the events are not in the catalogue, the first is "
                           f"{missing[0]!r}; give the corpus that was heard with --catalogue")


def _material(dataset: Dataset, catalogue: Catalogue, settings: TrainSettings, scratch: Path, executor: Executor,
              progress: Progress | None) -> _Material:
    first = dataset.training[0]
    preprocessing = replace(settings.preprocessing, tr_s=first.tr_s)
    if settings.slice_timing:
        preprocessing = replace(preprocessing, slice_times_s=_slice_times(dataset))
    reference = make_reference(read_volumes(first), preprocessing)
    candidates = _candidates(reference, first, settings.region or dataset.region)
    frame = Frame(reference, first.affine, candidates, preprocessing)
    sampled = sample_runs(dataset.training, frame, scratch, executor, progress)
    scale = feature_scale(sampled, preprocessing)
    window_s = settings.window_s or float(np.median([event.duration_s for event in first.events]))
    lag, window = round(settings.lag_s / first.tr_s), max(round(window_s / first.tr_s), 1)
    schedules = tuple(schedule_of(run.events, first.tr_s, lag, window) for run in dataset.training)
    kept, features, clips, runs = [], [], [], []
    for run, schedule in zip(sampled, schedules, strict=True):
        means = trial_means(run, frame, schedule, scale)
        enough = volume_counts(means) >= settings.smallest_share * window
        rows = np.array([t for t, event in enumerate(run.run.events)
                         if event.clip_id and not event.is_dummy and enough[t]], np.intp)
        kept.append(rows)
        features.append(last_means(means)[rows])
        clips += [run.run.events[t].clip_id for t in rows]
        runs += [run.run.run_id] * len(rows)
    if not clips:
        raise DatasetError(f"no trial of {len(sampled)} training runs has half its window of usable volumes; look at "
                           "the motion of the runs")
    targets = np.stack([catalogue.embedding(clip) for clip in clips]).astype(np.float64)
    trials = Trials(np.concatenate(features), targets, tuple(clips), tuple(runs))
    return _Material(frame, sampled, schedules, tuple(kept), scale, trials)


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


def _scales(material: _Material, fit: RidgeFit, catalogue: Catalogue) -> tuple[float, ...]:
    """Posterior scale per number of volumes, from out-of-fold predictions ranked as the live program ranks."""
    row_of = {clip.clip_id: row for row, clip in enumerate(catalogue.clips)}
    per_run, true_rows = [], []
    for run, schedule, rows in zip(material.sampled, material.schedules, material.kept, strict=True):
        if run.run.run_id not in fit.folds:
            continue
        fold = fit.folds[run.run.run_id]
        means = trial_means(run, material.frame, schedule, material.scale, fold.voxels)[:, rows]
        similarities = np.full((*means.shape[:2], len(catalogue.clips)), np.nan)
        for n, t in np.argwhere(np.isfinite(means[:, :, 0])):
            similarities[n, t] = catalogue.similarities(fold.apply(means[n, t][None])[0].astype(np.float32))
        per_run.append(similarities)
        true_rows += [row_of[run.run.events[t].clip_id] for t in rows]
    return posterior_scales(np.concatenate(per_run, axis=1), np.array(true_rows, np.intp))


def _parity_rows(material: _Material, fit: RidgeFit) -> NDArray[np.float32]:
    """Rows of unfinished trials of the first run: real features that no fit has seen."""
    means = trial_means(material.sampled[0], material.frame, material.schedules[0], material.scale, fit.decoder.voxels)
    rows = means[:-1].reshape(-1, means.shape[2]) if len(means) > 1 else means[0]
    there: NDArray[np.float32] = rows[np.isfinite(rows[:, 0])]
    return there


def _manifest(name: str, dataset: Dataset, catalogue: Catalogue, material: _Material, scales: tuple[float, ...],
              made_by: str) -> Manifest:
    schedule = material.schedules[0]
    return Manifest(name=name, subject=f"sub-{dataset.subject}" if dataset.subject else "", space=catalogue.space,
                    preprocessing=material.frame.preprocessing, lag_volumes=schedule.lag_volumes,
                    window_volumes=schedule.window_volumes, posterior_scale=scales, made_by=made_by)
