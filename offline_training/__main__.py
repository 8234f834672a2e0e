"""The offline commands: demo, simulate, train, evaluate, export, corpus, report."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from offline_training import evaluation_commands
from offline_training.command_line import (
    ConfigOption,
    JsonOption,
    WorkersOption,
    one_sentence_of_ours,
    progress_bars,
)
from offline_training.errors import DatasetError, TrainingError
from realtime.config import load_settings, make_settings
from realtime.console.figures import print_summary, write_figures

ROOT = Path(__file__).resolve().parents[1]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Before and after the scan: simulate, train, evaluate, export, report.")
corpus_app = typer.Typer(no_args_is_help=True, help="Build the music that can be played.")
export_app = typer.Typer(no_args_is_help=True, help="Make bundles that were not trained.")
embedder_app = typer.Typer(no_args_is_help=True, help="Train an embedder of sound and words, or measure one.")
generator_app = typer.Typer(no_args_is_help=True, help="Train what generates music.")
app.add_typer(corpus_app, name="corpus")
app.add_typer(generator_app, name="generator")
app.add_typer(embedder_app, name="embedder")
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


@corpus_app.command()
def compose(folder: Annotated[Path, typer.Argument(help="Folder to make.")],
            n_per_genre: Annotated[int, typer.Option(help="Clips of each of the ten genres.", min=1)] = 12,
            clip_s: Annotated[float, typer.Option(help="Length of a clip.", min=2.0)] = 10.0,
            seed: Annotated[int, typer.Option(help="Of the music.")] = 0) -> None:
    """Synthesise labelled clips of ten genres, fit an embedder on them and index them with it."""
    from offline_training.corpus_composed import CorpusSettings, make_corpus  # noqa: PLC0415

    with one_sentence_of_ours(), progress_bars(Console()) as progress:
        settings = CorpusSettings(n_per_genre=n_per_genre, n_test_per_genre=min(2, n_per_genre - 1), seed=seed,
                                  duration_s=clip_s)
        made = make_corpus(folder, settings, progress=progress)
    Console().print(f"{len(made.clips)} clips in {folder}", soft_wrap=True, highlight=False)


@corpus_app.command()
def build(folder: Annotated[Path, typer.Argument(help="Folder of music, in any depth; GTZAN and FMA as they ship.")],
          out: Annotated[Path | None, typer.Option(help="Corpus to make or continue; default FOLDER-corpus.")] = None,
          clip_s: Annotated[float, typer.Option(help="Length of a clip.")] = 10.0,
          per_track: Annotated[int, typer.Option(help="Most clips taken of one file.")] = 4,
          labels: Annotated[Path | None, typer.Option(help="CSV: file, genre, split, licence, anything.")] = None,
          licence: Annotated[list[str] | None, typer.Option(help="Take these only, as 'CC BY*'; repeatable.")] = None,
          exclude: Annotated[Path | None, typer.Option(help="List of ids or files to leave out.")] = None,
          genre_folders: Annotated[bool, typer.Option(help="A file's folder is its genre.")] = False,
          excerpts: Annotated[Path | None, typer.Option(help="BIDS data set: cut what was heard, as ds003720.")] = None,
          embedder: Annotated[str, typer.Option(help="Name, folder or embedder.npz of the space wanted.")] = "",
          workers: Annotated[int | None, typer.Option(help="Processes; default one per core.", min=1)] = None) -> None:
    """Make a corpus of your own music: clips at 48 kHz, equally loud, cut on the beat, embedded and indexed.

    Started again, it goes on where it was cut off, and takes up what was added or changed.
    """
    from offline_training.corpus_build import BuildSettings, make_corpus_of  # noqa: PLC0415
    from offline_training.corpus_sources import Wanted  # noqa: PLC0415
    from offline_training.embedders import open_embedder  # noqa: PLC0415
    from offline_training.recordings import read_recordings  # noqa: PLC0415
    from offline_training.workers import worker_processes  # noqa: PLC0415

    console, target = Console(), out or folder.with_name(folder.resolve().name + "-corpus")
    with one_sentence_of_ours():
        wanted = Wanted(labels, tuple(licence or ()), exclude, genre_folders, excerpts)
        settings = BuildSettings(clip_s, per_track, wanted=wanted)
        chosen = open_embedder(embedder) if embedder else None
        with progress_bars(console) as progress, worker_processes(workers) as executor:
            made = make_corpus_of(folder, target, settings, executor, chosen, progress)
    console.print(f"{len(made.clips)} clips in {target}; {len(made.skipped)} files left out", soft_wrap=True,
                  highlight=False)
    for skipped in made.skipped[:10]:
        console.print(f"  {skipped.file}: {skipped.reason}", soft_wrap=True, highlight=False)
    if len(made.skipped) > 10:
        console.print(f"  and {len(made.skipped) - 10} more, all in {target / 'corpus.json'}", soft_wrap=True,
                      highlight=False)
    for note in read_recordings(target).notes():
        console.print(f"  {note}", soft_wrap=True, highlight=False)


@corpus_app.command()
def search(catalogue: Annotated[Path, typer.Argument(help="Corpus.")],
           words: Annotated[str, typer.Argument(help="Such as 'calm piano'; left out with --like.")] = "",
           like: Annotated[Path | None, typer.Option(help="A recording that it should sound like.")] = None,
           n: Annotated[int, typer.Option("-n", help="How many clips.", min=1)] = 10,
           place: Annotated[str, typer.Option("--index", help="exact, faiss, or a Qdrant server's URL.")] = "exact",
           embedder: Annotated[str, typer.Option(help="Embedder of the corpus; found by itself as a rule.")] = "",
           json_file: JsonOption = None) -> None:
    """Find music by words, or by a recording."""
    from offline_training.corpus_search import by_words, embedder_of, like_recording  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415
    from realtime.music.index_places import open_index  # noqa: PLC0415

    with one_sentence_of_ours():
        if bool(words) == (like is not None):
            raise DatasetError("a search is for words or --like a recording: give one of them")
        music = read_catalogue(catalogue, check_audio=False)
        chosen, index = embedder_of(catalogue, music.space, embedder), open_index(music, place, catalogue)
        found = by_words(index, chosen, words, n) if like is None else like_recording(index, chosen, like, n)
    for match in found:
        Console().print(f"{match.score:6.3f}  {match.clip.clip_id}  {match.clip.genre}", soft_wrap=True,
                        highlight=False, markup=False)
    write_figures(json_file, {"found": [{"clip_id": match.clip.clip_id, "genre": match.clip.genre,
                                         "similarity": match.score} for match in found]})


@corpus_app.command("upload")
def upload_corpus(catalogue: Annotated[Path, typer.Argument(help="Corpus.")],
                  url: Annotated[str, typer.Argument(help="Qdrant server, as http://HOST:6333.")]) -> None:
    """Bring a corpus's vectors to a Qdrant server, which then searches them for `--index URL`."""
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415
    from realtime.music.index_qdrant import connect, upload  # noqa: PLC0415

    with one_sentence_of_ours():
        music = read_catalogue(catalogue, check_audio=False)
        collection = upload(music, connect(url))
    Console().print(f"{len(music.clips)} clips are in collection {collection} of {url}", soft_wrap=True,
                    highlight=False)


