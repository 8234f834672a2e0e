"""What the offline commands share: options, progress bars, and errors in one sentence."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from offline_training.errors import TrainingError
from offline_training.progress import Progress
from realtime.errors import RealtimeError
from scanner_bridge.complaints import one_sentence
from scanner_bridge.errors import BridgeError

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
WorkersOption = Annotated[str, typer.Option(help="Who works: a number of processes, a Dask scheduler's "
                                                 "tcp://HOST:PORT, or slurm:JOBS. Default: a process per core.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file; see configs/.")]


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """A bar per named piece of work."""
    columns = (TextColumn("        {task.description:28}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeElapsedColumn())
    tasks: dict[str, Any] = {}
    with Bars(*columns, console=console, transient=True) as bars:
        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress


def one_sentence_of_ours() -> AbstractContextManager[None]:
    """Errors that our programs raise on purpose end the command with their one sentence."""
    return one_sentence(TrainingError, RealtimeError, BridgeError)
