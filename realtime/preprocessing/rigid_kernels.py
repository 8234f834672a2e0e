"""Compiled algebra of small matrices and rigid motion. The rules are in `kernels`."""

import math

import numpy as np

from realtime.preprocessing.kernels import Array64, compiled


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
def orthonormalise(matrix: Array64, out: Array64) -> None:
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
def place_points(to_voxel: Array64, rotation: Array64, position: Array64, out: Array64) -> None:
    """Points of the head (millimetres from its centre) to voxel coordinates: to_voxel (3, 4) after the pose; (3, 4)."""
    for i in range(3):
        for j in range(3):
            out[i, j] = (to_voxel[i, 0] * rotation[0, j] + to_voxel[i, 1] * rotation[1, j]
                         + to_voxel[i, 2] * rotation[2, j])
        out[i, 3] = (to_voxel[i, 0] * position[0] + to_voxel[i, 1] * position[1]
                     + to_voxel[i, 2] * position[2] + to_voxel[i, 3])


@compiled
def gauss_newton_step(hessian: Array64, right: Array64, radius_mm: float, rotation: Array64, position: Array64,
                      shading: Array64) -> float:
    """One inverse-compositional step of a rigid motion, a linear shading and three bends of the contrast.

    Baker and Matthews 2004, Int. J. Comput. Vis. 56:221, section 3.2. The model of volume(rotation · p
    + position) is that of `robust_sums` at warp(p), linear in the warp; the step of the motion is
    taken relative to the new shading, so a large change of intensity (a T1 transient) does not
    overshoot.

    Parameters
    ----------
    hessian : float64 array of shape (6 + m, 6 + m)
        Lower triangle; overwritten.
    right : float64 array of shape (n ≥ 6 + m,)
        As in `robust_sums`.
    radius_mm : float
        Turns radians into millimetres.
    rotation, position, shading : float64 arrays of shape (3, 3), (3,) and (m,)
        Updated in place; unchanged when there is no step.

    Returns
    -------
    size_mm : float
        How far the step moves the head's surface; NaN when the equations have no solution, or one
        beyond 100 mm or a brightness that is not positive.
    """
    n = 6 + shading.size
    step, delta, turned = np.empty(n), np.empty((3, 3)), np.empty((3, 3))
    if not solve_positive(hessian, right[:n], step):
        return math.nan
    brightness = shading[0] + step[6]
    if not brightness > 0.05 * shading[0]:
        return math.nan
    for i in range(6):
        step[i] /= brightness
    size_mm = math.sqrt(step[0] * step[0] + step[1] * step[1] + step[2] * step[2])
    size_mm += radius_mm * math.sqrt(step[3] * step[3] + step[4] * step[4] + step[5] * step[5])
    if not size_mm < 100.0:
        return math.nan
    for i in range(shading.size):
        shading[i] += step[6 + i]
    cayley(-0.5 * step[3], -0.5 * step[4], -0.5 * step[5], delta)
    multiply(rotation, delta, turned)
    for i in range(3):
        position[i] -= turned[i, 0] * step[0] + turned[i, 1] * step[1] + turned[i, 2] * step[2]
    orthonormalise(turned, rotation)
    return size_mm
