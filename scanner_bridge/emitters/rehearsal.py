"""Hands volumes or files over when a scanner would have, as fast as is asked for, and as badly."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from scanner_bridge.emitters.disturbance import Arrival, Disturbance, disturbed
from scanner_bridge.errors import SourceError
from scanner_bridge.ports import VolumeSource
from scanner_bridge.volume import RunHeader, Volume

Item = TypeVar("Item")


class FileEmitter(Protocol):
    """The sending side of a way on which files go."""

    def send(self, path: Path) -> None:
        """Send one file. SourceError when it cannot be read, or the receiver does not take it."""
        ...

    def close(self) -> None:
        """Hang up; may be called twice."""
        ...


class VolumeEmitter(Protocol):
    """The sending side of a protocol that carries volumes."""

    def send(self, run: RunHeader, volume: Volume) -> bool:
        """Send one volume; the first connects. Whether the receiver wants more.

        Raises
        ------
        SourceError
            The protocol cannot carry it, or the receiver is not there (any more).
        """
        ...

    def close(self) -> None:
        """Say that the run is over, if the protocol can, and hang up; may be called twice."""
        ...


@dataclass(frozen=True)
class Pace:
    """How time passes.

    Attributes
    ----------
    speed : float or None
        1 is the scanner's own, 2 twice as fast; None does not wait at all.
    clock, sleep : callable
        Monotonic seconds, and waiting for a number of them; `sleep` may raise to end the run.

    Raises
    ------
    SourceError
        `speed` is not positive.
    """

    speed: float | None = 1.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.speed is not None and not 0 < self.speed < math.inf:
            raise SourceError(f"speed is a positive number, got {self.speed}: 1 is the scanner's own, 2 twice as fast")

    def wait(self, duration_s: float) -> None:
        """Wait that much scanner time."""
        self.sleep(duration_s / self.speed if self.speed is not None else 0.0)


def in_time(arrivals: Iterable[Arrival[Item]], pace: Pace) -> Iterator[Item]:
    """Each item when it is due; deadlines are absolute, so that one late item does not delay the next."""
    start_s = pace.clock()
    for arrival in arrivals:
        pace.sleep(0)
        if pace.speed is not None:
            while (remaining_s := start_s + arrival.at_s / pace.speed - pace.clock()) > 0:
                pace.sleep(remaining_s)
        yield arrival.item


def send_volumes(
    source: VolumeSource,
    emitter: VolumeEmitter,
    pace: Pace,
    disturbance: Disturbance,
    on_volume: Callable[[Volume], None] = lambda volume: None,
) -> int:
    """Send the volumes of a source over a protocol, each when its acquisition would have ended.

    Parameters
    ----------
    source : VolumeSource
        Read to its end, or until the receiver wants no more.
    emitter : VolumeEmitter
        Closed at the end.
    pace, disturbance : Pace, Disturbance
        When, and what goes wrong.
    on_volume : callable
        Called after each, for progress.

    Returns
    -------
    n_sent : int
        Volumes sent, doubles included.

    Raises
    ------
    SourceError
        The source or the emitter failed.
    """
    run = source.header
    due = (Arrival((volume.index + 1) * run.tr_s, volume) for volume in source)
    n_sent = 0
    try:
        for volume in in_time(disturbed(due, disturbance), pace):
            wanted = emitter.send(run, volume)
            n_sent += 1
            on_volume(volume)
            if not wanted:
                break
    finally:
        emitter.close()
    return n_sent


def send_files(
    files: Iterable[Arrival[Path]],
    emitter: FileEmitter,
    pace: Pace,
    disturbance: Disturbance,
    on_file: Callable[[Path], None] = lambda path: None,
) -> int:
    """Send recorded files, each when a scanner would have written it.

    Parameters
    ----------
    files : iterable of Arrival of Path
        In order of time.
    emitter : FileEmitter
        Closed at the end.
    pace, disturbance, on_file
        As in `send_volumes`.

    Returns
    -------
    n_sent : int
        Files sent, doubles included.

    Raises
    ------
    SourceError
        A file could not be sent.
    """
    n_sent = 0
    try:
        for path in in_time(disturbed(files, disturbance), pace):
            emitter.send(path)
            n_sent += 1
            on_file(path)
    finally:
        emitter.close()
    return n_sent
