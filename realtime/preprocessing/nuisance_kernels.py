"""Compiled loops of the nuisance regression; the rules are those of `kernels`."""

import math

from realtime.preprocessing.kernels import Array64, Volume32, compiled
from realtime.preprocessing.rigid_kernels import solve_positive


@compiled
def regression_gains(cross: Array64, ridge: Array64, count: float, regressors: Array64, out: Array64) -> None:
    """Solve (cross + diag(ridge) / count) · out = regressors; zeros while `count` is 0.

    Parameters
    ----------
    cross : float64 array of shape (k, k)
        Weighted covariance of the regressors.
    ridge : float64 array of shape (k,)
        Positive: makes the sum positive definite.
    count : float
        Volumes that the covariance stands for.
    regressors : float64 array of shape (k,)
        Deviations from their means.
    out : float64 array of shape (k,)
        Written.
    """
    if count <= 0.0:
        out[:] = 0.0
        return
    matrix = cross.copy()
    for i in range(regressors.size):
        matrix[i, i] += ridge[i] / count
    if not solve_positive(matrix, regressors, out):
        out[:] = 0.0


@compiled
def learn_regressors(mean: Array64, cross: Array64, step: Array64, weight: float) -> None:
    """Weighted mean (k,) and covariance (k, k) take in regressors that lie `step` from the mean; in place."""
    k = step.size
    for i in range(k):
        mean[i] += weight * step[i]
        for j in range(k):
            cross[i, j] = (1.0 - weight) * (cross[i, j] + weight * step[i] * step[j])


@compiled
def scale_residuals(
    samples: Volume32, mean: Array64, spread: Array64, voxel_cross: Array64, prior_variance: Array64,
    step: Array64, before: Array64, after: Array64, count: float, weight: float, prior_count: float, limit: float,
    scratch: Array64, out: Volume32,
) -> None:
    """Update each voxel's mean, covariance with the regressors and residual variance; score its residual.

    Parameters
    ----------
    samples : float32 array of shape (n,)
    mean, spread : float64 arrays of shape (n,)
        Running mean of the samples and mean squared residual; updated in place when `weight` > 0.
    voxel_cross : float64 array of shape (k, n)
        Weighted covariance of regressors and samples; updated likewise.
    prior_variance : float64 array of shape (n,)
        As a fraction of the squared mean.
    step : float64 array of shape (k,)
        The volume's regressors less their means before it.
    before, after : float64 arrays of shape (k,)
        Gains that predict the deviation from the covariances before and after the update.
    count, weight, prior_count, limit : float
        As in `scale_samples`.
    scratch : float64 array of shape (3, n)
        Overwritten.
    out : float32 array of shape (n,)
        Written.

    Notes
    -----
    The minimum of the regression's cost, squared residuals and what the ridge charges, grows by the
    product of a volume's residuals before and after it is learnt (Haykin, Adaptive Filter Theory,
    recursive least squares): no voxel needs its own solve.
    """
    kept = 1.0 - weight
    deviation, ahead, left = scratch[0], scratch[1], scratch[2]
    for i in range(samples.size):
        deviation[i] = float(samples[i]) - mean[i]
        ahead[i] = deviation[i]
        left[i] = kept * deviation[i]
    for j in range(step.size):
        row, push, gain_before, gain_after = voxel_cross[j], weight * step[j], before[j], after[j]
        for i in range(samples.size):
            ahead[i] -= gain_before * row[i]
            row[i] = kept * (row[i] + push * deviation[i])
            left[i] -= gain_after * row[i]
    freedom = prior_count + max(count - 1.0, 0.0)
    for i in range(samples.size):
        mean[i] += weight * deviation[i]
        spread[i] = kept * spread[i] + weight * max(ahead[i] * left[i], 0.0)
        variance = (prior_count * prior_variance[i] * mean[i] * mean[i] + count * spread[i]) / freedom
        score = left[i] / math.sqrt(variance) if variance > 0.0 else 0.0
        out[i] = min(max(score, -limit), limit)
