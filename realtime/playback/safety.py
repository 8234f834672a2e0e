"""The only way to a sink: volume, look-ahead limiter, hard ceiling, and the gate behind the ring."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOOKAHEAD_S = 0.005
RELEASE_S = 0.2
VOLUME_RAMP_S = 0.05  # from silence to full scale
GATE_RAMP_S = 0.01


def gain_of_db(level_db: float) -> float:
    """Amplitude factor of a level in dB; -inf gives 0."""
    return float(10.0 ** (level_db / 20.0))


def db_of_gain(gain: float) -> float:
    """Level in dB of an amplitude factor; 0 gives -inf."""
    return 20.0 * math.log10(gain) if gain > 0.0 else -math.inf


@dataclass(frozen=True)
class Level:
    """Loudness of what left the chain since the meter was last read.

    Attributes
    ----------
    peak_dbfs, rms_dbfs : float
        dB relative to full scale; -inf for digital silence.
    bad_blocks : int
        Blocks with NaN or infinite samples since the start; each was muted.
    """

    peak_dbfs: float
    rms_dbfs: float
    bad_blocks: int


class SafetyChain:
    """Volume, a peak limiter with 5 ms of look-ahead, and a clamp that nothing passes.

    The limiter works on chunks of its look-ahead, L. At each border between two chunks it sets a gain
    that keeps the louder of the two under the ceiling, and between borders the gain is a straight
    line: so at no sample does it exceed what that sample's chunk allows, attack takes L and only
    release (0.2 s) lags. The clamp behind it catches rounding and is the guarantee.

    The result depends on the samples alone, not on how they are cut into blocks.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    volume_db : float
        The operator's volume at the start.
    ceiling_dbfs : float
        No sample that leaves is louder; at most 0. Cannot be changed while sound plays.
    """

    def __init__(self, rate_hz: int, volume_db: float, ceiling_dbfs: float) -> None:
        self.delay_frames = round(LOOKAHEAD_S * rate_hz)
        self.bad_blocks = 0
        self._rate_hz = rate_hz
        self._fading_out = False
        self._ceiling = _float32_at_most(gain_of_db(min(ceiling_dbfs, 0.0)))
        self._volume_target = self._volume = gain_of_db(volume_db)
        self._volume_step = self.delay_frames / (VOLUME_RAMP_S * rate_hz)
        self._release = 1.0 - math.exp(-self.delay_frames / (RELEASE_S * rate_hz))
        self._ramp = (np.arange(self.delay_frames, dtype=np.float64) / self.delay_frames)[:, None]
        self._held = np.zeros((self.delay_frames, 2))  # the chunk that leaves next
        self._held_allows = 1.0
        self._gain = 1.0  # at the border in front of the held chunk
        self._peak = self._power = 0.0
        self._metered = 0

    def set_volume_db(self, volume_db: float) -> None:
        """Move to this volume along a ramp; after `fade_out` nothing changes any more."""
        if not self._fading_out:
            self._volume_target = gain_of_db(volume_db)

    def fade_out(self, fade_s: float) -> None:
        """Ramp to silence, for good, within this time."""
        self._fading_out = True
        self._volume_target = 0.0
        self._volume_step = max(self._volume, 1e-9) * self.delay_frames / (fade_s * self._rate_hz)

    @property
    def faded_out(self) -> bool:
        """Whether all that leaves is silence, since `fade_out`."""
        return self._fading_out and self._volume == 0.0 and not self._held.any()

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The block `delay_frames` earlier, safe to hear.

        Parameters
        ----------
        block : float32 array of shape (n_frames, 2)
            Any values; n_frames a multiple of `delay_frames`. With NaN or infinities in it the whole
            block becomes silence and the sound after it comes back along the volume ramp.

        Returns
        -------
        float32 array of shape (n_frames, 2)
            Finite, no sample beyond the ceiling; a new array.

        Raises
        ------
        ValueError
            The number of frames is no multiple of `delay_frames`.
        """
        if len(block) % self.delay_frames:
            message = f"block of {len(block)} frames: wanted a multiple of {self.delay_frames}"
            raise ValueError(message)
        if not np.isfinite(block).all():
            self.bad_blocks += 1
            block = np.zeros_like(block)
            self._volume = 0.0
        out = np.empty_like(block)
        for start in range(0, len(block), self.delay_frames):
            out[start : start + self.delay_frames] = self._limit(self._apply_volume(block[start:][: self.delay_frames]))
        np.clip(out, -self._ceiling, self._ceiling, out=out)
        self._meter(out)
        return out

    def read_level(self) -> Level:
        """Loudness since the last call; starts the meter anew."""
        rms = math.sqrt(self._power / self._metered) if self._metered else 0.0
        level = Level(db_of_gain(self._peak), db_of_gain(rms), self.bad_blocks)
        self._peak = self._power = 0.0
        self._metered = 0
        return level

    def _apply_volume(self, chunk: NDArray[np.float32]) -> NDArray[np.float64]:
        step = min(max(self._volume_target - self._volume, -self._volume_step), self._volume_step)
        scaled: NDArray[np.float64] = chunk.astype(np.float64) * (self._volume + step * self._ramp)
        self._volume += step
        return scaled

    def _limit(self, chunk: NDArray[np.float64]) -> NDArray[np.float64]:
        peak = float(np.abs(chunk).max())
        allows = self._ceiling / peak if peak > self._ceiling else 1.0
        risen = self._gain + (1.0 - self._gain) * self._release
        gain = min(self._held_allows, allows, risen)
        limited: NDArray[np.float64] = self._held * (self._gain + (gain - self._gain) * self._ramp)
        self._held, self._held_allows, self._gain = chunk, allows, gain
        return limited

    def _meter(self, out: NDArray[np.float32]) -> None:
        self._peak = max(self._peak, float(np.abs(out).max(initial=0.0)))
        self._power += float(np.square(out, dtype=np.float64).sum())
        self._metered += out.size


def _float32_at_most(value: float) -> float:
    """The largest float32 that is not above `value`."""
    nearest = np.float32(value)
    return float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(0.0)))


class Gate:
    """Mute and STOP, applied to frames as they leave the ring: nothing that is queued is in their way.

    Commands come from any thread; `apply` belongs to the thread that drains the ring. It allocates
    nothing while the gate rests.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    """

    def __init__(self, rate_hz: int) -> None:
        self._step = 1.0 / (GATE_RAMP_S * rate_hz)
        self._gain = 1.0
        self._muted = False
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether STOP was given."""
        return self._stopped

    def mute(self, muted: bool) -> None:
        """Ramp to silence, or back."""
        self._muted = muted

    def stop(self) -> None:
        """Ramp to silence and stay there, whatever else is asked, until `rearm`."""
        self._stopped = True

    def rearm(self) -> None:
        """Take STOP back: sound comes again, along the ramp, unless it is muted."""
        self._stopped = False

    def drop(self) -> None:
        """Say that sound broke off: what comes next fades in."""
        self._gain = 0.0

    def apply(self, frames: NDArray[np.float32]) -> None:
        """Multiply frames of shape (n, 2), in place, by the gate's gain."""
        target = 0.0 if self._muted or self._stopped else 1.0
        if self._gain == target:
            if target == 0.0:
                frames[:] = 0.0
            return
        steps = np.arange(1, len(frames) + 1) * (self._step if target > self._gain else -self._step)
        gains = np.clip(self._gain + steps, 0.0, 1.0)
        frames *= gains[:, None].astype(np.float32)
        self._gain = float(gains[-1])
