"""Clarity: music as through a wall, that clears up; the first stage of the safety chain."""

import math

import numpy as np
from numpy.typing import NDArray

from realtime.playback import kernels

DULLEST_HZ = 250.0
RAMP_S = 0.25
"""From dull to clear, or back."""


class Veil:
    """A low-pass whose corner follows the clarity, from 250 Hz to none; never louder than what comes.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    chunk_frames : int
        Of the blocks that it is given.
    """

    def __init__(self, rate_hz: int, chunk_frames: int) -> None:
        self._rate_hz = rate_hz
        self._step = chunk_frames / (RAMP_S * rate_hz)
        self._now = self._wanted = 1.0
        self._memory = np.zeros((2, 2))
        self._out = np.zeros((chunk_frames, 2), np.float32)

    def set_clarity(self, clarity: float) -> None:
        """Move to this clarity, 0 to 1, along a ramp."""
        self._wanted = min(max(clarity, 0.0), 1.0)

    def process(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """A chunk as it shall sound: while all is clear itself, bit for bit; else an array that is used again."""
        before = self._now
        if before == self._wanted == 1.0:
            last = chunk[-1]
            if np.isfinite(last).all():
                self._memory[:] = last
            return chunk
        self._now += min(max(self._wanted - before, -self._step), self._step)
        kernels.veil(chunk, self._out, self._memory, self._kept(before), self._kept(self._now))
        return self._out

    def _kept(self, clarity: float) -> float:
        """Weight of the new sample for a corner that rises evenly in octaves; 1 lets everything pass."""
        if clarity >= 1.0:
            return 1.0
        corner_hz = DULLEST_HZ * (0.5 * self._rate_hz / DULLEST_HZ) ** clarity
        return 1.0 - math.exp(-2.0 * math.pi * corner_hz / self._rate_hz)
