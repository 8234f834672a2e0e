"""From ready-made response arrays to a decoder and its figures.

Arrays have no geometry: they do not say which voxel of a scanner's image a column is, and how they were cleaned
cannot be repeated live. So what comes of them is a decoder to study, never a bundle to run: training says what the
data hold, and the live figures come from the images.
"""

import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.errors import DatasetError
from offline_training.fit import DecoderFit, fit_decoder
from offline_training.linear_map import LinearMap
from offline_training.material import check_clips
from offline_training.recordings import Recordings
from offline_training.response_arrays import ResponseArrays
from offline_training.responses import Responses
from offline_training.train_settings import TrainSettings
from offline_training.windows import find_trials, whole_rows
from realtime.atomic import without_nan, write_bytes, write_json
from realtime.music.catalogue import Catalogue
from realtime.scoring import identification_accuracy, permutation_band, rank_score, verdict


@dataclass(frozen=True, eq=False)
class ArrayDecoder:
    """What was fitted, and how well it does.

    Attributes
    ----------
    fit : DecoderFit
    figures : dict
        As written to figures.json.
    verdict : str
        About the held-out runs, in words; "" without any.
    """

    fit: DecoderFit
    figures: dict[str, Any]
    verdict: str


def train_on_arrays(arrays: ResponseArrays, catalogue: Catalogue, folder: Path,
                    settings: TrainSettings | None = None, recordings: Recordings | None = None) -> ArrayDecoder:
    """Fit on the training runs, score on the held-out ones, and write decoder.npz and figures.json.

    Raises
    ------
    DatasetError
        No trial, clips that the catalogue lacks, or music of the test runs in the training runs.
    FitError
        Too little to fit.
    """
    settings, recordings, responses = settings or TrainSettings(), recordings or Recordings(), arrays.responses
    check_clips([run.events for run in responses.runs], catalogue)
    heard = [recordings.heard([event for run in runs for event in run.events if not event.is_dummy])
             for runs in (responses.training, responses.test)]
    if heard[0] & heard[1]:
        raise DatasetError("a recording of the test runs is in the training runs, too: the test would be of what was "
                           "trained on; give arrays and events that belong together")
    fit = fit_decoder(responses, catalogue.embedding, settings.fit, lambda _run, clip: recordings.track(clip))
    figures: dict[str, Any] = {"subject": responses.subject, "n_training_trials": len(fit.targets),
                               "n_voxels": len(responses.regions),
                               "n_sessions": len({run.session for run in responses.runs}),
                               "cross_validated_identification": fit.identification,
                               "notes": [*arrays.notes, *fit.notes]}
    said = ""
    if responses.test:
        scored, said = _score(fit, responses, catalogue, settings.fit.smallest_share)
        figures |= scored
    _write(folder, fit.decoder, catalogue, without_nan(figures))
    return ArrayDecoder(fit, figures, said)


def _score(fit: DecoderFit, responses: Responses, catalogue: Catalogue,
           smallest_share: float) -> tuple[dict[str, Any], str]:
    test = find_trials(responses.test, responses.tr_s, [fit.window], smallest_share)
    decoded, clips = fit.decoder.predict(whole_rows(test, responses.tr_s, fit.window)), list(test.clip_ids)
    targets = np.stack([catalogue.embedding(clip) for clip in clips]).astype(np.float64)
    score = identification_accuracy(decoded, targets, clips)
    band = permutation_band(decoded, targets, clips, list(test.run_ids))
    names, first, own = np.unique(clips, return_index=True, return_inverse=True)
    averaged = np.stack([decoded[own == k].mean(axis=0) for k in range(len(names))])
    repeats = identification_accuracy(averaged, targets[first], names.tolist())
    ranks = rank_score(decoded, targets, clips)
    figures = {"identification_accuracy": score.mean, "chance_p95": band.p95, "chance_p99": band.p99,
               "p_value": band.p_value, "repeats_averaged": repeats.mean, "n_trials": score.n_trials,
               "n_clips": ranks.n_candidates, "median_rank": ranks.median_rank, "top1": ranks.top1, "top3": ranks.top3}
    return figures, verdict(score, band)


def _write(folder: Path, decoder: LinearMap, catalogue: Catalogue, figures: dict[str, Any]) -> None:
    """Both files or none: what was there is replaced when the new ones are whole."""
    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    buffer = BytesIO()
    np.savez(buffer, space=np.array(str(catalogue.space)), voxels=decoder.voxels, mu=decoder.mu, sigma=decoder.sigma,
             weights=decoder.weights, intercept=decoder.intercept)
    write_bytes(scratch / "decoder.npz", buffer.getvalue())
    write_json(scratch / "figures.json", figures)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.replace(folder)
