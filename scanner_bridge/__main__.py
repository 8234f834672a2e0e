"""Command line of the bridge: send a run, write it as one file, say what a source holds, make keys."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scanner_bridge.complaints import one_sentence
from scanner_bridge.errors import BridgeError, SourceError
from scanner_bridge.export import export_run
from scanner_bridge.inspection import (
    describe,
    header_document,
    survey_document,
    survey_notes,
    survey_table,
    write_document,
)
from scanner_bridge.keys import ClientKeys, load_client_keys, write_key_files
from scanner_bridge.replay_command import replay, tls_files
from scanner_bridge.serve import serve as serve_run
from scanner_bridge.sockets import DEFAULT_ENDPOINT, new_key_pair
from scanner_bridge.sources import locate, open_source
from scanner_bridge.sources.settings import NETWORK_KINDS, settings_for
from scanner_bridge.sources.store_settings import StoreSettings, Tls
from scanner_bridge.sources.survey import survey
from scanner_bridge.spool import Spool, default_folder
from scanner_bridge.spool_stream import SpooledStream
from scanner_bridge.terminal import progress as progress_bar
from scanner_bridge.terminal import stop_on_signals
from scanner_bridge.triggers.settings import parse_trigger

app = typer.Typer(
    name="bridge",
    help="The scanner's side: read volumes from wherever they appear and deliver every one of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Source = Annotated[
    str,
    typer.Argument(
        help="NIfTI file, folder of DICOM files, enhanced DICOM file, or `simulated`; or what to listen for: "
        "`afni`, `pyneal`, `vsend`, `cstore`, also as `afni://HOST:PORT`."
    ),
]
Expect = Annotated[int | None, typer.Option(help="Network: the run is over with so many volumes.")]
Series = Annotated[int | None, typer.Option(help="DICOM SeriesNumber to read, when the folder holds several.")]
Volumes = Annotated[int, typer.Option(help="Length of the simulated run.")]
Seed = Annotated[int, typer.Option(help="Seed of the simulated run.")]
ShowProgress = Annotated[bool, typer.Option("--progress", help="Show a progress bar.")]

app.command()(replay)


@app.command()
def serve(
    source: Source,
    connect: Annotated[str, typer.Option(help="Where the live program listens.")] = DEFAULT_ENDPOINT,
    speed: Annotated[float, typer.Option(help="1 is the scanner's own speed, 2 twice as fast.")] = 1.0,
    unpaced: Annotated[bool, typer.Option("--unpaced", help="Hand volumes over as they come (real scanner).")] = False,
    follow: Annotated[float, typer.Option(help="End a live run so many seconds after the last file or volume.")] = 0.0,
    wait: Annotated[float, typer.Option(help="Live: wait so many seconds for the first file or volume.")] = 600.0,
    only_new: Annotated[bool, typer.Option("--only-new", help="DICOM: leave alone files already there.")] = False,
    series: Series = None,
    expect: Expect = None,
    volumes: Volumes = 30,
    tr: Annotated[float, typer.Option(help="Repetition time of the simulated run, seconds.")] = 1.0,
    seed: Seed = 0,
    key: Annotated[Path | None, typer.Option(help="Secret key file of this host.")] = None,
    live_key: Annotated[Path | None, typer.Option(help="Public key file of the live program.")] = None,
    spool: Annotated[Path | None, typer.Option(help="Folder for what nobody stored yet.")] = None,
    ae_title: Annotated[str, typer.Option(help="cstore: our title; required.")] = "",
    allow: Annotated[list[str] | None, typer.Option(help="cstore: title of who may send; required.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="cstore: our certificate, PEM: encrypts.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="cstore: its key, PEM.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="cstore: who signed the senders' certificates, PEM.")] = None,
    trigger: Annotated[
        str,
        typer.Option(
            help="Compare the scanner's trigger pulses with the volumes: `keyboard`, `serial`, `parallel` or "
            "`simulated`, also as `serial:/dev/ttyUSB0?baud=9600&key=5`, `parallel?pin=11&inverted=true`, "
            "`simulated?tr_s=1&pulses=30&lost=3,7`. `delay_s`: how long after its completion a volume comes."
        ),
    ] = "",
    progress: ShowProgress = False,
) -> None:
    """Send a run to the live program, volume by volume, until all of it is stored there.

    With --follow (a scanner writing into a folder) and from the network, volumes are handed over as they come.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # stack traces of strangers; our sentences name them
    with one_sentence(BridgeError), stop_on_signals() as stop:
        settings = settings_for(
            source,
            follow_s=follow,
            wait_s=wait,
            only_new=only_new,
            series=series,
            expect=expect,
            n_volumes=volumes,
            tr_s=tr,
            seed=seed,
            store=_store(source, ae_title, tuple(allow or ()), tls_files(tls_cert, tls_key, tls_ca)),
        )
        speed_or_none = None if unpaced or follow > 0 or settings.kind in NETWORK_KINDS else speed
        with progress_bar(progress, "sending") as bar:
            end = serve_run(
                settings,
                connect,
                speed_or_none,
                trigger=parse_trigger(trigger) if trigger else None,
                keys=_keys(key, live_key),
                spool=spool,
                stop=stop,
                on_header=bar.start,
                on_volume=bar.advance,
            )
    typer.echo(f"{end.n_volumes} volumes stored, run {end.run_id} {end.status}{_reason(end.reason)}", err=True)
    if end.trigger is not None:
        typer.echo(f"trigger: {end.trigger.sentence}", err=True)
    if end.status != "complete":
        raise typer.Exit(1)


