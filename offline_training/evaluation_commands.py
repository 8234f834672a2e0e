"""The commands that judge: evaluate and report."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from offline_training.command_line import JsonOption, WorkersOption, one_sentence_of_ours, progress_bars
from realtime.console.figures import write_figures

app = typer.Typer()


@app.command()
def evaluate(bundle: Annotated[Path, typer.Argument(help="Bundle folder, or that of a decoder of arrays.")],
             dataset: Annotated[Path, typer.Argument(help="BIDS data set with test runs, or response arrays.")],
             catalogue: Annotated[Path | None, typer.Option(help="Corpus; default DATASET/stimuli.")] = None,
             subject: Annotated[str | None, typer.Option(help="Which subject.")] = None, workers: WorkersOption = "",
             json_file: JsonOption = None,
             page: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures here.")] = None,
             session: Annotated[Path | None, typer.Option(help="Live session on one of the runs, to compare.")] = None,
             whole: Annotated[bool, typer.Option("--whole", help="Align the training runs, too, for other targets, a "
                                                                 "genre left out and encoding models.")] = False,
             keep: Annotated[Path | None, typer.Option(help="With --whole: folder of runs aligned before.")] = None,
             maps: Annotated[Path | None, typer.Option(help="With --whole: folder for encoding maps (NIfTI).")] = None,
             music_trials: Annotated[int, typer.Option("--music", help="Trials whose music is heard again by a second "
                                                                       "embedder; 0 for none.", min=0)] = 60,
             scorer: Annotated[str, typer.Option(help="That second embedder.")] = "scorer-64",
             permutations: Annotated[int, typer.Option(help="Shuffles behind every null.", min=1000)] = 2000,
             seed: Annotated[int, typer.Option(help="Of shuffles and resamples.", min=0)] = 0) -> None:
    """How well a bundle decodes the held-out runs of a data set: every measure with its interval and chance band."""
    from offline_training.corpus_search import probes_of  # noqa: PLC0415
    from offline_training.evaluate import score_runs  # noqa: PLC0415
    from offline_training.evaluation.scorecard import Draws  # noqa: PLC0415
    from offline_training.evaluation_figures import evaluation_figures  # noqa: PLC0415
    from offline_training.evaluation_page.page import write_page  # noqa: PLC0415
    from offline_training.evaluation_subject import decoded_subject  # noqa: PLC0415
    from offline_training.recordings import read_recordings  # noqa: PLC0415
    from offline_training.workers import workers as open_workers  # noqa: PLC0415
    from realtime.music.catalogue import read_catalogue  # noqa: PLC0415

    corpus, draws = catalogue or dataset / "stimuli", Draws(n_permutations=permutations, seed=seed)
    with one_sentence_of_ours():
        music, tracks = read_catalogue(corpus), read_recordings(corpus).of_clip
        with progress_bars(Console()) as progress, open_workers(workers) as executor:
            person = decoded_subject(bundle, dataset, subject, music, executor, progress)
            evaluation = score_runs(person.decoded, person.decoder.reliability, music)
            figures: dict[str, Any] = evaluation.figures()
            if json_file is not None or page is not None or session is not None:
                probes = probes_of(corpus, music.space)
                remaking = _remaking(music, probes, scorer, music_trials)
                figures |= evaluation_figures(person.decoder, person.runs, music, person.decoded, tracks, draws,
                                              probes, session, remaking, progress)
            if whole:
                with _kept(keep) as folder:
                    further = _whole(person, music, corpus, tracks, draws, folder, maps, executor, progress)
                figures |= further
        if page is not None:
            write_page(figures, page)
    Console().print(evaluation.verdict, soft_wrap=True, highlight=False)
    if "live" in figures:
        live = figures["live"]
        Console().print(f"live and offline differ by at most {live['largest_difference']:.1e} in {live['n_vectors']} "
                        f"decoded vectors of {live['run_id']}" if live["n_vectors"] else
                        "no vector was decoded both live and offline", soft_wrap=True, highlight=False)
    write_figures(json_file, figures)


@app.command()
def group(evaluations: Annotated[list[Path], typer.Argument(help="Figures of evaluations (JSON), one person each.")],
          groups: Annotated[Path | None, typer.Option(help="TSV with columns subject and group; two are "
                                                           "compared.")] = None,
          json_file: JsonOption = None,
          page: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures here.")] = None,
          seed: Annotated[int, typer.Option(help="Of resamples and sign flips.", min=0)] = 0) -> None:
    """Many people's evaluations as one: means and intervals over people, against chance and controls, two groups."""
    from offline_training.evaluation_page.group import verdict, write_group_page  # noqa: PLC0415
    from offline_training.evaluation_page.page import read_figures  # noqa: PLC0415
    from offline_training.group_figures import group_figures, read_groups  # noqa: PLC0415

    with one_sentence_of_ours():
        figures = group_figures([read_figures(path) for path in evaluations], read_groups(groups) if groups else None,
                                seed)
        if page is not None:
            write_group_page(figures, page)
    Console().print(verdict(figures), soft_wrap=True, highlight=False)
    write_figures(json_file, figures)


