"""The commands that train what is shipped as models: embedders and generators."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from offline_training.command_line import (
    ConfigOption,
    JsonOption,
    one_sentence_of_ours,
    progress_bars,
)
from offline_training.errors import TrainingError
from realtime.config import load_settings
from realtime.console.figures import write_figures

embedder_app = typer.Typer(no_args_is_help=True, help="Train an embedder of sound and words, or measure one.")
generator_app = typer.Typer(no_args_is_help=True, help="Train what generates music.")


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
