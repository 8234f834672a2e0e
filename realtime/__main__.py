"""The live program's commands: live, check, console, watch, replay, verify."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from realtime.broker_address import BrokerTls, broker_address
from realtime.config import LiveSettings, load_settings, make_settings
from realtime.console.figures import print_finding, print_summary, write_figures
from realtime.errors import RealtimeError
from realtime.session.folder import SessionFolder
from realtime.session.summary import Figures
from scanner_bridge.complaints import fail, one_sentence
from scanner_bridge.errors import BridgeError

if TYPE_CHECKING:
    from realtime.console.post import Post
    from realtime.visit.plan import PlanSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="The live program: volumes in, music out.")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file; see configs/live.toml.")]
BundleOption = Annotated[Path | None, typer.Option(help="Bundle folder; wins over the file.")]
CatalogueOption = Annotated[Path | None, typer.Option(help="Catalogue folder; wins over the file.")]
SessionOption = Annotated[Path | None, typer.Option(help="Session folder; an interrupted one is resumed.")]
EventsOption = Annotated[Path | None, typer.Option(help="BIDS events file with the trial onsets.")]
EndpointOption = Annotated[str | None, typer.Option(help="ZeroMQ endpoint the bridge delivers to.")]
BrokerOption = Annotated[str | None, typer.Option(help="mqtt://host:port, mqtts:// (encrypted), or 'embedded'.")]
SinkOption = Annotated[str | None, typer.Option(help="auto, device, wav or null.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@app.command()
def live(config: ConfigOption = None, bundle: BundleOption = None, catalogue: CatalogueOption = None,
         session: SessionOption = None, events: EventsOption = None, endpoint: EndpointOption = None,
         broker: BrokerOption = None, sink: SinkOption = None,
         retry_wait: Annotated[float | None, typer.Option(help="Seconds to wait for another attempt at an aborted run; "
                                                               "wins over the file.")] = None,
         quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
         report: Annotated[bool, typer.Option(help="Make SESSION/report.html when the session is over.")] = True,
         json_file: JsonOption = None) -> None:
    """Run a live session until the scanner's run ends. Started again with the same session, it goes on."""
    logging.basicConfig(level=logging.ERROR if quiet else logging.INFO, format="%(levelname)s %(message)s")
    with _one_sentence():
        settings = _settings(config, bundle, catalogue, session, events, endpoint, broker, sink, retry_wait)
        from realtime.app import run_live  # noqa: PLC0415 - numba and onnxruntime, only when a session runs

        figures = asyncio.run(run_live(settings))
    write_figures(json_file, figures)
    if not quiet:
        print_summary(figures)
    if report:
        from realtime.reporting import make_report  # noqa: PLC0415

        complaint = asyncio.run(make_report(settings.session))
        if complaint:
            logging.getLogger(__name__).warning("%s", complaint)
        elif not quiet:
            Console().print(f"  report     {settings.session / 'report.html'}", highlight=False, soft_wrap=True)


@app.command()
def check(config: ConfigOption = None, bundle: BundleOption = None, catalogue: CatalogueOption = None,
          session: SessionOption = None, events: EventsOption = None, endpoint: EndpointOption = None,
          broker: BrokerOption = None, sink: SinkOption = None,
          plan: Annotated[Path | None, typer.Option(help="Of a visit, instead: configs/plan.toml.")] = None,
          quick: Annotated[bool, typer.Option("--quick", help="Without the dry run.")] = False,
          lines: Annotated[bool, typer.Option("--lines", help="Print each finding as a line of JSON.")] = False,
          ) -> None:
    """Preflight: from the scanner to the sound, link by link, and once with a simulated scanner; 0: all can start."""
    with _one_sentence():
        visit = None if plan is None else _plan(plan)
        settings = (_settings(config, bundle, catalogue, session, events, endpoint, broker, sink) if visit is None
                    else visit.check_settings())
    more = list if visit is None else partial(_problems, visit)
    from realtime.console.findings import first_broken  # noqa: PLC0415
    from realtime.console.preflight import preflight  # noqa: PLC0415

    found = []
    for finding in preflight(settings, not quick, more):
        found.append(finding)
        print_finding(finding, lines)
    broken = first_broken(found)
    if broken is not None:
        if not lines:
            Console(stderr=True).print(f"begin with the {broken.link}: {broken.sentence}", soft_wrap=True,
                                       highlight=False, markup=False)
        raise typer.Exit(1)


def _plan(path: Path) -> "PlanSettings":
    from realtime.visit.plan import PlanSettings  # noqa: PLC0415

    return load_settings(path, PlanSettings)


def _problems(plan: "PlanSettings") -> list[str]:
    from realtime.visit.designs import plan_problems  # noqa: PLC0415

    return plan_problems(plan)


@app.command()
def console(config: Annotated[Path | None, typer.Option("--config", help="The live program's own TOML file.")] = None,
            plan: Annotated[Path | None, typer.Option(help="Of a visit, instead: configs/plan.toml.")] = None,
            session: SessionOption = None,
            host: Annotated[str | None, typer.Option(help="Address of the page.")] = None,
            port: Annotated[int | None, typer.Option(help="Port of the page.")] = None) -> None:
    """Serve the operator's page for a session or a visit, in the browser; closing it changes nothing."""
    if (config is None) == (plan is None):
        fail("the console shows a session (--config FILE) or a visit (--plan FILE): name one of them")
    with _one_sentence():
        from realtime.console.station import Station  # noqa: PLC0415

        station = Station(_post(config, plan, session, {"console.host": host, "console.port": port}))
        at = station.post.console
        ask = "/?token=… (the word in console.token)" if station.token else ""
        typer.echo(f"the console is at http://{at.host}:{at.port}{ask}", err=True)
        asyncio.run(station.run())


