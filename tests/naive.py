"""Textbook versions of the compiled kernels, written for reading. Slow on purpose; float64 throughout."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.float64]


def mirror(index: int, n: int) -> int:
    """Walk back and forth over n samples."""
    path = [*range(n), *range(n - 2, 0, -1)] or [0]
    return path[index % len(path)]


def filter_axis(volume: Array, half_kernel: Array, axis: int) -> Array:
    """Symmetric FIR filter along one axis, mirrored borders."""
    out = np.zeros(volume.shape)
    n = volume.shape[axis]
    for i in range(n):
        total = half_kernel[0] * volume.take(i, axis)
        for k in range(1, len(half_kernel)):
            total = total + half_kernel[k] * (volume.take(mirror(i - k, n), axis) + volume.take(mirror(i + k, n), axis))
        out[(slice(None),) * axis + (i,)] = total
    return out


def spline_coefficients(volume: Array) -> Array:
    """Cubic B-spline coefficients: solve, along each axis, the equations that make the spline pass through the data."""
    out = volume.astype(np.float64)
    for axis, n in enumerate(volume.shape):
        matrix = np.zeros((n, n))
        for i in range(n):
            for offset, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
                matrix[i, mirror(i + offset, n)] += weight
        out = np.moveaxis(np.tensordot(np.linalg.inv(matrix), out, axes=(1, axis)), 0, axis)
    return out


def basis(distance: float) -> float:
    """Cubic B-spline at this distance from its centre."""
    d = abs(distance)
    if d < 1.0:
        return 2.0 / 3.0 - d**2 + d**3 / 2.0
    return (2.0 - d) ** 3 / 6.0 if d < 2.0 else 0.0


def spline_value(coefficients: Array, x: float, y: float, z: float) -> float:
    """Sum over the grid, mirrored copies included, of coefficient times basis; coefficients are (nz, ny, nx)."""
    nz, ny, nx = coefficients.shape
    total = 0.0
    for k in range(int(np.floor(z)) - 2, int(np.floor(z)) + 4):
        for j in range(int(np.floor(y)) - 2, int(np.floor(y)) + 4):
            for i in range(int(np.floor(x)) - 2, int(np.floor(x)) + 4):
                total += (basis(x - i) * basis(y - j) * basis(z - k)
                          * coefficients[mirror(k, nz), mirror(j, ny), mirror(i, nx)])
    return total


def sinc_value(volume: Array, x: float, y: float, z: float) -> float:
    """Sum over 8 × 8 × 8 voxels, mirrored copies included, of intensity times windowed sinc, scaled to weight 1."""
    weights, indices = [], []
    for place, n in ((z, volume.shape[0]), (y, volume.shape[1]), (x, volume.shape[2])):
        near = np.arange(int(np.floor(place)) - 3, int(np.floor(place)) + 5)
        weight = np.sinc(place - near) * np.i0(6.0 * np.sqrt(1.0 - ((place - near) / 4.0) ** 2))
        weights.append(weight / weight.sum())
        indices.append([mirror(int(index), n) for index in near])
    return float(np.einsum("z,y,x,zyx", *weights, volume[np.ix_(*indices)]))


def spline_gradient(coefficients: Array, x: float, y: float, z: float) -> Array:
    """Central differences of `spline_value`."""
    h = 1e-5
    return np.array([
        spline_value(coefficients, x + h, y, z) - spline_value(coefficients, x - h, y, z),
        spline_value(coefficients, x, y + h, z) - spline_value(coefficients, x, y - h, z),
        spline_value(coefficients, x, y, z + h) - spline_value(coefficients, x, y, z - h)]) / (2.0 * h)


def cayley(a: Array) -> Array:
    """(1 - [a])⁻¹ (1 + [a]) with [a] the cross-product matrix of a."""
    cross = np.array([[0.0, -a[2], a[1]], [a[2], 0.0, -a[0]], [-a[1], a[0], 0.0]])
    return np.asarray(np.linalg.solve(np.eye(3) - cross, np.eye(3) + cross))


def robust_sums(coefficients: Array, transform: Array, points: Array, rows: Array, shading: Array, cutoff: float,
                margin: Array) -> tuple[Array, Array, float]:
    """Right side (13,), absolute residuals of the points inside and the sum of their weights."""
    limits = np.array(coefficients.shape[::-1]) - 1 - margin
    right, residuals, total = np.zeros(13), [], 0.0
    for point, row in zip(points.astype(np.float64), rows.astype(np.float64), strict=True):
        place = transform[:, :3] @ point + transform[:, 3]
        if (place >= margin).all() and (place < limits).all():
            residual = spline_value(coefficients, *place) - shading @ row[6:13]
            residuals.append(abs(residual))
            weight = max(1.0 - (residual / cutoff) ** 2, 0.0) ** 2 if cutoff else 1.0
            total += weight
            right += weight * residual * row[:13]
    return right, np.array(residuals), total


def steepest_descent(point: Array, value: float, gradient: Array, bends: Array) -> Array:
    """Derivative of the model by translation, rotation, the four terms of the shading and three bends, (13,)."""
    return np.concatenate([gradient, np.cross(point, gradient), [value], value * point, bends])


def register(reference: Array, volume: Array, affine: Array, start: Array | None = None) -> Array:
    """Rigid motion (4, 4) by forward Gauss-Newton over all bright voxels with a numerical Jacobian."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    still, moved = (gaussian_filter(image.astype(np.float64), 2.2 / sizes, mode="mirror")
                    for image in (reference, volume))
    inner = np.zeros(still.shape, bool)
    inner[2:-2, 2:-2, 2:-2] = True
    voxels = np.argwhere(inner & (still > still.mean()))[::3]
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    centre, template = world.mean(axis=0), still[tuple(voxels.T)]
    motion = np.eye(4) if start is None else start.copy()

    def seen(matrix: Array) -> Array:
        to_voxel = np.linalg.inv(affine) @ matrix
        places = world @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        return np.asarray(map_coordinates(moved, places.T, order=3, mode="mirror"))

    def nudge(parameters: Array) -> Array:
        small = np.eye(4)
        small[:3, :3] = cayley(parameters[3:] / 2.0)
        small[:3, 3] = parameters[:3] + centre - small[:3, :3] @ centre
        return small

    for _ in range(6):
        now = seen(motion)
        columns = [(seen(motion @ nudge(1e-3 * unit)) - now) / 1e-3 for unit in np.eye(6)]
        solution = np.linalg.lstsq(np.column_stack([*columns, -template]), -now, rcond=None)[0]
        motion = motion @ nudge(solution[:6])
        if np.abs(solution[:3]).max() < 1e-3:
            break
    return motion


