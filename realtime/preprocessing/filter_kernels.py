"""Compiled filters that turn volumes into cubic B-spline coefficients. The rules are in `kernels`."""

import math

import numpy as np
from numpy.typing import NDArray

from realtime.preprocessing.kernels import Volume32, compiled, mirror

_POLE = math.sqrt(3.0) - 2.0
_LANES = 16
_POLE_REACH = 16            # |pole| ** 16 is 7e-10: below the last bit of float32


@compiled
def filter_separable(
    source: Volume32, taps_x: Volume32, taps_y: Volume32, taps_z: Volume32, ring: Volume32, target: Volume32,
) -> None:
    """Symmetric FIR filter along x, y and z with mirrored borders.

    Along x and y the samples are first extended by their mirror images and laid out so that one
    long loop without any test runs over a whole plane: neighbours along y are a fixed step
    apart, and along x what the loop computes across the ends of rows is thrown away. Planes go
    along z from a ring that stays in the cache: the volume is read once and written once.

    Parameters
    ----------
    source, target : float32 arrays of shape (nz, ny, nx)
        Input (unchanged) and output.
    taps_x, taps_y, taps_z : float32 arrays of shape (radius + 1,)
        Half of each symmetric kernel, centre first; one tap more than a multiple of four, at least five.
    ring : float32 array of shape (2 · radius_z + 1, ny, nx)
        Overwritten; nz planes are enough.
    """
    nz, ny, nx = source.shape
    radius_x, radius_y, radius_z = taps_x.size - 1, taps_y.size - 1, taps_z.size - 1
    images = np.empty(2 * radius_x, np.intp)
    for i in range(radius_x):
        images[i], images[radius_x + i] = mirror(i - radius_x, nx), mirror(nx + i, nx)
    rows, filtered = np.zeros((ny, nx + 2 * radius_x), np.float32), np.empty((ny, nx + 2 * radius_x), np.float32)
    plane = np.empty((ny + 2 * radius_y, nx), np.float32)
    planes = ring.reshape(-1, ny * nx)
    for z in range(nz + radius_z):
        if z < nz:
            _extend_rows(source[z], images, rows)
            _filter_flat(rows.ravel(), radius_x, 1, taps_x, filtered.ravel()[:rows.size - 2 * radius_x])
            for y in range(ny):
                row, out = filtered[y], plane[radius_y + y]
                for x in range(nx):
                    out[x] = row[x]
            _extend_stack(plane, ny)
            _filter_flat(plane.ravel(), radius_y * nx, nx, taps_y, planes[z % len(planes)])
        if z >= radius_z:
            _filter_planes(planes, z - radius_z, nz, taps_z, target[z - radius_z].ravel())


@compiled
def _extend_rows(plane: Volume32, images: NDArray[np.intp], out: Volume32) -> None:
    """Copy each row (ny, nx) to the middle of the wider one in `out`, and mirrored samples to its ends."""
    nx, radius = plane.shape[1], images.size // 2
    for y in range(plane.shape[0]):
        row, wide = plane[y], out[y]
        middle = wide[radius : radius + nx]
        for x in range(nx):
            middle[x] = row[x]
        for i in range(radius):
            wide[i] = row[images[i]]
            wide[radius + nx + i] = row[images[radius + i]]


@compiled
def _extend_stack(stack: Volume32, n: int) -> None:
    """Fill the rows before and after the `n` in the middle with their mirror images."""
    radius = (stack.shape[0] - n) // 2
    for i in range(radius):
        stack[i] = stack[radius + mirror(i - radius, n)]
        stack[radius + n + i] = stack[radius + mirror(n + i, n)]


@compiled
def _filter_flat(source: Volume32, start: int, step: int, taps: Volume32, out: Volume32) -> None:
    """out[i] = Σ taps[k] · (source[start + i - k · step] + source[start + i + k · step]), the centre once."""
    for k in range(1, taps.size, 4):
        low, high = start - k * step, start + k * step
        before, after = source[low:], source[high:]
        before1, after1 = source[low - step :], source[high + step :]
        before2, after2 = source[low - 2 * step :], source[high + 2 * step :]
        before3, after3 = source[low - 3 * step :], source[high + 3 * step :]
        if k == 1:
            _first_taps(taps, source[start:], before, after, before1, after1, before2, after2, before3, after3, out)
        else:
            _more_taps(taps[k : k + 4], before, after, before1, after1, before2, after2, before3, after3, out)


@compiled
def _filter_planes(planes: Volume32, z: int, nz: int, taps: Volume32, out: Volume32) -> None:
    """Plane z of the filter along z; plane i of the volume is `planes[i % n]`, n the planes kept."""
    n = len(planes)
    for k in range(1, taps.size, 4):
        before, after = planes[mirror(z - k, nz) % n], planes[mirror(z + k, nz) % n]
        before1, after1 = planes[mirror(z - k - 1, nz) % n], planes[mirror(z + k + 1, nz) % n]
        before2, after2 = planes[mirror(z - k - 2, nz) % n], planes[mirror(z + k + 2, nz) % n]
        before3, after3 = planes[mirror(z - k - 3, nz) % n], planes[mirror(z + k + 3, nz) % n]
        if k == 1:
            _first_taps(taps, planes[z % n], before, after, before1, after1, before2, after2, before3, after3, out)
        else:
            _more_taps(taps[k : k + 4], before, after, before1, after1, before2, after2, before3, after3, out)


@compiled
def _first_taps(taps: Volume32, centre: Volume32, before: Volume32, after: Volume32, before1: Volume32,
                after1: Volume32, before2: Volume32, after2: Volume32, before3: Volume32, after3: Volume32,
                out: Volume32) -> None:
    """Write the centre and four pairs of taps."""
    t0, t1, t2, t3, t4 = taps[0], taps[1], taps[2], taps[3], taps[4]
    for i in range(out.size):
        out[i] = (t0 * centre[i] + t1 * (before[i] + after[i]) + t2 * (before1[i] + after1[i])
                  + t3 * (before2[i] + after2[i]) + t4 * (before3[i] + after3[i]))


@compiled
def _more_taps(taps: Volume32, before: Volume32, after: Volume32, before1: Volume32, after1: Volume32,
               before2: Volume32, after2: Volume32, before3: Volume32, after3: Volume32, out: Volume32) -> None:
    """Add four pairs of taps: `out` is loaded and stored a quarter as often as for single ones."""
    t0, t1, t2, t3 = taps[0], taps[1], taps[2], taps[3]
    for i in range(out.size):
        out[i] += (t0 * (before[i] + after[i]) + t1 * (before1[i] + after1[i]) + t2 * (before2[i] + after2[i])
                   + t3 * (before3[i] + after3[i]))


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
