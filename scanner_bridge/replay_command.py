"""The command that makes a live export again from a recording."""

from pathlib import Path
from typing import Annotated

import typer

from scanner_bridge.complaints import fail, one_sentence
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.folder import WriteStyle
from scanner_bridge.emitters.rehearsal import Pace
from scanner_bridge.errors import BridgeError, SourceError
from scanner_bridge.rehearse import Destination, Way, rehearse
from scanner_bridge.sources.afni_codec import DATA_PORT
from scanner_bridge.sources.settings import settings_for
from scanner_bridge.sources.store_settings import Tls
from scanner_bridge.terminal import progress, stop_on_signals
from scanner_bridge.waiting import StopRequested


def replay(
    source: Annotated[str, typer.Argument(help="Folder of DICOM files, NIfTI file, or `simulated`.")],
    where: Annotated[str, typer.Argument(help="A folder, or HOST:PORT of the receiver.")] = "",
    to: Annotated[Way, typer.Option(help="Files go to a folder or by cstore, volumes by the others.")] = "folder",
    speed: Annotated[float, typer.Option(help="1 is the scanner's own speed, 2 twice as fast.")] = 1.0,
    unpaced: Annotated[bool, typer.Option("--unpaced", help="As fast as the receiver takes it.")] = False,
    write: Annotated[WriteStyle, typer.Option(help="folder: files come whole, half first, or renamed.")] = "whole",
    drop: Annotated[float, typer.Option(help="Share of files or volumes that never come.")] = 0.0,
    duplicate: Annotated[float, typer.Option(help="Share that comes twice.")] = 0.0,
    delay: Annotated[float, typer.Option(help="Share that comes late by --delay-s.")] = 0.0,
    delay_s: Annotated[float, typer.Option(help="See --delay; scanner seconds.")] = 3.0,
    shuffle_s: Annotated[float, typer.Option(help="Everything is late by up to so many seconds, in any order.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of what goes wrong, and of the simulated run.")] = 0,
    series: Annotated[int | None, typer.Option(help="DICOM SeriesNumber, when there are several.")] = None,
    volumes: Annotated[int, typer.Option(help="Length of the simulated run.")] = 30,
    tr: Annotated[float, typer.Option(help="Repetition time of the simulated run, seconds.")] = 1.0,
    wait: Annotated[float, typer.Option(help="Wait so many seconds for the receiver.")] = 30.0,
    data_port: Annotated[int, typer.Option(help="afni: where the receiver shall take the images.")] = DATA_PORT,
    called: Annotated[str, typer.Option(help="cstore: the receiver's title.")] = "INNEREAR",
    calling: Annotated[str, typer.Option(help="cstore: our title.")] = "SCANNER",
    tls_cert: Annotated[Path | None, typer.Option(help="cstore: our certificate, PEM: encrypts.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="cstore: its key, PEM.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="cstore: who signed the receiver's certificate, PEM.")] = None,
    show_progress: Annotated[bool, typer.Option("--progress", help="Show a progress bar.")] = False,
) -> None:
    """Send a recorded run as a scanner would, file by file or volume by volume: nobody needs a scanner.

    Losses, doubles and delays are decided by the seed and each item's number alone.
    """
    with one_sentence(BridgeError), stop_on_signals() as stop, progress(show_progress, "sending") as bar:
        destination = Destination(
            way=to,
            where=where,
            style=write,
            called=called,
            calling=calling,
            tls=tls_files(tls_cert, tls_key, tls_ca),
            data_port=data_port,
            wait_s=wait,
        )
        pace = Pace(None if unpaced else speed, sleep=stop.sleep)
        wrong = Disturbance(drop, duplicate, delay, delay_s, shuffle_s, seed)
        settings = settings_for(source, series=series, n_volumes=volumes, tr_s=tr, seed=seed)
        try:
            n_sent = rehearse(settings, destination, pace, wrong, bar.count)
        except StopRequested as stopped:
            fail(str(stopped))
    typer.echo(f"{n_sent} {'files' if to in ('folder', 'cstore') else 'volumes'} sent", err=True)


def tls_files(certificate: Path | None, key: Path | None, authority: Path | None) -> Tls | None:
    """The files of an encrypted connection; None without any. SourceError when one is missing."""
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None:
        raise SourceError("an encrypted C-STORE connection needs both --tls-cert and --tls-key (--tls-ca is optional)")
    return Tls(certificate, key, authority)
