"""The sound's commands: rearm, calibrate, test."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from realtime.errors import RealtimeError
from realtime.playback.halt import rearm as take_stop_back
from realtime.session.folder import SessionFolder
from scanner_bridge.complaints import fail, one_sentence

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Sound: calibrate it, try it, take STOP back.")

SessionArgument = Annotated[Path, typer.Argument(help="The session's folder.")]


@app.command()
def rearm(session: SessionArgument) -> None:
    """Take STOP back: the music that goes on underneath is heard again, at once."""
    typer.echo(f"armed: {take_stop_back(_recording(session))}")


def _recording(session: Path) -> Path:
    if not session.is_dir():
        fail(f"{session} is no session's folder; name the folder that `innerear live` was given with --session")
    return SessionFolder(session).played


@app.command()
def calibrate(
    file: Annotated[Path, typer.Argument(help="Where to keep the calibration (JSON).")],
    device: Annotated[str, typer.Option(help="Sound card, as `innerear sound test` names it.")],
    headphones: Annotated[str, typer.Option(help="Model and serial number.")],
    measured_by: Annotated[str, typer.Option(help="Who measured.")],
    tone_db_spl: Annotated[float, typer.Option(help="What the sound level meter showed at the louder ear, in dB.")],
    tone_dbfs: Annotated[float, typer.Option(help="The level of `innerear sound test` that it showed this for.")],
    eq_left: Annotated[Path | None, typer.Option(help="Impulse response of the equaliser, WAV or .npy.")] = None,
    eq_right: Annotated[Path | None, typer.Option(help="The same for the right ear.")] = None,
    measured_on: Annotated[str, typer.Option(help="ISO date; today if left out.")] = "",
) -> None:
    """Keep what a sound level meter showed for the test tone: sessions with a person in the scanner need it."""
    from realtime.playback.calibration import Calibration, read_taps, write_calibration  # noqa: PLC0415
    from realtime.playback.settings import RATE_HZ  # noqa: PLC0415

    if (eq_left is None) != (eq_right is None):
        fail("an equaliser needs both ears: give --eq-left and --eq-right, or neither")
    with one_sentence(RealtimeError):
        left = read_taps(eq_left, RATE_HZ) if eq_left else [1.0]
        right = read_taps(eq_right, RATE_HZ) if eq_right else [1.0]
        calibration = Calibration(
            device=device, headphones=headphones, db_spl_at_0dbfs=tone_db_spl - tone_dbfs, rate_hz=RATE_HZ,
            eq_left=left, eq_right=right, measured_on=measured_on or date.today().isoformat(), measured_by=measured_by)
        write_calibration(file, calibration)
    typer.echo(f"{file}: full scale is {calibration.db_spl_at_0dbfs:.1f} dB SPL at the ear with {headphones}")


@app.command("test")
def play_test_tone(
    folder: Annotated[Path, typer.Argument(help="Where the recording of the test goes.")],
    level_dbfs: Annotated[float, typer.Option(help="Of the 1 kHz tone.", min=-80.0, max=-10.0)] = -40.0,
    duration_s: Annotated[float, typer.Option(help="How long.", min=0.5, max=120.0)] = 5.0,
    sink: Annotated[str, typer.Option(help="auto, device, wav or null.")] = "auto",
    calibration: Annotated[Path | None, typer.Option(help="Play through this calibration's equaliser.")] = None,
) -> None:
    """Play a tone through the whole safety chain, as music would be; begin low, and not with somebody at the ear."""
    from realtime.playback.tone import play_tone  # noqa: PLC0415

    with one_sentence(RealtimeError):
        heard = play_tone(folder, level_dbfs, duration_s, sink, calibration)
    typer.echo(heard)


if __name__ == "__main__":
    app()
