"""Training of a generator, from an embedder to the folder that the live program reads."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from offline_training.errors import FitError
from offline_training.generator.attributes import fit_readouts, judge_readouts
from offline_training.generator.export import write_generator
from offline_training.generator.fit_tokens import TokenTraining, train_tokens
from offline_training.generator.pieces import make_pieces
from offline_training.progress import Progress
from realtime.atomic import write_json
from realtime.ports import Embedder


@dataclass(frozen=True)
class GeneratorTraining:
    """What to learn from, and how long.

    Attributes
    ----------
    n_pieces, n_test_pieces : int
        Procedural pieces to fit to, and others to judge by.
    seed : int
        Of all pieces.
    tokens : TokenTraining
        Of the token model.
    """

    n_pieces: int = 2000
    n_test_pieces: int = 200
    seed: int = 100
    tokens: TokenTraining = field(default_factory=TokenTraining)


def train_generator(folder: Path, embedder: Embedder, training: GeneratorTraining,
                    progress: Progress | None = None) -> dict[str, Any]:
    """Train read-outs and token model in the embedder's space; returns the report that lies beside them.

    Raises
    ------
    FitError
        Settings nothing can be learnt with, or a folder that cannot be written.
    """
    pieces = make_pieces(embedder, training.n_pieces, training.seed, progress)
    unseen = make_pieces(embedder, training.n_test_pieces, training.seed + 1, progress)
    readouts = fit_readouts(pieces)
    network, loss = train_tokens(pieces, training.tokens, progress)
    report = {"space": asdict(embedder.space), "training": asdict(training), "nats_per_token": loss,
              "read_outs_on_unseen_pieces": judge_readouts(readouts, unseen)}
    try:
        write_generator(folder, readouts, network, {"training": asdict(training)})
        write_json(folder / "report.json", report)
    except OSError as exc:
        raise FitError(f"the generator cannot be written to {folder} ({exc.strerror}); choose another folder") from exc
    return report
