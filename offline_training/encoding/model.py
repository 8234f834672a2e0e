"""Voxel-wise encoding models: ridge from what a clip is to how each voxel answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.encoding.significance import VoxelScores, score_voxels
from offline_training.errors import FitError
from offline_training.ridge import fit_kernel_ridge
from offline_training.scores.repeats import by_repeat, split_half_reliability
from offline_training.scores.shuffling import Design, genre_blocks, shuffles
from offline_training.splits import deal_folds

Vectors = Mapping[str, NDArray[np.floating]]
_BLOCK_VOXELS = 4096


@dataclass(frozen=True, eq=False)
class Answers:
    """How voxels answered to clips.

    Attributes
    ----------
    clip_ids, genres, run_ids, tracks : tuples of str, length n_trials
        `tracks` are the recordings that clips were cut from: those of one are held out together.
    responses : float32 array of shape (n_trials, n_voxels)
        Finite; may be a memory map.
    """

    clip_ids: tuple[str, ...]
    genres: tuple[str, ...]
    run_ids: tuple[str, ...]
    tracks: tuple[str, ...]
    responses: NDArray[np.float32]

    def only(self, rows: NDArray[np.intp], responses: NDArray[np.float32]) -> "Answers":
        """Some of the trials, with the responses given."""
        clips, genres, runs, tracks = (tuple(names[row] for row in rows)
                                       for names in (self.clip_ids, self.genres, self.run_ids, self.tracks))
        return Answers(clips, genres, runs, tracks, responses)


@dataclass(frozen=True)
class EncodingSettings:
    """How encoding models are fitted and tested.

    Attributes
    ----------
    alphas : tuple of float
        Grid, increasing, for standardised features; chosen for each voxel.
    n_folds : int
        Of whole runs.
    n_permutations, seed : int
        Of shuffled clips. With 60,000 voxels the smallest p of 5000 shuffles must be reached by 240 before any is
        significant.
    """

    alphas: tuple[float, ...] = tuple(float(alpha) for alpha in np.logspace(1, 6, 11))
    n_folds: int = 6
    n_permutations: int = 5000
    seed: int = 0


def predict_held_out(training: Answers, vectors: Vectors, asked: tuple[str, ...],
                     settings: EncodingSettings) -> NDArray[np.float32]:
    """Answers (n_asked, n_voxels) that the music predicts, α of each voxel chosen on training folds.

    Raises
    ------
    FitError
        Too few runs or clips for folds, or answers with NaN.
    """
    features, fold = _features(training.clip_ids, vectors), _folds(training, settings)
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    known, held = (features - mean) / spread, (_features(asked, vectors) - mean) / spread
    n_voxels = training.responses.shape[1]
    predicted = np.empty((len(asked), n_voxels), np.float32)
    for start in range(0, n_voxels, _BLOCK_VOXELS):
        columns = slice(start, start + _BLOCK_VOXELS)
        answers = np.ascontiguousarray(training.responses[:, columns])
        predicted[:, columns] = fit_kernel_ridge(known, answers, fold, settings.alphas).predict(held)
    return predicted


def predict_across_folds(training: Answers, vectors: Vectors, settings: EncodingSettings) -> NDArray[np.float32]:
    """Answers (n_trials, n_voxels) predicted for the training trials, each from the other folds, α chosen inside those.

    Raises
    ------
    FitError
        As `predict_held_out`; with two folds nothing is left to choose α from.
    """
    fold = _folds(training, settings)
    if fold.max() < 2:
        raise FitError("encoding models across folds need at least 3 groups of runs that share no music; record more, "
                       "or hold runs out for testing")
    predicted = np.empty(training.responses.shape, np.float32)
    names = np.asarray(training.clip_ids)
    for k in range(int(fold.max()) + 1):
        rest = fold != k
        kept = training.only(np.flatnonzero(rest), training.responses[rest])
        predicted[~rest] = predict_held_out(kept, vectors, tuple(names[~rest].tolist()), settings)
    return predicted


def encode(training: Answers, test: Answers | None, vectors: Vectors,
           settings: EncodingSettings | None = None) -> VoxelScores:
    """Test an encoding model: on held-out clips, their hearings averaged, or across the training folds.

    Parameters
    ----------
    training : Answers
    test : Answers or None
        With repeats it gives the noise ceiling, too. None: each training run is predicted from the others.
    vectors : mapping of str to array of shape (dim,)
        What every clip is.
    settings : EncodingSettings, optional
    """
    settings = settings or EncodingSettings()
    if test is None:
        predicted, measured = predict_across_folds(training, vectors, settings), training
        return score_voxels(predicted, measured.responses, _shuffles(measured, settings), settings.seed)
    measured, ceiling = averaged(test)
    predicted = predict_held_out(training, vectors, measured.clip_ids, settings)
    return score_voxels(predicted, measured.responses, _shuffles(measured, settings), settings.seed, ceiling)


def averaged(answers: Answers) -> tuple[Answers, NDArray[np.float64]]:
    """One row per clip, the mean of its hearings, and each voxel's noise ceiling (NaN without repeats)."""
    _, first, own = np.unique(list(answers.clip_ids), return_index=True, return_inverse=True)
    n_voxels = answers.responses.shape[1]
    means, ceiling = np.empty((len(first), n_voxels), np.float32), np.full(n_voxels, np.nan)
    order = np.argsort(first)
    for start in range(0, n_voxels, _BLOCK_VOXELS):
        columns = slice(start, start + _BLOCK_VOXELS)
        repeats = by_repeat(np.ascontiguousarray(answers.responses[:, columns]), own, len(first))
        means[:, columns] = np.nanmean(repeats, axis=0)[order]
        whole = repeats[:int(np.isfinite(repeats).all(axis=(1, 2)).sum())]
        with np.errstate(invalid="ignore"):
            ceiling[columns] = np.sqrt(split_half_reliability(whole))
    rows = np.asarray(first[order], np.intp)
    return answers.only(rows, means), ceiling


