"""How sure a decoder may be: the scale from centred cosines to log odds, one per number of volumes."""

import numpy as np
from numpy.typing import NDArray

_LARGEST = 1000.0
_BISECTIONS = 60


def fit_posterior_scale(similarities: NDArray[np.floating], true_rows: NDArray[np.intp]) -> float:
    """Scale s ≥ 0 of softmax(s × similarity) with the largest likelihood of the clips heard.

    The log likelihood is concave in s, so bisection on its derivative finds the maximum; noise
    gives 0, which is a uniform posterior.

    Parameters
    ----------
    similarities : float array of shape (n_trials, n_clips)
        Of out-of-fold predictions: predictions of the training trials themselves would promise
        far too much.
    true_rows : intp array of shape (n_trials,)
        Column of the clip heard.
    """
    values = np.asarray(similarities, np.float64)
    if not len(values):
        return 0.0
    own = values[np.arange(len(values)), true_rows]

    def slope(scale: float) -> float:
        weights = np.exp(scale * (values - values.max(axis=1, keepdims=True)))
        expected = (weights * values).sum(axis=1) / weights.sum(axis=1)
        return float((own - expected).mean())

    if slope(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, _LARGEST
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def posterior_scales(similarities: NDArray[np.floating], true_rows: NDArray[np.intp]) -> tuple[float, ...]:
    """`Manifest.posterior_scale`: a scale for each number of volumes, from 1 to the window.

    Parameters
    ----------
    similarities : float array of shape (window_volumes, n_trials, n_clips)
        Element n-1 after n usable volumes; NaN rows for trials with fewer.
    true_rows : intp array of shape (n_trials,)

    Returns
    -------
    scales : tuple of float
        Never smaller than 0; the scale of n volumes is not allowed below that of n-1, since the
        same trial cannot become less telling by one more volume: that is noise of the fit.
    """
    scales: list[float] = []
    for values in similarities:
        there = np.isfinite(values).all(axis=1)
        scales.append(max(fit_posterior_scale(values[there], true_rows[there]), scales[-1] if scales else 0.0))
    return tuple(scales)