@corpus_app.command("calibrate")
def calibrate_selection(
        session: Annotated[Path, typer.Argument(help="Recorded session of rest: nothing heard, nothing imagined.")],
        catalogue: Annotated[Path, typer.Option(help="Corpus of the sessions to come.")],
        per_minute: Annotated[float, typer.Option(help="False switches allowed a minute.", min=0.0)] = 2.0,
        json_file: JsonOption = None) -> None:
    """Choose the selection's odds so that the music stays still while nothing is heard."""
    from offline_training.corpus_calibration import calibrate, read_rest  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    with one_sentence_of_ours():
        chosen = calibrate(read_rest(session, read_catalogue(catalogue, check_audio=False)), per_minute)
    settings = chosen.settings
    Console().print(f"\\[selection]\ngenre_odds = {settings.genre_odds:g}\nclip_odds = {settings.clip_odds:g}\n"
                    f"# {chosen.switches_per_minute:.1f} false switches a minute in {chosen.rest_s:.0f} s of rest, "
                    f"{chosen.before_per_minute:.1f} with the usual odds; raised by {chosen.raised_sd:g} standard "
                    f"deviations ({chosen.lead_sd:.2f}) of the log odds at rest", highlight=False, soft_wrap=True)
    write_figures(json_file, {"genre_odds": settings.genre_odds, "clip_odds": settings.clip_odds,
                              "switches_per_minute": chosen.switches_per_minute,
                              "before_per_minute": chosen.before_per_minute, "rest_s": chosen.rest_s,
                              "lead_sd": chosen.lead_sd, "raised_sd": chosen.raised_sd})


