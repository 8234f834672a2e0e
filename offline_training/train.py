"""From a data set to a proven bundle: reference, samples, rows, ridge, calibration, export, evaluation."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.design import with_voxels
from offline_training.errors import DatasetError
from offline_training.evaluate import Evaluation, evaluate
from offline_training.export import Parity, export_bundle
from offline_training.fit import DecoderFit, fit_decoder
from offline_training.material import Material, check_clips, choose_place, make_material
from offline_training.progress import Progress
from offline_training.recordings import Recordings
from offline_training.runs import Dataset
from offline_training.sampling import sample_runs
from offline_training.train_settings import TrainSettings
from offline_training.windows import growing_rows
from realtime.bundle import Bundle, Manifest, read_bundle, write_bundle
from realtime.music.catalogue import Catalogue


@dataclass(frozen=True, eq=False)
class Trained:
    """A bundle and how it came about.

    Attributes
    ----------
    bundle : Bundle
        As read back from disk.
    fit : DecoderFit
    parity : Parity
        Of onnxruntime and scikit-learn.
    evaluation : Evaluation or None
        On the test runs; None without any.
    n_trials : int
        Training trials.
    notes : tuple of str
        What the reader should know of regions, voxels and sessions, a sentence each.
    """

    bundle: Bundle
    fit: DecoderFit
    parity: Parity
    evaluation: Evaluation | None
    n_trials: int
    notes: tuple[str, ...] = ()


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
    with _samples_folder(keep) as kept, tempfile.TemporaryDirectory(prefix="innerear-features-") as scratch:
        place = choose_place(dataset, settings)
        sampled = sample_runs(dataset.training, place.frame, kept, executor, progress)
        material = make_material(place, dataset, sampled, Path(scratch))
        fit = fit_decoder(material.responses, catalogue.embedding, settings.fit,
                          lambda _run, clip: recordings.track(clip), held)
        rows = _parity_rows(material, fit)
    columns, notes = fit.decoder.voxels, tuple(note for note in (place.parcellation.note, *fit.notes) if note)
    bundle, parity = export_bundle(folder, _manifest(folder.name, dataset, catalogue, material, fit, made_by),
                                   with_voxels(place.frame, columns), material.scale[columns], fit.reliability,
                                   fit.decoder, rows)
    evaluation = evaluate(bundle, dataset.test, catalogue, executor, progress) if dataset.test else None
    n_trials = len(fit.targets)
    accuracy = {"cross_validated_identification": fit.identification, "n_training_trials": n_trials,
                "onnx_largest_difference": parity.largest_difference, "regions": fit.regions, "notes": notes}
    accuracy |= evaluation.figures() if evaluation is not None else {}
    write_bundle(folder, replace(bundle, manifest=replace(bundle.manifest, accuracy=accuracy)))
    return Trained(read_bundle(folder), fit, parity, evaluation, n_trials, notes)


@contextmanager
def _samples_folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="innerear-train-") as scratch:
        yield Path(scratch)


def _parity_rows(material: Material, fit: DecoderFit) -> NDArray[np.float32]:
    """Rows of unfinished trials of the first run: real features that no fit has seen."""
    first = np.flatnonzero(fit.trials.run == fit.trials.run[0])
    rows = growing_rows(fit.trials, first, material.responses.tr_s, fit.window, fit.decoder.voxels)
    rows = rows[:-1].reshape(-1, rows.shape[2]) if len(rows) > 1 else rows[0]
    there: NDArray[np.float32] = rows[np.isfinite(rows[:, 0])]
    return there


def _manifest(name: str, dataset: Dataset, catalogue: Catalogue, material: Material, fit: DecoderFit,
              made_by: str) -> Manifest:
    return Manifest(name=name, subject=f"sub-{dataset.subject}" if dataset.subject else "", space=catalogue.space,
                    preprocessing=material.place.frame.preprocessing, lag_volumes=fit.window.lag_volumes,
                    window_volumes=fit.window.n_volumes, made_by=made_by)
