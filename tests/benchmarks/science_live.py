"""Bars of decoding that need the live program: volumes of a simulated person through bridge, journal and decoder.

The experiment is whole (12 training and 6 test runs of 410 volumes, 480 and 240 trials, three sessions); what is
scaled down is the grid, 64×64×36 at 3×3×3.5 mm for 96×96×68 at 2 mm. Volumes come as fast as they are taken.
"""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.compare import decode_held_out
from offline_training.corpus import place_vectors
from offline_training.corpus_composed import CorpusSettings, build_corpus
from offline_training.design import Frame, sample_run
from offline_training.evaluation.live import read_live
from offline_training.fit import fit_decoder
from offline_training.outside_vectors import OutsideVectors
from offline_training.person_calibration import fit_published, rows_of, targets_of
from offline_training.runs import Dataset, RecordedRun, read_dataset
from offline_training.scores.estimates import paired_difference
from offline_training.simulation.array_scaling import SampledRun, filtered_as_published
from offline_training.simulation.dataset import simulate_session
from offline_training.simulation.music import Music, embedded_music
from offline_training.simulation.session_responses import DS003720
from offline_training.simulation.settings import SimulationSettings, SubjectSettings
from offline_training.train import train
from offline_training.workers import workers
from realtime.bundle import Bundle, read_bundle
from realtime.messages import EmbeddingSpace
from realtime.music.catalogue import read_catalogue
from realtime.preprocessing import CausalScaler
from realtime.rehearsal import Rehearsal, rehearse
from realtime.scoring import IdentificationScore, identification_accuracy
from realtime.session.fold import SessionFold
from realtime.session.folder import SessionFolder
from realtime.session.journal import scan_journal
from realtime.session.kept import about_session, read_parts
from tests.benchmarks.science_simulated import SMALL_HEAD, Tell

_EARLY = 4  # volumes 3 to 6 of a clip
WHOLE = replace(DS003720, n_workers=2)
QUICK = replace(DS003720, n_training_runs=3, n_test_runs=1, n_sessions=1, scanner=SMALL_HEAD, n_workers=2,
                subject=SubjectSettings(n_auditory=150, stimulus_fraction=0.3, unexplained=0.3))
"""A small head that responds far more clearly than a person, and four runs: shows that the way works, no more."""


@dataclass(frozen=True, eq=False)
class Offline:
    """The test trials decoded from the same aligned samples, filtered as published: a median that sees the future.

    Attributes
    ----------
    same_recipe : IdentificationScore
        By the recipe that the live decoder was fitted with: what is left between the two is what being live costs.
    published_recipe : float
        Identification by the published recipe, another decoder.
    """

    same_recipe: IdentificationScore
    published_recipe: float


def live_path(session: SimulationSettings, tell: Tell) -> dict[str, dict[str, Any]]:
    """Figures of the three bars that share one simulated person."""
    with tempfile.TemporaryDirectory(prefix="innerear-science-") as scratch:
        folder = Path(scratch)
        tell("composing what is heard")
        music = _stimuli(folder / "dataset" / "stimuli", session)
        tell("scanning a simulated person")
        simulate_session(folder / "dataset", session)
        dataset, catalogue = read_dataset(folder / "dataset"), read_catalogue(folder / "dataset" / "stimuli")
        tell("training through the live preprocessing")
        with workers(str(session.n_workers)) as executor:
            train(dataset, catalogue, folder / "bundle", executor)
        bundle = read_bundle(folder / "bundle")
        trials, embeddings, differences = [], [], []
        for number, run in enumerate(dataset.test):
            tell(f"live, run {number + 1} of {len(dataset.test)}")
            plan = Rehearsal(run.bold, folder / "bundle", folder / "dataset" / "stimuli", folder / f"session-{number}",
                             run.events_path, None, "null")
            asyncio.run(rehearse(plan, lambda _topic, _payload: None))
            heard = _heard(run, plan.session, bundle)
            trials += heard[0]
            embeddings.append(heard[1])
            differences.append(_feature_difference(run, plan.session, bundle, folder / "samples.npy"))
        tell("the same data offline")
        offline = _offline(dataset, bundle, music, folder)
    return _figures(trials, np.concatenate(embeddings, axis=1), music, offline, differences, session)


def _stimuli(folder: Path, session: SimulationSettings) -> Music:
    """Composed clips that carry vectors of an overlapping space in place of what they sound like."""
    n_training = session.n_training_runs * session.blocks_per_training_run
    build_corpus(folder, CorpusSettings(n_per_genre=n_training + session.n_test_runs, duration_s=session.clip_s,
                                        n_test_per_genre=session.n_test_runs, rate_hz=16000))
    drawn = embedded_music(session)
    names = [f"{genre}-{int(clip.rsplit('.', 1)[1]):03d}" for clip, genre in zip(drawn.clip_ids, drawn.genres,
                                                                                strict=True)]
    space = EmbeddingSpace("drawn-128", drawn.embeddings.shape[1], "0" * 64)
    return Music.of(place_vectors(folder, OutsideVectors(folder, space, dict(zip(names, drawn.embeddings,
                                                                                 strict=True)))))