@corpus_app.command()
def index(folder: Annotated[Path, typer.Argument(help="Corpus to embed anew.")],
          embedder: Annotated[str, typer.Option(help="Name, folder or embedder.npz of the space wanted.")] = "",
          vectors: Annotated[Path | None, typer.Option(help=".npz of space, names and vectors made elsewhere.")] = None,
          ) -> None:
    """Embed the clips of a corpus anew, or take vectors from outside: only vectors of one space can be compared."""
    from offline_training.corpus import index_corpus, place_vectors  # noqa: PLC0415
    from offline_training.embedders import open_embedder  # noqa: PLC0415
    from offline_training.outside_vectors import read_vectors  # noqa: PLC0415

    with one_sentence_of_ours(), progress_bars(Console()) as progress:
        if bool(embedder) == (vectors is not None):
            raise DatasetError("a corpus is indexed with --embedder or takes --vectors: give one of them")
        made = (index_corpus(folder, open_embedder(embedder), progress) if vectors is None
                else place_vectors(folder, read_vectors(vectors)))
    Console().print(f"{len(made.clips)} clips of {folder} are now in space {made.space}", soft_wrap=True,
                    highlight=False)


@embedder_app.command("train")
def train_embedder(folder: Annotated[Path, typer.Argument(help="Folder to make.")], config: ConfigOption = None,
                   json_file: JsonOption = None) -> None:
    """Train sound and word towers on procedural pieces, export them to ONNX, and write what they can do beside them."""
    from offline_training.embedder.settings import EmbedderSettings  # noqa: PLC0415
    from offline_training.workers import worker_processes  # noqa: PLC0415

    with one_sentence_of_ours():
        try:
            from offline_training.embedder.make import make_embedder  # noqa: PLC0415 - torch, only here
        except ImportError as exc:
            raise TrainingError("an embedder is trained with torch, which is not installed; install it with: pip "
                                "install 'innerear[embedder]'") from exc
        settings = load_settings(config, EmbedderSettings) if config else EmbedderSettings()
        command = f"innerear embedder train {folder}" + (f" --config {config}" if config else "")
        with progress_bars(Console()) as progress, worker_processes() as executor:
            report = make_embedder(folder, settings, executor, progress, command)
    Console().print((folder / "README.md").read_text(), soft_wrap=True, highlight=False, markup=False)
    write_figures(json_file, report)


@embedder_app.command()
def card(folder: Annotated[Path, typer.Argument(help="Embedder that `innerear embedder train` made.")],
         pieces: Annotated[int, typer.Option(help="Of each kind.", min=10)] = 400,
         json_file: JsonOption = None) -> None:
    """Measure a trained embedder again on pieces it has not met, beside embedders that learnt nothing."""
    from offline_training.embedder.card import measure, page, read_settings  # noqa: PLC0415
    from offline_training.workers import worker_processes  # noqa: PLC0415
    from realtime.music.onnx_embedder import OnnxEmbedder  # noqa: PLC0415

    with one_sentence_of_ours():
        embedder, settings = OnnxEmbedder.read(folder), read_settings(folder, pieces)
        with progress_bars(Console()) as progress, worker_processes() as executor:
            figures = measure(embedder, settings, executor, progress)
    shown = page(embedder.spec.name, figures, f"innerear embedder card {folder}")
    Console().print(shown, soft_wrap=True, highlight=False, markup=False)
    write_figures(json_file, figures)


@corpus_app.command()
def judge(session: Annotated[Path, typer.Argument(help="Folder of a recorded session with trials.")],
          catalogue: Annotated[Path, typer.Option(help="Its corpus, with the audio.")],
          scorer: Annotated[str, typer.Option(help="Embedder that had no part in choosing.")] = "scorer-64",
          json_file: JsonOption = None) -> None:
    """Hold what a session decoded, retrieved and really played against what was heard, by a second embedder."""
    from offline_training.embedders import open_scorer  # noqa: PLC0415
    from offline_training.played_music import judge as judged  # noqa: PLC0415
    from offline_training.played_music import show  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    with one_sentence_of_ours():
        figures = judged(session, read_catalogue(catalogue), open_scorer(scorer))
    Console().print(show(figures))
    write_figures(json_file, figures)


