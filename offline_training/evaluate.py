"""A bundle on recorded runs, through the live path: preprocessor, ONNX decoder, running evidence, posterior."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.design import pushed
from offline_training.errors import DatasetError
from offline_training.progress import Progress, counted
from offline_training.runs import RecordedRun, read_volumes
from offline_training.windows import Window, last_rows, schedule_of, volume_counts
from realtime.atomic import without_nan
from realtime.bundle import Bundle, check_fits, check_space
from realtime.decoding.evidence import TrialEvidence
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.decoding.posterior import Posterior, believe
from realtime.music.catalogue import Catalogue
from realtime.reliability import Reliability
from realtime.scoring import IdentificationScore, identification_accuracy, permutation_band, rank_score, verdict
from scanner_bridge.volume import RunHeader

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Figures of a bundle on held-out runs; every trial by itself unless it says otherwise. Chance of
    identification is 0.5. NaN where a figure cannot be had.

    Attributes
    ----------
    identification_accuracy : float
        Brain2Music's measure over single trials, with all the volumes a trial had.
    chance_p50, chance_p95, chance_p99, p_value : float
        Of permuting the clips within each run.
    verdict : str
        The same in words.
    identification_by_volumes : tuple of float
        Element n-1: after n usable volumes.
    repeats_averaged : float
        Identification after averaging the trials of each clip; equal to the single trial's when none repeats.
    within_genre : float
        Rivals of the same genre only: what is decoded beyond genre.
    median_rank, top1, top3 : float
        Of the clip heard among `n_clips` distinct clips of the runs.
    genre_top1 : float
        Most probable genre over the whole catalogue is the genre heard.
    genre_chance : float
        Share of always naming the commonest genre of the runs.
    n_trials, n_clips, n_runs : int
    """

    identification_accuracy: float
    chance_p50: float
    chance_p95: float
    chance_p99: float
    p_value: float
    verdict: str
    identification_by_volumes: tuple[float, ...]
    repeats_averaged: float
    within_genre: float
    median_rank: float
    top1: float
    top3: float
    genre_top1: float
    genre_chance: float
    n_trials: int
    n_clips: int
    n_runs: int

    def figures(self) -> dict[str, Any]:
        """For JSON, which knows no NaN: what cannot be had is null."""
        figures: dict[str, Any] = without_nan(asdict(self))
        return figures


@dataclass(frozen=True, eq=False)
class DecodedRun:
    """Embeddings of one run's scored trials.

    Attributes
    ----------
    run_id : str
    clip_ids : tuple of str
        Of trials that are no dummy and name a clip.
    embeddings : float32 array of shape (window_volumes, n_trials, dim)
        Element [n-1, t] after n usable volumes; NaN where a trial had fewer.
    numbers : tuple of int
        Place of these trials among the run's events.
    single : float32 array of shape (lag_volumes + window_volumes, n_trials, dim)
        Decoded from each volume after a trial's onset alone; NaN for volumes that are not usable or not there.
    """

    run_id: str
    clip_ids: tuple[str, ...]
    embeddings: NDArray[np.float32]
    numbers: tuple[int, ...]
    single: NDArray[np.float32]


def evaluate(bundle: Bundle, runs: Sequence[RecordedRun], catalogue: Catalogue, executor: Executor,
             progress: Progress | None = None) -> Evaluation:
    """Decode `runs` as the live program would, and score them.

    Raises
    ------
    BundleError
        The bundle does not fit the runs or the catalogue.
    DatasetError
        No run, or no trial with evidence.
    """
    return score_runs(decode_runs(bundle, runs, catalogue, executor, progress), bundle.reliability, catalogue)


def decode_runs(bundle: Bundle, runs: Sequence[RecordedRun], catalogue: Catalogue, executor: Executor,
                progress: Progress | None = None) -> list[DecodedRun]:
    """Decode `runs` as the live program would; errors as `evaluate`."""
    check_space(bundle, catalogue.space, "the catalogue")
    futures = [executor.submit(decode_run, run, bundle) for run in runs]
    decoded = list(counted((future.result() for future in futures), "decoding held-out runs", len(futures), progress))
    if not any(len(run.clip_ids) for run in decoded):
        raise DatasetError(f"none of {len(runs)} runs has a trial to score; give runs whose events name clips")
    return decoded


def decode_run(run: RecordedRun, bundle: Bundle) -> DecodedRun:
    """All of a run's evidence, volume by volume.

    Raises
    ------
    BundleError
        The bundle does not fit the run.
    """
    manifest = bundle.manifest
    check_fits(bundle, RunHeader(run.run_id, run.shape, "<f4", run.affine, run.tr_s, run.n_volumes))
    pre = bundle.preprocessor()
    window = Window(manifest.lag_volumes, manifest.window_volumes)
    schedule = schedule_of(run.events, manifest.preprocessing.tr_s, window)
    decoder = OnnxDecoder(bundle)
    evidence = TrialEvidence(schedule, decoder)
    alone = np.full((run.n_volumes, manifest.space.dim), np.nan, np.float32)
    embeddings = np.full((manifest.window_volumes, len(run.events), manifest.space.dim), np.nan, np.float32)
    for volume in read_volumes(run):
        step = pushed(pre, volume)
        if step is None:
            said = evidence.push(volume.index, None, usable=False)
        else:
            usable = step.ready and not step.censored
            said = evidence.push(volume.index, step.features, usable=usable)
            if usable:
                alone[volume.index] = decoder.decode(step.features)
        if said is not None:
            embeddings[said.n_volumes - 1, said.trial] = said.embedding
    scored = [t for t, event in enumerate(run.events) if event.clip_id and not event.is_dummy]
    after = np.arange(manifest.lag_volumes + manifest.window_volumes)
    places = after[:, None] + np.array([schedule.onset_volumes[t] for t in scored], np.intp)
    single = np.where((places < run.n_volumes)[:, :, None], alone[np.minimum(places, run.n_volumes - 1)], np.nan)
    return DecodedRun(run.run_id, tuple(run.events[t].clip_id for t in scored), embeddings[:, scored], tuple(scored),
                      single.astype(np.float32))