def _post(config: Path | None, plan: Path | None, session: Path | None, overrides: dict[str, Any]) -> "Post":
    """What the console stands at."""
    from realtime.console.post import post_of_session  # noqa: PLC0415

    if plan is not None:
        from realtime.visit.plan import PlanSettings  # noqa: PLC0415
        from realtime.visit.post import post_of_visit  # noqa: PLC0415

        return post_of_visit(load_settings(plan, PlanSettings, overrides), plan)
    assert config is not None
    settings = load_settings(config, LiveSettings, {"session": session, **overrides})
    return post_of_session(settings, ("--config", str(config), *(("--session", str(session)) if session else ())))


@app.command()
def watch(broker: Annotated[str, typer.Argument(help="mqtt://host:port of the running session, or mqtts://.")],
          session: Annotated[str, typer.Argument(help="Name of the session folder.")],
          ca: Annotated[Path | None, typer.Option(help="mqtts: who signed the broker's certificate, PEM.")] = None,
          cert: Annotated[Path | None, typer.Option(help="mqtts: our certificate, PEM.")] = None,
          key: Annotated[Path | None, typer.Option(help="mqtts: its key, PEM.")] = None) -> None:
    """Show a running session as a table, from the bus; closing it changes nothing."""
    from realtime.bus import BusSettings, watch_session  # noqa: PLC0415
    from realtime.console.table import SessionTable  # noqa: PLC0415

    async def show() -> None:
        at = broker_address(broker, BrokerTls(ca, cert, key))
        updates = watch_session(BusSettings(session, at.host, at.port, at.tls))
        async with contextlib.aclosing(updates):
            with SessionTable() as table:
                await follow(updates, table)

    async def follow(updates: AsyncIterator[tuple[str, dict[str, Any]]], table: SessionTable) -> None:
        async for topic, payload in updates:
            table.show(topic, payload)
            if topic == "state" and payload.get("state") == "ended":
                return

    with _one_sentence():
        asyncio.run(show())


@app.command()
def replay(path: Annotated[Path, typer.Argument(help="A recorded session, or a recorded run (NIfTI, DICOM folder).")],
           bundle: BundleOption = None, catalogue: CatalogueOption = None, session: SessionOption = None,
           events: EventsOption = None,
           speed: Annotated[float, typer.Option(help="Times the scanner's pace.", min=0.01)] = 1.0,
           unpaced: Annotated[bool, typer.Option("--unpaced", help="As fast as it goes.")] = False,
           sink: SinkOption = None, json_file: JsonOption = None) -> None:
    """Prove that a recorded session repeats bit for bit, or stream a recorded run through the whole loop."""
    if SessionFolder(path).journal.exists():
        figures = _repeat(path)
    else:
        wanted = {"--bundle": bundle, "--catalogue": catalogue, "--session": session}
        missing = [name for name, value in wanted.items() if value is None]
        if missing:
            fail(f"{path} is a run, not a session: streaming it also needs {', '.join(missing)}; an untrained bundle "
                 "to rehearse with is made by: innerear export untrained")
        with _one_sentence():
            figures = _stream(path, bundle, catalogue, session, events, None if unpaced else speed, sink)
        print_summary(figures)
    write_figures(json_file, figures)


@app.command()
def verify(path: Annotated[Path, typer.Argument(help="A recorded session.")], json_file: JsonOption = None) -> None:
    """Check the files of a recorded session: journal whole, every volume present, record repeatable."""
    figures = _repeat(path)
    write_figures(json_file, figures)


def _repeat(path: Path) -> Figures:
    from realtime.session.replay import replay_session  # noqa: PLC0415

    with _one_sentence():
        figures = replay_session(path)
    Console().print(f"[green]✓[/green] {escape(str(path))}: {figures['journal_records']} journal records are whole; "
                    f"{figures['documents']} documents with {figures['embeddings']} embeddings repeat byte for byte",
                    soft_wrap=True, highlight=False)
    return figures


def _stream(path: Path, bundle: Path | None, catalogue: Path | None, session: Path | None, events: Path | None,
            speed: float | None, sink: str | None) -> Figures:
    from realtime.console.table import SessionTable  # noqa: PLC0415
    from realtime.rehearsal import Rehearsal, rehearse  # noqa: PLC0415

    assert bundle is not None
    assert catalogue is not None
    assert session is not None
    with SessionTable() as table:
        return asyncio.run(rehearse(Rehearsal(path, bundle, catalogue, session, events, speed, sink or "auto"),
                                    table.show))


def _settings(config: Path | None, bundle: Path | None, catalogue: Path | None, session: Path | None,
              events: Path | None, endpoint: str | None, broker: str | None, sink: str | None,
              retry_wait_s: float | None = None) -> LiveSettings:
    overrides: dict[str, Any] = {
        "bundle": bundle, "catalogue": catalogue, "session": session, "events": events,
        "bridge.endpoint": endpoint, "bus.broker": broker, "playback.sink": sink, "bridge.retry_wait_s": retry_wait_s}
    if config is not None:
        return load_settings(config, LiveSettings, overrides)
    return make_settings(LiveSettings, {}, overrides, "of the command line")


def _one_sentence() -> AbstractContextManager[None]:
    return one_sentence(RealtimeError, BridgeError)


if __name__ == "__main__":
    app()
