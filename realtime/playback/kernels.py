"""Compiled loops of the safety chain. Each has a twin written for reading in `tests/naive_playback.py`.

Sound is (n_frames, 2); inside the chain float64, on the way out float32. Kernels allocate nothing
and write into the arrays they are given; they let go of the interpreter, so that the thread that
drains the ring never waits for them. Numba's cache watches only this file: everything that they
call is in it.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Array64 = NDArray[np.float64]
Array32 = NDArray[np.float32]


def compiled(function: Kernel) -> Kernel:
    """Compile for each type of arguments at its first call; sums may be taken in any order, NaN is kept."""
    return cast(Kernel, njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})(function))


@compiled
def all_finite(block: Array32) -> bool:
    """Whether no sample is NaN or infinite."""
    for frame in range(block.shape[0]):
        for channel in range(block.shape[1]):
            if not np.isfinite(block[frame, channel]):
                return False
    return True


@compiled
def equalise(line: Array64, taps: Array64, out: Array64) -> None:
    """Filter each channel: out[n] = sum over k of taps[channel, k] · line[channel, n + n_taps - 1 - k].

    Parameters
    ----------
    line : float64 array of shape (2, n_taps - 1 + n_frames)
        The past, then the new frames; channel by channel, so that the inner loop runs over memory in order.
    taps : float64 array of shape (2, n_taps)
        Reversed: the oldest sample's first.
    out : float64 array of shape (n_frames, 2)
        Is written.
    """
    n_taps = taps.shape[1]
    for channel in range(2):
        for frame in range(out.shape[0]):
            total = 0.0
            for k in range(n_taps):
                total += taps[channel, k] * line[channel, frame + k]
            out[frame, channel] = total


@compiled
def true_peak(buffer: Array64, begin: int, end: int, phases: Array64, enough: float) -> float:
    """Largest absolute value of the band-limited sound from sample `begin` up to, not including, sample `end`.

    Parameters
    ----------
    buffer : float64 array of shape (n, 2)
        With half a filter's length of sound on either side.
    begin, end : int
        Samples of the buffer.
    phases : float64 array of shape (n_phases, n_taps)
        Interpolation filters for the points between two samples.
    enough : float
        What the interpolated sound cannot exceed is not computed: samples below this over the filters' largest gain.
    """
    half = phases.shape[1] // 2
    sample_peak = around = 0.0
    for frame in range(begin - half + 1, end + half):
        for channel in range(2):
            around = max(around, abs(buffer[frame, channel]))
    for frame in range(begin, end):
        for channel in range(2):
            sample_peak = max(sample_peak, abs(buffer[frame, channel]))
    if around <= enough:
        return sample_peak
    peak = sample_peak
    for channel in range(2):
        for frame in range(begin, end):
            for phase in range(phases.shape[0]):
                total = 0.0
                for k in range(phases.shape[1]):
                    total += phases[phase, k] * buffer[frame - half + 1 + k, channel]
                peak = max(peak, abs(total))
    return peak


@compiled
def limit(chunk: Array64, buffer: Array64, state: Array64, phases: Array64, bounds: Array64) -> None:
    """Replace a chunk by the one that came `n + n_taps / 2` frames before, turned down where it would pass the limit.

    At each border between two chunks the gain is one that keeps the louder of them under the limit,
    and between borders it is a straight line: at no sample does it exceed what that sample's own
    chunk allows. The attack takes one chunk; only the release lags.

    Parameters
    ----------
    chunk : float64 array of shape (n, 2)
        The new frames; is overwritten with the old ones.
    buffer : float64 array of shape (2 n + n_taps / 2, 2)
        What is known of the sound before; is moved on.
    state : float64 array of shape (2,)
        Gain at the border in front of the chunk that leaves, and what that chunk allows; is moved on.
    phases : float64 array of shape (n_phases, n_taps)
        As for `true_peak`.
    bounds : float64 array of shape (3,) or longer
        Limit; release as the part of the way back to 1 in one chunk; limit over the filters' largest gain.
    """
    n = chunk.shape[0]
    half = phases.shape[1] // 2
    buffer[n + half :] = chunk
    peak = true_peak(buffer, n, 2 * n, phases, bounds[2])
    allows = bounds[0] / peak if peak > bounds[0] else 1.0
    gain = min(state[1], allows, state[0] + (1.0 - state[0]) * bounds[1])
    step = (gain - state[0]) / n
    for frame in range(n):
        factor = state[0] + step * frame
        chunk[frame, 0] = buffer[frame, 0] * factor
        chunk[frame, 1] = buffer[frame, 1] * factor
    state[0], state[1] = gain, allows
    for frame in range(n + half):
        buffer[frame] = buffer[frame + n]


@compiled
def protect(
    block: Array32,
    out: Array32,
    work: Array64,
    line: Array64,
    taps: Array64,
    volume: Array64,
    buffer: Array64,
    state: Array64,
    phases: Array64,
    bounds: Array64,
) -> bool:
    """One chunk through gain, equaliser, volume, limiter and clamp; whether it was finite.

    One that is not becomes silence, what the equaliser remembers of it too, and the volume begins at 0.

    Parameters
    ----------
    block, out : float32 array of shape (n, 2)
        What comes, and what leaves: finite and within the clamp, whatever comes.
    work : float64 array of shape (n, 2)
        Is overwritten.
    line, taps : float64 arrays
        As for `equalise`; `line` holds the past in front and is moved on.
    volume : float64 array of shape (4,)
        Now, where it goes, how far it may go in one chunk, and the gain in front of the equaliser.
    buffer, state, phases : float64 arrays
        As for `limit`.
    bounds : float64 array of shape (4,)
        As for `limit`, and the clamp.
    """
    n = block.shape[0]
    past = taps.shape[1] - 1
    finite = all_finite(block)
    if finite:
        for frame in range(n):
            for channel in range(2):
                line[channel, past + frame] = np.float64(block[frame, channel]) * volume[3]
    else:
        line[:] = 0.0
        volume[0] = 0.0
    equalise(line, taps, work)
    for channel in range(2):
        for k in range(past):
            line[channel, k] = line[channel, k + n]
    step = min(max(volume[1] - volume[0], -volume[2]), volume[2])
    for frame in range(n):
        factor = volume[0] + step * (frame / n)
        work[frame, 0] *= factor
        work[frame, 1] *= factor
    volume[0] += step
    limit(work, buffer, state, phases, bounds)
    for frame in range(n):
        for channel in range(2):
            out[frame, channel] = np.float32(min(max(work[frame, channel], -bounds[3]), bounds[3]))
    return finite


@compiled
def veil(block: Array32, out: Array32, memory: Array64, begin: float, end: float) -> None:
    """Two one-pole low-passes in a row: y += a (x - y), with `a` on a straight line from `begin` to `end`.

    Every sample that leaves is a mean of samples that came, weighted by parts of 1: nothing becomes louder. With
    a = 1 it is what came. Samples that are no numbers pass, for the chain to mute, and are not remembered.

    Parameters
    ----------
    block, out : float32 array of shape (n, 2)
        What comes, and what leaves.
    memory : float64 array of shape (2, 2)
        The last sample of each stage and channel; is moved on.
    begin, end : float
        Above 0, at most 1.
    """
    n = block.shape[0]
    for frame in range(n):
        a = begin + (end - begin) * ((frame + 1) / n)
        for channel in range(2):
            value = np.float64(block[frame, channel])
            if not np.isfinite(value):
                out[frame, channel] = block[frame, channel]
                continue
            for stage in range(2):
                value = memory[stage, channel] + a * (value - memory[stage, channel]) if a < 1.0 else value
                memory[stage, channel] = value
            out[frame, channel] = np.float32(value)


@compiled
def meter(out: Array32, sections: Array64, n_k: int, memory: Array64, sums: Array64) -> None:
    """Add the K- and the A-weighted power of frames to sums.

    Parameters
    ----------
    out : float32 array of shape (n, 2)
        The sound as it leaves.
    sections : float64 array of shape (n_sections, 5)
        Biquads b0 b1 b2 a1 a2: the first `n_k` are the K weighting, the rest the A weighting.
    n_k : int
        See there.
    memory : float64 array of shape (n_sections, 2, 2)
        Two delays for each channel of each section; is moved on.
    sums : float64 array of shape (3, 2)
        K-weighted, A-weighted and unweighted squares of each channel; are added to.
    """
    n_sections = sections.shape[0]
    for channel in range(2):
        for frame in range(out.shape[0]):
            sample = np.float64(out[frame, channel])
            sums[2, channel] += sample * sample
            value = sample
            for i in range(n_sections):
                if i == n_k:
                    sums[0, channel] += value * value
                    value = sample
                filtered = sections[i, 0] * value + memory[i, channel, 0]
                memory[i, channel, 0] = sections[i, 1] * value - sections[i, 3] * filtered + memory[i, channel, 1]
                memory[i, channel, 1] = sections[i, 2] * value - sections[i, 4] * filtered
                value = filtered
            sums[1, channel] += value * value
