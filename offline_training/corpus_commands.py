"""The commands for music: compose, build, search, index, calibrate, judge, examples, upload."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from offline_training.command_line import (
    JsonOption,
    one_sentence_of_ours,
    progress_bars,
)
from offline_training.errors import DatasetError
from realtime.console.figures import write_figures

app = typer.Typer(no_args_is_help=True, help="Build the music that can be played.")


@app.command()
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


@app.command()
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


@app.command()
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


@app.command("upload")
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


@app.command("calibrate")
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


@app.command()
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


@app.command()
def judge(session: Annotated[Path, typer.Argument(help="Folder of a recorded session with trials.")],
          catalogue: Annotated[Path, typer.Option(help="Its corpus, with the audio.")],
          scorer: Annotated[str, typer.Option(help="Embedder that had no part in choosing.")] = "scorer-64",
          json_file: JsonOption = None) -> None:
    """Hold what a session decoded, retrieved and really played against what was heard, by a second embedder."""
    from offline_training.corpus_search import probes_of  # noqa: PLC0415
    from offline_training.embedders import open_scorer  # noqa: PLC0415
    from offline_training.played_music import judge as judged  # noqa: PLC0415
    from offline_training.played_music import show  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    with one_sentence_of_ours():
        music = read_catalogue(catalogue)
        figures = judged(session, music, open_scorer(scorer), probes_of(catalogue, music.space))
    Console().print(show(figures))
    write_figures(json_file, figures)


@app.command()
def examples(folder: Annotated[Path, typer.Argument(help="Folder to make.")],
             seconds: Annotated[float, typer.Option(help="Shortest length of a piece.", min=1.0, max=600.0)] = 10.0,
             seed: Annotated[int, typer.Option(help="Which pieces.", min=0)] = 3) -> None:
    """Ten procedural pieces to listen to, one per genre, and a picture of their spectra."""
    from offline_training.examples import write_examples  # noqa: PLC0415

    with one_sentence_of_ours():
        paths = write_examples(folder, seconds, seed)
    Console().print(f"{len(paths) - 3} pieces in {folder}, their spectra in {paths[-1]}", soft_wrap=True,
                    highlight=False)
