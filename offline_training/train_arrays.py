"""From ready-made response arrays to a decoder and its figures.

Arrays have no geometry: they do not say which voxel of a scanner's image a column is, and how they were cleaned
cannot be repeated live. So what comes of them is a decoder to study, never a bundle to run: training says what the
data hold, and the live figures come from the images.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_training.array_decoder import ArrayDecoder, decode_arrays, write_array_decoder
from offline_training.decoder_facts import DecoderFacts
from offline_training.errors import DatasetError
from offline_training.evaluate import score_runs
from offline_training.fit import DecoderFit, fit_decoder
from offline_training.material import check_clips
from offline_training.recordings import Recordings
from offline_training.response_arrays import ResponseArrays
from offline_training.train_settings import TrainSettings
from realtime.atomic import without_nan, write_json
from realtime.music.catalogue import Catalogue


@dataclass(frozen=True, eq=False)
class TrainedOnArrays:
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
                    settings: TrainSettings | None = None, recordings: Recordings | None = None) -> TrainedOnArrays:
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
    facts = DecoderFacts(folder.name, f"sub-{responses.subject}", catalogue.space, len(fit.decoder.voxels),
                         responses.tr_s, fit.window.lag_volumes, fit.window.n_volumes, fit.reliability)
    made, said = ArrayDecoder(facts, fit.decoder, len(responses.regions)), ""
    if responses.test:
        scored = score_runs(decode_arrays(made, responses), fit.reliability, catalogue)
        figures, said = figures | scored.figures(), scored.verdict
    _write(folder, made, without_nan(figures))
    return TrainedOnArrays(fit, figures, said)


def _write(folder: Path, made: ArrayDecoder, figures: dict[str, Any]) -> None:
    """Both files or none: what was there is replaced when the new ones are whole."""
    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    write_array_decoder(scratch, made)
    write_json(scratch / "figures.json", figures)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.replace(folder)
