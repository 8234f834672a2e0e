"""How loud it was: BS.1770 loudness, A-weighted level at the ear, and the dose of a day."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.playback import kernels
from realtime.playback.levels import db_of_gain

HOP_S = 0.1
MOMENTARY_HOPS = 4
SHORT_TERM_HOPS = 30
LUFS_OFFSET = -0.691  # BS.1770-4, equation 2
SINE_DB = 10.0 * math.log10(2.0)  # a sine's peak over its RMS
A_POLES_HZ = (20.598997, 107.65265, 737.86223, 12194.217)  # IEC 61672-1, annex E: the outer two are double


@dataclass(frozen=True)
class Reading:
    """Loudness of what left the chain.

    Attributes
    ----------
    peak_dbfs, rms_dbfs : float
        Since the meter was last read, dB relative to full scale; -inf for digital silence.
    momentary_lufs, short_term_lufs : float
        Of the last 0.4 and 3 s (BS.1770-4, ungated); -inf for silence.
    a_weighted_dbfs : float
        A-weighted RMS of the louder ear since the last reading, dB relative to full scale; -inf for silence.
    metered_s : float
        Sound since the last reading.
    """

    peak_dbfs: float
    rms_dbfs: float
    momentary_lufs: float
    short_term_lufs: float
    a_weighted_dbfs: float
    metered_s: float


class LoudnessMeter:
    """Measures chunk by chunk.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    chunk_frames : int
        Longest chunk; a hop of the loudness is the chunks that begin within 0.1 s.
    """

    def __init__(self, rate_hz: int, chunk_frames: int) -> None:
        self._rate_hz = rate_hz
        k = k_weighting(rate_hz)
        self._sections = np.concatenate([k, a_weighting(rate_hz)])
        self._n_k = len(k)
        self._memory = np.zeros((len(self._sections), 2, 2))
        self._hop_frames = max(chunk_frames, round(HOP_S * rate_hz))
        self._sums = np.zeros((3, 2))
        self._since_read = np.zeros((3, 2))
        self._in_hop = self._metered = 0
        self._peak = 0.0
        self._hops: deque[float] = deque(maxlen=SHORT_TERM_HOPS)

    def add(self, chunk: NDArray[np.float32]) -> None:
        """Measure a chunk of shape (n, 2)."""
        kernels.meter(chunk, self._sections, self._n_k, self._memory, self._sums)
        self._peak = max(self._peak, float(chunk.max()), -float(chunk.min()))
        self._metered += len(chunk)
        self._in_hop += len(chunk)
        if self._in_hop >= self._hop_frames:
            self._hops.append(float(self._sums[0].sum()) / self._in_hop)
            self._since_read += self._sums
            self._sums[:] = 0.0
            self._in_hop = 0

    def read(self) -> Reading:
        """What was measured; peak and levels since the last reading."""
        power = (self._since_read + self._sums) / max(self._metered, 1)
        reading = Reading(
            db_of_gain(self._peak),
            db_of_power(float(power[2].mean())),
            self._lufs(MOMENTARY_HOPS),
            self._lufs(SHORT_TERM_HOPS),
            db_of_power(float(power[1].max())),
            self._metered / self._rate_hz,
        )
        self._since_read = -self._sums  # the hop that has begun was counted already
        self._peak, self._metered = 0.0, 0
        return reading

    def _lufs(self, n_hops: int) -> float:
        newest = list(self._hops)[-n_hops:]
        return LUFS_OFFSET + db_of_power(sum(newest) / n_hops)


@dataclass(frozen=True)
class DoseRule:
    """A limit of sound at the ear over a day, with an exchange rate of 3 dB.

    Attributes
    ----------
    criterion_dba : float
        Level that is 100 % in 8 h: 85 by NIOSH; 80 is the lower action value of EU directive 2003/10/EC.
    """

    criterion_dba: float = 80.0

    def dose(self, level_dba: float, duration_s: float) -> float:
        """Part of a day's dose, 1 for all of it."""
        return duration_s / (8 * 3600.0) * float(2.0 ** ((level_dba - self.criterion_dba) / 3.0))


def level_dba(a_weighted_dbfs: float, db_spl_at_0dbfs: float) -> float:
    """Level at the ear of a sound of this RMS, by what a full-scale sine (RMS -3.01 dBFS) gives there."""
    return a_weighted_dbfs + SINE_DB + db_spl_at_0dbfs


def db_of_power(power: float) -> float:
    """Level in dB of a mean square; 0 gives -inf."""
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf


def k_weighting(rate_hz: int) -> NDArray[np.float64]:
    """The two biquads of BS.1770-4 for any rate, shape (2, 5).

    At 48 kHz they are the standard's; for others its analogue filters are transformed anew: a shelf of
    3.99984 dB at 1681.97 Hz (Q 0.70718), and a high-pass at 38.1355 Hz (Q 0.50033).
    """
    k = math.tan(math.pi * 1681.974450955533 / rate_hz)
    high = 10.0 ** (3.999843853973347 / 20.0)
    band, q = high**0.4996667741545416, 0.7071752369554196
    a0 = 1.0 + k / q + k * k
    shelf = [high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k,
             2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    k, q = math.tan(math.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    b0 = 1.0 + k / q + k * k
    high_pass = [2.0 * (k * k - 1.0) / b0, (1.0 - k / q + k * k) / b0]
    return np.array([[x / a0 for x in shelf], [1.0, -2.0, 1.0, *high_pass]])


def a_weighting(rate_hz: int) -> NDArray[np.float64]:
    """Three biquads by the bilinear transform of the A weighting's poles, 0 dB at 1 kHz; shape (3, 5)."""
    low, second, third, high = (2.0 * math.pi * pole_hz for pole_hz in A_POLES_HZ)
    sections = np.array([
        _bilinear([1.0, 0.0, 0.0], [1.0, 2 * low, low * low], rate_hz),
        _bilinear([1.0, 0.0, 0.0], [1.0, second + third, second * third], rate_hz),
        _bilinear([0.0, 0.0, 1.0], [1.0, 2 * high, high * high], rate_hz),
    ])
    z = np.exp(-2j * np.pi * 1000.0 / rate_hz)
    response = [(b0 + b1 * z + b2 * z * z) / (1.0 + a1 * z + a2 * z * z) for b0, b1, b2, a1, a2 in sections]
    sections[0, :3] /= abs(np.prod(response))
    return sections


def _bilinear(numerator: list[float], denominator: list[float], rate_hz: int) -> list[float]:
    """Biquad b0 b1 b2 a1 a2 of an analogue one, given as coefficients of s², s and 1."""
    c = 2.0 * rate_hz
    (n2, n1, n0), (d2, d1, d0) = numerator, denominator
    a0 = d2 * c * c + d1 * c + d0
    upper = [n2 * c * c + n1 * c + n0, 2.0 * (n0 - n2 * c * c), n2 * c * c - n1 * c + n0]
    return [x / a0 for x in (*upper, 2.0 * (d0 - d2 * c * c), d2 * c * c - d1 * c + d0)]
