"""Compiled loops of interpolation and rigid alignment. The rules are in `kernels`."""

import math

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.kernels import Array64, Volume32, compiled, inlined, mirror


@inlined
def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline at distances 1+t, t, 1-t, 2-t; Unser 1999, IEEE Signal Process. Mag. 16(6), eq. 5."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        2.0 / 3.0 - 0.5 * t * t * (2.0 - t),
        2.0 / 3.0 - 0.5 * s * s * (2.0 - s),
        t * t * t / 6.0,
    )


@inlined
def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivative of `_weights` with respect to t."""
    s = 1.0 - t
    return (-0.5 * s * s, t * (1.5 * t - 2.0), s * (2.0 - 1.5 * s), 0.5 * t * t)


@compiled
def spline_value(coefficients: Volume32, x: float, y: float, z: float) -> float:
    """Cubic B-spline at voxel coordinates (x, y, z); mirrored outside the grid."""
    nz, ny, nx = coefficients.shape
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    wx, wy, wz = _weights(x - fx), _weights(y - fy), _weights(z - fz)
    ix, iy, iz = int(fx) - 1, int(fy) - 1, int(fz) - 1
    # summed over y and z first: the four sums along x then share their loads (1.8 times faster)
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    if ix >= 0 and iy >= 0 and iz >= 0 and ix + 3 < nx and iy + 3 < ny and iz + 3 < nz:
        for k in range(4):
            for j in range(4):
                weight = wz[k] * wy[j]
                row = coefficients[iz + k, iy + j]
                s0 += weight * row[ix]
                s1 += weight * row[ix + 1]
                s2 += weight * row[ix + 2]
                s3 += weight * row[ix + 3]
    else:
        x0, x1, x2, x3 = mirror(ix, nx), mirror(ix + 1, nx), mirror(ix + 2, nx), mirror(ix + 3, nx)
        for k in range(4):
            for j in range(4):
                weight = wz[k] * wy[j]
                row = coefficients[mirror(iz + k, nz), mirror(iy + j, ny)]
                s0 += weight * row[x0]
                s1 += weight * row[x1]
                s2 += weight * row[x2]
                s3 += weight * row[x3]
    return wx[0] * s0 + wx[1] * s1 + wx[2] * s2 + wx[3] * s3


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
        wx, wy, wz = _weights(tx), _weights(ty), _weights(tz)
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
def multiply(left: Array64, right: Array64, out: Array64) -> None:
    """Matrix product of small float64 matrices, summed in index order; `out` is neither input."""
    for i in range(left.shape[0]):
        for j in range(right.shape[1]):
            total = 0.0
            for k in range(right.shape[0]):
                total += left[i, k] * right[k, j]
            out[i, j] = total


@compiled
def solve_positive(matrix: Array64, right: Array64, solution: Array64) -> bool:
    """Solve matrix · solution = right by Cholesky; `matrix` is overwritten.

    Returns
    -------
    solved : bool
        False when the matrix is not positive definite to working precision: `solution` is then undefined.
    """
    n = right.size
    for j in range(n):
        diagonal = matrix[j, j]
        pivot = diagonal
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k]
        if not pivot > 1e-12 * diagonal:
            return False
        root = math.sqrt(pivot)
        matrix[j, j] = root
        for i in range(j + 1, n):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total / root
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= matrix[i, k] * solution[k]
        solution[i] = total / matrix[i, i]
    for i in range(n - 1, -1, -1):
        total = solution[i]
        for k in range(i + 1, n):
            total -= matrix[k, i] * solution[k]
        solution[i] = total / matrix[i, i]
    return True


@compiled
def cayley(ax: float, ay: float, az: float, out: Array64) -> None:
    """Rotation (3, 3) by 2·atan(|a|) about a: rational in a, so no sine and no cosine is called."""
    scale = 2.0 / (1.0 + ax * ax + ay * ay + az * az)
    out[0, 0] = 1.0 - scale * (ay * ay + az * az)
    out[0, 1] = scale * (ax * ay - az)
    out[0, 2] = scale * (ax * az + ay)
    out[1, 0] = scale * (ax * ay + az)
    out[1, 1] = 1.0 - scale * (ax * ax + az * az)
    out[1, 2] = scale * (ay * az - ax)
    out[2, 0] = scale * (ax * az - ay)
    out[2, 1] = scale * (ay * az + ax)
    out[2, 2] = 1.0 - scale * (ax * ax + ay * ay)


@compiled
def _orthonormalise(matrix: Array64, out: Array64) -> None:
    """One Newton step matrix · (3 − matrixᵀ matrix) / 2: rounding never builds up over a session."""
    for i in range(3):
        for j in range(3):
            total = 1.5 * matrix[i, j]
            for k in range(3):
                inner = 0.0
                for m in range(3):
                    inner += matrix[m, k] * matrix[m, j]
                total -= 0.5 * matrix[i, k] * inner
            out[i, j] = total


@compiled
def hessian(descent: Volume32, out: Array64) -> None:
    """Sum over points of the outer products of `descent` (n, 7), lower triangle of `out` (7, 7)."""
    out[:] = 0.0
    for p in range(descent.shape[0]):
        for i in range(7):
            for j in range(i + 1):
                out[i, j] += float(descent[p, i]) * float(descent[p, j])


@compiled
def normal_equations(
    coefficients: Volume32, transform: Array64, points: Array64, template: Array64, descent: Volume32,
    gain: float, right: Array64, lost: Array64, sums: Array64,
) -> None:
    """Residuals at all points and their projection on the steepest-descent images.

    A point that `transform` moves outside the grid has no residual; what it had added to the
    precomputed Hessian is returned, to be taken away again.

    Parameters
    ----------
    coefficients : float32 array of shape (nz, ny, nx)
        Of the smoothed volume.
    transform : float64 array of shape (3, 4)
        Point to voxel coordinates.
    points : float64 array of shape (n, 3)
    template : float64 array of shape (n,)
        The smoothed reference at the points.
    descent : float32 array of shape (n, 7)
        Its derivative by three translations and three rotations, and the template itself.
    gain : float
        Volume / reference.
    right : float64 array of shape (7,)
        Written: projected residuals.
    lost : float64 array of shape (7, 7)
        Written, lower triangle: Hessian of the points outside.
    sums : float64 array of shape (4,)
        Written: points inside, sum of squared residuals, sums of the template and its square inside.
    """
    nz, ny, nx = coefficients.shape
    right[:] = 0.0
    lost[:] = 0.0
    sums[:] = 0.0
    for p in range(points.shape[0]):
        px, py, pz = points[p, 0], points[p, 1], points[p, 2]
        x = transform[0, 0] * px + transform[0, 1] * py + transform[0, 2] * pz + transform[0, 3]
        y = transform[1, 0] * px + transform[1, 1] * py + transform[1, 2] * pz + transform[1, 3]
        z = transform[2, 0] * px + transform[2, 1] * py + transform[2, 2] * pz + transform[2, 3]
        if x >= 0.0 and y >= 0.0 and z >= 0.0 and x <= nx - 1 and y <= ny - 1 and z <= nz - 1:
            value = template[p]
            residual = spline_value(coefficients, x, y, z) / gain - value
            for i in range(7):
                right[i] += descent[p, i] * residual
            sums[0] += 1.0
            sums[1] += residual * residual
            sums[2] += value
            sums[3] += value * value
        else:
            for i in range(7):
                for j in range(i + 1):
                    lost[i, j] += float(descent[p, i]) * float(descent[p, j])


@compiled
def gauss_newton(
    coefficients: Volume32, to_voxel: Array64, points: Array64, template: Array64, descent: Volume32,
    full_hessian: Array64, radius_mm: float, max_iterations: int, stop_mm: float,
    rotation: Array64, position: Array64, outcome: Array64,
) -> None:
    """Inverse-compositional Gauss-Newton for a rigid motion and an intensity gain.

    Baker and Matthews 2004, Int. J. Comput. Vis. 56:221, section 3.2. The model is
    volume(rotation · p + position) = gain · (1 + ε) · reference(warp(p)), linear in the warp; the
    product of ε and the warp is kept, so a large change of gain (a T1 transient) does not overshoot.

    Parameters
    ----------
    coefficients : float32 array of shape (nz, ny, nx)
        Cubic B-spline coefficients of the smoothed volume.
    to_voxel : float64 array of shape (3, 4)
        World millimetres to voxel coordinates of the volume.
    points, template, descent : arrays of shape (n, 3), (n,) and (n, 7)
        As in `normal_equations`; points are millimetres from the head's centre.
    full_hessian : float64 array of shape (7, 7)
        Of all points, lower triangle.
    radius_mm : float
        Turns radians into millimetres for the stop rule.
    max_iterations : int
    stop_mm : float
        The iteration ends after a step smaller than this with a gain change below 0.001.
    rotation, position : float64 arrays of shape (3, 3) and (3,)
        Start in, estimate out.
    outcome : float64 array of shape (5,)
        gain in and out; then written: iterations, converged (0 or 1), residual (sum of squares
        as a fraction of the template's variance), fraction of the points inside.
    """
    right, lost, sums = np.empty(7), np.empty((7, 7)), np.empty(4)
    step, transform = np.empty(7), np.empty((3, 4))
    delta, product = np.empty((3, 3)), np.empty((3, 3))
    outcome[1:] = 0.0
    outcome[3] = 1.0
    for iteration in range(max_iterations):
        for i in range(3):
            for j in range(3):
                transform[i, j] = (to_voxel[i, 0] * rotation[0, j] + to_voxel[i, 1] * rotation[1, j]
                                   + to_voxel[i, 2] * rotation[2, j])
            transform[i, 3] = (to_voxel[i, 0] * position[0] + to_voxel[i, 1] * position[1]
                               + to_voxel[i, 2] * position[2] + to_voxel[i, 3])
        normal_equations(coefficients, transform, points, template, descent, outcome[0], right, lost, sums)
        outcome[1] = iteration + 1.0
        outcome[4] = sums[0] / points.shape[0]
        if sums[0] < 0.25 * points.shape[0]:
            return
        outcome[3] = sums[1] / (sums[3] - sums[2] * sums[2] / sums[0])
        for i in range(7):
            for j in range(i + 1):
                lost[i, j] = full_hessian[i, j] - lost[i, j]
        if not solve_positive(lost, right, step):
            return
        growth = 1.0 + step[6]
        if not growth > 0.05:
            return
        for i in range(6):
            step[i] /= growth
        outcome[0] *= growth
        cayley(-0.5 * step[3], -0.5 * step[4], -0.5 * step[5], delta)
        multiply(rotation, delta, product)
        for i in range(3):
            position[i] -= product[i, 0] * step[0] + product[i, 1] * step[1] + product[i, 2] * step[2]
        _orthonormalise(product, rotation)
        size = math.sqrt(step[0] * step[0] + step[1] * step[1] + step[2] * step[2])
        size += radius_mm * math.sqrt(step[3] * step[3] + step[4] * step[4] + step[5] * step[5])
        if not size < 100.0:
            return
        if size < stop_mm and abs(step[6]) < 1e-3:
            outcome[2] = 1.0
            return
