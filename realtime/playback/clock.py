"""The time that sinks live in: the machine's in use, a made one in tests."""

import time
from typing import Protocol


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
