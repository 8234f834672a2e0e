"""The task programmer's commands: outlets, client, schemas."""

import asyncio
import contextlib
import logging
import shutil
import signal
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from realtime.bus import BusSettings
from realtime.config import LiveSettings, load_settings
from realtime.console.post import bus_of
from realtime.errors import ConfigError, RealtimeError
from realtime.outlet_settings import OutletsSettings
from realtime.session.folder import SessionFolder
from scanner_bridge.complaints import one_sentence
from scanner_bridge.errors import BridgeError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="What others hear of a session.")

_KIT = ("innerear_client.py", "example_task.py")


@app.command()
def outlets(config: Annotated[Path | None, typer.Option(help="The live program's own TOML file.")] = None,
            plan: Annotated[Path | None, typer.Option(help="Of a visit, instead.")] = None,
            session: Annotated[Path | None, typer.Option(help="Session folder; wins over the file.")] = None,
            emulators: Annotated[bool, typer.Option("--emulators", help="Rehearse: a trigger box and a person that do "
                                                                       "not exist press keys.")] = False) -> None:
    """Open a session's outlets (the table [outlets]) until Ctrl-C; closing them changes nothing in the session."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    with one_sentence(RealtimeError, BridgeError):
        if (config is None) == (plan is None):
            raise ConfigError("outlets are of one session or of one visit: give --config or --plan, and not both")
        bus, settings = _of_session(config, session, emulators) if config else _of_visit(plan, emulators)
        asyncio.run(_until_signalled(bus, settings))


async def _until_signalled(bus: BusSettings, settings: OutletsSettings) -> None:
    from realtime.outlets.station import Station  # noqa: PLC0415 - numpy and ZeroMQ, only when they are used

    station = Station(bus, settings)
    serving = asyncio.ensure_future(station.run(lambda at: typer.echo(f"tasks connect to {at}", err=True)))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _of_session(path: Path, session: Path | None, emulators: bool) -> tuple[BusSettings, OutletsSettings]:
    overrides = {"session": session, "outlets.emulators": emulators or None}
    settings = load_settings(path, LiveSettings, overrides)
    return bus_of(settings.bus, SessionFolder(settings.session)), settings.outlets


def _of_visit(path: Path | None, emulators: bool) -> tuple[BusSettings, OutletsSettings]:
    from realtime.visit.plan import PlanSettings  # noqa: PLC0415

    assert path is not None
    settings = load_settings(path, PlanSettings, {"outlets.emulators": emulators or None})
    return bus_of(settings.bus, SessionFolder(settings.folder)), settings.outlets


@app.command()
def client(folder: Annotated[Path, typer.Argument(help="Where the task is.")]) -> None:
    """Put innerear_client.py and example_task.py beside a task; an older client there is replaced."""
    with one_sentence(RealtimeError):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with resources.as_file(resources.files("realtime.outlets") / "task_kit") as kit:
                for name in _KIT:
                    shutil.copyfile(kit / name, folder / name)
        except OSError as exc:
            raise ConfigError(f"{folder} cannot be written ({exc.strerror}); choose another folder") from exc
    typer.echo(f"{', '.join(_KIT)} → {folder}")


@app.command()
def schemas(folder: Annotated[Path, typer.Argument(help="For one file per topic.")]) -> None:
    """Write the JSON Schemas of the bus's topics and of the door."""
    from realtime.outlets.schemas import write_schemas  # noqa: PLC0415

    with one_sentence(RealtimeError):
        try:
            written = write_schemas(folder)
        except OSError as exc:
            raise ConfigError(f"{folder} cannot be written ({exc.strerror}); choose another folder") from exc
    typer.echo(f"{len(written)} schemas → {folder}")


if __name__ == "__main__":
    app()
