"""The offline commands: demo, simulate, train, evaluate, export, corpus, report."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from offline_training import corpus_commands, evaluation_commands, model_commands
from offline_training.command_line import (
    ConfigOption,
    JsonOption,
    WorkersOption,
    one_sentence_of_ours,
    progress_bars,
)
from realtime.config import load_settings, make_settings
from realtime.console.figures import print_summary, write_figures

ROOT = Path(__file__).resolve().parents[1]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Before and after the scan: simulate, train, evaluate, export, report.")
export_app = typer.Typer(no_args_is_help=True, help="A session or visit as BIDS; bundles that were not trained.")
app.add_typer(corpus_commands.app, name="corpus")
app.add_typer(model_commands.generator_app, name="generator")
app.add_typer(model_commands.embedder_app, name="embedder")
app.add_typer(export_app, name="export")
app.add_typer(evaluation_commands.app)

@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder to make; an older demo in it is replaced.")] = Path("demo"),
         config: Annotated[Path, typer.Option(help="Settings.")] = ROOT / "configs" / "demo.toml",
         speed: Annotated[float | None, typer.Option(help="Times the scanner's pace.", min=0.01)] = None,
         sink: Annotated[str | None, typer.Option(help="auto, device, wav or null.")] = None,
         json_file: JsonOption = None) -> None:
    """The whole loop: simulate a person, train, stream a held-out run live, play the music, report."""
    from offline_training.demo import DemoFolder, DemoSettings, run_demo  # noqa: PLC0415
    from realtime.console.table import SessionTable  # noqa: PLC0415

    console = Console()
    with one_sentence_of_ours():
        settings = load_settings(config, DemoSettings, {"speed": speed, "sink": sink})
        with progress_bars(console) as progress:
            figures = run_demo(DemoFolder(out), settings, progress,
                               lambda text: console.print(f"[bold]{text}[/bold]", highlight=False, soft_wrap=True),
                               lambda: SessionTable(console))
    print_summary(figures)
    console.print("  person     simulated, and far easier to decode than a real one: these figures show the loop, not "
                  "people", highlight=False, soft_wrap=True)
    console.print(f"  report     {figures['report']}", highlight=False, soft_wrap=True)
    console.print(f"  took       {figures['seconds_total']:.0f} s", highlight=False)
    write_figures(json_file, figures)


@app.command()
def rehearse(demo: Annotated[Path, typer.Option(help="Folder of a finished demo: its person, music and decoder.")] =
             Path("demo"),
             out: Annotated[Path, typer.Option(help="Folder for plan and visit; gone on with.")] = Path("rehearsal"),
             speed: Annotated[float, typer.Option(help="Times the scanner's pace.", min=0.1)] = 4.0,
             broker: Annotated[str, typer.Option(help="mqtt://host:port, or 'embedded'.")] = "embedded",
             port: Annotated[int, typer.Option(help="Of the console's page.")] = 8088,
             endpoint: Annotated[str, typer.Option(help="ZeroMQ endpoint of the bridge.")] = "tcp://127.0.0.1:5577",
             sink: Annotated[str, typer.Option(help="auto, device, wav or null.")] = "auto") -> None:
    """A whole visit at the console with a simulated person and scanner: reference, warm-up, two feedback runs."""
    import asyncio  # noqa: PLC0415
    from functools import partial  # noqa: PLC0415

    from offline_training.demo import DemoFolder  # noqa: PLC0415
    from offline_training.visit_rehearsal import VisitRehearsal, prepare, scan  # noqa: PLC0415
    from realtime.visit.attendance import attend  # noqa: PLC0415
    from realtime.visit.plan import PlanSettings  # noqa: PLC0415

    with one_sentence_of_ours():
        rehearsal = VisitRehearsal(DemoFolder(demo), out, broker, port, speed, endpoint, sink)
        person = prepare(rehearsal)
        plan = load_settings(rehearsal.plan, PlanSettings)
        asyncio.run(attend(plan, rehearsal.plan, partial(scan, rehearsal, person), speed, typer.echo))


@app.command()
def simulate(out: Annotated[Path, typer.Argument(help="Folder to make.")], config: ConfigOption = None,
             seed: Annotated[int | None, typer.Option(help="Of everything.")] = None) -> None:
    """Write a simulated scanning session as BIDS: images, events, sidecars, stimuli, and the truth behind them."""
    from offline_training.simulation.dataset import simulate_session  # noqa: PLC0415
    from offline_training.simulation.settings import SimulationSettings  # noqa: PLC0415

    with one_sentence_of_ours():
        settings = (load_settings(config, SimulationSettings, {"seed": seed}) if config
                    else make_settings(SimulationSettings, {}, {"seed": seed}, "of the command line"))
        with progress_bars(Console()) as progress:
            session = simulate_session(out, settings, progress)
    Console().print(f"{len(session.runs)} runs in {session.folder}, music in {session.corpus}", soft_wrap=True)


@app.command()
def calibration(out: Annotated[Path, typer.Argument(help="HTML file to write.")],
                seeds: Annotated[int, typer.Option(help="How many people.", min=1)] = 5,
                json_file: JsonOption = None) -> None:
    """The simulated person beside published figures, every row over several people, as a page and as JSON."""
    from offline_training.person_calibration import calibrate  # noqa: PLC0415
    from offline_training.person_calibration_page import write_calibration_page  # noqa: PLC0415

    with one_sentence_of_ours():
        with progress_bars(Console()) as progress:
            report = calibrate(range(seeds), progress=progress)
        write_calibration_page(report, out)
    for row in report["rows"][:5]:
        Console().print(f"{row['what']}: {row['mean']:.3f}, {row['source']} {row['known']:.3f}", highlight=False)
    write_figures(json_file, report)


@app.command()
def train(dataset: Annotated[Path, typer.Argument(help="BIDS data set, or response arrays with events.")],
          bundle: Annotated[Path, typer.Argument(help="Folder for the bundle.")],
          catalogue: Annotated[Path | None, typer.Option(help="Corpus of the clips; default DATASET/stimuli.")] = None,
          subject: Annotated[str | None, typer.Option(help="Which subject; needed when there are several.")] = None,
          workers: WorkersOption = "",
          keep: Annotated[Path | None, typer.Option(help="Folder for the aligned runs: an interrupted training goes on "
                                                         "from them.")] = None,
          config: ConfigOption = None, json_file: JsonOption = None) -> None:
    """Train a ridge decoder through the live preprocessing, export it, and prove that it decodes as it was fitted.

    Ready-made arrays (sub-*_Resp_Training.npy) say nothing of the scanner's images: of them comes a decoder to study.
    """
    from offline_training.recordings import read_recordings  # noqa: PLC0415
    from offline_training.response_arrays import array_subjects  # noqa: PLC0415
    from offline_training.runs import read_dataset  # noqa: PLC0415
    from offline_training.train import train as fit  # noqa: PLC0415
    from offline_training.train_settings import TrainSettings  # noqa: PLC0415
    from offline_training.workers import workers as open_workers  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    with one_sentence_of_ours():
        settings = load_settings(config, TrainSettings) if config else TrainSettings()
        if array_subjects(dataset):
            _train_on_arrays(dataset, bundle, catalogue or dataset / "stimuli", subject, settings, json_file)
            return
        runs, music = read_dataset(dataset, subject), read_catalogue(catalogue or dataset / "stimuli")
        recordings = read_recordings(catalogue or dataset / "stimuli")
        with progress_bars(Console()) as progress, open_workers(workers) as executor:
            trained = fit(runs, music, bundle, executor, settings, progress, f"innerear train {dataset} {bundle}",
                          keep, recordings)
    lines = [*recordings.notes()]
    if runs.n_sessions == 1:
        lines.append(f"all {len(runs.runs)} runs are of one session: the figures do not say how it decodes another day")
    lines += [f"bundle {bundle}: {len(trained.bundle.voxels)} voxels, {trained.n_trials} training trials",
             f"cross-validated identification accuracy {trained.fit.identification:.3f} (chance 0.5)",
             f"regions: {', '.join(trained.fit.regions[:8])}; lag {trained.fit.window.lag_volumes} and window "
             f"{trained.fit.window.n_volumes} volumes",
             f"ONNX and the fit differ by at most {trained.parity.largest_difference:.1e} of the largest output",
             *trained.notes]
    if trained.evaluation is not None:
        lines.append(trained.evaluation.verdict)
    for line in lines:
        Console().print(line, soft_wrap=True, highlight=False)
    write_figures(json_file, trained.bundle.manifest.accuracy)


@app.command()
def sweep(arrays: Annotated[Path, typer.Argument(help="Folder with sub-*_Resp_Training.npy and events.")],
          keep: Annotated[Path, typer.Argument(help="Folder for results: a sweep that was cut off goes on from them.")],
          catalogue: Annotated[list[Path], typer.Option(help="Corpus that embeds the clips; repeat for more targets.")],
          subject: Annotated[list[str] | None, typer.Option(help="Which; default all.")] = None,
          workers: WorkersOption = "", json_file: JsonOption = None) -> None:
    """Ridges of every subject, region, kind of target and fold on many workers; the best six regions averaged."""
    from offline_training.sweep_arrays import sweep_arrays  # noqa: PLC0415
    from offline_training.workers import workers as open_workers  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    with one_sentence_of_ours():
        music = {f"{path.name} ({corpus.space.name})": corpus
                 for path, corpus in ((path, read_catalogue(path, check_audio=False)) for path in catalogue)}
        with progress_bars(Console()) as progress, open_workers(workers) as executor:
            figures = sweep_arrays(arrays, music, keep, executor, progress, subject or ())
    for name, row in figures.items():
        Console().print(f"{name}: cross-validated identification {row['cross_validated_identification']:.3f}, 99 % of "
                        f"exchanges of clips within runs stay below {row['chance_p99']:.3f} (n = {row['n_trials']})",
                        soft_wrap=True, highlight=False)
    write_figures(json_file, figures)


def _train_on_arrays(folder: Path, out: Path, corpus: Path, subject: str | None, settings: Any,
                     json_file: Path | None) -> None:
    from offline_training.recordings import read_recordings  # noqa: PLC0415
    from offline_training.response_arrays import read_arrays  # noqa: PLC0415
    from offline_training.train_arrays import train_on_arrays  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    arrays, music, recordings = read_arrays(folder, subject), read_catalogue(corpus), read_recordings(corpus)
    trained = train_on_arrays(arrays, music, out, settings, recordings)
    lines = [*arrays.notes, *recordings.notes(),
             f"decoder {out}: {len(trained.fit.decoder.voxels)} voxels, {trained.figures['n_training_trials']} "
             "training trials; it cannot run live, arrays do not say where their voxels lie",
             f"cross-validated identification accuracy {trained.fit.identification:.3f} (chance 0.5)", trained.verdict]
    for line in filter(None, lines):
        Console().print(line, soft_wrap=True, highlight=False)
    write_figures(json_file, trained.figures)


@app.command()
def imagery(visits: Annotated[list[Path], typer.Argument(help="Folders of visits, of `innerear session`.")],
            groups: Annotated[Path | None, typer.Option(help="TSV with columns subject and group.")] = None,
            json_file: JsonOption = None) -> None:
    """Imagination against hearing with the same decoder, learning over runs, transfer, and two groups of people."""
    from offline_training.imagery import group_figures, read_visit, visit_figures  # noqa: PLC0415

    with one_sentence_of_ours():
        figures: dict[str, Any] = {"visits": [visit_figures(read_visit(visit)) for visit in visits]}
        if groups is not None:
            figures["groups"] = group_figures(figures["visits"], groups)
    for each in figures["visits"]:
        found = each["imagine"]
        Console().print(f"{each['subject']}: identification of {found['trials']} imagined trials "
                        f"{found['identification']}, 99 % of chance below {found['chance_p99']}; of heard ones "
                        f"{each['listen']['identification']}", highlight=False, soft_wrap=True)
    write_figures(json_file, figures)


@app.command()
def overlay(session: Annotated[Path, typer.Argument(help="Folder of a recorded reference run.")],
            picture: Annotated[Path, typer.Argument(help="PNG file.")], json_file: JsonOption = None) -> None:
    """How a session lies on the training reference: a picture, and correlation, shift and turn."""
    from offline_training.overlay import write_overlay  # noqa: PLC0415

    with one_sentence_of_ours():
        figures = write_overlay(session, picture)
    write_figures(json_file, figures)
    Console().print_json(data=figures)


@export_app.command()
def bids(session: Annotated[Path, typer.Argument(help="Folder of a recorded session, or of a visit.")],
         out: Annotated[Path, typer.Argument(help="Folder to make.")],
         name: Annotated[str | None, typer.Option(help="Of the data set.")] = None,
         task: Annotated[str | None, typer.Option(help="Of a session; a visit's runs have their kinds.")] = None,
         ses: Annotated[str | None, typer.Option(help="Label of the scanning session; default: from the folder's "
                                                      "name.")] = None,
         allocation: Annotated[Path | None, typer.Option(help="Opened: the arm may be told.")] = None,
         json_file: JsonOption = None) -> None:
    """A session, or a visit, as a BIDS data set: images, events, what was decoded and played, faults."""
    from offline_training.bids.dataset import ExportSettings, export_bids  # noqa: PLC0415

    given = {"name": name, "task": task, "session": ses}
    with one_sentence_of_ours():
        settings = ExportSettings(allocation=allocation, **{key: value for key, value in given.items() if value})
        with progress_bars(Console()) as progress:
            exported = export_bids(session, out, settings, progress)
    withheld = "; what could tell the arm is withheld" if exported.blinded else ""
    beside = f"{exported.excluded} aborted attempts and files of late volumes in sourcedata"
    Console().print(f"{out}: {exported.runs} runs; {beside}{withheld}", soft_wrap=True, highlight=False)
    write_figures(json_file, asdict(exported))


@export_app.command()
def untrained(source: Annotated[Path, typer.Argument(help="Recorded run: NIfTI or DICOM folder.")],
              bundle: Annotated[Path, typer.Argument(help="Folder for the bundle.")],
              catalogue: Annotated[Path, typer.Option(help="Corpus to rehearse with.")],
              clip_s: Annotated[float, typer.Option(help="Length of the pretended trials.")] = 10.0,
              events: Annotated[Path | None, typer.Option(help="Also write pretended events here.")] = None,
              seed: Annotated[int, typer.Option(help="Of weights and events.")] = 0) -> None:
    """A bundle with random weights for a scanner's own images, to rehearse everything but the decoding."""
    from offline_training.rehearsal import rehearse_with  # noqa: PLC0415

    with one_sentence_of_ours():
        made = rehearse_with(source, bundle, catalogue, clip_s, events, seed)
    Console().print(f"untrained bundle {bundle}: {len(made.voxels)} voxels; what it decodes is noise",
                    soft_wrap=True, highlight=False)


if __name__ == "__main__":
    app()
