"""Compiled filters that turn volumes into cubic B-spline coefficients. The rules are in `kernels`."""

import math

import numpy as np

from realtime.preprocessing.kernels import Volume32, compiled, inlined, mirror

_POLE = math.sqrt(3.0) - 2.0
_LANES = 16
_POLE_REACH = 16            # |pole| ** 16 is 7e-10: below the last bit of float32


@inlined
def _add_one(out: Volume32, tap: float, before: Volume32, after: Volume32) -> None:
    """Add a pair of taps to a row."""
    for i in range(out.size):
        out[i] += tap * (before[i] + after[i])


@inlined
def _add_two(out: Volume32, tap: float, before: Volume32, after: Volume32,
             next_tap: float, next_before: Volume32, next_after: Volume32) -> None:
    """Add two pairs of taps to a row: loads and stores `out` half as often as two calls of `_add_one`."""
    for i in range(out.size):
        out[i] += tap * (before[i] + after[i]) + next_tap * (next_before[i] + next_after[i])


@compiled
def filter_separable(
    source: Volume32, taps_x: Volume32, taps_y: Volume32, taps_z: Volume32,
    padded: Volume32, scratch: Volume32, target: Volume32,
) -> None:
    """Symmetric FIR filter along x, y and z with mirrored borders.

    The inner loops run over row views: with full indices LLVM keeps numba's wraparound test in
    them and does not vectorise (4 times slower along x, 2026-11, Zen 4).

    Parameters
    ----------
    source, scratch, target : float32 arrays of shape (nz, ny, nx)
        Input (unchanged), intermediate and output; three different arrays.
    taps_x, taps_y, taps_z : float32 arrays of shape (radius + 1,)
        Half of each symmetric kernel, centre first.
    padded : float32 array of shape (nx + 2 · radius_x,)
        One mirrored row.
    """
    plane = np.empty(source.shape[1:], np.float32)
    for z in range(source.shape[0]):  # a plane stays in the cache between x and y
        _filter_x(source[z], taps_x, padded, plane)
        _filter_y(plane, taps_y, scratch[z])
    _filter_z(scratch, taps_z, target)


@compiled
def _filter_x(source: Volume32, taps: Volume32, padded: Volume32, target: Volume32) -> None:
    ny, nx = source.shape
    radius = taps.size - 1
    for y in range(ny):
        row = source[y]
        out = target[y]
        for i in range(radius):
            padded[i] = row[mirror(i - radius, nx)]
            padded[radius + nx + i] = row[mirror(nx + i, nx)]
        for i in range(nx):
            padded[radius + i] = row[i]
            out[i] = taps[0] * row[i]
        for k in range(1, radius, 2):
            _add_two(out, taps[k], padded[radius - k : radius - k + nx], padded[radius + k : radius + k + nx],
                     taps[k + 1], padded[radius - k - 1 : radius - k - 1 + nx],
                     padded[radius + k + 1 : radius + k + 1 + nx])
        if radius % 2 == 1:
            _add_one(out, taps[radius], padded[:nx], padded[2 * radius : 2 * radius + nx])


@compiled
def _filter_y(source: Volume32, taps: Volume32, target: Volume32) -> None:
    ny, nx = source.shape
    radius = taps.size - 1
    for y in range(ny):
        row = source[y]
        out = target[y]
        for i in range(nx):
            out[i] = taps[0] * row[i]
        for k in range(1, radius, 2):
            _add_two(out, taps[k], source[mirror(y - k, ny)], source[mirror(y + k, ny)],
                     taps[k + 1], source[mirror(y - k - 1, ny)], source[mirror(y + k + 1, ny)])
        if radius % 2 == 1:
            _add_one(out, taps[radius], source[mirror(y - radius, ny)], source[mirror(y + radius, ny)])


@compiled
def _filter_z(source: Volume32, taps: Volume32, target: Volume32) -> None:
    nz, ny, nx = source.shape
    radius = taps.size - 1
    for z in range(nz):
        for y in range(ny):
            row = source[z, y]
            out = target[z, y]
            for i in range(nx):
                out[i] = taps[0] * row[i]
            for k in range(1, radius, 2):
                _add_two(out, taps[k], source[mirror(z - k, nz), y], source[mirror(z + k, nz), y],
                         taps[k + 1], source[mirror(z - k - 1, nz), y], source[mirror(z + k + 1, nz), y])
            if radius % 2 == 1:
                _add_one(out, taps[radius], source[mirror(z - radius, nz), y], source[mirror(z + radius, nz), y])


@compiled
def spline_prefilter(volume: Volume32) -> None:
    """Turn a volume into its cubic B-spline coefficients, in place, with mirrored borders.

    The recursive filter of Unser, Aldroubi and Eden 1993, IEEE Trans. Signal Process. 41:834,
    along x, y and z. Along y and z whole rows move together; along x the recursion of one row
    would wait for itself, so rows are turned into columns, sixteen at a time.

    Parameters
    ----------
    volume : float32 array of shape (nz, ny, nx)
        Overwritten.
    """
    nz, ny, nx = volume.shape
    columns = np.zeros((nx, _LANES), np.float32)
    for z in range(nz):
        plane = volume[z]
        for y in range(0, ny, _LANES):
            n = min(_LANES, ny - y)
            for j in range(n):
                row = plane[y + j]
                for x in range(nx):
                    columns[x, j] = row[x]
            _prefilter_plane(columns)
            for j in range(n):
                row = plane[y + j]
                for x in range(nx):
                    row[x] = columns[x, j]
        _prefilter_plane(plane)
    for y in range(ny):
        _prefilter_plane(volume[:, y])


@compiled
def _prefilter_plane(plane: Volume32) -> None:
    """Along the first axis of (n, nx)."""
    n, nx = plane.shape
    if n == 1:
        return
    six, pole, last_scale = np.float32(6.0), np.float32(_POLE), np.float32(_POLE / (_POLE * _POLE - 1.0))
    first = plane[0]
    power = pole
    start = first.copy()
    for k in range(1, _POLE_REACH):
        row = plane[mirror(k, n)]
        for i in range(nx):
            start[i] += power * row[i]
        power *= pole
    for i in range(nx):
        first[i] = six * start[i]
    for y in range(1, n):
        before = plane[y - 1]
        row = plane[y]
        for i in range(nx):
            row[i] = six * row[i] + pole * before[i]
    last = plane[n - 1]
    before = plane[n - 2]
    for i in range(nx):
        last[i] = last_scale * (last[i] + pole * before[i])
    for y in range(n - 2, -1, -1):
        after = plane[y + 1]
        row = plane[y]
        for i in range(nx):
            row[i] = pole * (after[i] - row[i])
