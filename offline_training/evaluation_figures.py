"""All figures of a bundle on held-out runs, as one document for JSON and for the page that is made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.decoder_facts import DecoderFacts
from offline_training.errors import DatasetError, FitError
from offline_training.evaluate import DecodedRun, final_rows, posteriors
from offline_training.evaluation.controls import Known, controls
from offline_training.evaluation.courses import repeat_figures, time_course
from offline_training.evaluation.heard import ClipFacts, HasSession, Heard, heard_in
from offline_training.evaluation.leakage import leakage
from offline_training.evaluation.live import against_live, read_live
from offline_training.evaluation.music import class_agreement
from offline_training.evaluation.scorecard import Draws, Judged, scorecard
from offline_training.evaluation.sureness import sureness
from offline_training.progress import Progress
from offline_training.remade_music import Remaking, remade_music
from realtime.atomic import without_nan
from realtime.music.attributes import AttributeProbes
from realtime.music.catalogue import Catalogue
from realtime.reliability import Reliability

FORMAT = "innerear evaluation 1"
Floats = NDArray[np.float64]
_CLASSES = {"genre": 2, "instruments": 2, "lead": 2, "mood": 1}  # most probable labels compared, as the paper's


@dataclass(frozen=True, eq=False)
class Decoded:
    """Held-out runs as one table.

    Attributes
    ----------
    runs : tuple of DecodedRun
    heard : Heard
        Their trials, in the same order.
    judged : Judged
        With all the volumes each trial had.
    counts : intp array of shape (n_trials,)
        Those volumes.
    """

    runs: tuple[DecodedRun, ...]
    heard: Heard
    judged: Judged
    counts: NDArray[np.intp]


def decoded_table(decoded: Sequence[DecodedRun], dataset: HasSession, catalogue: Catalogue,
                  tracks: Mapping[str, str]) -> Decoded:
    """Predictions of all held-out runs beside what was heard.

    Raises
    ------
    CatalogueError
        A clip heard is not in the catalogue.
    """
    names = {run.run_id for run in decoded}
    heard = heard_in([run for run in dataset.test if run.run_id in names], clip_facts(dataset, catalogue, tracks))
    final, counts = final_rows(decoded)
    judged = Judged(final, targets_of(heard, catalogue), heard.clip_ids,
                    heard.genres, heard.run_ids)
    return Decoded(tuple(decoded), heard, judged, counts)


def clip_facts(dataset: HasSession, catalogue: Catalogue, tracks: Mapping[str, str]) -> ClipFacts:
    """The catalogue's genre of every clip of a data set, and the recordings."""
    clips = {event.clip_id for run in (*dataset.training, *dataset.test) for event in run.events if event.clip_id}
    return ClipFacts({clip: catalogue.clip(clip).genre for clip in clips if clip in catalogue}, tracks)


def targets_of(heard: Heard, catalogue: Catalogue) -> Floats:
    """Embeddings (n_trials, dim) of the clips heard."""
    return np.stack([catalogue.embedding(clip) for clip in heard.clip_ids]).astype(np.float64)