def _heard(run: RecordedRun, session: Path, bundle: Bundle) -> tuple[list[str], NDArray[np.float64]]:
    """Clips of the scored trials, and what the live program decoded of them early and at last, (2, n, dim)."""
    live = read_live(session).embeddings
    scored = [t for t, event in enumerate(run.events) if event.clip_id and not event.is_dummy]
    found = np.full((2, len(scored), bundle.manifest.space.dim), np.nan)
    for row, trial in enumerate(scored):
        counts = [n for t, n in live if t == trial]
        for place, most in enumerate((_EARLY, max(counts, default=0))):
            usable = [n for n in counts if n <= most]
            if usable:
                found[place, row] = live[trial, max(usable)]
    return [run.events[t].clip_id for t in scored], found


def _feature_difference(run: RecordedRun, session: Path, bundle: Bundle, path: Path) -> float:
    """Largest difference between features of the journalled volumes and those that training makes of the recording."""
    folder, settings = SessionFolder(session), bundle.manifest.preprocessing
    parts = read_parts(folder)
    fold = SessionFold(parts, about_session(parts), lambda _document: None)
    sampled = sample_run(run, Frame(bundle.reference, bundle.affine, bundle.voxels, settings, bundle.tissues), path)
    scaler, samples = CausalScaler(len(bundle.voxels), settings, bundle.feature_scale), np.load(sampled.samples)
    largest, seen = 0.0, 0
    for record in scan_journal(folder.journal).records:
        perceived = fold.perceive(record)
        fold.decide(perceived)
        for percept in perceived.percepts:
            t = percept.volume_index
            offline = scaler.push(np.ascontiguousarray(samples[t]), bool(sampled.censored[t]), sampled.poses[t],
                                  sampled.tissue_percent[t])
            if percept.preprocessed is None:
                raise AssertionError(f"volume {t} of {run.run_id} did not come through")
            largest = max(largest, float(np.abs(percept.preprocessed.features - offline).max()))
            seen += 1
    if seen != run.n_volumes:
        raise AssertionError(f"{seen} of {run.n_volumes} volumes of {run.run_id} are in the journal")
    return largest


def _offline(dataset: Dataset, bundle: Bundle, music: Music, folder: Path) -> Offline:
    """Single-trial identification by the published, non-causal filter on the decoder's own voxels."""
    frame = Frame(bundle.reference, bundle.affine, bundle.voxels, bundle.manifest.preprocessing, bundle.tissues)
    runs = []
    for run in (*dataset.training, *dataset.test):
        sampled = sample_run(run, frame, folder / "samples.npy")
        runs.append(SampledRun(run.run_id, 0, run in dataset.test, np.load(sampled.samples), sampled.displacement_mm,
                               run.events))
    responses = filtered_as_published(runs, np.zeros(len(bundle.voxels), np.intp), ("chosen",),
                                      bundle.manifest.preprocessing.tr_s)
    decoder, test = fit_published(responses, music), rows_of(responses.test, responses.tr_s)
    published = identification_accuracy(decoder.predict(test.features), targets_of(test, music), test.heard.clip_ids)
    made = decode_held_out(fit_decoder(responses, music.embedding), responses)
    targets = np.stack([music.embedding(clip) for clip in made.clip_ids])
    return Offline(identification_accuracy(made.predictions, targets, made.clip_ids), published.mean)


def _figures(clips: list[str], decoded: NDArray[np.float64], music: Music, offline: Offline, differences: list[float],
             session: SimulationSettings) -> dict[str, dict[str, Any]]:
    targets = np.stack([music.embedding(clip) for clip in clips])
    early, last = (identification_accuracy(rows, targets, clips) for rows in decoded)
    own = np.unique(clips, return_inverse=True)[1]
    apart = paired_difference(last.per_trial, offline.same_recipe.per_trial, own, len(set(clips)), 2000, 0)
    common = {"seeds": [session.seed], "scaled_down": f"grid {session.scanner.shape}"}
    return {
        "live_single_trial": {**_interval(last.per_trial, clips), "n": last.n_trials,
                              "offline": offline.same_recipe.mean, "live_minus_offline": apart.figures(),
                              "offline_published_recipe": offline.published_recipe,
                              "bar": "at least 0.82, and at most 0.02 below offline by the same recipe",
                              "met": last.mean >= 0.82 and last.mean >= offline.same_recipe.mean - 0.02, **common},
        "live_after_volumes_3_to_6": {**_interval(early.per_trial, clips), "n": early.n_trials,
                                      "bar": "at least 0.79", "met": early.mean >= 0.79, **common},
        "features_offline_and_live": {"value": max(differences), "n": len(differences), "bar": "0",
                                      "met": max(differences) == 0.0, **common}}


def _interval(per_trial: NDArray[np.float64], clips: list[str]) -> dict[str, Any]:
    """Mean and a 95 % bootstrap over clips: repeats of one are not independent."""
    names = sorted(set(clips))
    means = np.array([np.nanmean(per_trial[[clip == name for clip in clips]]) for name in names])
    drawn = np.random.default_rng(0).choice(means, (2000, len(means))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": float(np.nanmean(per_trial)), "low": float(low), "high": float(high)}
