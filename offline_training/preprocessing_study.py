"""Which preprocessing decodes best: the same recorded runs under several settings, scored alike.

Defaults are chosen by this, not by taste (docs/decisions). A run is aligned once for all settings
that read the voxels in the same way; drift, nuisance and scale are then done over again from the
samples, by the live scaler.
"""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from offline_training.design import RunSamples
from offline_training.fit import fit_decoder, within_runs
from offline_training.material import Place, choose_place, make_material
from offline_training.progress import Progress
from offline_training.runs import Dataset
from offline_training.sampling import sample_runs
from offline_training.train_settings import TrainSettings
from offline_training.windows import find_trials, whole_rows
from realtime.music.catalogue import Catalogue
from realtime.preprocessing import PreprocessorSettings

_OF_THE_SCALER = ("drift", "drift_tau_s", "nuisance_motion", "scale_prior_s", "feature_limit")
"""Settings that leave the samples as they are."""


@dataclass(frozen=True)
class StudyScore:
    """Identification accuracy of one data set under one setting; chance 0.5.

    Attributes
    ----------
    cross_validated : float
        One training run left out at a time, rivals from the same run.
    held_out : float
        On the test runs; NaN without any.
    """

    cross_validated: float
    held_out: float


def compare_settings(dataset: Dataset, catalogue: Catalogue, variants: Mapping[str, PreprocessorSettings],
                     executor: Executor, settings: TrainSettings | None = None,
                     progress: Progress | None = None) -> dict[str, StudyScore]:
    """Train and score a decoder of one data set under each of several settings.

    Parameters
    ----------
    dataset : Dataset
    catalogue : Catalogue
        Embeddings of all clips heard.
    variants : mapping of str to PreprocessorSettings
        By name; each `tr_s` is replaced by the data set's.
    executor : Executor
        Aligns runs in parallel.
    settings : TrainSettings, optional
        Lag, window, region and fit of all of them; its preprocessing is not used.
    progress : Progress, optional
        Told of everything that is done.

    Raises
    ------
    DatasetError, FitError
        As in training.
    """
    settings = settings or TrainSettings()
    tr_s, scores, groups = dataset.training[0].tr_s, {}, _by_sampling(variants)
    for reading, names in groups.items():
        with tempfile.TemporaryDirectory(prefix="innerear-study-") as scratch:
            place = choose_place(dataset, replace(settings, preprocessing=reading))
            sampled = sample_runs((*dataset.training, *dataset.test), place.frame, Path(scratch), executor, progress)
            for name in names:
                own = replace(place, frame=replace(place.frame, preprocessing=replace(variants[name], tr_s=tr_s)))
                scores[name] = _score(own, dataset, sampled, catalogue, settings)
    return {name: scores[name] for name in variants}


def _by_sampling(variants: Mapping[str, PreprocessorSettings]) -> dict[PreprocessorSettings, list[str]]:
    """Names of the variants that share their samples, by what they have in common."""
    plain, groups = PreprocessorSettings(), dict[PreprocessorSettings, list[str]]()
    for name, variant in variants.items():
        reading = replace(variant, **{field: getattr(plain, field) for field in _OF_THE_SCALER})
        groups.setdefault(reading, []).append(name)
    return groups


def _score(place: Place, dataset: Dataset, sampled: Sequence[RunSamples], catalogue: Catalogue,
           settings: TrainSettings) -> StudyScore:
    with tempfile.TemporaryDirectory(prefix="innerear-study-") as scratch:
        responses = make_material(place, dataset, sampled, Path(scratch)).responses
        fit = fit_decoder(responses, catalogue.embedding, settings.fit)
        if not responses.test:
            return StudyScore(fit.identification, float("nan"))
        test = find_trials(responses.test, responses.tr_s, [fit.window], settings.fit.smallest_share)
        targets = np.stack([catalogue.embedding(clip) for clip in test.clip_ids]).astype(np.float64)
        predictions = fit.decoder.predict(whole_rows(test, responses.tr_s, fit.window))
        return StudyScore(fit.identification, within_runs(test, predictions, targets))
