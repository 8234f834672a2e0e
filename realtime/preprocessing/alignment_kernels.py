"""Compiled sums of rigid alignment. The rules are in `kernels`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.interpolation_kernels import spline_sum
from realtime.preprocessing.kernels import Array64, Volume32, compiled
from realtime.preprocessing.vector_kernels import N_ROWS, add_scaled_rows

_BLOCK = 128                # points that go through one loop after the other, and never leave the cache
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@compiled
def sum_of_outer_products(rows: Volume32, out: Array64) -> None:
    """Gauss-Newton Hessian of all points, each fully trusted: lower triangle of `out` (13, 13); see `robust_sums`."""
    out[:] = 0.0
    for p in range(rows.shape[0]):
        row = rows[p]
        for i in range(out.shape[0]):
            for j in range(i + 1):
                out[i, j] += np.float64(row[i]) * np.float64(row[j])


@compiled
def robust_sums(
    coefficients: Volume32, transform: Array64, places: Volume32, rows: Volume32, n_points: int, shading: Array64,
    cutoff: float, margin: Array64, bin_width: float, histogram: NDArray[np.int64], right: Array64, sums: Array64,
) -> None:
    """Residuals at the first `n_points` points, weighted, projected on the steepest-descent images.

    The model of a volume is reference(p) · (s0 + s1 x + s2 y + s3 z + s4 d + s5 d² + s6 d³), d being how
    much brighter the reference is at p than its mean, as a fraction of it: a brightness that changes
    linearly over the head, and a contrast between tissues other than the reference's. A point's
    weight is Tukey's biweight (1 - (residual / cutoff)²)², a polynomial; 0 for a point that
    `transform` moves to within `margin` of the grid's edge.

    Parameters
    ----------
    coefficients : float32 array of shape (nz, ny, nx)
        Of the smoothed volume.
    transform : float64 array of shape (3, 4)
        Point to voxel coordinates.
    places : float32 array of shape (3, n)
        Points, millimetres from the head's centre.
    rows : float32 array of shape (n, 16)
        Steepest-descent images at each point: by three translations and three rotations, and the
        seven terms of the model; then three zeros.
    n_points : int
    shading : float64 array of shape (7,)
    cutoff : float
        0 gives every point inside the weight 1.
    margin : float64 array of shape (3,)
        Voxels, at least 1.
    bin_width : float
        Of the histogram of absolute residuals.
    histogram : int64 array of shape (n_bins,)
        Written; the last bin holds all that is larger.
    right : float64 array of shape (16,)
        Written; the last three are zeros.
    sums : float64 array of shape (2,)
        Written: points inside, sum of the weights.
    """
    per_bin, per_cutoff = np.float32(1.0 / bin_width), np.float32(1.0 / cutoff if cutoff > 0.0 else 0.0)
    factors, matrix = shading.astype(np.float32), transform.astype(np.float32)
    cells, between = np.empty((3, _BLOCK), np.int32), np.empty((3, _BLOCK), np.float32)
    residuals, bins = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    pulls, weights = np.empty(_BLOCK), np.empty(_BLOCK, np.float32)
    histogram[:], right[:], sums[:] = 0, 0.0, 0.0
    for start in range(0, n_points, _BLOCK):
        n = min(_BLOCK, n_points - start)
        for axis in range(3):
            _locate(matrix[axis], places[0, start : start + n], places[1, start : start + n],
                    places[2, start : start + n], margin[axis], coefficients.shape[2 - axis], cells[axis],
                    between[axis])
        for i in range(n):
            row = rows[start + i]
            value = spline_sum(coefficients, np.intp(cells[2, i]), np.intp(cells[1, i]), np.intp(cells[0, i]),
                               between[2, i], between[1, i], between[0, i])
            residuals[i] = value - (factors[0] * row[6] + factors[1] * row[7] + factors[2] * row[8]
                                    + factors[3] * row[9] + factors[4] * row[10] + factors[5] * row[11]
                                    + factors[6] * row[12])
        _weigh(residuals[:n], per_bin, np.float32(histogram.size - 1), per_cutoff, bins, weights)
        for i in range(n):
            inside = between[0, i] >= _ZERO and between[1, i] >= _ZERO and between[2, i] >= _ZERO
            weight = np.float64(weights[i]) if inside else 0.0
            sums[0] += inside
            histogram[bins[i]] += inside
            sums[1] += weight
            pulls[i] = np.float64(weights[i] * residuals[i]) if inside else 0.0
        _add_rows(rows[start : start + n], pulls, right)


@compiled
def _locate(row: Volume32, px: Volume32, py: Volume32, pz: Volume32, margin: float, size: int,
            cells: NDArray[np.int32], between: Volume32) -> None:
    """Along one axis: first voxel of the block around each point, and the point's place in it; 0 and -1 outside."""
    a, b, c, d = row[0], row[1], row[2], row[3]
    low, high = np.float32(margin), np.float32(size - 1.0 - margin)
    for i in range(px.size):
        x = a * px[i] + b * py[i] + c * pz[i] + d
        inside = (x >= low) & (x < high)
        cell = np.int32(x if inside else _ONE)
        cells[i] = cell - np.int32(1)
        between[i] = x - np.float32(cell) if inside else -_ONE


@compiled
def _weigh(residuals: Volume32, per_bin: Any, last_bin: Any, per_cutoff: Any, bins: NDArray[np.int32],
           weights: Volume32) -> None:
    """Bin of the histogram and Tukey's biweight of each residual."""
    for i in range(residuals.size):
        bins[i] = np.int32(min(abs(residuals[i]) * per_bin, last_bin))
        ratio = residuals[i] * per_cutoff
        keep = max(_ONE - ratio * ratio, _ZERO)
        weights[i] = keep * keep


@compiled
def _add_rows(rows: Volume32, factors: Array64, out: Array64) -> None:
    """Add Σ factors[i] · rows[i] to `out`, in index order."""
    whole = rows.shape[0] // N_ROWS * N_ROWS
    for i in range(0, whole, N_ROWS):
        add_scaled_rows(out, rows, i, factors, i)
    for i in range(whole, rows.shape[0]):
        for k in range(out.size):
            out[k] += factors[i] * np.float64(rows[i, k])


@compiled
def histogram_median(histogram: NDArray[np.int64], n: float) -> float:
    """Median in bins, interpolated within its bin, of a histogram of `n` values."""
    before, half = 0.0, 0.5 * n
    for i in range(histogram.size):
        if before + histogram[i] >= half:
            return i + (half - before) / max(float(histogram[i]), 1.0)
        before += histogram[i]
    return float(histogram.size)
