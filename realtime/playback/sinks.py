"""Where sound ends when there is no sound card: on a clock that runs like one, recorded or not."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.clock import Clock, MonotonicClock
from realtime.playback.gate import Gate
from realtime.playback.outlet import Outlet
from realtime.playback.recorder import WavRecorder
from realtime.playback.ring import CHANNELS
from realtime.ports import SinkStats

PERIOD_S = 0.01
LOOKAHEAD_S = 0.3


class Drain(Protocol):
    """What pulls frames out of an outlet at the sample rate, from construction to `close`."""

    @property
    def device(self) -> str:
        """The sound card, as the system names it; "" without one."""
        ...

    @property
    def latency_s(self) -> float:
        """From leaving the ring to the ear's side of the device; 0 without one."""
        ...

    @property
    def device_underruns(self) -> int:
        """Times the device itself ran dry although the ring did not."""
        ...

    def check(self) -> None:
        """Raise PlaybackError when frames do not leave any more."""
        ...

    def begin(self) -> None:
        """Pull from now on, when it was opened without doing so."""
        ...

    def abort(self) -> None:
        """Drop what is on its way to the ear, and pull no more; `check` says so. From any thread."""
        ...

    def close(self) -> None:
        """Stop pulling; may be called twice."""
        ...


class ClockDrain:
    """Pulls one period every period, at absolute deadlines, from a thread: a sound card without sound.

    A late wake-up pulls all that is due, so that lateness does not add up and n seconds hold
    n times the rate.

    Parameters
    ----------
    outlet : Outlet
        What to pull from.
    clock : Clock
        Virtual in tests.
    """

    device = ""
    latency_s = 0.0
    device_underruns = 0

    def __init__(self, outlet: Outlet, clock: Clock) -> None:
        self._outlet = outlet
        self._clock = clock
        self._closed = False
        start_s = clock.now_s()
        outlet.restart_clock(start_s + PERIOD_S)
        self._thread = threading.Thread(target=self._run, args=(start_s,), name="sink-clock", daemon=True)
        self._thread.start()

    def _run(self, start_s: float) -> None:
        period = round(PERIOD_S * self._outlet.rate_hz)
        out = np.zeros((period, CHANNELS), np.float32)
        pulled = 0
        while True:
            pulled += period
            deadline_s = start_s + pulled / self._outlet.rate_hz
            self._clock.sleep_until(deadline_s)
            if self._closed:
                return
            self._outlet.pull(out, deadline_s)

    def check(self) -> None:
        """Raise PlaybackError when the thread has ended."""
        if not self._thread.is_alive():
            message = (
                "The clock of the sink has stopped: its thread ended, wanted a pull every 10 ms. Restart playback."
            )
            raise PlaybackError(message)

    def begin(self) -> None:
        """Nothing: it pulls from its construction on."""

    def abort(self) -> None:
        """Nothing: nothing is on its way behind the ring."""

    def close(self) -> None:
        """Stop pulling; returns when the thread has ended, at its next deadline."""
        self._closed = True
        while self._thread.is_alive():
            self._clock.sleep_until(self._clock.now_s() + PERIOD_S)


class RingSink:
    """An AudioSink: a ring with a drain behind it.

    Parameters
    ----------
    outlet : Outlet
        The ring and what follows it; closed with the sink.
    open_drain : callable
        Makes the drain of an outlet; raises PlaybackError when it cannot.
    clock : Clock
        What `write` and `close` wait on.
    """

    def __init__(self, outlet: Outlet, open_drain: Callable[[Outlet], Drain], clock: Clock) -> None:
        self.outlet = outlet
        self._clock = clock
        self._closed = False
        self.drain = open_drain(outlet)

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return self.outlet.rate_hz

    def write(self, block: NDArray[np.float32]) -> None:
        """Queue a block of shape (n, 2); returns when it is in the ring.

        Raises
        ------
        PlaybackError
            The drain has failed, or the sink is closed. What was queued stays in the ring.
        """
        if self._closed:
            message = f"The sink is closed: got a block of {len(block)} frames, wanted none. Open a new sink."
            raise PlaybackError(message)
        self.drain.check()
        left = block[self.outlet.ring.write(block) :]
        while len(left):
            room_needed = min(len(left), self.outlet.ring.capacity)
            wait_s = max(room_needed - (self.outlet.ring.capacity - self.outlet.ring.fill), 1) / self.rate_hz
            self._clock.sleep_until(self._clock.now_s() + min(wait_s, PERIOD_S))
            self.drain.check()
            left = left[self.outlet.ring.write(left) :]

    def time_of_frame(self, frame: int) -> float:
        """Monotonic time at which this frame of all writes leaves the ring, if no underrun comes before."""
        return self.outlet.time_of(frame)

    def stats(self) -> SinkStats:
        """Counters so far."""
        return self.outlet.stats()

    def replace_drain(self, open_drain: Callable[[Outlet], Drain]) -> None:
        """Go on with another drain: same ring, counters and recording."""
        self.drain.close()
        self.drain = open_drain(self.outlet)
        self.drain.begin()

    def close(self) -> None:
        """Play out what is queued, its last 32 frames faded, then stop; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.outlet.draining = False
        try:
            while self.outlet.ring.fill:
                self.drain.check()
                self._clock.sleep_until(self._clock.now_s() + PERIOD_S)
        except PlaybackError:
            pass  # a drain that died leaves its last third of a second unplayed; the recording is still closed
        finally:
            self.drain.close()
            if self.outlet.recorder is not None:
                self.outlet.recorder.close()


class NullSink(RingSink):
    """Keeps the time of a sound card and throws the sound away."""

    def __init__(
        self, rate_hz: int, *, gate: Gate | None = None, lookahead_s: float = LOOKAHEAD_S, clock: Clock | None = None
    ) -> None:
        clock = clock or MonotonicClock()
        outlet = Outlet(rate_hz, lookahead_s, gate or Gate(rate_hz), None)
        super().__init__(outlet, lambda outlet: ClockDrain(outlet, clock), clock)


class WavSink(RingSink):
    """Keeps the time of a sound card and writes what it would have played.

    Parameters
    ----------
    path : Path
        The recording; a numbered neighbour is made when it exists. `recorder.path` says which.
    rate_hz : int
        Frames per second.
    gate : Gate, optional
        Mute and STOP.
    lookahead_s : float
        Length of the ring.
    clock : Clock, optional
        Virtual in tests.
    """

    def __init__(
        self,
        path: Path,
        rate_hz: int,
        *,
        gate: Gate | None = None,
        lookahead_s: float = LOOKAHEAD_S,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or MonotonicClock()
        self.recorder = WavRecorder(path, rate_hz)
        outlet = Outlet(rate_hz, lookahead_s, gate or Gate(rate_hz), self.recorder)
        super().__init__(outlet, lambda outlet: ClockDrain(outlet, clock), clock)
