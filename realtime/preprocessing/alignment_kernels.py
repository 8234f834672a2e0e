"""Compiled sums of rigid alignment. The rules are in `kernels`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.interpolation_kernels import spline_sum
from realtime.preprocessing.kernels import Array64, Volume32, compiled
from realtime.preprocessing.vector_kernels import add_scaled_row

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
    factors = shading.astype(np.float32)
    per_bin, per_cutoff = np.float32(1.0 / bin_width), np.float32(1.0 / cutoff if cutoff > 0.0 else 0.0)
    cells, between = np.empty((3, _BLOCK), np.int32), np.empty((3, _BLOCK), np.float32)
    values = np.empty(_BLOCK, np.float32)
    histogram[:], right[:], sums[:] = 0, 0.0, 0.0
    for start in range(0, n_points, _BLOCK):
        stop = min(start + _BLOCK, n_points)
        _locate(coefficients.shape, transform, places[:, start:stop], margin, cells, between)
        for i in range(stop - start):
            values[i] = spline_sum(coefficients, np.intp(cells[2, i]), np.intp(cells[1, i]),
                                   np.intp(max(cells[0, i], 0)), between[2, i], between[1, i], between[0, i])
        _project(cells[0], values, rows[start:stop], factors, per_bin, per_cutoff, histogram, right, sums)


@compiled
def _locate(shape: tuple[int, int, int], transform: Array64, places: Volume32, margin: Array64,
            cells: NDArray[np.int32], between: Volume32) -> None:
    """First voxel (3, n) of the block around each point, and the point's place in it; -1 along x for one outside."""
    nz, ny, nx = shape
    low_x, low_y, low_z = np.float32(margin[0]), np.float32(margin[1]), np.float32(margin[2])
    high_x, high_y = np.float32(nx - 1.0 - margin[0]), np.float32(ny - 1.0 - margin[1])
    high_z = np.float32(nz - 1.0 - margin[2])
    xx, xy, xz, x0 = _single(transform[0])
    yx, yy, yz, y0 = _single(transform[1])
    zx, zy, zz, z0 = _single(transform[2])
    for i in range(places.shape[1]):
        px, py, pz = places[0, i], places[1, i], places[2, i]
        x = xx * px + xy * py + xz * pz + x0
        y = yx * px + yy * py + yz * pz + y0
        z = zx * px + zy * py + zz * pz + z0
        inside = (x >= low_x) & (y >= low_y) & (z >= low_z) & (x < high_x) & (y < high_y) & (z < high_z)
        x, y, z = x if inside else _ONE, y if inside else _ONE, z if inside else _ONE
        ix, iy, iz = np.int32(x), np.int32(y), np.int32(z)
        cells[0, i] = ix - 1 if inside else -1
        cells[1, i], cells[2, i] = iy - 1, iz - 1
        between[0, i], between[1, i], between[2, i] = x - np.float32(ix), y - np.float32(iy), z - np.float32(iz)


@compiled
def _single(row: Array64) -> tuple[float, float, float, float]:
    return np.float32(row[0]), np.float32(row[1]), np.float32(row[2]), np.float32(row[3])  # type: ignore[return-value]


@compiled
def _project(cells_x: NDArray[np.int32], values: Volume32, rows: Volume32, shading: Volume32, per_bin: Any,
             per_cutoff: Any, histogram: NDArray[np.int64], right: Array64, sums: Array64) -> None:
    """Add points to `robust_sums`."""
    s0, s1, s2, s3, s4, s5, s6 = shading[0], shading[1], shading[2], shading[3], shading[4], shading[5], shading[6]
    last_bin = np.float32(histogram.size - 1)
    for i in range(rows.shape[0]):
        if cells_x[i] < 0:
            continue
        row = rows[i]
        residual = values[i] - (s0 * row[6] + s1 * row[7] + s2 * row[8] + s3 * row[9]
                                + s4 * row[10] + s5 * row[11] + s6 * row[12])
        sums[0] += 1.0
        histogram[np.intp(min(abs(residual) * per_bin, last_bin))] += 1
        ratio = residual * per_cutoff
        keep = _ONE - ratio * ratio
        if keep > _ZERO:
            weight = keep * keep
            sums[1] += weight
            add_scaled_row(right, rows, i, np.float64(weight * residual))


@compiled
def histogram_median(histogram: NDArray[np.int64], n: float) -> float:
    """Median in bins, interpolated within its bin, of a histogram of `n` values."""
    before, half = 0.0, 0.5 * n
    for i in range(histogram.size):
        if before + histogram[i] >= half:
            return i + (half - before) / max(float(histogram[i]), 1.0)
        before += histogram[i]
    return float(histogram.size)
