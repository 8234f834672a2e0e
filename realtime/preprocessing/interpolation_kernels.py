"""Compiled interpolation of a volume between its voxels. The rules are in `kernels`."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.kernels import Array64, Volume32, compiled, inlined, mirror
from realtime.preprocessing.vector_kernels import make_block_sum, make_block_sum_in_steps
from realtime.preprocessing.weights import SINC, SPLINE

spline_sum = make_block_sum(SPLINE)
_put_sinc_weights, _sinc_sum = make_block_sum_in_steps(SINC)
_SPLINE, _SINC = np.array(SPLINE, np.float32), np.array(SINC, np.float32)
_BLOCK = 64                 # points that go through one loop after the other, and never leave the cache


@inlined
def _inner_spline(coefficients: Volume32, x: float, y: float, z: float) -> Any:
    """`spline_value` where all 64 coefficients lie inside the grid."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    return spline_sum(coefficients, np.intp(fz) - 1, np.intp(fy) - 1, np.intp(fx) - 1,
                       np.float32(z - fz), np.float32(y - fy), np.float32(x - fx))


@compiled
def spline_value(coefficients: Volume32, x: float, y: float, z: float) -> Any:
    """Cubic B-spline, float32, at voxel coordinates (x, y, z); mirrored outside the grid."""
    nz, ny, nx = coefficients.shape
    if x >= 1.0 and y >= 1.0 and z >= 1.0 and x < nx - 2 and y < ny - 2 and z < nz - 2:
        return _inner_spline(coefficients, x, y, z)
    return _mirrored_sum(coefficients, x, y, z, _SPLINE)


@inlined
def _mirrored_eight(first: Any, n: int) -> Any:
    """Eight indices from `first` on; heads reach the first and last slices more often than the other edges."""
    return (mirror(first, n), mirror(first + 1, n), mirror(first + 2, n), mirror(first + 3, n),
            mirror(first + 4, n), mirror(first + 5, n), mirror(first + 6, n), mirror(first + 7, n))


@compiled
def _mirrored_sum(volume: Volume32, x: float, y: float, z: float, table: Volume32) -> Any:
    """What `make_block_sum` gives, with the volume continued by its mirror images."""
    nz, ny, nx = volume.shape
    n = table.shape[1]
    before = n // 2 - 1
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    along = np.empty((3, n), np.float32)
    for axis, t in enumerate((np.float32(z - fz), np.float32(y - fy), np.float32(x - fx))):
        for i in range(n):
            weight = table[-1, i]
            for power in range(n - 2, -1, -1):
                weight = weight * t + table[power, i]
            along[axis, i] = weight
    total = np.float32(0.0)
    for k in range(n):
        for j in range(n):
            row = volume[mirror(int(fz) - before + k, nz), mirror(int(fy) - before + j, ny)]
            in_row = np.float32(0.0)
            for i in range(n):
                in_row += along[2, i] * row[mirror(int(fx) - before + i, nx)]
            total += along[0, k] * along[1, j] * in_row
    return total


@inlined
def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline at distances 1+t, t, 1-t, 2-t."""
    s = 1.0 - t
    return (s * s * s / 6.0, 2.0 / 3.0 - 0.5 * t * t * (2.0 - t), 2.0 / 3.0 - 0.5 * s * s * (2.0 - s), t * t * t / 6.0)


@inlined
def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivative of `_weights` with respect to t."""
    s = 1.0 - t
    return (-0.5 * s * s, t * (1.5 * t - 2.0), s * (2.0 - 1.5 * s), 0.5 * t * t)


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
def sample_splines(coefficients: Volume32, transform: Array64, voxels: NDArray[np.int32], out: Volume32) -> None:
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
        x, y, z = _placed(transform, voxels[p])
        out[p] = spline_value(coefficients, x, y, z)


@compiled
def sample_sinc(volume: Volume32, transform: Array64, voxels: NDArray[np.int32], out: Volume32) -> None:
    """Windowed sinc over 512 voxels at transformed voxels, from the volume as it is; as `sample_splines`."""
    nz, ny, nx = volume.shape
    places, weights = np.empty((_BLOCK, 3)), np.empty((_BLOCK, 3, 8), np.float32)
    for start in range(0, voxels.shape[0], _BLOCK):
        n = min(_BLOCK, voxels.shape[0] - start)
        for i in range(n):
            x, y, z = _placed(transform, voxels[start + i])
            places[i, 0], places[i, 1], places[i, 2] = x, y, z
            _put_sinc_weights(weights, i, np.float32(z - math.floor(z)), np.float32(y - math.floor(y)),
                              np.float32(x - math.floor(x)))
        for i in range(n):
            x, y, z = places[i]
            if not (x >= 3.0 and x < nx - 4):
                out[start + i] = _mirrored_sum(volume, x, y, z, _SINC)
                continue
            ix, iy, iz = np.intp(math.floor(x)) - 3, np.intp(math.floor(y)) - 3, np.intp(math.floor(z)) - 3
            if y >= 3.0 and z >= 3.0 and y < ny - 4 and z < nz - 4:
                out[start + i] = _sinc_sum(volume, iz, iy, ix, weights, i)
            else:
                out[start + i] = _sinc_sum(volume, _mirrored_eight(iz, nz), _mirrored_eight(iy, ny), ix, weights, i)


@inlined
def _placed(transform: Array64, voxel: NDArray[np.int32]) -> tuple[float, float, float]:
    """Coordinates of a voxel moved by `transform` (3, 4)."""
    vx, vy, vz = float(voxel[0]), float(voxel[1]), float(voxel[2])
    return (transform[0, 0] * vx + transform[0, 1] * vy + transform[0, 2] * vz + transform[0, 3],
            transform[1, 0] * vx + transform[1, 1] * vy + transform[1, 2] * vz + transform[1, 3],
            transform[2, 0] * vx + transform[2, 1] * vy + transform[2, 2] * vz + transform[2, 3])


@compiled
def sample_grid(coefficients: Volume32, transform: Array64, out: Volume32) -> None:
    """Cubic B-spline at every voxel of `out` (mz, my, mx), moved by `transform` (3, 4); 0 outside the grid.

    `coefficients` (nz + 4, ny + 4, nx + 4) has two mirrored samples before and after each axis of the grid, so
    that no voxel inside it needs a test.
    """
    last_z, last_y, last_x = coefficients.shape[0] - 4.5, coefficients.shape[1] - 4.5, coefficients.shape[2] - 4.5
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            row = out[k, j]
            x0 = transform[0, 1] * j + transform[0, 2] * k + transform[0, 3]
            y0 = transform[1, 1] * j + transform[1, 2] * k + transform[1, 3]
            z0 = transform[2, 1] * j + transform[2, 2] * k + transform[2, 3]
            for i in range(row.size):
                x, y, z = x0 + transform[0, 0] * i, y0 + transform[1, 0] * i, z0 + transform[2, 0] * i
                if x >= -0.5 and y >= -0.5 and z >= -0.5 and x <= last_x and y <= last_y and z <= last_z:
                    row[i] = _inner_spline(coefficients, x + 2.0, y + 2.0, z + 2.0)
                else:
                    row[i] = 0.0
