"""Waiting that a signal can end, without an exception out of nowhere."""

import time

_SLICE_S = 0.05


class StopRequested(Exception):  # not an error: somebody asked for the end
    """Raised out of `Stop.sleep` once the end was asked for."""


class Stop:
    """Remembers that somebody asked for the end; safe to set from a signal handler (it takes no lock)."""

    def __init__(self) -> None:
        self.reason = ""

    def request(self, reason: str) -> None:
        """Ask for the end, with a sentence for people."""
        self.reason = reason

    def requested(self) -> bool:
        """Whether it was asked for."""
        return bool(self.reason)

    def sleep(self, duration_s: float) -> None:
        """Sleep that long; StopRequested within 50 ms of a request."""
        until_s = time.monotonic() + duration_s
        while True:
            if self.reason:
                raise StopRequested(self.reason)
            remaining_s = until_s - time.monotonic()
            if remaining_s <= 0:
                return
            time.sleep(min(_SLICE_S, remaining_s))
