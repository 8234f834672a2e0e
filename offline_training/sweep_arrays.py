"""A sweep over response arrays: every person, region and kind of target of a folder, from training runs alone."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from offline_training.material import check_clips
from offline_training.progress import Progress
from offline_training.response_arrays import array_subjects, read_arrays
from offline_training.splits import deal_folds
from offline_training.sweep import Problem, RegionFold, averaged, sweep
from offline_training.windows import TrialTable, Window, find_trials, whole_rows
from realtime.atomic import without_nan, write_bytes
from realtime.music.catalogue import Catalogue

_PERMUTATIONS = 1000
_WINDOW = Window(3, 10)


@dataclass(frozen=True, eq=False)
class _Named:
    """A problem, its trials, and what its regions are called."""

    problem: Problem
    trials: TrialTable
    targets: NDArray[np.float64]
    region_names: tuple[str, ...]


def sweep_arrays(folder: Path, catalogues: Mapping[str, Catalogue], keep: Path, executor: Executor,
                 progress: Progress | None = None, subjects: Sequence[str] = (), n_folds: int = 6,
                 n_regions: int = 6) -> dict[str, Any]:
    """Cross-validated identification of every subject and target, the best regions averaged; figures for JSON.

    The band of chance is that of exchanging the clips within each run.

    Parameters
    ----------
    folder : Path
        As `read_arrays` reads it.
    catalogues : mapping of str to Catalogue
        Name of a kind of target to the corpus that embeds the clips heard in it.
    keep : Path
        Features and results; a sweep that was cut off goes on from them. On a disk that all workers share.
    executor : Executor
    progress : Progress, optional
    subjects : sequence of str
        All of the folder when empty.
    n_folds, n_regions : int
        At least 3 folds; regions averaged.

    Raises
    ------
    DatasetError, EventsError
        As `read_arrays`, or clips that a catalogue lacks.
    FitError
        Runs that cannot be dealt into folds.
    """
    keep.mkdir(parents=True, exist_ok=True)
    named = [one for subject in subjects or array_subjects(folder)
             for one in _problems(folder, subject, catalogues, keep, n_folds)]
    found = sweep([one.problem for one in named], executor, keep, progress)
    return {f"sub-{one.problem.subject} {one.problem.target}": _figures(one, found, n_regions) for one in named}


def _problems(folder: Path, subject: str, catalogues: Mapping[str, Catalogue], keep: Path,
              n_folds: int) -> list[_Named]:
    responses = read_arrays(folder, subject).responses
    path, made, first = keep / f"sub-{responses.subject}-features.npy", [], True
    regions = responses.regions if responses.region_names else np.zeros_like(responses.regions)
    for target, catalogue in catalogues.items():
        check_clips([run.events for run in responses.training], catalogue)
        trials = find_trials(responses.training, responses.tr_s, [_WINDOW], 0.5)
        targets = np.stack([catalogue.embedding(clip) for clip in trials.clip_ids]).astype(np.float64)
        if first:
            buffer = BytesIO()
            np.save(buffer, whole_rows(trials, responses.tr_s, _WINDOW))
            write_bytes(path, buffer.getvalue())
            first = False
        fold = deal_folds(trials.run_ids, trials.clip_ids, n_folds)
        problem = Problem(responses.subject, target, path, regions, targets.astype(np.float32), fold)
        made.append(_Named(problem, trials, targets, responses.region_names or ("all",)))
    return made


def _figures(named: _Named, found: Sequence[RegionFold], n_regions: int) -> dict[str, Any]:
    problem, trials = named.problem, named.trials
    predicted, clips = averaged(found, problem, n_regions), np.array(trials.clip_ids)
    beaten = []
    for run in dict.fromkeys(trials.run_ids):  # rivals are of the same run: the others were trained on
        rows = np.flatnonzero(np.array(trials.run_ids) == run)
        one_of_each = rows[np.unique(clips[rows], return_index=True)[1]]
        beaten.append(_beaten(predicted[one_of_each], named.targets[one_of_each]))
    rng = np.random.default_rng(0)
    null = [_mean([own[:, rng.permutation(len(own))] for own in beaten]) for _ in range(_PERMUTATIONS)]
    identification = _mean(beaten)
    own = [one for one in found if (one.subject, one.target) == (problem.subject, problem.target)]
    by_region = {name: float(np.mean([one.correlation for one in own if one.region == number]))
                 for number, name in enumerate(named.region_names) if any(one.region == number for one in own)}
    figures: dict[str, Any] = without_nan({
        "cross_validated_identification": identification, "n_trials": sum(len(own) for own in beaten),
        "chance_p95": float(np.quantile(null, 0.95)), "chance_p99": float(np.quantile(null, 0.99)),
        "p_value": (1 + sum(value >= identification for value in null)) / (1 + _PERMUTATIONS),
        "n_permutations": _PERMUTATIONS, "n_regions_averaged": min(n_regions, len(by_region)),
        "correlation_by_region": by_region, "n_folds": int(problem.fold.max()) + 1,
        "n_voxels": int((problem.regions >= 0).sum())})
    return figures


def _beaten(predicted: NDArray[np.floating], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """Element [i, k]: share of the other clips that clip k beats for prediction i, ties half, by Pearson's r."""
    n = len(targets)
    correlations = np.round(np.corrcoef(predicted, targets)[:n, n:], 12)
    return np.asarray((rankdata(correlations, axis=1) - 1) / max(n - 1, 1), np.float64)


def _mean(beaten: Sequence[NDArray[np.float64]]) -> float:
    return float(np.concatenate([own.diagonal() for own in beaten]).mean())