def framewise_displacement_mm(before: Array, after: Array, centre: Array) -> float:
    """Power's FD of the motion from one volume to the next, with true angles; centre in the reference's world."""
    relative = after @ np.linalg.inv(before)
    place = before[:3, :3] @ centre + before[:3, 3]
    shift = relative[:3, :3] @ place + relative[:3, 3] - place
    angle = np.arccos(np.clip((np.trace(relative[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))
    skew = np.array([relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]])
    axis = skew / max(np.linalg.norm(skew), 1e-30)
    return float(np.abs(shift).sum() + 50.0 * np.abs(angle * axis).sum())


def centre_of_mass(volume: Array, floor: float) -> Array:
    """Mean x, y, z weighted by intensity above `floor`; volume is (nz, ny, nx)."""
    weights = np.maximum(volume - floor, 0.0)
    z, y, x = np.indices(volume.shape)
    return np.array([(weights * axis).sum() for axis in (x, y, z)]) / weights.sum()


def features(samples: Array, learnt: list[bool | None], scale: Array, window: float, prior: float,
             limit: float) -> Array:
    """Z-scores (n_volumes, n_voxels) of settled samples.

    `learnt[t]` is False for a censored volume and None for a lost one, whose row is NaN. Weights of
    the past are written out anew for every volume instead of being updated.
    """
    out = np.full(samples.shape, np.nan)
    weights: list[float] = []
    kept: list[int] = []
    count = 0.0
    for t, learn in enumerate(learnt):
        if learn:
            count = min(count + 1.0, window)
            weights = [w * (1.0 - 1.0 / count) for w in weights] + [1.0 / count]
            kept.append(t)
        else:
            count *= 1.0 - 1.0 / window
        if learn is None:
            continue
        if not kept:
            out[t] = 0.0
            continue
        share = np.array(weights)[:, None]
        mean = (share * samples[kept]).sum(axis=0)
        spread = (share * (samples[kept] - mean) ** 2).sum(axis=0)
        variance = (prior * (scale * mean) ** 2 + count * spread) / (prior + max(count - 1.0, 0.0))
        out[t] = np.clip((samples[t] - mean) / np.sqrt(variance), -limit, limit)
    return out


def regression(samples: Array, regressors: Array, weights: Array, ridge: Array) -> Array:
    """Intercept and coefficients (1 + k, n_voxels) of a weighted ridge regression; the intercept is free."""
    design = np.column_stack([np.ones(len(samples)), regressors])
    normal = design.T @ (weights[:, None] * design) + np.diag([0.0, *ridge])
    return np.asarray(np.linalg.solve(normal, design.T @ (weights[:, None] * samples)))


def regression_features(samples: Array, regressors: Array, learnt: list[bool | None], scale: Array, window: float,
                        prior: float, limit: float, ridge: Array) -> Array:
    """`features` with the mean replaced by a regression that is solved from all volumes, anew for every one."""
    out = np.full(samples.shape, np.nan)
    weights: list[float] = []
    kept: list[int] = []
    count, spread = 0.0, np.zeros(samples.shape[1])

    def residual(t: int) -> Array:
        solution = regression(samples[kept], regressors[kept], count * np.array(weights), ridge)
        return np.asarray(samples[t] - np.append(1.0, regressors[t]) @ solution)

    for t, learn in enumerate(learnt):
        before = residual(t) if kept and learn else np.zeros(samples.shape[1])
        if learn:
            count = min(count + 1.0, window)
            weights = [w * (1.0 - 1.0 / count) for w in weights] + [1.0 / count]
            kept.append(t)
            spread = (1.0 - 1.0 / count) * spread + before * residual(t) / count
        else:
            count *= 1.0 - 1.0 / window
        if learn is None or not kept:
            continue
        mean = np.array(weights) @ samples[kept]
        variance = (prior * (scale * mean) ** 2 + count * spread) / (prior + max(count - 1.0, 0.0))
        out[t] = np.clip(residual(t) / np.sqrt(variance), -limit, limit)
    return out


def motion_regressors(poses: Array, n: int) -> Array:
    """Poses (n_volumes, 6) against the first, their changes, and the squares of both; the first `n` columns."""
    motion = np.hstack([poses - poses[0], np.diff(poses, axis=0, prepend=poses[:1])])
    return np.hstack([motion, motion**2])[:, :n]


def logmel_levels(audio, rate_hz, settings):
    """Levels in tens of dB: every frame, bin and band from its definition, in double precision."""
    size, step = round(settings.window_s * rate_hz), round(settings.hop_s * rate_hz)
    mel = [math.log(1 + hz / settings.break_hz) for hz in (settings.lowest_hz, settings.highest_hz)]
    edges = [settings.break_hz * (math.exp(mel[0] + (mel[1] - mel[0]) * i / (settings.n_bands + 1)) - 1)
             for i in range(settings.n_bands + 2)]
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / size) for n in range(size)])
    turns = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
    power = []
    for start in range(0, len(audio) - size + 1, step):
        spectrum = np.abs(turns @ (audio[start:start + size] * window / window.sum())) ** 2
        bands = []
        for low, centre, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            low, high = min(low, centre - rate_hz / size), max(high, centre + rate_hz / size)
            weights = []
            for k in range(size // 2 + 1):
                hz = k * rate_hz / size
                rising, falling = (hz - low) / (centre - low), (high - hz) / (high - centre)
                weights.append(max(0.0, min(rising, falling)))
            bands.append(np.dot(weights, spectrum) / sum(weights))
        power.append(bands)
    power = np.array(power)
    return np.log10(power / power.mean() + 10 ** (-settings.floor_db / 10))
