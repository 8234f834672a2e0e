"""`innerear rehearse-task`: a task with nobody in the scanner."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from realtime.config import load_settings
from realtime.errors import ConfigError, RealtimeError
from realtime.outlets.task_rehearsal import TaskRehearsal, rehearse_task, write_design
from realtime.session.folder import SessionFolder
from realtime.session.record import read_documents
from realtime.visit.plan import PlanSettings
from scanner_bridge.complaints import one_sentence
from scanner_bridge.errors import BridgeError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def rehearse(task: Annotated[Path, typer.Argument(help="The task's script; it is given --door ADDRESS.")],
             bundle: Annotated[Path | None, typer.Option(help="Bundle folder.")] = None,
             catalogue: Annotated[Path | None, typer.Option(help="Catalogue folder.")] = None,
             plan: Annotated[Path | None, typer.Option(help="Of a visit, instead of both; with --run.")] = None,
             run: Annotated[str, typer.Option(help="A designed run of the plan.")] = "",
             source: Annotated[Path | None, typer.Option(help="A recorded run; else a simulated scanner.")] = None,
             volumes: Annotated[int, typer.Option(help="Of the simulated scanner.", min=5)] = 60,
             speed: Annotated[float, typer.Option(help="Times the scanner's pace.", min=0.01)] = 1.0,
             session: Annotated[Path | None, typer.Option(help="Keep what is recorded in this new folder.")] = None,
             python: Annotated[str, typer.Option(help="The task's interpreter, such as PsychoPy's.")] = sys.executable,
             ) -> None:
    """Run a task through a session with emulators of scanner, trigger and person; everything between is real."""
    with one_sentence(RealtimeError, BridgeError), tempfile.TemporaryDirectory(prefix="innerear-task-") as scratch:
        kept = session or Path(scratch) / "rehearsal"
        if plan is not None:
            settings = load_settings(plan, PlanSettings)
            design = Path(scratch) / "design.json"
            wanted = TaskRehearsal(task, python, settings.bundle, settings.catalogue, kept, source,
                                   write_design(settings, run, design), speed, design)
        elif bundle is None or catalogue is None:
            raise ConfigError("a rehearsal needs --bundle and --catalogue, or --plan and --run; `make demo` leaves "
                              "demo/bundle and demo/dataset/stimuli")
        else:
            wanted = TaskRehearsal(task, python, bundle, catalogue, kept, source, volumes, speed)
        figures = asyncio.run(rehearse_task(wanted, lambda _topic, _payload: None))
        shown = list(read_documents(SessionFolder(kept).shown))
        typer.echo(f"{figures['volumes_journaled']} volumes, {len({line['sequence'] for line in shown})} of them shown"
                   + (f"; the session is in {session}" if session else ""))


if __name__ == "__main__":
    app()
