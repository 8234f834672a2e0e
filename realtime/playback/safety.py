"""The only way to a sink: veil, gain, equaliser, volume, true-peak limiter, clamp, meter, in this order."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.playback import kernels
from realtime.playback.levels import gain_of_db
from realtime.playback.loudness import LoudnessMeter, Reading
from realtime.playback.veil import Veil

CHUNK_S = 0.005
RELEASE_S = 0.2
VOLUME_RAMP_S = 0.05  # from silence to full scale
OVERSAMPLING = 8
HALF_TAPS = 12
WINDOW_BETA = 6.0
MARGIN_DB = 0.3
"""What the limiter stays under the ceiling: other interpolation filters read up to so much more on noise (ADR 0016)."""


@dataclass(frozen=True, eq=False)
class ChainSettings:
    """What the safety chain does with sound.

    Attributes
    ----------
    rate_hz : int
        Frames per second.
    volume_db : float
        The operator's volume at the start.
    ceiling_dbfs : float
        No true peak that leaves is louder; at most 0. Cannot be changed while sound plays.
    gain_db : float
        Of the programme, in front of the equaliser.
    eq_taps : float64 array of shape (2, n_taps), or None
        The headphones' equaliser, left and right; None passes sound as it is.
    """

    rate_hz: int
    volume_db: float
    ceiling_dbfs: float
    gain_db: float = 0.0
    eq_taps: NDArray[np.float64] | None = None


class SafetyChain:
    """Gain, equaliser, ramped volume, look-ahead limiter and a clamp that nothing passes; then a meter.

    The limiter turns down, over 5 ms, whatever would pass the ceiling between samples too: it
    interpolates eightfold. The clamp behind it catches rounding and is the guarantee for samples.
    The result depends on the samples alone, not on how they are cut into blocks.

    Parameters
    ----------
    settings : ChainSettings
        Fixed for its life, but for the volume.

    Attributes
    ----------
    chunk_frames : int
        Blocks are multiples of this.
    delay_frames : int
        From `process`'s input to its output, the equaliser's own delay not counted.
    ceiling : float
        Largest sample that leaves.
    bad_chunks : int
        Chunks with NaN or infinite samples so far; each was muted.
    limited_chunks : int
        Chunks that left turned down.
    """

    def __init__(self, settings: ChainSettings) -> None:
        rate_hz = settings.rate_hz
        self.chunk_frames = n = round(CHUNK_S * rate_hz)
        self.delay_frames = n + HALF_TAPS
        self.bad_chunks = self.limited_chunks = 0
        self.ceiling = _float32_at_most(gain_of_db(min(settings.ceiling_dbfs, 0.0)))
        self._rate_hz = rate_hz
        self._fading_out = False
        taps = np.ones((2, 1)) if settings.eq_taps is None else settings.eq_taps
        self._taps = np.ascontiguousarray(taps[:, ::-1], dtype=np.float64)
        self._line = np.zeros((2, self._taps.shape[1] - 1 + n))
        volume = gain_of_db(settings.volume_db)
        self._volume = np.array([volume, volume, n / (VOLUME_RAMP_S * rate_hz), gain_of_db(settings.gain_db)])
        self._phases = interpolation_filters()
        self._work = np.zeros((n, 2))
        self._buffer = np.zeros((2 * n + HALF_TAPS, 2))
        self._state = np.ones(2)  # gain at the border in front of the chunk that leaves next, and what that one allows
        limit = self.ceiling * gain_of_db(-MARGIN_DB)
        release = 1.0 - math.exp(-n / (RELEASE_S * rate_hz))
        loudest_filter = np.abs(self._phases).sum(axis=1).max()
        self._bounds = np.array([limit, release, limit / loudest_filter, self.ceiling])
        self._veil = Veil(rate_hz, n)
        self._meter = LoudnessMeter(rate_hz, n)

    @property
    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """What `kernels.protect` takes after the two blocks, in its order."""
        volume, buffer, state = self._volume, self._buffer, self._state
        return self._work, self._line, self._taps, volume, buffer, state, self._phases, self._bounds

    def set_volume_db(self, volume_db: float) -> None:
        """Move to this volume along a ramp; after `fade_out` nothing changes any more."""
        if not self._fading_out:
            self._volume[1] = gain_of_db(volume_db)

    def set_clarity(self, clarity: float) -> None:
        """Move to this clarity, 0 (dull) to 1 (as it is), along a ramp."""
        self._veil.set_clarity(clarity)

    def fade_out(self, fade_s: float) -> None:
        """Ramp to silence, for good, within this time."""
        self._fading_out = True
        self._volume[1] = 0.0
        self._volume[2] = max(self._volume[0], 1e-9) * self.chunk_frames / (fade_s * self._rate_hz)

    @property
    def faded_out(self) -> bool:
        """Whether all that leaves is silence, since `fade_out`."""
        return self._fading_out and self._volume[0] == 0.0 and not self._buffer.any()

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The block `delay_frames` earlier, safe to hear.

        Parameters
        ----------
        block : float32 array of shape (n_frames, 2)
            Any values; n_frames a multiple of `chunk_frames`. A chunk with NaN or infinities in it
            becomes silence, and the sound after it comes back along the volume ramp.

        Returns
        -------
        float32 array of shape (n_frames, 2)
            Finite, no sample beyond the ceiling; a new array.

        Raises
        ------
        ValueError
            The number of frames is no multiple of `chunk_frames`.
        """
        if len(block) % self.chunk_frames:
            message = f"block of {len(block)} frames: wanted a multiple of {self.chunk_frames}"
            raise ValueError(message)
        out = np.empty_like(block)
        for start in range(0, len(block), self.chunk_frames):
            chunk = out[start : start + self.chunk_frames]
            veiled = self._veil.process(block[start : start + self.chunk_frames])
            finite = kernels.protect(veiled, chunk, *self.arrays)
            self.bad_chunks += not finite
            self.limited_chunks += int(self._state[0] < 1.0)
            self._meter.add(chunk)
        return out

    def read_level(self) -> Reading:
        """Loudness since the last call."""
        return self._meter.read()


def warm_up() -> None:
    """Compile, or load, all kernels."""
    chain = SafetyChain(ChainSettings(48000, 0.0, 0.0, eq_taps=np.ones((2, 1))))
    chain.set_clarity(0.5)
    chain.process(np.full((chain.chunk_frames, 2), 2.0, np.float32))


def interpolation_filters() -> NDArray[np.float64]:
    """Kaiser-windowed sinc for the points between two samples, shape (OVERSAMPLING - 1, 2 · HALF_TAPS)."""
    taps = np.arange(1 - HALF_TAPS, HALF_TAPS + 1)
    t = taps - (np.arange(1, OVERSAMPLING) / OVERSAMPLING)[:, None]
    inside = np.maximum(0.0, 1.0 - np.square(t / HALF_TAPS))
    filters = np.sinc(t) * np.i0(WINDOW_BETA * np.sqrt(inside)) / np.i0(WINDOW_BETA)
    normalised: NDArray[np.float64] = filters / filters.sum(axis=1, keepdims=True)
    return normalised


def _float32_at_most(value: float) -> float:
    """The largest float32 that is not above `value`."""
    nearest = np.float32(value)
    return float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(0.0)))
