"""The safety chain's kernels again, written for reading: one sample at a time, from their definitions."""

import numpy as np
from numpy.typing import NDArray


def equalised(sound: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each channel convolved with its taps, as long as it was."""
    out = np.zeros(sound.shape)
    for n in range(len(sound)):
        for channel in range(2):
            for k in range(min(n + 1, taps.shape[1])):
                out[n, channel] += taps[channel, k] * sound[n - k, channel]
    return out


def between(sound: NDArray[np.float64], n: int, channel: int, filters: NDArray[np.float64]) -> list[float]:
    """The sound at sample n and at the points after it, up to sample n + 1."""
    half = filters.shape[1] // 2
    values = [sound[n, channel]]
    for taps in filters:
        value = 0.0
        for k, tap in enumerate(taps):
            at = n - half + 1 + k
            value += tap * (sound[at, channel] if 0 <= at < len(sound) else 0.0)
        values.append(value)
    return values


def limited(
    sound: NDArray[np.float64], n_chunk: int, filters: NDArray[np.float64], limit: float, release: float
) -> NDArray[np.float64]:
    """Whole chunks of sound, late by a chunk and half a filter, with a gain that is straight between its borders."""
    half = filters.shape[1] // 2
    late = np.concatenate([np.zeros((half, 2)), sound])  # chunks begin half a filter before the sound's
    n_chunks = len(sound) // n_chunk
    allows = []
    for chunk in range(n_chunks):
        samples = range(chunk * n_chunk, (chunk + 1) * n_chunk)
        peak = max(max(map(abs, between(late, n, channel, filters))) for n in samples for channel in range(2))
        allows.append(limit / peak if peak > limit else 1.0)
    gains = [1.0]
    for chunk in range(n_chunks):
        risen = gains[-1] + (1.0 - gains[-1]) * release
        gains.append(min(allows[chunk], allows[chunk - 1] if chunk else 1.0, risen))
    out = np.zeros((n_chunks * n_chunk, 2))
    for chunk in range(1, n_chunks):
        for i in range(n_chunk):
            gain = gains[chunk] + (gains[chunk + 1] - gains[chunk]) * i / n_chunk
            out[chunk * n_chunk + i] = late[(chunk - 1) * n_chunk + i] * gain
    return out


def filtered(sound: NDArray[np.float64], sections: NDArray[np.float64]) -> NDArray[np.float64]:
    """One channel through biquads, by the difference equation."""
    for b0, b1, b2, a1, a2 in sections:
        out = np.zeros(len(sound))
        for n in range(len(sound)):
            x1, x2 = (sound[n - 1] if n > 0 else 0.0), (sound[n - 2] if n > 1 else 0.0)
            y1, y2 = (out[n - 1] if n > 0 else 0.0), (out[n - 2] if n > 1 else 0.0)
            out[n] = b0 * sound[n] + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
        sound = out
    return sound


def resampled(frames: np.ndarray, from_hz: int, to_hz: int, cutoff: float, half: int, beta: float) -> np.ndarray:
    """Windowed-sinc interpolation, point by point, the filter computed anew for each; frames (n, 2)."""
    lowered = min(1.0, to_hz / from_hz)
    reach = int(np.ceil(half / lowered))
    n_out = -(-len(frames) * to_hz // from_hz)
    out = np.zeros((n_out, 2))
    for j in range(n_out):
        place = j * from_hz / to_hz
        begin = int(np.floor(place + 1e-9))
        at = np.arange(begin - reach + 1, begin + reach + 1)
        t = place - at
        taps = np.sinc(cutoff * lowered * t) * np.i0(beta * np.sqrt(np.maximum(0.0, 1.0 - (t / reach) ** 2)))
        taps /= taps.sum()
        for tap, k in zip(taps, at, strict=True):
            if 0 <= k < len(frames):
                out[j] += tap * frames[k]
    return out
