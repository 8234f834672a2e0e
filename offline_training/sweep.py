"""Subjects × regions × targets × folds, each a job of its own, on whatever workers there are.

A job fits a ridge to one region of one person, one kind of target, without one fold: its penalties are chosen inside
the others, and the rows it left out are predicted. Jobs read the features from a file that all workers see, a region
at a time, and what they give is kept under a name made of everything it was made from: a sweep that was cut off goes
on where it stopped, and the same sweep gives the same bits on processes, on a Dask cluster and in a SLURM queue.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from offline_training import leave_out, ridge
from offline_training.progress import Progress, counted
from offline_training.ridge import fit_kernel_ridge
from realtime.atomic import write_bytes

Floats = NDArray[np.float32]
ALPHAS = tuple(float(alpha) for alpha in np.logspace(1, 6, 16))


@dataclass(frozen=True, eq=False)
class Problem:
    """One person and one kind of target.

    Attributes
    ----------
    subject, target : str
        For people, and in what comes out.
    features : Path
        .npy, float32 (n_rows, n_voxels), finite, on a common scale; on a disk that all workers share.
    regions : intp array of shape (n_voxels,)
        Region of each voxel; those of -1 are in none.
    targets : float32 array of shape (n_rows, n_targets)
        Finite.
    fold : intp array of shape (n_rows,)
        As `deal_folds` deals them, at least three.
    """

    subject: str
    target: str
    features: Path
    regions: NDArray[np.intp]
    targets: Floats
    fold: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RegionFold:
    """What one job found.

    Attributes
    ----------
    subject, target : str
    region, fold : int
        Where it looked, and what it left out.
    correlation : float
        Mean over targets of Pearson's r of predictions and targets inside the other folds: what regions are chosen
        by. NaN where no prediction varies.
    predictions : float32 array of shape (n_left_out, n_targets)
        Of the rows left out, which nothing was chosen by.
    """

    subject: str
    target: str
    region: int
    fold: int
    correlation: float
    predictions: Floats


def sweep(problems: Sequence[Problem], executor: Executor, keep: Path, progress: Progress | None = None,
          alphas: Sequence[float] = ALPHAS, threads: int = 1) -> tuple[RegionFold, ...]:
    """All regions and folds of all problems, in order.

    Parameters
    ----------
    problems : sequence of Problem
    executor : Executor
    keep : Path
        Folder for the results, on a disk that the workers share.
    progress : Progress, optional
    alphas : sequence of float
        Grid of penalties, increasing.
    threads : int
        Of the linear algebra of each job: the bits depend on it, so it is part of what names a result.

    Raises
    ------
    FitError
        A job that cannot be fitted; what is done is kept.
    """
    keep.mkdir(parents=True, exist_ok=True)
    futures = []
    for problem in problems:
        name = _digest(problem, alphas, threads)
        for region in np.unique(problem.regions[problem.regions >= 0]):
            for fold in np.unique(problem.fold):
                path = keep / f"{name}-{region}-{fold}.npz"
                futures.append(executor.submit(_job, problem, int(region), int(fold), path, tuple(alphas), threads))
    return tuple(counted((future.result() for future in futures), "regions and folds", len(futures), progress))


def averaged(found: Sequence[RegionFold], problem: Problem, n_regions: int = 6) -> Floats:
    """Predictions (n_rows, n_targets), each fold's the mean of the regions that were best inside the others.

    Brain2Music, arXiv 2307.11078, section 3.3: one ridge per region, the best six averaged.
    """
    predictions = np.empty(problem.targets.shape, np.float32)
    for fold in np.unique(problem.fold):
        here = [one for one in found if (one.subject, one.target, one.fold) == (problem.subject, problem.target, fold)]
        best = sorted(here, key=lambda one: (-np.nan_to_num(one.correlation, nan=-1.0), one.region))[:n_regions]
        predictions[problem.fold == fold] = np.mean([one.predictions for one in best], axis=0)
    return predictions


def _job(problem: Problem, region: int, fold: int, path: Path, alphas: tuple[float, ...], threads: int) -> RegionFold:
    """On a worker: recalled, or fitted and kept."""
    known = _recall(path)
    if known is None:
        with threadpool_limits(threads):
            known = _fit(problem, region, fold, alphas)
        content = io.BytesIO()
        np.savez(content, correlation=known[0], predictions=known[1])
        write_bytes(path, content.getvalue())
    return RegionFold(problem.subject, problem.target, region, fold, *known)


def _fit(problem: Problem, region: int, fold: int, alphas: tuple[float, ...]) -> tuple[float, Floats]:
    columns, left_out = np.flatnonzero(problem.regions == region), problem.fold == fold
    features: Floats = np.load(problem.features, mmap_mode="r")
    known = features[np.ix_(~left_out, columns)]
    fitted = fit_kernel_ridge(known, problem.targets[~left_out], problem.fold[~left_out], alphas)
    predictions = fitted.predict(features[np.ix_(left_out, columns)])
    return _correlation(fitted.predictions, problem.targets[~left_out]), predictions


def _correlation(predictions: Floats, targets: Floats) -> float:
    one, other = (values - values.mean(axis=0) for values in (np.asarray(predictions, np.float64), targets))
    length = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    varies = length > 0
    return float(((one * other).sum(axis=0)[varies] / length[varies]).mean()) if varies.any() else float("nan")


def _recall(path: Path) -> tuple[float, Floats] | None:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return float(stored["correlation"]), stored["predictions"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _digest(problem: Problem, alphas: Sequence[float], threads: int) -> str:
    digest = hashlib.sha256(repr((tuple(alphas), threads)).encode())
    for array in (problem.regions, problem.targets, problem.fold):
        digest.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    with problem.features.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    for module in (ridge, leave_out):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:24]
