"""The bridge's swap points: where volumes come from, and the scanner's trigger pulses."""

from collections.abc import Iterator
from typing import Protocol

from scanner_bridge.volume import RunHeader, Volume


class VolumeSource(Protocol):
    """One run of volumes, in order of acquisition.

    Iteration blocks until the next volume exists and ends with the run. Indices are those of
    the images' own headers: a volume that never came is a missing index, not a renumbering.
    A source never sleeps to imitate a scanner: pacing is `scanner_bridge.sources.pacing`.
    """

    @property
    def header(self) -> RunHeader:
        """The run's header; known before the first volume is asked for."""
        ...

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run; may be called once."""
        ...

    def close(self) -> None:
        """Let go of files and watches; may be called twice."""
        ...


class TriggerSource(Protocol):
    """Pulses of the scanner, one at the start of every volume."""

    def wait(self, timeout_s: float) -> tuple[float, ...]:
        """Monotonic times of the pulses that came since the last call, oldest first.

        Waits at most `timeout_s` for one; empty when none came. TriggerError when no more can come.
        """
        ...

    def close(self) -> None:
        """Let go of the device; may be called twice."""
        ...