def figures(scores: VoxelScores) -> dict[str, Any]:
    """A brain's encoding model in figures, for JSON."""
    r, kept, normalised = scores.r[np.isfinite(scores.r)], scores.significant, scores.normalised
    good = normalised[kept & np.isfinite(normalised)]
    return {"n_voxels": len(scores.r), "n_constant": int(np.isnan(scores.r).sum()), "n_rows": scores.n_rows,
            "n_significant": int(kept.sum()), "n_significant_family": int((scores.p_family <= 0.05).sum()),
            "fdr": 0.05, "n_permutations": scores.n_permutations, "seed": scores.seed, "fewest_for_any": scores.fewest,
            "r_max": float(r.max()) if len(r) else None, "r_p95": float(np.quantile(r, 0.95)) if len(r) else None,
            "r_median": float(np.median(r)) if len(r) else None,
            "r_significant_mean": float(scores.r[kept].mean()) if kept.any() else None,
            "ceiling_significant_median": _median(scores.ceiling[kept]), "normalised_significant_median": _median(good)}


def _median(values: NDArray[np.float64]) -> float | None:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else None


def _features(clips: tuple[str, ...], vectors: Vectors) -> NDArray[np.float32]:
    return np.stack([np.asarray(vectors[clip], np.float32) for clip in clips])


def _folds(training: Answers, settings: EncodingSettings) -> NDArray[np.intp]:
    return deal_folds(training.run_ids, training.tracks, settings.n_folds)


def _shuffles(rows: Answers, settings: EncodingSettings) -> NDArray[np.intp]:
    own = np.arange(len(rows.clip_ids))
    runs = np.unique(list(rows.run_ids), return_inverse=True)[1]
    design = Design(own, runs, genre_blocks(rows.genres, rows.run_ids), rows.genres)
    return shuffles(design, settings.n_permutations, settings.seed)
