"""Pulses of a scanner that is not there, some of them lost or doubled on purpose."""

import time
from collections.abc import Callable

from scanner_bridge.triggers.settings import TriggerSettings

_BOUNCE_S = 0.002


class SimulatedTrigger:
    """Pulses at fixed times after the first, which comes when this is opened.

    Parameters
    ----------
    settings : TriggerSettings
        `tr_s`, `pulses`, `lost`, `doubled`.
    clock, sleep : callable
        Monotonic seconds, and waiting for a number of them.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        start_s = clock()
        times_s = [start_s + number * settings.tr_s for number in range(settings.pulses) if number not in settings.lost]
        times_s += [start_s + number * settings.tr_s + _BOUNCE_S for number in settings.doubled]
        self._to_come_s = sorted(times_s, reverse=True)

    def wait(self, timeout_s: float) -> tuple[float, ...]:
        """See `scanner_bridge.ports.TriggerSource`."""
        until_s = self._clock() + timeout_s
        due_s = min(until_s, self._to_come_s[-1]) if self._to_come_s else until_s
        while (remaining_s := due_s - self._clock()) > 0:
            self._sleep(remaining_s)
        came: list[float] = []
        while self._to_come_s and self._to_come_s[-1] <= self._clock():
            came.append(self._to_come_s.pop())
        return tuple(came)

    def close(self) -> None:
        """No more pulses come."""
        self._to_come_s.clear()
