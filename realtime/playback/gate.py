"""Mute and STOP."""

import numpy as np
from numpy.typing import NDArray

GATE_RAMP_S = 0.005


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
        self._rate_hz = rate_hz
        self._down = self._up = 1.0 / (GATE_RAMP_S * rate_hz)
        self._gain = 1.0
        self._muted = False
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether STOP was given."""
        return self._stopped

    @property
    def closed(self) -> bool:
        """Whether mute or STOP has come to silence: all that leaves is zeros."""
        return self._gain == 0.0 and (self._muted or self._stopped)

    def mute(self, muted: bool) -> None:
        """Ramp to silence, or back."""
        self._muted = muted

    def stop(self) -> None:
        """Ramp to silence and stay there, whatever else is asked, until `rearm`."""
        self._stopped = True

    def rearm(self) -> None:
        """Take STOP back: sound comes again, along the ramp, unless it is muted."""
        self._stopped = False

    def drop(self, rise_s: float = GATE_RAMP_S) -> None:
        """Say that sound broke off: what comes next fades in, within this time."""
        self._up = 1.0 / (rise_s * self._rate_hz)
        self._gain = 0.0

    def apply(self, frames: NDArray[np.float32]) -> None:
        """Multiply frames of shape (n, 2), in place, by the gate's gain."""
        target = 0.0 if self._muted or self._stopped else 1.0
        if self._gain == target:
            if target == 0.0:
                frames[:] = 0.0
            return
        steps = np.arange(1, len(frames) + 1) * (self._up if target > self._gain else -self._down)
        gains = np.clip(self._gain + steps, 0.0, 1.0)
        frames *= gains[:, None].astype(np.float32)
        self._gain = float(gains[-1])
        if self._gain == 1.0:
            self._up = self._down
