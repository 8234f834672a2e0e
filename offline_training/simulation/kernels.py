"""Compiled inner loops of the simulated scanner. Volumes are C-ordered (nz, ny, nx)."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def sum_maps(
    field: NDArray[np.float32], voxels: NDArray[np.int64], maps: NDArray[np.float32], weights: NDArray[np.float32],
    scratch: NDArray[np.float32],
) -> None:
    """field[voxels] = weights @ maps, elsewhere unchanged, in place.

    Parameters
    ----------
    field : float32 array of shape (n_field,)
        A flattened volume.
    voxels : int64 array of shape (n,)
        Indices into it.
    maps : float32 array of shape (n_maps, n)
        Patterns.
    weights : float32 array of shape (n_maps,)
        Of this volume.
    scratch : float32 array of shape (n,)
        Overwritten.
    """
    scratch[:] = 0.0
    for k in range(maps.shape[0]):
        weight, row = weights[k], maps[k]
        for i in range(row.shape[0]):
            scratch[i] += weight * row[i]
    for i in range(voxels.shape[0]):
        field[voxels[i]] = scratch[i]


@njit(cache=True, nogil=True)
def acquire(
    out: NDArray[np.float32], coefficients: NDArray[np.float32], field: NDArray[np.float32],
    to_head: NDArray[np.float64],
) -> None:
    """Sample the moved head: anatomy by cubic B-spline, times one plus the field by linear interpolation.

    Parameters
    ----------
    out : float32 array of shape (nz, ny, nx)
        Overwritten; 0 outside the head's grid.
    coefficients : float32 array of shape (mz, my, mx)
        B-spline coefficients of the anatomy on the head's grid.
    field : float32 array of shape (mz, my, mx)
        Relative signal change on the same grid.
    to_head : float64 array of shape (3, 4)
        Scanner voxel (x, y, z, 1) to voxel of the head's grid (x, y, z).
    """
    mz, my, mx = coefficients.shape
    wx, wy, wz = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                x = to_head[0, 0] * i + to_head[0, 1] * j + to_head[0, 2] * k + to_head[0, 3]
                y = to_head[1, 0] * i + to_head[1, 1] * j + to_head[1, 2] * k + to_head[1, 3]
                z = to_head[2, 0] * i + to_head[2, 1] * j + to_head[2, 2] * k + to_head[2, 3]
                ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
                if ix < 1 or iy < 1 or iz < 1 or ix >= mx - 2 or iy >= my - 2 or iz >= mz - 2:
                    out[k, j, i] = 0.0
                    continue
                fx, fy, fz = x - ix, y - iy, z - iz
                _spline_weights(fx, wx)
                _spline_weights(fy, wy)
                _spline_weights(fz, wz)
                total = np.float32(0.0)
                for c in range(4):
                    for b in range(4):
                        row = coefficients[iz - 1 + c, iy - 1 + b]
                        line = np.float32(0.0)
                        for a in range(4):
                            line += wx[a] * row[ix - 1 + a]
                        total += wz[c] * wy[b] * line
                change = 0.0
                for c in range(2):
                    for b in range(2):
                        weight = (fz if c else 1.0 - fz) * (fy if b else 1.0 - fy)
                        row = field[iz + c, iy + b]
                        change += weight * ((1.0 - fx) * row[ix] + fx * row[ix + 1])
                out[k, j, i] = total * (1.0 + change)


@njit(cache=True, nogil=True, inline="always")
def _spline_weights(t: float, out: NDArray[np.float32]) -> None:
    s = 1.0 - t
    out[0] = s * s * s / 6.0
    out[1] = 2.0 / 3.0 - 0.5 * t * t * (2.0 - t)
    out[2] = 2.0 / 3.0 - 0.5 * s * s * (2.0 - s)
    out[3] = t * t * t / 6.0


@njit(cache=True, nogil=True)
def detect(
    out: NDArray[np.int16], image: NDArray[np.float32], gain: NDArray[np.float32], own: NDArray[np.float32],
    thermal: NDArray[np.float32],
) -> None:
    """Receive field, noise of each voxel, then Rician magnitude, rounded to integers.

    Parameters
    ----------
    out : int16 array of shape (nz, ny, nx)
        Overwritten; values above 32767 are clipped.
    image, gain, own : float32 arrays of shape (nz, ny, nx)
        Noise-free image; receive gain; relative noise.
    thermal : float32 array of shape (2, nz, ny, nx)
        Noise of the two channels, in units of the output.
    """
    flat, value = out.reshape(-1), image.reshape(-1)
    g, a = gain.reshape(-1), own.reshape(-1)
    real, imaginary = thermal[0].reshape(-1), thermal[1].reshape(-1)
    for i in range(flat.shape[0]):
        signal = value[i] * g[i] * (1.0 + a[i]) + real[i]
        magnitude = math.sqrt(signal * signal + imaginary[i] * imaginary[i])
        flat[i] = np.int16(min(magnitude + 0.5, 32767.0))
