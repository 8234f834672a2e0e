"""Hands volumes over when a scanner would, and stamps them with the time they were due.

Volume i of a run that began at `start` is complete, and due, at ``start + (i + 1) · TR / speed``:
deadlines are absolute, so that a late volume does not delay those after it, and the latency of
everything downstream is measured from when the volume should have been there.
"""

import math
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from scanner_bridge.errors import SourceError
from scanner_bridge.ports import VolumeSource
from scanner_bridge.volume import RunHeader, Volume

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def clock_id() -> str:
    """Name of this host's monotonic clock: two readings compare only under the same name."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"host-{platform.node()}"


def paced(
    source: VolumeSource,
    speed: float | None = 1.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> VolumeSource:
    """The same run, handed over in time.

    Parameters
    ----------
    source : VolumeSource
        What to hand over.
    speed : float or None
        2 is twice as fast as the scanner was. None hands every volume over at once, due that very
        moment: for a source that is itself live, or to go as fast as possible.
    clock, sleep : callable
        Monotonic seconds, and waiting for a number of them; `sleep` may raise to end the run.

    Returns
    -------
    source : VolumeSource
        Its header carries `clock_id` and `start_s`, its volumes `due_s`. The run starts
        when `header` is first asked for.

    Raises
    ------
    SourceError
        `speed` is not positive.
    """
    if speed is not None and not 0 < speed < math.inf:
        raise SourceError(f"speed is a positive number, got {speed}: 1 is the scanner's own, 2 twice as fast")
    return _PacedSource(source, speed, clock, sleep)


class _PacedSource:
    """See `paced`."""

    def __init__(
        self,
        source: VolumeSource,
        speed: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._source = source
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._header: RunHeader | None = None

    @property
    def header(self) -> RunHeader:
        """The source's header with the time of the run's start; the first call is that start."""
        if self._header is None:
            header = self._source.header  # may wait for the first file: the clock is read after it
            self._header = replace(header, clock_id=clock_id(), start_s=self._clock())
        return self._header

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run, each not before it is due."""
        run = self.header
        for volume in self._source:
            due_s = self._clock()
            if self._speed is not None:
                due_s = run.start_s + (volume.index + 1) * run.tr_s / self._speed
                self._wait_until(due_s)
            yield replace(volume, run_id=run.run_id, due_s=due_s)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _wait_until(self, due_s: float) -> None:
        while (remaining_s := due_s - self._clock()) > 0:
            self._sleep(remaining_s)
