"""Which voxels tell of the music: ranked by how well the music predicts them, across held-out folds."""

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError

Floats = NDArray[np.float64]


def encoding_correlations(features: NDArray[np.floating], targets: Floats, folds: NDArray[np.intp],
                          alpha: float) -> Floats:
    """How well each voxel is predicted from the music, across held-out folds.

    Kernel ridge from the embedding to every voxel at once, one fold held out at a time;
    correlations of prediction and voxel over all held-out trials, each fold centred by itself so
    that its mean helps nobody. A single fold is cut into halves.

    Parameters
    ----------
    features : float array of shape (n_trials, n_voxels)
        Finite.
    targets : float64 array of shape (n_trials, dim)
        Finite.
    folds : intp array of shape (n_trials,)
        Which trials are held out together.
    alpha : float
        `FitSettings.encoding_alpha`.

    Returns
    -------
    correlations : float64 array of shape (n_voxels,)
        0 for a voxel that does not vary.
    """
    rows = np.asarray(features, np.float32)
    products, powers = np.zeros(rows.shape[1]), np.zeros((2, rows.shape[1]))
    if len(np.unique(folds)) == 1:
        folds = (np.arange(len(folds)) >= len(folds) // 2).astype(np.intp)
    for fold in np.unique(folds):
        held = folds == fold
        known = ~held
        centre = targets[known].mean(axis=0)
        music, mean = targets[known] - centre, rows[known].mean(axis=0)
        gram = music @ music.T
        ridge = gram + alpha * max(np.trace(gram) / len(gram), 1e-30) * np.eye(len(gram))
        # The few trials are solved for, not the many voxels: they get one product with what comes out.
        blend = np.linalg.solve(ridge, music @ (targets[held] - centre).T).T
        predicted = blend.astype(np.float32) @ (rows[known] - mean)
        predicted -= predicted.mean(axis=0)
        seen = rows[held] - rows[held].mean(axis=0)
        products += (predicted * seen).sum(axis=0)
        powers += np.stack([(predicted**2).sum(axis=0), (seen**2).sum(axis=0)])
    length = np.sqrt(powers[0] * powers[1])
    return np.where(length > 0, products / np.where(length > 0, length, 1.0), 0.0)


def choose_voxels(scores: Floats, features: NDArray[np.floating], n_voxels: int) -> NDArray[np.intp]:
    """Columns of the `n_voxels` best scores among voxels that vary, increasing; ties by column.

    Parameters
    ----------
    scores : float64 array of shape (n_all,)
    features : float array of shape (n_trials, n_all)
        Finite.
    n_voxels : int
        All that vary where there are fewer.

    Returns
    -------
    voxels : intp array of shape (n_kept,)

    Raises
    ------
    FitError
        No voxel varies.
    """
    varies = np.flatnonzero(np.asarray(features, np.float64).std(axis=0) > 1e-9)
    if not len(varies):
        raise FitError(f"none of the {features.shape[1]} voxels varies over the training trials; look at the runs and "
                       "the brain mask")
    return np.sort(varies[np.argsort(-scores[varies], kind="stable")[:n_voxels]])
