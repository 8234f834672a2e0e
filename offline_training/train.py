"""From a data set to a proven bundle: reference, samples, rows, ridge, calibration, export, evaluation."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.calibration import posterior_scales
from offline_training.design import trial_means, with_voxels
from offline_training.errors import DatasetError
from offline_training.evaluate import Evaluation, evaluate
from offline_training.export import Parity, export_bundle
from offline_training.fit import RidgeFit, fit_ridge
from offline_training.material import Material, check_clips, choose_frame, make_material
from offline_training.progress import Progress
from offline_training.recordings import Recordings
from offline_training.runs import Dataset
from offline_training.sampling import sample_runs
from offline_training.train_settings import TrainSettings
from realtime.bundle import Bundle, Manifest, read_bundle, write_bundle
from realtime.music.catalogue import Catalogue


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


def train(dataset: Dataset, catalogue: Catalogue, folder: Path, executor: Executor,
          settings: TrainSettings | None = None, progress: Progress | None = None, made_by: str = "",
          keep: Path | None = None, recordings: Recordings | None = None) -> Trained:
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
    keep : Path, optional
        Folder for the aligned runs: a training that was interrupted goes on from them. Left out,
        they are thrown away; workers on other machines need one that they share.
    recordings : Recordings, optional
        Which clips are of one recording: training trials of music that the test runs hold are left out, and no
        recording is on both sides of a fold's border.

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
    recordings = recordings or Recordings()
    check_clips([run.events for run in dataset.runs], catalogue)
    held = recordings.heard([event for run in dataset.test for event in run.events])
    with _samples_folder(keep) as folder_of_samples:
        frame = choose_frame(dataset, settings)
        sampled = sample_runs(dataset.training, frame, folder_of_samples, executor, progress)
        material = make_material(frame, sampled, catalogue, settings, recordings=recordings, held=held)
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


@contextmanager
def _samples_folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="innerear-train-") as scratch:
        yield Path(scratch)


def _scales(material: Material, fit: RidgeFit, catalogue: Catalogue) -> tuple[float, ...]:
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


def _parity_rows(material: Material, fit: RidgeFit) -> NDArray[np.float32]:
    """Rows of unfinished trials of the first run: real features that no fit has seen."""
    means = trial_means(material.sampled[0], material.frame, material.schedules[0], material.scale, fit.decoder.voxels)
    rows = means[:-1].reshape(-1, means.shape[2]) if len(means) > 1 else means[0]
    there: NDArray[np.float32] = rows[np.isfinite(rows[:, 0])]
    return there


def _manifest(name: str, dataset: Dataset, catalogue: Catalogue, material: Material, scales: tuple[float, ...],
              made_by: str) -> Manifest:
    schedule = material.schedules[0]
    return Manifest(name=name, subject=f"sub-{dataset.subject}" if dataset.subject else "", space=catalogue.space,
                    preprocessing=material.frame.preprocessing, lag_volumes=schedule.lag_volumes,
                    window_volumes=schedule.window_volumes, posterior_scale=scales, made_by=made_by)
