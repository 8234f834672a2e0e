"""What the bridge's commands have in common at a terminal: a progress bar, and an orderly end on a signal."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scanner_bridge.volume import RunHeader, Volume
from scanner_bridge.waiting import Stop


class Bar:
    """A progress bar that may be invisible."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None)

    def start(self, run: RunHeader) -> None:
        """The length of the run is known."""
        self._bar.update(self._task, total=run.n_volumes)

    def advance(self, volume: Volume) -> None:
        """A volume is done, and with it those before it."""
        self._bar.update(self._task, completed=volume.index + 1)

    def count(self, thing: object) -> None:
        """One more thing is done."""
        self._bar.advance(self._task)


@contextmanager
def progress(shown: bool, what: str) -> Iterator[Bar]:
    """A progress bar on standard error while the body runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        yield Bar(bar, what)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A `Stop` that SIGINT and SIGTERM request, so that the run ends with a RunEnd and not in the middle."""
    stop = Stop()

    def request(number: int, frame: object) -> None:
        stop.request(f"stopped by {signal.Signals(number).name}")

    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