@app.command()
def report(session: Annotated[Path, typer.Argument(help="Folder of a recorded session or visit, or figures of an "
                                                        "evaluation or a group (JSON).")],
           out: Annotated[Path | None, typer.Option(help="HTML file; default report.html in that folder, or the "
                                                         "figures' name with .html.")] = None,
           catalogue: Annotated[Path | None, typer.Option(help="Corpus of the session with its audio; default the one "
                                                               "it was started with.")] = None,
           scorer: Annotated[str, typer.Option(help="Embedder that judges the music; another than chose "
                                                    "it.")] = "scorer-64",
           allocation: Annotated[Path | None, typer.Option(help="Opened: nothing is withheld.")] = None,
           cred_nf: Annotated[bool, typer.Option("--cred-nf", help="Fill the CRED-nf checklist instead.")] = False,
           cobidas: Annotated[bool, typer.Option("--cobidas", help="Fill the COBIDAS checklist instead.")] = False,
           ) -> None:
    """A recorded session, a visit, or an evaluation's figures, as one HTML page with pictures; or filled checklists."""
    from offline_training.checklists.page import write_checklists  # noqa: PLC0415
    from offline_training.evaluation_figures import FORMAT as EVALUATION  # noqa: PLC0415
    from offline_training.evaluation_page.group import write_group_page  # noqa: PLC0415
    from offline_training.evaluation_page.page import read_figures, write_page  # noqa: PLC0415
    from offline_training.group_figures import FORMAT as GROUP  # noqa: PLC0415
    from offline_training.report import write_report  # noqa: PLC0415
    from offline_training.visit_report import is_visit, write_visit_report  # noqa: PLC0415

    with one_sentence_of_ours():
        chosen = tuple(name for name, wanted in (("cred_nf", cred_nf), ("cobidas", cobidas)) if wanted)
        if chosen:
            target = out or session / "checklists.html"
            write_checklists(session, chosen, target, allocation)
        elif session.is_file():
            target = out or session.with_suffix(".html")
            figures = read_figures(session, (EVALUATION, GROUP))
            (write_group_page if figures["format"] == GROUP else write_page)(figures, target)
        else:
            target = out or session / "report.html"
            if is_visit(session):
                write_visit_report(session, target, allocation)
            else:
                write_report(session, target, allocation, catalogue, scorer)
    Console().print(str(target), soft_wrap=True, highlight=False)


def _remaking(music: Any, probes: Any, scorer: str, n_trials: int) -> Any:
    """How decoded vectors become music again and are judged; None where nobody wants it."""
    if not n_trials:
        return None
    from offline_training.embedders import open_scorer  # noqa: PLC0415
    from offline_training.remade_music import Remaking, makers_in  # noqa: PLC0415

    return Remaking(open_scorer(scorer), probes, makers_in(music.space), n_trials)


def _whole(person: Any, music: Any, corpus: Path, tracks: Any, draws: Any, folder: Path, maps: Path | None,
           executor: Any, progress: Any) -> dict[str, Any]:
    from offline_training.encoding.model import EncodingSettings  # noqa: PLC0415
    from offline_training.evaluation_figures import decoded_table  # noqa: PLC0415
    from offline_training.evaluation_refits import encoding_figures, refit_figures, target_kinds  # noqa: PLC0415

    session = person.whole(music, tracks, folder, executor, progress)
    clips = sorted({*session.training.heard.clip_ids, *session.test.heard.clip_ids})
    kinds = target_kinds(music, corpus, clips)
    table = decoded_table(person.decoded, person.runs, music, tracks)
    figures = refit_figures(session, table, music, kinds, draws, progress)
    settings = EncodingSettings(n_permutations=max(draws.n_permutations, EncodingSettings().n_permutations),
                                seed=draws.seed)
    return figures | {"encoding": encoding_figures(session, kinds, settings, maps, progress)}


@contextmanager
def _kept(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="innerear-evaluate-") as scratch:
        yield Path(scratch)
