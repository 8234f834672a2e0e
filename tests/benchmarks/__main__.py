"""`innerear bench`: speed against peers on this machine, as tables and JSON."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from realtime.console.figures import write_figures
from scanner_bridge.complaints import fail

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, invoke_without_command=True,
                  help="Measure speed against peers on this machine; without a name, everything.")

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@app.callback()
def everything(context: typer.Context) -> None:
    """Run all benchmarks when none is named."""
    if context.invoked_subcommand is None:
        preprocessing()
        bridge()


@app.command()
def preprocessing(json_file: JsonOption = None,
                  volumes: Annotated[int, typer.Option(help="Volumes of ours.", min=10)] = 200,
                  peer_volumes: Annotated[int, typer.Option(help="Volumes of each peer.", min=3)] = 20) -> None:
    """One volume to the decoder's embedding, against python-rtspm, SimpleITK, itk-elastix and dipy, one thread."""
    from tests.benchmarks.preprocessing import measure, show

    report = measure(volumes, peer_volumes)
    show(report)
    write_figures(json_file, report)


@app.command()
def ridge(json_file: JsonOption = None,
          quick: Annotated[bool, typer.Option("--quick", help="A small problem, for seconds.")] = False) -> None:
    """Ridge with an α per target, cross-validated by run, against scikit-learn's grid search and himalaya."""
    from tests.benchmarks.ridge import QUICK, WHOLE, measure, show

    report = measure(QUICK if quick else WHOLE)
    show(report)
    write_figures(json_file, report)


@app.command()
def evaluation(json_file: JsonOption = None,
               quick: Annotated[bool, typer.Option("--quick", help="2000 voxels instead of 60,000.")] = False) -> None:
    """The permutation test of a test set, and an encoding model of a whole cortex: seconds and memory."""
    from tests.benchmarks.evaluation import measure, show

    report = measure(2000 if quick else 60_000)
    show(report)
    write_figures(json_file, report)


@app.command()
def science(json_file: JsonOption = None,
            quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller, for minutes: shows that it "
                                                                "runs.")] = False,
            only: Annotated[str, typer.Option(help="One measurement; all when left out.")] = "") -> None:
    """The decoder's bars: calibrated simulated people, the live path on volumes, pure noise, a real brain."""
    from tests.benchmarks.science import measure, measurements, show

    if only not in ("", *measurements()):
        fail(f"there is no measurement {only!r}; choose one of {', '.join(measurements())}")
    report = measure(quick, only, lambda text: typer.echo(f"{text} ...", err=True))
    show(report)
    write_figures(json_file, report)


@app.command()
def bridge(json_file: JsonOption = None) -> None:
    """A volume's files to its voxels, for every kind of image, against one dcm2niix call per volume."""
    from tests.benchmarks.bridge import available, measure, show

    if not available():
        fail("the bridge is measured on recorded scanner data, and they are not beside this folder (shared/data)")
    report = measure()
    show(report)
    write_figures(json_file, report)


@app.command()
def music(json_file: JsonOption = None,
          quick: Annotated[bool, typer.Option("--quick", help="Little of everything, for a few minutes.")] = False,
          only: Annotated[str, typer.Option(help="timing, quality, or one part; all when left out.")] = "") -> None:
    """The bars of the music: search, embedder, recordings, flicker, generators, playback; about an hour."""
    from tests.benchmarks.music import QUICK, WHOLE, measure, names, show

    if only not in ("", *names()):
        fail(f"there is no part {only!r}; choose one of {', '.join(names())}")
    report = measure(QUICK if quick else WHOLE, only, lambda text: typer.echo(f"{text} ...", err=True))
    show(report)
    write_figures(json_file, report)


@app.command()
def playback(json_file: JsonOption = None,
             minutes: Annotated[float, typer.Option(help="Of the soak.", min=0.1)] = 10.0,
             stops: Annotated[int, typer.Option(help="How often STOP is measured.", min=10)] = 1000,
             changes: Annotated[int, typer.Option(help="How often a condition changes.", min=10)] = 200,
             blocks: Annotated[int, typer.Option(help="Fuzzed blocks.", min=1000)] = 10_000_000) -> None:
    """The bars of playback alone: the chain's load, condition to audible, STOP, a soak, fuzzed sound."""
    from tests.benchmarks.music_playback import measure

    figures = measure(minutes, stops, blocks, changes)
    Console().print_json(data=figures)
    write_figures(json_file, {"benchmark": "playback", **figures})


@app.command()
def console(json_file: JsonOption = None,
            presses: Annotated[int, typer.Option(help="How often STOP is pressed, each way.", min=10)] = 300,
            volumes: Annotated[int, typer.Option(help="Volumes of each blinded arm.", min=20)] = 1000,
            only: Annotated[str, typer.Option(help="One part; all when left out.")] = "") -> None:
    """The bars of the operator's page, with real processes and a headless Chromium; some 25 minutes."""
    from tests.browser import CHROMIUM, NO_CHROMIUM

    if not CHROMIUM:
        fail(f"the console is measured in a browser: {NO_CHROMIUM}")
    from tests.benchmarks.console import PARTS, measure

    if only not in ("", *PARTS):
        fail(f"there is no part {only!r}; choose one of {', '.join(PARTS)}")
    figures = measure(presses, volumes, only, lambda text: typer.echo(f"{text} ...", err=True))
    Console().print_json(data=figures)
    write_figures(json_file, {"benchmark": "console", **figures})


@app.command()
def imagery(json_file: JsonOption = None,
            decoded: Annotated[int, typer.Option(help="Persons whose imagery is identified.", min=1)] = 8,
            trained: Annotated[int, typer.Option(help="Persons of the target training.", min=3)] = 24,
            volumes: Annotated[int, typer.Option(help="Volumes of the blinding.", min=100)] = 1200,
            only: Annotated[str, typer.Option(help="identification, training or blinding; all when left out.")] = "",
            ) -> None:
    """The bars of imagination: identification, no signal, target training in its arms, blinding."""
    from tests.benchmarks.imagery import PARTS, measure, show

    if only not in ("", *PARTS):
        fail(f"there is no part {only!r}; choose one of {', '.join(PARTS)}")
    report = measure(decoded, trained, volumes, only, lambda text: typer.echo(f"{text} ...", err=True))
    show(report)
    write_figures(json_file, report)


if __name__ == "__main__":
    app()
