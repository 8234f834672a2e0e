"""Compiled loops of the preprocessor: what they have in common, and the small ones.

Volumes are float32 in canonical layout: C-contiguous (nz, ny, nx), x fastest in memory, so that
each kernel is compiled for one signature only and its bits depend on neither the order nor the
type the scanner delivered. Sums over voxels or points are float64, in index order, on one thread;
no fastmath, no libm function other than `sqrt` and `floor` (both exact in IEEE 754), no BLAS: any
x86-64 machine gives the same bits. Kernels write into the arrays they are given. Each has a twin
written for reading in `tests/naive.py`.

Numba's own cache on disk watches only the file of the function it compiled, and would keep machine
code that holds an old version of a kernel called from another file: here every file that holds
kernels is part of the key.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numpy.typing import NDArray

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
_DISPATCHERS: list[Any] = []


def digest_of_kernels(folder: Path) -> str:
    """SHA-256 of all files in `folder` that hold kernels."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*kernels.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_SOURCES = digest_of_kernels(Path(__file__).parent)


class _KernelCache(FunctionCache):
    """Machine code on disk, found again only while no file with kernels has changed."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _SOURCES)


def compiled(function: Kernel) -> Kernel:
    """Compile for each type of arguments at its first call."""
    # error_model "numpy": a division by zero gives inf, which the callers test, instead of a branch in every loop
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    dispatcher._cache = _KernelCache(function)
    _DISPATCHERS.append(dispatcher)
    return cast(Kernel, dispatcher)


def compiled_signatures() -> int:
    """Versions of kernels compiled or loaded in this process so far: a run must not change it (`Preprocessor.warm_up`).

    Costs microseconds.
    """
    return sum(len(dispatcher.signatures) for dispatcher in _DISPATCHERS)


inlined = njit(nogil=True, error_model="numpy", inline="always")

Volume32 = NDArray[np.float32]
Array64 = NDArray[np.float64]


@compiled
def mirror(index: int, n: int) -> int:
    """Index into n samples that repeat by whole-sample symmetry (… 2 1 | 0 1 2 … n-1 | n-2 …)."""
    if 0 <= index < n:  # nearly always, and spares a division
        return index
    if n == 1:
        return 0
    period = 2 * (n - 1)
    index = index % period
    return index if index < n else period - index


@compiled
def repair(volume: Volume32, reference: Volume32, gain: float, largest: float) -> int:
    """Replace voxels that are not finite, or larger than `largest`, by gain · reference; how many there were."""
    n_bad = 0
    nz, ny, nx = volume.shape
    for z in range(nz):
        for y in range(ny):
            row = volume[z, y]
            n_bad_here = 0
            for x in range(nx):  # first only counted: a loop that writes is not vectorised
                n_bad_here += not abs(row[x]) <= largest
            if n_bad_here == 0:
                continue
            n_bad += n_bad_here
            for x in range(nx):
                if not abs(row[x]) <= largest:
                    row[x] = gain * reference[z, y, x]
    return n_bad


@compiled
def mean_intensity(volume: Volume32) -> float:
    """Mean of a finite volume."""
    total = 0.0
    nz, ny, nx = volume.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                total += float(volume[z, y, x])
    return total / volume.size


@compiled
def centre_of_mass(volume: Volume32, floor: float, out: Array64) -> None:
    """Intensity-weighted mean voxel coordinates (x, y, z) of voxels above `floor`.

    `out` (4,): the coordinates, then the sum of the weights; zeros when no voxel is above `floor`.
    """
    nz, ny, nx = volume.shape
    out[:] = 0.0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                weight = float(volume[z, y, x]) - floor
                if weight > 0.0:
                    out[0] += weight * x
                    out[1] += weight * y
                    out[2] += weight * z
                    out[3] += weight
    if out[3] > 0.0:
        for i in range(3):
            out[i] /= out[3]


@compiled
def squared_change(samples: Volume32, before: Volume32) -> tuple[float, float]:
    """Sum of the squared differences of two arrays of shape (n,), and sum of the second."""
    squares, total = 0.0, 0.0
    for i in range(samples.size):
        change = np.float64(samples[i]) - np.float64(before[i])
        squares += change * change
        total += before[i]
    return squares, total


@compiled
def signal_to_noise(mean: Array64, variance: Array64, correction: float, out: Array64) -> None:
    """Mean over standard deviation of each voxel, the variance first multiplied by `correction`; 0 without noise."""
    for i in range(mean.size):
        deviation = math.sqrt(variance[i] * correction)
        out[i] = mean[i] / deviation if deviation > 0.0 else 0.0


@compiled
def scale_samples(
    samples: Volume32, mean: Array64, spread: Array64, prior_variance: Array64,
    count: float, weight: float, prior_count: float, limit: float, out: Volume32,
) -> None:
    """Update each voxel's running mean and variance, then score the sample against them.

    Exponentially weighted mean and variance: West 1979, Commun. ACM 22:532. The variance is
    pooled with the prior as the posterior mean of a scaled inverse chi-square.

    Parameters
    ----------
    samples : float32 array of shape (n,)
    mean, spread : float64 arrays of shape (n,)
        Running mean and mean squared deviation; updated in place when `weight` > 0.
    prior_variance : float64 array of shape (n,)
        As a fraction of the squared mean.
    count : float
        Volumes that the statistics stand for, this one included if `weight` > 0.
    weight : float
        Of this volume in the statistics; 0 leaves them as they are.
    prior_count : float
        Volumes that the prior stands for; positive.
    limit : float
        Scores are cut to ± this.
    out : float32 array of shape (n,)
        Written.
    """
    freedom = prior_count + max(count - 1.0, 0.0)
    for i in range(samples.size):
        sample = float(samples[i])
        if weight > 0.0:
            deviation = sample - mean[i]
            mean[i] += weight * deviation
            spread[i] = (1.0 - weight) * (spread[i] + weight * deviation * deviation)
        variance = (prior_count * prior_variance[i] * mean[i] * mean[i] + count * spread[i]) / freedom
        score = (sample - mean[i]) / math.sqrt(variance) if variance > 0.0 else 0.0
        out[i] = min(max(score, -limit), limit)