def evaluation_figures(decoder: DecoderFacts, dataset: HasSession, catalogue: Catalogue,
                       decoded: Sequence[DecodedRun], tracks: Mapping[str, str], draws: Draws | None = None,
                       probes: AttributeProbes | None = None, session: Path | None = None,
                       remaking: Remaking | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Everything that needs no further fit.

    Parameters
    ----------
    decoder : DecoderFacts
    dataset : HasSession
        Its training runs' events are read for the controls and the leakage checks, not their responses.
    catalogue : Catalogue
    decoded : sequence of DecodedRun
        The test runs.
    tracks : mapping of str to str
        Recordings that clips were cut from, where that is known.
    draws : Draws, optional
    probes : AttributeProbes, optional
        Read-outs of the catalogue's space, for the agreement of classes.
    session : Path, optional
        A live session on one of the runs, to be compared.
    remaking : Remaking, optional
        How music is made of what was decoded, and judged; `music` is left out without.
    progress : Progress, optional

    Raises
    ------
    CatalogueError
        A clip heard is not in the catalogue.
    DatasetError
        The session is not of one of these runs.
    """
    draws, table = draws or Draws(), decoded_table(decoded, dataset, catalogue, tracks)
    judged = table.judged
    cumulative, single = (np.concatenate([getattr(run, name) for run in decoded], axis=1)
                          for name in ("embeddings", "single"))
    figures: dict[str, Any] = {
        "format": FORMAT,
        "about": {"bundle": decoder.name, "subject": decoder.subject, "space": asdict(decoder.space),
                  "n_voxels": decoder.n_voxels, "runs": [run.run_id for run in decoded], "tr_s": decoder.tr_s,
                  "lag_volumes": decoder.lag_volumes, "window_volumes": decoder.window_volumes,
                  "n_catalogue": len(catalogue.clips), **asdict(draws)},
        "single_trials": scorecard(judged, draws), "clips_averaged": scorecard(judged.averaged(), draws),
        "time_course": {
            "single_volume": time_course(single, judged, 0, decoder.tr_s, draws),
            "cumulative": time_course(cumulative, judged, decoder.lag_volumes, decoder.tr_s, draws)},
        "repeats": repeat_figures(judged, draws),
        "sureness": _sureness(table, decoder.reliability, catalogue, draws),
        "classes": class_agreement(judged, probes, _CLASSES, draws) if probes else None,
    }
    if dataset.training:
        heard = heard_in(dataset.training, clip_facts(dataset, catalogue, tracks))
        figures["leakage"] = _leakage(heard, table.heard)
        known = Known(heard, targets_of(heard, catalogue))
        figures["controls"] = control_cards(judged, known, Known(table.heard, judged.targets), draws)
    if remaking is not None:
        figures["music"] = _music(table, decoder.reliability, catalogue, remaking, draws, progress)
    if session is not None:
        figures["live"] = _live(session, table, draws)
    cleaned: dict[str, Any] = without_nan(figures)
    return cleaned


def control_cards(judged: Judged, training: Known, test: Known, draws: Draws) -> dict[str, Any]:
    """Every control through the evaluation of the real decoder, hearings averaged."""
    return {name: scorecard(judged.with_predictions(rows).averaged(), draws)
            for name, rows in controls(training, test, draws.seed).items()}


def _leakage(training: Heard, test: Heard) -> dict[str, Any]:
    try:
        return leakage(training, test)
    except FitError as exc:
        return {"holds": False, "n_folds": 0, "checks": [
            {"what": "the training runs can be dealt into folds", "holds": False, "n_found": 1, "found": [str(exc)]}]}


def _sureness(table: Decoded, reliability: Reliability, catalogue: Catalogue, draws: Draws) -> dict[str, Any] | None:
    there = np.flatnonzero(table.counts > 0)
    if not len(there):
        return None
    rows = posteriors(table.judged.predictions[there], table.counts[there], reliability, catalogue)
    heard = np.array([catalogue.row(table.heard.clip_ids[t]) for t in there], np.intp)
    return sureness(rows, heard, [clip.genre for clip in catalogue.clips], draws.seed)


def _music(table: Decoded, reliability: Reliability, catalogue: Catalogue, remaking: Remaking, draws: Draws,
           progress: Progress | None) -> dict[str, Any]:
    try:
        return remade_music(table.judged, table.counts, reliability, catalogue, remaking, draws, progress)
    except DatasetError as exc:
        return {"missing": f"The music could not be heard again: {exc}."}


def _live(session: Path, table: Decoded, draws: Draws) -> dict[str, Any]:
    live = read_live(session)
    alike = [run for run in table.runs if dict(zip(run.numbers, run.clip_ids, strict=True)) == live.clip_ids]
    named = [run for run in alike if run.run_id == live.run_id] or alike
    if len(named) != 1:
        raise DatasetError(f"the session {session} heard {len(live.clip_ids)} clips in an order that {len(named)} of "
                           f"{len(table.runs)} runs evaluated have; name a session of one of these runs")
    run = named[0]
    rows = np.flatnonzero(np.asarray(table.judged.run_ids) == run.run_id)
    judged = Judged(table.judged.predictions[rows], table.judged.targets[rows], *(
        tuple(names[row] for row in rows)
        for names in (table.judged.clip_ids, table.judged.genres, table.judged.run_ids)))
    return {"run_id": run.run_id} | against_live(live, run.numbers, run.embeddings, judged, draws)
