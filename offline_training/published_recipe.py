"""Brain2Music's decoder on response arrays, with nothing chosen: what the simulated person is calibrated by.

A ridge per region with one α per dimension (arXiv 2307.11078, section 3.3), the regions that predict best averaged.
The paper names no haemodynamic lag and no grid for α; three volumes and ten are its successors'.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError
from offline_training.responses import ResponseRun, Responses
from offline_training.ridge import KernelRidge, fit_kernel_ridge

Floats32 = NDArray[np.float32]
Embedding = Callable[[str], NDArray[np.floating]]
_ALPHAS = tuple(float(alpha) for alpha in np.logspace(1.5, 5.5, 9))
_N_FOLDS, _N_REGIONS = 5, 6


@dataclass(frozen=True)
class Span:
    """Volumes `first` to before `stop` after the volume in which a clip begins."""

    first: int = 3
    stop: int = 13


WHOLE = Span()


@dataclass(frozen=True, eq=False)
class Rows:
    """Trials: responses (n, n_voxels), and what was heard and where."""

    responses: Floats32
    clip_ids: tuple[str, ...]
    genres: tuple[str, ...]
    run_ids: tuple[str, ...]

    def targets(self, embedding: Embedding) -> Floats32:
        """Embeddings (n, dim) of what was heard."""
        return np.stack([embedding(clip) for clip in self.clip_ids]).astype(np.float32)


def rows_of(runs: Sequence[ResponseRun], tr_s: float, span: Span = WHOLE) -> Rows:
    """Means over the usable volumes of every trial's span; dummies, and trials without any, are left out."""
    rows, heard = [], []
    for run in runs:
        for event in run.events:
            onset = round(event.onset_s / tr_s)
            volumes = np.arange(onset + span.first, min(onset + span.stop, len(run.responses)))
            volumes = volumes[run.usable[volumes]]
            if len(volumes) and not event.is_dummy:
                rows.append(run.responses[volumes].mean(axis=0))
                heard.append((event.clip_id, event.genre, run.run_id))
    if not rows:
        raise FitError(f"{len(runs)} runs hold no trial with a usable volume; look at their events and motion")
    clips, genres, names = zip(*heard, strict=True)
    return Rows(np.stack(rows), clips, genres, names)


@dataclass(frozen=True, eq=False)
class PublishedDecoder:
    """Averaged ridges: mean and standard deviation of every voxel in training; voxels and ridge of each region."""

    mu: Floats32
    sigma: Floats32
    regions: tuple[tuple[NDArray[np.intp], KernelRidge], ...]

    def predict(self, responses: Floats32) -> Floats32:
        """Embeddings (n, dim) of rows (n, n_voxels)."""
        scaled = (responses - self.mu) / self.sigma
        return np.asarray(np.mean([ridge.predict(scaled[:, voxels]) for voxels, ridge in self.regions], axis=0),
                          np.float32)


def fit_published(responses: Responses, embedding: Embedding, span: Span = WHOLE,
                  fold_of: Callable[[Rows], NDArray[np.intp]] | None = None) -> PublishedDecoder:
    """Fit on the training runs; voxels of no region are not looked at.

    Parameters
    ----------
    responses : Responses
    embedding : callable
        Clip id to vector.
    span : Span
        What of a trial is averaged.
    fold_of : callable, optional
        Fold of every row; whole runs, dealt into five, when left out.
    """
    rows = rows_of(responses.training, responses.tr_s, span)
    fold = (fold_of or _run_folds)(rows)
    targets = rows.targets(embedding)
    mu, sigma = rows.responses.mean(axis=0), np.maximum(rows.responses.std(axis=0), np.float32(1e-6))
    scaled = (rows.responses - mu) / sigma
    fitted = []
    for region in np.unique(responses.regions[responses.regions >= 0]):
        voxels = np.flatnonzero(responses.regions == region)
        ridge = fit_kernel_ridge(np.ascontiguousarray(scaled[:, voxels]), targets, fold, _ALPHAS)
        fitted.append((_mean_correlation(ridge.predictions, targets), voxels, ridge))
    best = sorted(range(len(fitted)), key=lambda k: -fitted[k][0])[:_N_REGIONS]
    return PublishedDecoder(mu, sigma, tuple((fitted[k][1], fitted[k][2]) for k in best))


def _run_folds(rows: Rows) -> NDArray[np.intp]:
    names = list(dict.fromkeys(rows.run_ids))
    return np.array([names.index(run) % _N_FOLDS for run in rows.run_ids], np.intp)


def _mean_correlation(predicted: Floats32, wanted: Floats32) -> float:
    """Over targets; one that is predicted by a constant counts as 0."""
    p, w = predicted - predicted.mean(axis=0), wanted - wanted.mean(axis=0)
    size = np.sqrt((p**2).sum(axis=0) * (w**2).sum(axis=0))
    return float(np.mean((p * w).sum(axis=0) / np.maximum(size, 1e-12)))


def rowwise_correlation(predicted: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Mean over trials of Pearson's correlation across dimensions: Brain2Music's C_ii."""
    p = predicted - predicted.mean(axis=1, keepdims=True)
    w = wanted - wanted.mean(axis=1, keepdims=True)
    return float(np.mean((p * w).sum(axis=1) / np.maximum(np.sqrt((p**2).sum(axis=1) * (w**2).sum(axis=1)), 1e-12)))
