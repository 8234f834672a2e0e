"""Listening with numbers: what tells music from test tones, and a good recording from a damaged one."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from realtime.music.synth import mono

BANDS_HZ = (20, 120, 500, 2000, 6000, 20000)
_WINDOW = 4096
_BLOCK_S = 0.05
_FLOOR = 1e-12


@dataclass(frozen=True)
class Listened:
    """What was heard.

    Attributes
    ----------
    peak_dbfs : float
        Of the loudest sample; above -0.1 something clips.
    crest_db : float
        Peak over root mean square: a sine has 3, mastered music 8 to 16.
    dynamics_db : float
        95th over 10th percentile of the level of 50 ms: a steady tone has 0.
    offset : float
        Largest mean of a side.
    onsets_per_s : float
        Peaks of the compressed spectrum's rise that exceed its median by half, and a fiftieth of the whole.
    balance_db : tuple of float
        Level between neighbouring BANDS_HZ, relative to the whole.
    sides_db : float
        Difference of the sides over their sum.
    """

    peak_dbfs: float
    crest_db: float
    dynamics_db: float
    offset: float
    onsets_per_s: float
    balance_db: tuple[float, ...]
    sides_db: float


def listen(audio: NDArray[np.float32], rate_hz: int) -> Listened:
    """Listen to stereo sound of shape (n_frames, 2), a second at least, finite."""
    middle = mono(audio).astype(np.float64)
    rms = np.sqrt((audio.astype(np.float64) ** 2).mean())
    block = round(_BLOCK_S * rate_hz)
    levels = np.sqrt((middle[: len(middle) // block * block].reshape(-1, block) ** 2).mean(axis=1))
    frames = np.lib.stride_tricks.sliding_window_view(middle, _WINDOW)[:: _WINDOW // 4]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1))
    power, hertz = (spectrum**2).sum(axis=0), np.fft.rfftfreq(_WINDOW, 1 / rate_hz)
    balance = [_db(power[(hertz >= low) & (hertz < high)].sum() / max(power.sum(), _FLOOR)) / 2
               for low, high in pairwise(BANDS_HZ)]
    compressed = np.log1p(1e3 * spectrum / _WINDOW)
    rise = np.maximum(np.diff(compressed, axis=0), 0).sum(axis=1)
    least = max(1.5 * float(np.median(rise)), 0.02 * float(compressed.sum(axis=1).mean()), _FLOOR)
    peaks = (rise[1:-1] > least) & (rise[1:-1] >= rise[:-2]) & (rise[1:-1] > rise[2:])
    left, right = audio.astype(np.float64).T
    peak = float(np.abs(audio).max())
    return Listened(_db(peak), _db(peak / max(float(rms), _FLOOR)),
                    _db(np.percentile(levels, 95) / max(float(np.percentile(levels, 10)), _FLOOR)),
                    float(np.abs(audio.mean(axis=0)).max()), float(peaks.sum() / (len(middle) / rate_hz)),
                    tuple(balance), _db((left - right).std() / max(float((left + right).std()), _FLOOR)))


def _db(ratio: float) -> float:
    """Of a ratio of amplitudes."""
    return float(20 * np.log10(max(float(ratio), _FLOOR)))
