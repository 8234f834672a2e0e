"""Training of a generator, from an embedder to the folder that the live program reads."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from offline_training.errors import FitError
from offline_training.generator.export import write_generator
from offline_training.generator.fidelity import measure
from offline_training.generator.fit_tokens import TokenTraining, train_tokens
from offline_training.generator.makers import makers
from offline_training.generator.page import page
from offline_training.generator.pieces import make_pieces
from offline_training.progress import Progress
from realtime.atomic import write_bytes, write_json
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.ports import Embedder


@dataclass(frozen=True)
class GeneratorTraining:
    """What to learn from, and how long.

    Attributes
    ----------
    n_pieces : int
        Procedural pieces: the themes of the library, and what the token model learns to write.
    n_targets : int
        Unseen pieces of each kind to judge by; 0 to judge nothing.
    seed : int
        Of all pieces.
    tokens : TokenTraining
        Of the token model.
    """

    n_pieces: int = 4000
    n_targets: int = 100
    seed: int = 100
    tokens: TokenTraining = field(default_factory=TokenTraining)


def train_generator(folder: Path, embedder: Embedder, scorer: OnnxEmbedder, training: GeneratorTraining,
                    command: str, progress: Progress | None = None) -> dict[str, Any]:
    """Make the library of themes, train the token model, and judge both; returns the report that lies beside them.

    Parameters
    ----------
    folder : Path
        Made if need be.
    embedder : Embedder
        Of the space that will condition.
    scorer : OnnxEmbedder
        Another one, which judges.
    training : GeneratorTraining
        The rest.
    command : str
        That asked for it, for people.
    progress : Progress, optional
        Told of everything that is done.

    Raises
    ------
    FitError
        Settings nothing can be learnt with, or a folder that cannot be written.
    """
    pieces = make_pieces(embedder, training.n_pieces, training.seed, progress)
    network, loss = train_tokens(pieces, training.tokens, progress)
    report = {"command": command, "space": asdict(embedder.space), "scorer": asdict(scorer.space),
              "training": asdict(training), "nats_per_token": round(loss, 4)}
    try:
        write_generator(folder, pieces.themes, network, {"command": command})
        if training.n_targets:
            report["figures"] = measure(makers(folder), embedder, scorer, training.n_targets)
            write_bytes(folder / "README.md", page(folder.name, report).encode())
        write_json(folder / "report.json", report)
    except OSError as exc:
        raise FitError(f"the generator cannot be written to {folder} ({exc.strerror}); choose another folder") from exc
    return report