@app.command()
def export(
    source: Source,
    out: Annotated[Path, typer.Argument(help="File to write: .nii or .nii.gz.")],
    series: Series = None,
    volumes: Volumes = 30,
    seed: Seed = 0,
    progress: ShowProgress = False,
) -> None:
    """Write what would be sent as one 4-D NIfTI, with a JSON sidecar (TR, slice times)."""
    with one_sentence(BridgeError), progress_bar(progress, "reading") as bar:
        opened = open_source(settings_for(source, series=series, n_volumes=volumes, seed=seed))
        bar.start(opened.header)
        try:
            n_volumes = export_run(opened, out, on_volume=bar.advance)
        finally:
            opened.close()
    typer.echo(f"{out}: {n_volumes} volumes", err=True)


@app.command()
def inspect(
    source: Source,
    series: Series = None,
    volumes: Volumes = 30,
    seed: Seed = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the same to this file.")] = None,
) -> None:
    """Say what a source holds: geometry, timing, length; of a folder every series, and what is left alone and why."""
    with one_sentence(BridgeError):
        settings = settings_for(source, series=series, n_volumes=volumes, seed=seed)
        kind, path = locate(settings)
        if kind == "dicom_folder" and path is not None:
            found = survey(path)
            console = Console(width=None if sys.stdout.isatty() else 200)
            console.print(survey_table(found))
            for note in survey_notes(found):
                console.print(note, soft_wrap=True, highlight=False, markup=False)
            document = survey_document(found)
        else:
            opened = open_source(settings)
            try:
                typer.echo(describe(opened.header))
                document = header_document(opened.header)
            finally:
                opened.close()
        if json_file is not None:
            write_document(json_file, document)


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="Where to write the pair.")],
    name: Annotated[str, typer.Option(help="Name of this host's pair, like bridge or live.")] = "bridge",
) -> None:
    """Make this host's key pair for an encrypted connection."""
    with one_sentence(BridgeError):
        public, secret = write_key_files(folder, name, new_key_pair())
    typer.echo(f"{public}: give this file to the other host\n{secret}: stays here, readable by you only")


@app.command()
def spool(
    connect: Annotated[str, typer.Option(help="Where the live program listens.")] = DEFAULT_ENDPOINT,
    folder: Annotated[Path | None, typer.Option("--spool", help="The folder, when `serve` was given one.")] = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete all of it: nobody will have these volumes.")] = False,
) -> None:
    """Say what waits on this host's disk because no live program has stored it, or delete it."""
    with one_sentence(BridgeError):
        opened = Spool(folder or default_folder(connect))
        try:
            for stream in (*opened.streams, *opened.stale):
                typer.echo(_waiting(stream, sent=stream in opened.streams))
                if purge:
                    opened.remove(stream)
        finally:
            opened.close()
    typer.echo(f"{opened.folder}: {'purged' if purge else 'nothing else waits'}", err=True)


def _waiting(stream: SpooledStream, sent: bool) -> str:
    end = "in progress" if stream.end is None else stream.end.status
    fate = "are sent when `innerear bridge serve` starts" if sent else "are too old to be sent by themselves"
    return (
        f"run {stream.header.run_id} ({stream.header.source}), {end}: {stream.n_volumes} volumes, "
        f"{stream.n_bytes / 1e6:.1f} MB; {stream.unacknowledged} messages {fate}"
    )


def _keys(secret: Path | None, server: Path | None) -> ClientKeys | None:
    if secret is None and server is None:
        return None
    if secret is None or server is None:
        raise SourceError("an encrypted connection needs both --key (ours, secret) and --live-key (theirs, public)")
    return load_client_keys(secret, server)


def _store(source: str, ae_title: str, allow: tuple[str, ...], tls: Tls | None) -> StoreSettings | None:
    return StoreSettings(ae_title, allow, tls) if source.split("://")[0] == "cstore" else None


def _reason(reason: str) -> str:
    return f": {reason}" if reason else ""


if __name__ == "__main__":
    app()
