"""The compiled loop of rate conversion; its twin written for reading is in `tests/naive_playback.py`."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Array64 = NDArray[np.float64]


def compiled(function: Kernel) -> Kernel:
    """Compile for each type of arguments at its first call; sums may be taken in any order, NaN is kept."""
    return cast(Kernel, njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})(function))


@compiled
def interpolate(line: Array64, table: Array64, weights: Array64, first: int, up: int, down: int, out: Array64) -> None:
    """Band-limited sound between samples: out[j] is the line at (first + j · down) / up samples after its start.

    Parameters
    ----------
    line : float64 array of shape (2, n)
        Channel by channel; sample 0 of the time axis lies at index n_taps / 2 - 1.
    table : float64 array of shape (n_phases + 1, n_taps)
        Interpolation filters for points k / n_phases between two samples; others lie on a straight line between two.
    weights : float64 array of shape (n_taps,)
        Is overwritten.
    first : int
        Place of the first frame, in units of 1 / up samples; at least 0.
    up, down : int
        Frames out for frames in, without a common factor.
    out : float64 array of shape (n_out, 2)
        Is written; the line must reach far enough.
    """
    n_phases, n_taps = table.shape[0] - 1, table.shape[1]
    for frame in range(out.shape[0]):
        place = first + frame * down
        begin = place // up
        point = (place - begin * up) * n_phases / up
        phase = int(point)
        rest = point - phase
        left = right = 0.0
        if rest == 0.0:
            for k in range(n_taps):
                weights[k] = table[phase, k]
        else:
            for k in range(n_taps):
                weights[k] = table[phase, k] + rest * (table[phase + 1, k] - table[phase, k])
        for k in range(n_taps):
            left += weights[k] * line[0, begin + k]
            right += weights[k] * line[1, begin + k]
        out[frame, 0] = left
        out[frame, 1] = right
