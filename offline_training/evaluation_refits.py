"""What takes all runs and further fits: the table of targets, a genre left out, motion alone, encoding models."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.corpus import read_entries
from offline_training.decoder_facts import DecoderFacts, facts_of
from offline_training.design import Frame
from offline_training.embedders import open_embedder
from offline_training.encoding.maps import Space, draw, write_maps
from offline_training.encoding.model import Answers, EncodingSettings, encode, figures
from offline_training.errors import DatasetError
from offline_training.evaluation.controls import Known
from offline_training.evaluation.refits import target_table, without_genre
from offline_training.evaluation.scorecard import Draws
from offline_training.evaluation.target_kinds import (
    captions,
    embedding_targets,
    genre_targets,
    spectral_targets,
    text_targets,
)
from offline_training.evaluation.trial_rows import TrialRows, trial_rows
from offline_training.evaluation_figures import Decoded, clip_facts, control_cards, targets_of
from offline_training.progress import Progress, counted
from offline_training.recorded_responses import responses_of
from offline_training.reference import brain_voxels
from offline_training.regions import read_region
from offline_training.responses import Responses
from offline_training.runs import Dataset
from offline_training.sampling import sample_runs
from realtime.atomic import without_nan
from realtime.bundle import Bundle
from realtime.errors import EmbedderError
from realtime.music.catalogue import Catalogue
from realtime.ports import TextEmbedder

Kinds = Mapping[str, Mapping[str, NDArray[np.floating]]]
WORDS = "synth-128"


@dataclass(frozen=True, eq=False)
class Whole:
    """All runs of a person, over every voxel that a decoder may look at.

    Attributes
    ----------
    responses : Responses
    space : Space or None
        Where the voxels lie; ready-made arrays do not say.
    training, test : TrialRows
    """

    responses: Responses
    space: Space | None
    training: TrialRows
    test: TrialRows


def whole_session(bundle: Bundle, dataset: Dataset, catalogue: Catalogue, tracks: Mapping[str, str], folder: Path,
                  executor: Executor, progress: Progress | None = None) -> Whole:
    """Align all runs to the bundle's reference and keep every voxel of the region, not the bundle's alone.

    The bundle's voxels were chosen for its own target; a comparison of targets must not begin with them.

    Parameters
    ----------
    bundle : Bundle
        Its reference, preprocessing, lag and window.
    dataset : Dataset
        With training and test runs.
    catalogue : Catalogue
    tracks : mapping of str to str
        Recordings that clips were cut from.
    folder : Path
        For aligned runs; those found in it are used again.
    executor : Executor
    progress : Progress, optional

    Raises
    ------
    DatasetError
        No training runs, or a region that lies outside the head.
    """
    if not dataset.training:
        raise DatasetError(f"subject {dataset.subject!r} has no training run: nothing can be fitted again; give the "
                           "data set that the bundle was trained on")
    manifest = bundle.manifest
    voxels = _voxels(bundle, dataset)
    frame = Frame(bundle.reference, bundle.affine, voxels, manifest.preprocessing, bundle.tissues)
    sampled = sample_runs((*dataset.training, *dataset.test), frame, folder, executor, progress)
    responses = responses_of(dataset.subject, sampled, frame, [run.run_id for run in dataset.test], folder)
    return Whole(responses, Space(bundle.reference, bundle.affine, voxels), *_rows(responses, facts_of(bundle),
                                                                                  catalogue, tracks))


def whole_arrays(decoder: DecoderFacts, responses: Responses, catalogue: Catalogue,
                 tracks: Mapping[str, str]) -> Whole:
    """The same of ready-made arrays: every voxel that can be used, of no known place."""
    return Whole(responses, None, *_rows(responses, decoder, catalogue, tracks))


def _rows(responses: Responses, decoder: DecoderFacts, catalogue: Catalogue,
          tracks: Mapping[str, str]) -> Iterator[TrialRows]:
    known = clip_facts(responses, catalogue, tracks)
    for runs in (responses.training, responses.test):
        yield trial_rows(runs, responses.tr_s, decoder.lag_volumes, decoder.window_volumes, known)


def _voxels(bundle: Bundle, dataset: Dataset) -> NDArray[np.int32]:
    """The brain's voxels, inside the data set's region where it has one."""
    brain, first = brain_voxels(bundle.reference), dataset.training[0]
    if dataset.region is None:
        return brain
    inside: NDArray[np.int32] = brain[read_region(dataset.region, first.shape, first.affine)[tuple(brain.T)]]
    if not len(inside):
        raise DatasetError(f"region mask {dataset.region} lies outside the head of {first.run_id}; is it this "
                           "person's?")
    return inside


def target_kinds(catalogue: Catalogue, corpus: Path, clips: list[str]) -> dict[str, Any]:
    """The four kinds of targets of Brain2Music's table; a kind that cannot be had here is left out.

    Text is the caption's vector in the space of the embedder that comes with the program.
    """
    genres = {clip: catalogue.clip(clip).genre for clip in clips}
    kinds: dict[str, Any] = {f"high-level audio ({catalogue.space.name})": embedding_targets(catalogue, clips),
                             "low-level audio (mean spectrum)": spectral_targets(corpus, clips)}
    words = open_embedder(WORDS)
    if isinstance(words, TextEmbedder):
        try:
            kinds[f"text ({WORDS})"] = text_targets(words, captions(read_entries(corpus).clips), clips)
        except EmbedderError:  # captions in words that the tower does not know
            kinds.pop(f"text ({WORDS})", None)
    if len(set(genres.values())) > 1:
        kinds["one-hot genre"] = genre_targets(genres, clips)
    return kinds


def refit_figures(whole: Whole, decoded: Decoded, catalogue: Catalogue, kinds: Kinds, draws: Draws,
                  progress: Progress | None = None) -> dict[str, Any]:
    """The table of targets, leave-one-genre-out, and the controls with motion, for JSON."""
    targets = targets_of(whole.training.heard, catalogue), targets_of(whole.test.heard, catalogue)
    table: dict[str, Any] = {}
    for name in counted(iter(kinds), "decoding other targets", len(kinds), progress):
        table |= target_table(whole.training, whole.test, {name: kinds[name]}, draws=draws)
    moved = whole.space is not None  # arrays do not say how the head moved
    known = Known(whole.training.heard, targets[0], whole.training.motion if moved else None)
    asked = Known(whole.test.heard, targets[1], whole.test.motion if moved else None)
    same = whole.test.heard.clip_ids == decoded.heard.clip_ids  # else some trial had too few volumes: judge those left
    judged = decoded.judged if same else None
    cleaned: dict[str, Any] = without_nan({
        "targets": table, "leave_one_genre_out": without_genre(whole.training, whole.test, targets, draws=draws),
        "controls": control_cards(judged, known, asked, draws) if judged is not None else None})
    return {name: part for name, part in cleaned.items() if part is not None}


def encoding_figures(whole: Whole, kinds: Kinds, settings: EncodingSettings, folder: Path | None,
                     progress: Progress | None = None) -> dict[str, Any]:
    """An encoding model of each kind of target, its maps written to a folder and drawn, for JSON."""
    training, test = (
        Answers(rows.heard.clip_ids, rows.heard.genres, rows.heard.run_ids, rows.heard.tracks, rows.features)
        for rows in (whole.training, whole.test))
    found: dict[str, Any] = {}
    for number, name in enumerate(counted(iter(kinds), "encoding models", len(kinds), progress)):
        scores = encode(training, test, kinds[name], settings)
        found[name] = figures(scores)
        if whole.space is None:
            continue
        if folder is not None:
            paths = write_maps(folder, f"encoding-{number}", scores, whole.space)
            found[name]["maps"] = [path.name for path in paths]
        found[name]["image"] = draw(scores, whole.space)
    cleaned: dict[str, Any] = without_nan(found)
    return cleaned
