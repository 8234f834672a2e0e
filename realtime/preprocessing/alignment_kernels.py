"""Compiled loops of interpolation and rigid alignment. The rules are in `kernels`."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.kernels import Array64, Volume32, compiled, inlined, mirror


@inlined
def _weights(t: Any) -> tuple[Any, Any, Any, Any]:
    """Cubic B-spline, float32, at distances 1+t, t, 1-t, 2-t; Unser 1999, IEEE Signal Process. Mag. 16(6), eq. 5."""
    sixth, half, two_thirds = np.float32(1.0 / 6.0), np.float32(0.5), np.float32(2.0 / 3.0)
    one, two = np.float32(1.0), np.float32(2.0)
    s = one - t
    return (
        s * s * s * sixth,
        two_thirds - half * t * t * (two - t),
        two_thirds - half * s * s * (two - s),
        t * t * t * sixth,
    )


@inlined
def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivative of `_weights` with respect to t."""
    s = 1.0 - t
    return (-0.5 * s * s, t * (1.5 * t - 2.0), s * (2.0 - 1.5 * s), 0.5 * t * t)


@inlined
def _inner_value(coefficients: Volume32, x: float, y: float, z: float) -> Any:
    """`spline_value` where all 64 coefficients lie inside the grid; float32, each lane summed in row order."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    wx, wy, wz = _weights(np.float32(x - fx)), _weights(np.float32(y - fy)), _weights(np.float32(z - fz))
    # unsigned indices spare numba's test for counting from the end; four sums along x share one vector register
    ix, iy, iz = np.uintp(fx) - np.uintp(1), np.uintp(fy) - np.uintp(1), np.uintp(fz) - np.uintp(1)
    zero = np.float32(0.0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    for k in range(4):
        for j in range(4):
            weight = wz[k] * wy[j]
            row = coefficients[iz + np.uintp(k), iy + np.uintp(j)]
            s0 += weight * row[ix]
            s1 += weight * row[ix + np.uintp(1)]
            s2 += weight * row[ix + np.uintp(2)]
            s3 += weight * row[ix + np.uintp(3)]
    return wx[0] * s0 + wx[1] * s1 + wx[2] * s2 + wx[3] * s3


@compiled
def spline_value(coefficients: Volume32, x: float, y: float, z: float) -> Any:
    """Cubic B-spline, float32, at voxel coordinates (x, y, z); mirrored outside the grid."""
    nz, ny, nx = coefficients.shape
    if x >= 1.0 and y >= 1.0 and z >= 1.0 and x < nx - 2 and y < ny - 2 and z < nz - 2:
        return _inner_value(coefficients, x, y, z)
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    wx, wy, wz = _weights(np.float32(x - fx)), _weights(np.float32(y - fy)), _weights(np.float32(z - fz))
    ix, iy, iz = int(fx) - 1, int(fy) - 1, int(fz) - 1
    total = np.float32(0.0)
    for k in range(4):
        for j in range(4):
            row = coefficients[mirror(iz + k, nz), mirror(iy + j, ny)]
            along = np.float32(0.0)
            for i in range(4):
                along += wx[i] * row[mirror(ix + i, nx)]
            total += wz[k] * wy[j] * along
    return total


@compiled
def spline_gradients(coefficients: Volume32, coordinates: Array64, values: Array64, gradients: Array64) -> None:
    """Cubic B-spline and its gradient at many points.

    Parameters
    ----------
    coefficients : float32 array of shape (nz, ny, nx)
    coordinates : float64 array of shape (n, 3)
        Voxel coordinates x, y, z.
    values : float64 array of shape (n,)
        Written.
    gradients : float64 array of shape (n, 3)
        Written: change per voxel along x, y, z.
    """
    nz, ny, nx = coefficients.shape
    for p in range(coordinates.shape[0]):
        fx, fy, fz = math.floor(coordinates[p, 0]), math.floor(coordinates[p, 1]), math.floor(coordinates[p, 2])
        tx, ty, tz = coordinates[p, 0] - fx, coordinates[p, 1] - fy, coordinates[p, 2] - fz
        wx, wy, wz = _weights(np.float32(tx)), _weights(np.float32(ty)), _weights(np.float32(tz))
        sx, sy, sz = _slopes(tx), _slopes(ty), _slopes(tz)
        value, gx, gy, gz = 0.0, 0.0, 0.0, 0.0
        for k in range(4):
            for j in range(4):
                row = coefficients[mirror(int(fz) - 1 + k, nz), mirror(int(fy) - 1 + j, ny)]
                along, slope = 0.0, 0.0
                for i in range(4):
                    c = row[mirror(int(fx) - 1 + i, nx)]
                    along += wx[i] * c
                    slope += sx[i] * c
                value += wz[k] * wy[j] * along
                gx += wz[k] * wy[j] * slope
                gy += wz[k] * sy[j] * along
                gz += sz[k] * wy[j] * along
        values[p] = value
        gradients[p, 0], gradients[p, 1], gradients[p, 2] = gx, gy, gz


@compiled
def sample_voxels(coefficients: Volume32, transform: Array64, voxels: NDArray[np.int32], out: Volume32) -> None:
    """Cubic B-spline at transformed voxels.

    Parameters
    ----------
    coefficients : float32 array of shape (nz, ny, nx)
    transform : float64 array of shape (3, 4)
        Reference voxel to coordinates in `coefficients`.
    voxels : int32 array of shape (n, 3)
    out : float32 array of shape (n,)
        Written.
    """
    for p in range(voxels.shape[0]):
        vx, vy, vz = float(voxels[p, 0]), float(voxels[p, 1]), float(voxels[p, 2])
        x = transform[0, 0] * vx + transform[0, 1] * vy + transform[0, 2] * vz + transform[0, 3]
        y = transform[1, 0] * vx + transform[1, 1] * vy + transform[1, 2] * vz + transform[1, 3]
        z = transform[2, 0] * vx + transform[2, 1] * vy + transform[2, 2] * vz + transform[2, 3]
        out[p] = spline_value(coefficients, x, y, z)


@compiled
def sum_of_outer_products(points: Volume32, out: Array64) -> None:
    """Gauss-Newton Hessian of all points, each fully trusted: lower triangle of `out` (11, 11); see `robust_sums`."""
    out[:] = 0.0
    row = np.empty(11)
    for p in range(points.shape[0]):
        # numba's float() leaves float32 as it is
        px, py, pz, value = (np.float64(points[p, 0]), np.float64(points[p, 1]), np.float64(points[p, 2]),
                             np.float64(points[p, 3]))
        gx, gy, gz = np.float64(points[p, 4]), np.float64(points[p, 5]), np.float64(points[p, 6])
        row[0], row[1], row[2] = gx, gy, gz
        row[3], row[4], row[5] = py * gz - pz * gy, pz * gx - px * gz, px * gy - py * gx
        row[6], row[7], row[8], row[9], row[10] = value, value * px, value * py, value * pz, np.float64(points[p, 7])
        for i in range(11):
            for j in range(i + 1):
                out[i, j] += row[i] * row[j]


@compiled
def robust_sums(
    coefficients: Volume32, transform: Array64, points: Volume32, n_points: int, shading: Array64, cutoff: float,
    margin: Array64, bin_width: float, histogram: NDArray[np.int64], right: Array64, sums: Array64,
) -> None:
    """Residuals at the first `n_points` points, weighted, projected on the steepest-descent images.

    The model of a volume is reference(p) · (s0 + s1 x + s2 y + s3 z) + s4 · bend(p): a brightness that
    changes linearly over the head, and a contrast between tissues other than the reference's. A
    point's weight is Tukey's biweight (1 - (residual / cutoff)²)², a polynomial; 0 for a point that
    `transform` moves to within `margin` of the grid's edge.

    Parameters
    ----------
    coefficients : float32 array of shape (nz, ny, nx)
        Of the smoothed volume.
    transform : float64 array of shape (3, 4)
        Point to voxel coordinates.
    points : float32 array of shape (n, 8)
        Millimetres from the head's centre (3), smoothed reference there, its gradient per mm (3), its bend.
    n_points : int
    shading : float64 array of shape (5,)
    cutoff : float
        0 gives every point inside the weight 1.
    margin : float64 array of shape (3,)
        Voxels, at least 1.
    bin_width : float
        Of the histogram of absolute residuals.
    histogram : int64 array of shape (n_bins,)
        Written; the last bin holds all that is larger.
    right : float64 array of shape (11,)
        Written: by three translations, three rotations and the five terms of the model.
    sums : float64 array of shape (2,)
        Written: points inside, sum of the weights.
    """
    nz, ny, nx = coefficients.shape
    low_x, low_y, low_z = margin[0], margin[1], margin[2]
    high_x, high_y, high_z = nx - 1.0 - low_x, ny - 1.0 - low_y, nz - 1.0 - low_z
    s0, s1, s2, s3, s4 = shading[0], shading[1], shading[2], shading[3], shading[4]
    r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    r10, n_inside, total_weight = 0.0, 0.0, 0.0
    histogram[:] = 0
    per_bin, last_bin = 1.0 / bin_width, float(histogram.size - 1)
    per_cutoff = 1.0 / cutoff if cutoff > 0.0 else 0.0
    for p in range(n_points):
        px, py, pz, value = points[p, 0], points[p, 1], points[p, 2], points[p, 3]
        x = transform[0, 0] * px + transform[0, 1] * py + transform[0, 2] * pz + transform[0, 3]
        y = transform[1, 0] * px + transform[1, 1] * py + transform[1, 2] * pz + transform[1, 3]
        z = transform[2, 0] * px + transform[2, 1] * py + transform[2, 2] * pz + transform[2, 3]
        if not (x >= low_x and y >= low_y and z >= low_z and x < high_x and y < high_y and z < high_z):
            continue
        n_inside += 1.0
        residual = _inner_value(coefficients, x, y, z) - value * (s0 + s1 * px + s2 * py + s3 * pz)
        residual -= s4 * points[p, 7]
        histogram[int(min(abs(residual) * per_bin, last_bin))] += 1
        ratio = residual * per_cutoff
        keep = 1.0 - ratio * ratio
        if keep <= 0.0:
            continue
        weight = keep * keep
        total_weight += weight
        pull = weight * residual
        gx, gy, gz = pull * points[p, 4], pull * points[p, 5], pull * points[p, 6]
        shade = pull * value
        r0 += gx
        r1 += gy
        r2 += gz
        r3 += py * gz - pz * gy
        r4 += pz * gx - px * gz
        r5 += px * gy - py * gx
        r6 += shade
        r7 += shade * px
        r8 += shade * py
        r9 += shade * pz
        r10 += pull * points[p, 7]
    right[0], right[1], right[2], right[3], right[4] = r0, r1, r2, r3, r4
    right[5], right[6], right[7], right[8], right[9] = r5, r6, r7, r8, r9
    right[10] = r10
    sums[0], sums[1] = n_inside, total_weight


@compiled
def sample_grid(coefficients: Volume32, transform: Array64, out: Volume32) -> None:
    """Cubic B-spline at every voxel of `out` (mz, my, mx), moved by `transform` (3, 4); 0 outside the grid."""
    nz, ny, nx = coefficients.shape
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            row = out[k, j]
            x0 = transform[0, 1] * j + transform[0, 2] * k + transform[0, 3]
            y0 = transform[1, 1] * j + transform[1, 2] * k + transform[1, 3]
            z0 = transform[2, 1] * j + transform[2, 2] * k + transform[2, 3]
            for i in range(row.size):
                x, y, z = x0 + transform[0, 0] * i, y0 + transform[1, 0] * i, z0 + transform[2, 0] * i
                if x >= 1.0 and y >= 1.0 and z >= 1.0 and x < nx - 2 and y < ny - 2 and z < nz - 2:
                    row[i] = _inner_value(coefficients, x, y, z)
                elif x >= -0.5 and y >= -0.5 and z >= -0.5 and x <= nx - 0.5 and y <= ny - 0.5 and z <= nz - 0.5:
                    row[i] = spline_value(coefficients, x, y, z)
                else:
                    row[i] = 0.0
