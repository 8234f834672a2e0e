"""Sound that nobody would play, by the million blocks, through the compiled safety chain; a library's filter judges."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import signal

from realtime.playback import kernels
from realtime.playback.safety import ChainSettings, SafetyChain

N_KINDS = 10


@dataclass(frozen=True)
class Fuzzed:
    """What came out.

    Attributes
    ----------
    blocks, bad_blocks : int
        How many went in, and how many of them were not finite.
    not_finite, above_ceiling : int
        Samples that left NaN or infinite, or beyond the ceiling.
    true_peak_over_db : float
        The largest true peak over the ceiling.
    """

    blocks: int
    bad_blocks: int
    not_finite: int
    above_ceiling: int
    true_peak_over_db: float


def library_filters() -> NDArray[np.float64]:
    """The filter of `scipy.signal.resample_poly` for eightfold rate, one row for each point between two samples."""
    half = 10
    taps = 8.0 * signal.firwin(2 * half * 8 + 1, 1.0 / 8, window=("kaiser", 5.0))
    return np.array([[taps[half * 8 + phase - 8 * k] for k in range(1 - half, half + 1)] for phase in range(1, 8)])


def fuzz(n_blocks: int, seed: int, rate_hz: int = 8000, n_taps: int = 16) -> Fuzzed:
    """Send blocks of every kind through a chain with an equaliser, at volumes and gains that change."""
    rng = np.random.default_rng(seed)
    chain = SafetyChain(ChainSettings(rate_hz, 0.0, -1.0, gain_db=6.0, eq_taps=rng.normal(0, 0.5, (2, n_taps))))
    counts, filters = np.zeros(3), library_filters()
    n = chain.chunk_frames
    past = np.zeros((n + filters.shape[1], 2))
    peak = _drive(n_blocks, rng, n, past, filters, counts, *chain.arrays)
    bad, not_finite, above = map(int, counts)
    return Fuzzed(n_blocks, bad, not_finite, above, float(20 * np.log10(peak / chain.ceiling)))


@njit(nogil=True)
def _drive(n_blocks, rng, n, past, filters, counts, work, line, taps, volume, buffer, state, phases, bounds):  # type: ignore[no-untyped-def]
    block, out = np.zeros((n, 2), np.float32), np.zeros((n, 2), np.float32)
    n_history = filters.shape[1]
    half = n_history // 2
    peak = 0.0
    for _ in range(n_blocks):
        _make(block, rng.integers(0, N_KINDS), rng)
        if rng.random() < 0.05:
            volume[1] = 10.0 ** rng.uniform(-3.0, 0.6)
        if not kernels.protect(block, out, work, line, taps, volume, buffer, state, phases, bounds):
            counts[0] += 1
        past[:n_history] = past[n : n + n_history].copy()
        for frame in range(n):
            for channel in range(2):
                sample = out[frame, channel]
                past[n_history + frame, channel] = sample
                if not np.isfinite(sample):
                    counts[1] += 1
                elif abs(sample) > bounds[3]:
                    counts[2] += 1
        peak = max(peak, kernels.true_peak(past, half, half + n, filters, 0.0))
    return peak


@njit(nogil=True)
def _make(block, kind, rng):  # type: ignore[no-untyped-def]
    """One block of a kind; its loudness is drawn anew each time, up to far beyond full scale."""
    level = 10.0 ** rng.uniform(-3.0, 3.0)
    step = rng.uniform(0.0, np.pi)
    phase = rng.uniform(0.0, 2 * np.pi)
    for frame in range(block.shape[0]):
        for channel in range(2):
            noise = rng.uniform(-1.0, 1.0)
            if kind == 0:
                value = 0.0
            elif kind == 1:
                value = level * noise
            elif kind == 2:
                value = level * np.sign(noise)
            elif kind == 3:
                value = level * noise if rng.random() < 0.05 else 0.0
            elif kind == 4:
                value = level * np.sin(phase + step * frame)
            elif kind == 5:
                value = level * (1.0 if frame % 2 else -1.0)
            elif kind == 6:
                value = level
            elif kind == 7:
                value = noise * 10.0 ** rng.uniform(-45.0, 38.0)
            elif kind == 8:
                value = 0.9 * noise
            else:
                value = noise
                if rng.random() < 0.01:
                    value = (np.nan, np.inf, -np.inf)[rng.integers(0, 3)]
            block[frame, channel] = value
