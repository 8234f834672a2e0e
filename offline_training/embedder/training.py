"""The training loop."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offline_training.embedder.objectives import agreement, readable, same_piece
from offline_training.embedder.pieces import Pieces
from offline_training.embedder.settings import EmbedderSettings
from offline_training.embedder.towers import TwoTowers
from offline_training.embedder.truth import draw_claims, vocabulary
from offline_training.progress import Progress
from realtime.music.words import WordTable

_SHORTEST_HEARING_S = 4.0


def train_towers(pieces: Pieces, settings: EmbedderSettings, progress: Progress | None = None) -> TwoTowers:
    """Train on the pieces; same settings and pieces, same towers on one machine up to rounding.

    Every step draws a length between 4 s and the window, hears each piece twice at different places
    through different equalisers, and says one true thing about each piece.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, 99])
    words = WordTable(vocabulary())
    towers = TwoTowers(settings, len(words.words)).train()
    n_steps = settings.n_epochs * (len(pieces.levels) // settings.batch_size)
    optimiser = torch.optim.AdamW(towers.parameters(), settings.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, n_steps, pct_start=0.15)
    for step, rows in enumerate(_batches(len(pieces.levels), n_steps, settings.batch_size, rng)):
        loss = _loss(towers, pieces, rows, words, settings, rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(towers.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress("training", step + 1, n_steps)
    return towers.eval()


def _batches(n: int, n_steps: int, size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    per_epoch = n // size
    orders = [rng.permutation(n)[: per_epoch * size].reshape(per_epoch, size) for _ in range(n_steps // per_epoch)]
    return list(np.concatenate(orders))


def _loss(towers: TwoTowers, pieces: Pieces, rows: NDArray[np.int64], words: WordTable, settings: EmbedderSettings,
          rng: np.random.Generator) -> Tensor:
    n_frames = settings.front_end.n_frames(float(rng.uniform(_SHORTEST_HEARING_S, settings.window_s)))
    first, second = (towers.audio(_hear(pieces.levels[rows], n_frames, settings, rng)) for _ in range(2))
    claims = draw_claims(pieces.truths, rows, rng)
    said = towers.text(torch.from_numpy(words.tokens([claims.text(row, rng) for row in range(len(rows))])))
    truths = pieces.truths.take(rows)
    holds = torch.from_numpy(claims.hold(truths))
    sharp = towers.log_sharpness.clamp(max=4.0).exp()
    said_well, heard_well = agreement(sharp[0] * said @ first.T, holds), same_piece(sharp[1] * first @ second.T)
    return said_well + heard_well + readable(
        towers.probes(first), torch.from_numpy(truths.shares), torch.from_numpy(truths.lead),
        torch.from_numpy(truths.mood), torch.from_numpy(truths.instruments.astype(np.float32)),
        torch.from_numpy(np.log2(truths.bpm / 100)))


def _hear(levels: NDArray[np.float16], n_frames: int, settings: EmbedderSettings, rng: np.random.Generator) -> Tensor:
    """A stretch of each piece as another room and another loudspeaker would give it, shape (n, n_frames, n_bands)."""
    starts = rng.integers(0, levels.shape[1] - n_frames + 1, len(levels))
    heard = np.stack([row[start:start + n_frames] for row, start in zip(levels, starts, strict=True)])
    knots = rng.normal(0.0, 0.35, (len(levels), 6))  # tens of dB
    at = np.linspace(0, 5, levels.shape[2])
    low = np.minimum(at.astype(int), 4)
    part = at - low
    colour = knots[:, low] * (1 - part) + knots[:, low + 1] * part
    power = torch.pow(10.0, torch.from_numpy((heard + colour[:, None]).astype(np.float32)))
    noise = torch.from_numpy(10.0 ** rng.uniform(-6.0, -2.5, (len(levels), 1, 1)).astype(np.float32))
    floor = 10.0 ** (-settings.front_end.floor_db / 10)
    return torch.log10((power + noise) / power.mean(dim=(1, 2), keepdim=True) + floor)
