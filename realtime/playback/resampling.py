"""Sound at another rate than the player's: clips when they are read, streams chunk by chunk.

It lies before the safety chain, which runs at the rate of whatever drains the ring: no ceiling depends on it.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from realtime.playback.resample_kernels import interpolate
from realtime.playback.ring import CHANNELS

HALF_TAPS = 32  # of the lower of both rates, on either side
WINDOW_BETA = 9.0
CUTOFF = 0.91
"""Of the lower Nyquist frequency, at -6 dB: what lies above that frequency is then 90 dB down (ADR 0032)."""

PHASES = 1024
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 384_000


class Resampler:
    """Converts a sound piece by piece. The result depends on the samples alone, not on how they are cut.

    Linear phase without delay: frame j out is the sound at j / to_hz. What depends on samples that have not come
    yet comes out with them, and the last of it with `finish`.

    Parameters
    ----------
    from_hz, to_hz : int
        Frames per second in and out, above 0.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // common, from_hz // common
        self._table = interpolation_table(self._up, self._down)
        self._half = self._table.shape[1] // 2
        self._weights = np.empty(self._table.shape[1])
        self._line = np.zeros((CHANNELS, self._half - 1))  # silence before the first sample
        self._dropped = 0  # samples of the line that are no longer needed
        self._taken = self._given = 0

    @property
    def taken(self) -> int:
        """Frames that went in so far."""
        return self._taken

    @property
    def given(self) -> int:
        """Frames that came out so far."""
        return self._given

    def place_of(self, frame: int) -> int:
        """Where frame number `frame` of all that went in lies among all that comes out."""
        return (frame * self._up + self._down // 2) // self._down

    def process(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take frames of shape (n, 2), finite; give all frames out that they complete, shape (m, 2)."""
        self._taken += len(frames)
        return self._more(frames, self._taken - self._half - 1)

    def finish(self) -> NDArray[np.float32]:
        """The rest, with silence behind it: as many frames in all as the sound that went in lasts."""
        return self._more(np.zeros((self._half, CHANNELS), np.float32), self._taken - 1)

    def _more(self, frames: NDArray[np.float32], last: int) -> NDArray[np.float32]:
        """Append frames to the line; interpolate up to sample `last` and the points before the next one."""
        self._line = np.concatenate([self._line, frames.T], axis=1)
        n_out = max(0, -(-(last + 1) * self._up // self._down) - self._given)
        out = np.empty((n_out, CHANNELS))
        first = self._given * self._down - self._dropped * self._up
        interpolate(self._line, self._table, self._weights, first, self._up, self._down, out)
        self._given += n_out
        unused = min(self._given * self._down // self._up - self._dropped, self._line.shape[1])
        self._line = self._line[:, unused:].copy()
        self._dropped += unused
        return out.astype(np.float32)


def resample(frames: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """A whole sound of shape (n, 2) at another rate, shape (about n · to_hz / from_hz, 2)."""
    if from_hz == to_hz:
        return frames
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate([resampler.process(frames), resampler.finish()])


def resample_taps(taps: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    """An equaliser of shape (2, n_taps) for another rate: the same response at the same frequencies, 0.7 ms later."""
    if from_hz == to_hz or taps.shape[1] == 1:  # a single tap is a gain
        return taps
    pad = math.ceil(HALF_TAPS * max(1.0, from_hz / to_hz))
    padded = np.pad(taps, ((0, 0), (pad, pad))).T.astype(np.float32)  # what rings before the first tap, too
    return resample(padded, from_hz, to_hz).T.astype(np.float64) * (from_hz / to_hz)


def warm_up() -> None:
    """Compile, or load, the kernel."""
    Resampler(2, 1).process(np.zeros((1, CHANNELS), np.float32))


def to_stereo(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two channels, shape (n, 2), of sound of shape (n, n_channels).

    Mono goes to both ears, and so does the mean of more than two channels: what they mean is not known, and no mean
    is louder than the loudest of them.
    """
    if audio.shape[1] == CHANNELS:
        return audio
    return np.repeat(audio.mean(axis=1, dtype=np.float64).astype(np.float32)[:, None], CHANNELS, axis=1)


@lru_cache(maxsize=8)
def interpolation_table(up: int, down: int) -> NDArray[np.float64]:
    """Kaiser-windowed sinc at PHASES + 1 points from one sample to the next, shape (PHASES + 1, n_taps)."""
    lowered = min(1.0, up / down)
    half = math.ceil(HALF_TAPS / lowered)
    t = np.arange(1 - half, half + 1) - (np.arange(PHASES + 1) / PHASES)[:, None]
    inside = np.maximum(0.0, 1.0 - np.square(t / half))
    filters = np.sinc(CUTOFF * lowered * t) * np.i0(WINDOW_BETA * np.sqrt(inside))
    filters[np.abs(t) >= half] = 0.0
    table: NDArray[np.float64] = filters / filters.sum(axis=1, keepdims=True)
    return table
