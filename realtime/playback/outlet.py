"""What every sink shares: the ring, and what happens to each frame as it leaves it."""

import time
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.playback.gate import Gate
from realtime.playback.recorder import WavRecorder
from realtime.playback.ring import FrameRing
from realtime.ports import SinkStats

BREAK_FADE_FRAMES = 32


@dataclass(frozen=True)
class Anchor:
    """At `time_s`, the frame `played` (silence of underruns counted) left or leaves the ring."""

    played: int
    time_s: float


class Outlet:
    """The end of the ring that a clock or a sound card pulls from.

    One thread calls `pull`, one other thread writes to `ring`; the questions may come from any.
    It outlives the clock that drains it: after the loss of a sound card another clock goes on
    with the same ring, counters and recording.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    lookahead_s : float
        Length of the ring.
    gate : Gate
        Mute and STOP.
    recorder : WavRecorder or None
        Gets exactly what left.

    Attributes
    ----------
    silent_s : float
        Monotonic time at which mute or STOP had last come to silence, by the machine's clock and not the sink's.
    """

    def __init__(self, rate_hz: int, lookahead_s: float, gate: Gate, recorder: WavRecorder | None) -> None:
        self.rate_hz = rate_hz
        self.ring = FrameRing(round(lookahead_s * rate_hz))
        self.gate = gate
        self.recorder = recorder
        self._played = 0
        self._underruns = 0
        self._peak = 0.0
        self._silent = False
        self.silent_s = 0.0
        self._anchor = Anchor(0, 0.0)
        self._gap_at = [0]  # ring frame before which silence was inserted …
        self._gap_total = [0]  # … and all the silence inserted up to there
        self.draining = True  # False once close began: an empty ring is then the end, not an underrun

    @property
    def anchor(self) -> Anchor:
        """The last frame of which it is known when it left."""
        return self._anchor

    @property
    def played(self) -> int:
        """Frames that left, silence of underruns included."""
        return self._played

    def pull(self, out: NDArray[np.float32], time_s: float) -> None:
        """Fill `out`, shape (n, 2), with the next frames, the first of which leaves at `time_s`."""
        self._anchor = Anchor(self._played, time_s)
        n_frames = self.ring.read_into(out)
        if n_frames < len(out):
            self._break_off(out, n_frames)
        self.gate.apply(out)
        if self.gate.closed != self._silent:
            self._silent = self.gate.closed
            self.silent_s = time.monotonic() if self._silent else self.silent_s
        if n_frames < len(out) and self.draining:
            self.gate.drop()
        if self.recorder is not None:
            self.recorder.take(out)
        self._peak = max(self._peak, float(out.max()), -float(out.min()))
        self._played += len(out)

    def _break_off(self, out: NDArray[np.float32], n_frames: int) -> None:
        tail = out[max(0, n_frames - BREAK_FADE_FRAMES) : n_frames]
        tail *= np.linspace(1.0, 0.0, len(tail), endpoint=False, dtype=np.float32)[:, None]
        out[n_frames:] = 0.0
        if not self.draining:
            return
        self._underruns += 1
        silence = self._gap_total[-1] + len(out) - n_frames
        if self._gap_at[-1] == self.ring.read:
            self._gap_total[-1] = silence
        else:  # the total first: a reader that sees the position must find its total
            self._gap_total.append(silence)
            self._gap_at.append(self.ring.read)

    def position_of(self, frame: int) -> int:
        """Where frame number `frame` of all writes is among all frames played, which is its place in the recording."""
        return frame + self._gap_total[bisect_right(self._gap_at, frame) - 1]

    def time_of(self, frame: int) -> float:
        """Monotonic time at which frame number `frame` of all writes leaves the ring, if no underrun comes before."""
        anchor = self._anchor
        return anchor.time_s + (self.position_of(frame) - anchor.played) / self.rate_hz

    def has_left(self, frame: int) -> bool:
        """Whether frame number `frame` of all writes has left the ring."""
        return self.ring.read > frame

    def restart_clock(self, time_s: float) -> None:
        """Say that the next frame leaves at `time_s`."""
        self._anchor = Anchor(self._played, time_s)

    def stats(self) -> SinkStats:
        """Counters so far."""
        return SinkStats(self._played, self._underruns, self._peak)
