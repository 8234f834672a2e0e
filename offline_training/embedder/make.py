"""The whole way to an embedder: music, training, export, figures."""

from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path

import torch

from offline_training.embedder.card import REPORT_FILE, Figures, measure, page
from offline_training.embedder.export import export_embedder
from offline_training.embedder.pieces import make_pieces, together
from offline_training.embedder.settings import EmbedderSettings
from offline_training.embedder.training import train_towers
from offline_training.progress import Progress
from realtime.atomic import write_bytes, write_json
from realtime.music.onnx_embedder import OnnxEmbedder


def make_embedder(folder: Path, settings: EmbedderSettings, executor: Executor, progress: Progress | None = None,
                  command: str = "") -> Figures:
    """Train an embedder, export it, and write what it can do beside it.

    Parameters
    ----------
    folder : Path
        Made where absent.
    settings : EmbedderSettings
        Same settings, same figures up to the rounding of another machine.
    executor : Executor
        Where pieces are made.
    progress : Progress, optional
        Told of everything that is done.
    command : str
        That asked for it, for the report.

    Returns
    -------
    report : dict
        As `report.json` holds it: settings, largest difference between networks and graphs, figures.

    Raises
    ------
    FitError
        The exported graphs compute something else than the networks.
    """
    pieces = make_pieces("training", settings, executor, progress)
    if settings.pieces.n_scrambled:
        pieces = together(pieces, make_pieces("scrambled", settings, executor, progress))
    torch.set_num_threads(1)  # with two on a loaded machine, threads waiting for each other took ten times as long
    towers = train_towers(pieces, settings, progress)
    difference = export_embedder(folder, towers, settings)
    embedder = OnnxEmbedder.read(folder)
    figures = measure(embedder, settings, executor, progress)
    report = {"command": command, "torch": torch.__version__, "settings": asdict(settings),
              "space": asdict(embedder.space), "largest_difference_onnx_torch": difference,
              "parameters": sum(weight.numel() for weight in towers.parameters()), "figures": figures}
    write_json(folder / REPORT_FILE, report)
    write_bytes(folder / "README.md", page(settings.name, figures, command).encode())
    return report
