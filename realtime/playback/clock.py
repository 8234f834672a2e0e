"""The time that sinks live in: the machine's, or a made one for tests and for replay without waiting."""

import threading
import time
from typing import Protocol

THREAD_END_POLL_S = 0.005


class Clock(Protocol):
    """A monotonic clock that threads can wait on."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def sleep_until(self, deadline_s: float) -> None:
        """Block the calling thread until `now_s()` has reached the deadline."""
        ...


class MonotonicClock:
    """`time.monotonic`: one time base for all processes of this machine."""

    def now_s(self) -> float:
        """Seconds since boot or similar."""
        return time.monotonic()

    def sleep_until(self, deadline_s: float) -> None:
        """Block until the deadline; an absolute deadline, so that lateness does not add up."""
        while (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(left_s)


class VirtualClock:
    """Time that jumps to the next deadline as soon as every thread that lives by it sleeps.

    Sessions of minutes pass in moments, and the same way each time.

    Parameters
    ----------
    n_threads : int
        Time stands still until this many threads have slept on it once.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._now_s = 0.0
        self._known: set[threading.Thread] = set()
        self._sleeping: dict[threading.Thread, float] = {}
        self._changed = threading.Condition()

    def now_s(self) -> float:
        """Seconds since it was made."""
        return self._now_s

    def sleep_until(self, deadline_s: float) -> None:
        """Sleep until the others have slept long enough for time to reach the deadline."""
        thread = threading.current_thread()
        with self._changed:
            self._known.add(thread)
            self._sleeping[thread] = deadline_s
            while self._now_s < deadline_s:
                if not self._jump():
                    self._changed.wait(THREAD_END_POLL_S)  # a thread that ends does not say so
            del self._sleeping[thread]

    def _jump(self) -> bool:
        """Move to the earliest deadline when all threads sleep."""
        asleep = {thread for thread, deadline_s in self._sleeping.items() if deadline_s > self._now_s}
        if len(self._known) < self._n_threads or any(thread.is_alive() for thread in self._known - asleep):
            return False
        self._now_s = min(self._sleeping.values())
        self._changed.notify_all()
        return True
