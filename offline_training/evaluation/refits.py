"""Decoders fitted again, for comparisons that a finished bundle cannot answer: other targets, genres left out.

All by one recipe, so that only what is compared differs: voxels ranked by how well the target predicts them across the
training folds, ridge with an α per dimension chosen over the same folds. It is not the bundle's own fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError
from offline_training.evaluation.scorecard import Draws, Judged, identification_of, scorecard
from offline_training.evaluation.trial_rows import TrialRows
from offline_training.ridge import fit_kernel_ridge
from offline_training.scores.repeats import correlate
from offline_training.splits import deal_folds

Floats = NDArray[np.float64]
_BLOCK_VOXELS = 4096


@dataclass(frozen=True)
class Recipe:
    """How a refit is made.

    Attributes
    ----------
    n_voxels : int
        Kept of the best predicted; all where there are fewer.
    encoding_alpha : float
        Ridge penalty of the encoding model that ranks the voxels, in units of the mean squared length of a target
        about the mean.
    alphas : tuple of float
        Grid, increasing.
    n_folds : int
        Of whole runs.
    """

    n_voxels: int = 1000
    encoding_alpha: float = 30.0
    alphas: tuple[float, ...] = tuple(float(alpha) for alpha in np.logspace(1, 6, 11))
    n_folds: int = 6


@dataclass(frozen=True, eq=False)
class Refit:
    """Predictions of one refit: of the trials it was fitted on, and of those held out."""

    known: Floats
    held: Floats


def refit(training: TrialRows, targets: Floats, held: NDArray[np.float32], recipe: Recipe) -> Refit:
    """Fit on training trials, predict them and others.

    Parameters
    ----------
    training : TrialRows
    targets : float64 array of shape (n_training, dim)
    held : float32 array of shape (n_held, n_voxels)

    Raises
    ------
    FitError
        Too few runs or clips for folds, or no voxel that varies.
    """
    heard = training.heard
    fold = deal_folds(heard.run_ids, heard.tracks, recipe.n_folds)
    voxels = _best_voxels(training.features, targets, fold, recipe)
    rows = training.features[:, voxels]
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    rows = (rows - mean) / spread
    ridge = fit_kernel_ridge(rows, targets.astype(np.float32), fold, recipe.alphas)
    return Refit(np.asarray(ridge.predict(rows), np.float64),
                 np.asarray(ridge.predict((held[:, voxels] - mean) / spread), np.float64))


def _best_voxels(features: NDArray[np.float32], targets: Floats, fold: NDArray[np.intp],
                 recipe: Recipe) -> NDArray[np.intp]:
    """Voxels, increasing, that the target predicts best across folds, each fold about its own mean."""
    music = (targets - targets.mean(axis=0)).astype(np.float32)
    alpha = recipe.encoding_alpha * max(float(np.square(music).sum(axis=1).mean()), 1e-9)
    r = np.full(features.shape[1], np.nan)
    for start in range(0, len(r), _BLOCK_VOXELS):
        seen = np.array(features[:, start:start + _BLOCK_VOXELS])
        predicted = fit_kernel_ridge(music, seen, fold, (alpha,)).predictions
        for k in np.unique(fold):
            predicted[fold == k] -= predicted[fold == k].mean(axis=0)
            seen[fold == k] -= seen[fold == k].mean(axis=0)
        r[start:start + _BLOCK_VOXELS] = correlate(predicted, seen)
    varies = np.flatnonzero(np.isfinite(r))
    if not len(varies):
        raise FitError(f"none of {len(r)} voxels varies over the training trials; look at the runs and the brain mask")
    return np.sort(varies[np.argsort(-r[varies], kind="stable")[:recipe.n_voxels]])


def judged_of(rows: TrialRows, predictions: Floats, targets: Floats) -> Judged:
    """Predictions of these trials, to be judged."""
    heard = rows.heard
    return Judged(predictions, targets, heard.clip_ids, heard.genres, heard.run_ids)


def target_table(training: TrialRows, test: TrialRows, kinds: Mapping[str, Mapping[str, NDArray[np.floating]]],
                 recipe: Recipe | None = None, draws: Draws | None = None) -> dict[str, Any]:
    """Table 2 of Brain2Music (arXiv 2307.11078): how well each kind of target is decoded.

    Parameters
    ----------
    training, test : TrialRows
    kinds : mapping of str to mapping of str to array of shape (dim,)
        For each kind of target the vector of every clip.
    recipe : Recipe, optional
    draws : Draws, optional

    Returns
    -------
    table : dict
        For each kind `dim`; as estimates `id_test` (the hearings of a clip averaged, as the paper), `id_test_centred`
        (the same with the training targets' mean taken off predictions and targets), `id_test_single`, and `id_train`
        (on the trials fitted on, as the paper: it measures fitting, not decoding); `r_test` and `r_train`, Pearson's
        correlation over clips, or trials, in each dimension, the mean over dimensions that vary. Where clips share a
        target (one-hot genre) they tie.
    """
    recipe, table = recipe or Recipe(), {}
    for name, vectors in kinds.items():
        known, held = (np.stack([np.asarray(vectors[clip], np.float64) for clip in rows.heard.clip_ids])
                       for rows in (training, test))
        fitted = refit(training, known, test.features, recipe)
        single = judged_of(test, fitted.held, held)
        averaged, own = single.averaged(), judged_of(training, fitted.known, known)
        table[name] = {
            "dim": known.shape[1], "id_test": identification_of(averaged, draws).figures(),
            "id_test_centred": identification_of(_about(averaged, known.mean(axis=0)), draws).figures(),
            "id_test_single": identification_of(single, draws).figures(),
            "id_train": identification_of(own, draws).figures(),
            "r_test": _mean_r(averaged), "r_train": _mean_r(own)}
    return table


def without_genre(training: TrialRows, test: TrialRows, targets: tuple[Floats, Floats], recipe: Recipe | None = None,
                  draws: Draws | None = None) -> dict[str, Any]:
    """Leave one genre out: every test trial decoded by a refit that never heard its genre.

    Predictions lean towards the genres that were heard, which are the rivals: noise would score below 0.5 here, so what
    is above the band is generalisation. `within_genre` of the card has rivals of the same unheard genre only.

    Parameters
    ----------
    training, test : TrialRows
    targets : pair of float64 arrays
        Of the training and of the test trials.

    Returns
    -------
    card : dict
        `scorecard` of the hearings averaged; `left_out` names the genres, those without training trials or for which
        too little is left are missing.
    """
    recipe = recipe or Recipe()
    known, held = np.asarray(training.heard.genres), np.asarray(test.heard.genres)
    predictions, left_out = np.full(targets[1].shape, np.nan), []
    for genre in sorted(set(test.heard.genres) & set(training.heard.genres)):
        rest = known != genre
        try:
            fitted = refit(training.only(rest), targets[0][rest], test.features[held == genre], recipe)
        except FitError:
            continue
        predictions[held == genre] = fitted.held
        left_out.append(genre)
    return scorecard(judged_of(test, predictions, targets[1]).averaged(), draws) | {"left_out": left_out}


def _about(judged: Judged, centre: Floats) -> Judged:
    """Predictions and targets about a centre."""
    return replace(judged, predictions=judged.predictions - centre, targets=judged.targets - centre)


def _mean_r(judged: Judged) -> float | None:
    there = np.isfinite(judged.predictions).all(axis=1)
    r = correlate(judged.predictions[there], judged.targets[there])
    return float(np.nanmean(r)) if np.isfinite(r).any() else None
