"""How loud a clip is, and what gain makes all clips equally loud without any of them overdriving."""

import numpy as np
import pyloudnorm
import soxr
from numpy.typing import NDArray

LOUDNESS_LUFS = -23.0
"""EBU R 128's programme loudness."""
TRUE_PEAK_DBTP = -1.0
_OVERSAMPLING = 4
_BLOCK_S = 0.4


def loudness_lufs(audio: NDArray[np.float32], rate_hz: int) -> float:
    """Integrated loudness after ITU-R BS.1770-4, as the player sounds it: mono comes from both sides.

    Parameters
    ----------
    audio : float32 array of shape (n_frames, 1 or 2)
        Finite.
    rate_hz : int
        Frames per second.

    Returns
    -------
    float
        In LUFS; minus infinity for silence, and for what is shorter than a measuring block of 0.4 s.
    """
    if len(audio) < _BLOCK_S * rate_hz:
        return -np.inf
    both = np.repeat(audio, 2, axis=1) if audio.shape[1] == 1 else audio
    with np.errstate(divide="ignore"):  # silence has a level of -inf
        return float(pyloudnorm.Meter(rate_hz).integrated_loudness(both.astype(np.float64)))


def true_peak_dbtp(audio: NDArray[np.float32], rate_hz: int) -> float:
    """Highest level between the samples, too, after BS.1770-4 annex 2: at four times the rate."""
    finer = soxr.resample(audio, rate_hz, _OVERSAMPLING * rate_hz, quality="HQ")
    return float(20.0 * np.log10(max(np.abs(finer).max(), np.abs(audio).max(), 1e-10)))


def gain_db(audio: NDArray[np.float32], rate_hz: int) -> float:
    """Gain to `LOUDNESS_LUFS`, less where the true peak would pass `TRUE_PEAK_DBTP`; 0.01 dB steps.

    Parameters as `loudness_lufs`; for silence 0.
    """
    loudness = loudness_lufs(audio, rate_hz)
    if not np.isfinite(loudness):
        return 0.0
    return round(min(LOUDNESS_LUFS - loudness, TRUE_PEAK_DBTP - true_peak_dbtp(audio, rate_hz)), 2)
