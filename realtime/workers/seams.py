"""Where one segment of a model's music meets the next, and becomes the player's rate."""

import numpy as np
import soxr
from numpy.typing import NDArray

_FADE_S = 0.02
_EDGE_S = 0.02  # held back at a segment's end: a resampler needs to hear a little of what comes


class Seam:
    """Joins segments: the end of the last fades into the next one's own hearing of it; then resamples.

    Parameters
    ----------
    from_hz, to_hz : int
        The model's rate and the player's.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        self._edge = round(_EDGE_S * from_hz)
        self._kept = np.zeros(0, np.float32)

    def forget(self) -> None:
        """What comes next is the beginning."""
        self._kept = np.zeros(0, np.float32)

    def memory(self) -> bytes:
        """What later joins depend on."""
        return self._kept.tobytes()

    def remember(self, memory: bytes) -> None:
        """Go on from what `memory` gave."""
        self._kept = np.frombuffer(memory, np.float32).copy()

    def join(self, made: NDArray[np.float32], n_prompt: int) -> NDArray[np.float32]:
        """What may be played now, shape (n,), at the player's rate.

        Parameters
        ----------
        made : float32 array of shape (n,)
            The segment, at the model's rate.
        n_prompt : int
            So many of its first samples are the end of the segment before, heard again.
        """
        new = made[n_prompt:].copy()
        before = self._kept
        fade = min(round(_FADE_S * self._from_hz), n_prompt, len(before))
        if fade:  # what was held back of the last segment turns into this one's hearing of the same moment
            rise = (np.arange(fade, dtype=np.float32) + 0.5) / fade
            before = before.copy()
            before[-fade:] = before[-fade:] * (1 - rise) + made[n_prompt - fade: n_prompt] * rise
        known = 2 * self._edge if len(before) else 0
        sound = np.concatenate([before, new])
        self._kept = sound[max(0, len(sound) - 2 * self._edge):]
        whole = np.asarray(soxr.resample(sound, self._from_hz, self._to_hz), np.float32)
        ratio = self._to_hz / self._from_hz
        begin = round(known // 2 * ratio)
        return whole[begin: len(whole) - round(self._edge * ratio)]


def to_stereo(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both ears hear the same, shape (n, 2)."""
    return np.repeat(mono[:, None], 2, axis=1)
