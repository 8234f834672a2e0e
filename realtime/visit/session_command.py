"""`innerear session`: walk a person's visit through its plan."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from realtime.console.figures import write_figures
from realtime.errors import RealtimeError
from scanner_bridge.complaints import one_sentence
from scanner_bridge.errors import BridgeError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def session(plan: Annotated[Path, typer.Argument(help="TOML file; see configs/plan.toml.")],
            auto: Annotated[bool, typer.Option("--auto", help="Begin every run without waiting for the command go, "
                                                              "until one is aborted.")] = False,
            json_file: Annotated[Path | None, typer.Option("--json", help="Write the runs' figures here.")] = None,
            ) -> None:
    """Walk a visit through its plan; started again, it goes on where it was. Words come over the bus: go, accept..."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    from realtime.config import load_settings  # noqa: PLC0415 - the help needs none of it
    from realtime.visit.plan import PlanSettings  # noqa: PLC0415
    from realtime.visit.walk import walk  # noqa: PLC0415

    with one_sentence(RealtimeError, BridgeError):
        figures = asyncio.run(walk(load_settings(plan, PlanSettings), auto))
    write_figures(json_file, figures)
    for name, each in figures.items():
        Console().print(f"{escape(name)}: {each['status']}, {each['gaps']} gaps", highlight=False)


if __name__ == "__main__":
    app()