def final_rows(decoded: Sequence[DecodedRun]) -> tuple[Floats, NDArray[np.intp]]:
    """Embeddings (n_trials, dim) with all the volumes each trial had, NaN where it had none, and how many they were."""
    by_volumes = np.concatenate([run.embeddings for run in decoded], axis=1)
    return last_rows(by_volumes), volume_counts(by_volumes)


def score_runs(decoded: Sequence[DecodedRun], reliability: Reliability, catalogue: Catalogue) -> Evaluation:
    """Figures of decoded runs, `reliability` being the decoder's.

    Raises
    ------
    CatalogueError
        A clip heard is not in the catalogue.
    """
    clips = [clip for run in decoded for clip in run.clip_ids]
    runs = [run.run_id for run in decoded for _ in run.clip_ids]
    genres = [catalogue.clip(clip).genre for clip in clips]
    targets = np.stack([catalogue.embedding(clip) for clip in clips]).astype(np.float64)
    by_volumes = np.concatenate([run.embeddings for run in decoded], axis=1)
    final, counts = final_rows(decoded)
    score, ranks = identification_accuracy(final, targets, clips), rank_score(final, targets, clips)
    band = permutation_band(final, targets, clips, runs)
    return Evaluation(
        identification_accuracy=score.mean, chance_p50=band.p50, chance_p95=band.p95, chance_p99=band.p99,
        p_value=band.p_value, verdict=verdict(score, band),
        identification_by_volumes=tuple(identification_accuracy(rows, targets, clips).mean for rows in by_volumes),
        repeats_averaged=_averaged(final, targets, clips).mean,
        within_genre=_within_genre(final, targets, clips, genres),
        median_rank=ranks.median_rank, top1=ranks.top1, top3=ranks.top3,
        genre_top1=_genre_top1(final, counts, genres, reliability, catalogue),
        genre_chance=max(genres.count(genre) for genre in genres) / len(genres),
        n_trials=score.n_trials, n_clips=ranks.n_candidates, n_runs=len(decoded))


def _averaged(final: Floats, targets: Floats, clips: list[str]) -> IdentificationScore:
    names, first, own = np.unique(clips, return_index=True, return_inverse=True)
    there = np.isfinite(final).all(axis=1)
    means = np.stack([final[(own == k) & there].mean(axis=0) if ((own == k) & there).any()
                      else np.full(final.shape[1], np.nan) for k in range(len(names))])
    return identification_accuracy(means, targets[first], names.tolist())


def _within_genre(final: Floats, targets: Floats, clips: list[str], genres: list[str]) -> float:
    scores = []
    for genre in sorted(set(genres)):
        rows = [t for t, other in enumerate(genres) if other == genre]
        scores.append(identification_accuracy(final[rows], targets[rows], [clips[t] for t in rows]).per_trial)
    every = np.concatenate(scores)
    return float(every[np.isfinite(every)].mean()) if np.isfinite(every).any() else float("nan")


def _genre_top1(final: Floats, counts: NDArray[np.intp], genres: list[str], reliability: Reliability,
                catalogue: Catalogue) -> float:
    hits = [_belief(row, n_volumes, reliability, catalogue).genres[0].genre == genre
            for row, n_volumes, genre in zip(final, counts, genres, strict=True) if n_volumes]
    return float(np.mean(hits)) if hits else float("nan")


def posteriors(final: Floats, counts: NDArray[np.intp], reliability: Reliability, catalogue: Catalogue) -> Floats:
    """What the live program would believe of every clip of the catalogue.

    Parameters
    ----------
    final : float64 array of shape (n_trials, dim)
        Decoded, finite.
    counts : intp array of shape (n_trials,)
        Usable volumes behind each, at least one.
    reliability : Reliability
        Of the decoder.
    catalogue : Catalogue

    Returns
    -------
    probabilities : float64 array of shape (n_trials, n_clips)
        Rows sum to 1; 0 for clips that are no candidates.
    """
    probabilities = np.zeros((len(final), len(catalogue.clips)))
    for row, decoded, n_volumes in zip(probabilities, final, counts, strict=True):
        belief = _belief(decoded, n_volumes, reliability, catalogue)
        row[[catalogue.row(clip.clip_id) for clip in belief.clips]] = belief.probabilities
    return probabilities


def best_clips(final: Floats, counts: NDArray[np.intp], reliability: Reliability,
               catalogue: Catalogue) -> tuple[str, ...]:
    """The clip that the live program would find most probable for each row; parameters as `posteriors`."""
    return tuple(_belief(row, n_volumes, reliability, catalogue).top(1)[0].clip.clip_id
                 for row, n_volumes in zip(final, counts, strict=True))


def _belief(row: Floats, n_volumes: int | np.integer[Any], reliability: Reliability,
            catalogue: Catalogue) -> Posterior:
    return believe(catalogue, row.astype(np.float32), reliability, int(n_volumes))
