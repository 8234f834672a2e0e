"""A ring of stereo frames between one thread that writes and one that reads."""

import numpy as np
from numpy.typing import NDArray

CHANNELS = 2


class FrameRing:
    """Single-producer, single-consumer ring of float32 stereo frames; no lock, no allocation.

    Two counters only ever grow, each changed by one side alone and always after the data was
    copied. Under CPython's global lock that order is what the other side sees.

    Parameters
    ----------
    capacity : int
        Frames it can hold, at least 1.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._frames = np.zeros((capacity, CHANNELS), np.float32)
        self._written = 0
        self._read = 0

    @property
    def written(self) -> int:
        """Frames ever written."""
        return self._written

    @property
    def read(self) -> int:
        """Frames ever read."""
        return self._read

    @property
    def fill(self) -> int:
        """Frames waiting to be read."""
        return self._written - self._read

    def write(self, block: NDArray[np.float32]) -> int:
        """Copy in as much of the head of `block`, shape (n, 2), as fits; returns how many frames that was."""
        n_frames = min(len(block), self.capacity - self.fill)
        start = self._written % self.capacity
        head = min(n_frames, self.capacity - start)
        self._frames[start : start + head] = block[:head]
        self._frames[: n_frames - head] = block[head:n_frames]
        self._written += n_frames
        return n_frames

    def read_into(self, out: NDArray[np.float32]) -> int:
        """Fill the head of `out`, shape (n, 2), with what there is; returns how many frames that was.

        The rest of `out` is left as it was.
        """
        n_frames = min(len(out), self.fill)
        start = self._read % self.capacity
        head = min(n_frames, self.capacity - start)
        out[:head] = self._frames[start : start + head]
        out[head:n_frames] = self._frames[: n_frames - head]
        self._read += n_frames
        return n_frames
