"""Training of the token model: texts of procedural pieces, each token beside the embedding of what is heard."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from offline_training.errors import FitError
from offline_training.generator.network import Network, NetworkSize
from offline_training.generator.pieces import PieceSet
from offline_training.progress import Progress
from realtime.generators.tokens import HEADER, VOCABULARY, ScoreText
from realtime.music.synth_parts import STEPS_PER_BAR

N_TOKENS = 256
BATCH = 16
_SPLICED = 0.6  # of the texts change to another piece in the middle of a bar
_NOISES = (0.0, 0.0, 0.15, 0.3)  # standard deviations of what is added to standardised conditions


@dataclass(frozen=True)
class TokenTraining:
    """How long and how fast to learn.

    Attributes
    ----------
    n_steps : int
        Of 16 texts each.
    rate : float
        Of learning at its highest, reached after a twentieth of the steps, then falling to a hundredth.
    seed : int
        Of weights and texts.
    """

    n_steps: int = 2000
    rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_steps < 1 or not 0 < self.rate < 1 or self.seed < 0:
            raise FitError(f"a token model cannot be trained with {self}; wanted n_steps 1 or more, a rate between 0 "
                           "and 1 and a seed of 0 or more")


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts and conditions.

    Attributes
    ----------
    tokens : int64 array of shape (batch, n + 1)
        Texts.
    conditions : float32 array of shape (batch, n, dim)
        Beside the first n tokens of each.
    """

    tokens: NDArray[np.int64]
    conditions: NDArray[np.float32]


def train_tokens(pieces: PieceSet, training: TokenTraining, progress: Progress | None = None,
                 size: NetworkSize | None = None) -> tuple[Network, float]:
    """A network that writes the pieces' music, and its mean loss over the last tenth of training, in nats per token."""
    torch.set_num_threads(1)  # two threads on two shared cores spent five times the processor time on waiting
    torch.manual_seed(training.seed)
    embeddings = pieces.embeddings
    scale = np.maximum(embeddings.std(axis=0), 1e-6)
    network = Network(pieces.space.dim, size or NetworkSize(), torch.from_numpy(embeddings.mean(axis=0)),
                      torch.from_numpy(scale))
    optimiser = torch.optim.AdamW(network.parameters(), training.rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.rate, training.n_steps, pct_start=0.05,
                                                   div_factor=10, final_div_factor=10)
    losses = []
    for number, batch in zip(range(training.n_steps), batches(pieces, scale, training.seed), strict=False):
        tokens = torch.from_numpy(batch.tokens)
        scores = network(tokens[:, :-1], torch.from_numpy(batch.conditions))
        loss = functional.cross_entropy(scores.flatten(0, 1), _written(tokens[:, 1:]).flatten())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if progress is not None:
            progress("training the token model", number + 1, training.n_steps)
    return network.eval(), float(np.mean(losses[-max(1, training.n_steps // 10):]))


def _written(tokens: torch.Tensor) -> torch.Tensor:
    """What the model has to write itself: headers are said to it, and count nothing."""
    first, last = VOCABULARY.tokens(HEADER[0]).start, VOCABULARY.tokens(HEADER[-1]).stop
    return torch.where((tokens >= first) & (tokens < last), -100, tokens)


def batches(pieces: PieceSet, scale: NDArray[np.float32], seed: int) -> Iterator[Batch]:
    """Texts without end."""
    rng = np.random.default_rng([seed, 5])
    texts = [ScoreText(piece.score) for piece in pieces.pieces]
    while True:
        tokens, conditions = [], []
        for _ in range(BATCH):
            text, owners = _text(texts, rng)
            noise = rng.choice(_NOISES) * scale
            heard = {owner: pieces.pieces[owner].embedding + noise * rng.standard_normal(len(scale))
                     for owner in sorted(set(owners))}
            tokens.append(text)
            conditions.append([heard[owner] for owner in owners[:-1]])
        yield Batch(np.array(tokens), np.array(conditions, np.float32))


def _text(texts: list[ScoreText], rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """N_TOKENS + 1 tokens and whose they are; some change to another piece, at any step of a bar."""
    now, bar = int(rng.integers(len(texts))), int(rng.integers(8))
    change = int(rng.integers(3)) if rng.random() < _SPLICED else -1
    tokens: list[int] = []
    owners: list[int] = []
    while len(tokens) <= N_TOKENS:
        written = [(now, texts[now].bar(bar))]
        if change == 0:
            step, other = int(rng.integers(1, STEPS_PER_BAR)), int(rng.integers(len(texts)))
            written = [(now, texts[now].bar(bar, 0, step)), (other, texts[other].bar(bar, step))]
            now = other
        change, bar = change - 1, bar + 1
        for owner, part in written:
            tokens += part
            owners += [owner] * len(part)
    return tokens[: N_TOKENS + 1], owners[: N_TOKENS + 1]