@corpus_app.command()
def examples(folder: Annotated[Path, typer.Argument(help="Folder to make.")],
             seconds: Annotated[float, typer.Option(help="Shortest length of a piece.", min=1.0, max=600.0)] = 10.0,
             seed: Annotated[int, typer.Option(help="Which pieces.", min=0)] = 3) -> None:
    """Ten procedural pieces to listen to, one per genre, and a picture of their spectra."""
    from offline_training.examples import write_examples  # noqa: PLC0415

    with one_sentence_of_ours():
        paths = write_examples(folder, seconds, seed)
    Console().print(f"{len(paths) - 3} pieces in {folder}, their spectra in {paths[-1]}", soft_wrap=True,
                    highlight=False)


@generator_app.command("train")
def train_generator(folder: Annotated[Path, typer.Argument(help="Folder for the generator.")],
                    embedder: Annotated[str, typer.Option(help="Whose space conditions it: name, folder or .npz.")],
                    scorer: Annotated[str, typer.Option(help="Another embedder, which judges.")] = "scorer-64",
                    pieces: Annotated[int, typer.Option(help="Procedural pieces to learn from.", min=10)] = 4000,
                    steps: Annotated[int, typer.Option(help="Of training the token model.", min=1)] = 2000,
                    targets: Annotated[int, typer.Option(help="Unseen pieces of each kind to judge by.", min=0)] = 100,
                    json_file: JsonOption = None) -> None:
    """Make the director's library of themes and train the token model in the space of an embedder; minutes."""
    from offline_training.embedders import open_embedder, open_scorer  # noqa: PLC0415

    with one_sentence_of_ours():
        try:
            from offline_training.generator.fit_tokens import TokenTraining  # noqa: PLC0415 - torch, only here
            from offline_training.generator.train import GeneratorTraining  # noqa: PLC0415
            from offline_training.generator.train import train_generator as fit  # noqa: PLC0415
        except ImportError as exc:
            raise TrainingError("a generator is trained with torch, which is not installed; install it with: pip "
                                "install 'innerear[embedder]'") from exc
        training = GeneratorTraining(pieces, targets, tokens=TokenTraining(steps))
        command = f"innerear generator train {folder} --embedder {embedder} --pieces {pieces} --steps {steps}"
        with progress_bars(Console()) as progress:
            report = fit(folder, open_embedder(embedder), open_scorer(scorer), training, command, progress)
    Console().print(f"generator in {folder}: {report['nats_per_token']:.2f} nats per token; what it can do is in "
                    f"{folder / 'report.json'}", soft_wrap=True, highlight=False)
    write_figures(json_file, report)


@generator_app.command()
def adapt(model: Annotated[Path, typer.Argument(help="Folder with a MusicGen model, as transformers saves it.")],
          out: Annotated[Path, typer.Argument(help="The adapter, an .npz.")],
          embedder: Annotated[str, typer.Option(help="Whose space will condition: name or folder.")] = "synth-128",
          pieces: Annotated[int, typer.Option(help="Procedural pieces to learn from.", min=50)] = 1000,
          json_file: JsonOption = None) -> None:
    """Fit what turns an embedding into what MusicGen's text encoder would have said of the music's caption."""
    from offline_training.embedders import open_embedder  # noqa: PLC0415
    from offline_training.workers import worker_processes  # noqa: PLC0415

    with one_sentence_of_ours():
        try:
            from offline_training.generator.adapt import fit_adapter  # noqa: PLC0415 - torch, only here
        except ImportError as exc:
            raise TrainingError("an adapter is fitted with torch and transformers, which are not installed; install "
                                "them with: pip install 'innerear[embedder]'") from exc
        with progress_bars(Console()) as progress, worker_processes() as executor:
            adapter = fit_adapter(model, open_embedder(embedder), pieces, executor, progress)
            adapter.save(out)
    Console().print(f"adapter in {out}: it tells {adapter.about['explained']:.2f} of what captions of unseen pieces "
                    f"tell (with captions permuted {adapter.about['explained_permuted']:.2f})", soft_wrap=True,
                    highlight=False)
    write_figures(json_file, adapter.about)


if __name__ == "__main__":
    app()
