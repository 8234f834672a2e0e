"""What generated music costs and how well it says what it was asked to: one function per bar.

Quality is scored twice: in the space that conditioned, and, because that is circular, by a second
embedder that had no part in generating. Every accuracy stands beside the same with targets permuted.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.generator.pieces import HEARD_S, PieceSet
from realtime.generators.score_generator import ScoreGenerator
from realtime.messages import Condition
from realtime.music.synth import mono
from realtime.playback.settings import RATE_HZ
from realtime.ports import Embedder, Generator
from realtime.scoring import identification_accuracy

Make = Callable[[int], Generator]


@dataclass(frozen=True)
class Timing:
    """Of one generator, one thread; warm.

    Attributes
    ----------
    real_time_factor : float
        Processor seconds per second of music.
    first_chunk_ms, first_chunk_p95_ms : float
        From a fresh generator's condition to its first chunk, median and 95th percentile.
    seconds, n_starts : float, int
        Of music, and of first chunks.
    """

    real_time_factor: float
    first_chunk_ms: float
    first_chunk_p95_ms: float
    seconds: float
    n_starts: int


def cost(make: Make, embeddings: NDArray[np.float32], seconds: float = 20.0) -> Timing:
    """Processor time of music under each embedding in turn, and of first chunks."""
    starts, spent, made = [], 0.0, 0
    for number, embedding in enumerate(embeddings):
        generator = make(number)
        begun = time.process_time()
        generator.condition(Condition(0, 0, embedding))
        generator.chunk()
        starts.append(1000 * (time.process_time() - begun))
        gc.collect()
        begun = time.process_time()
        frames = 0
        while frames < seconds / len(embeddings) * RATE_HZ:
            frames += len(generator.chunk().frames)
        spent += time.process_time() - begun
        made += frames
    return Timing(spent * RATE_HZ / made, float(np.median(starts[1:])), float(np.percentile(starts[1:], 95)),
                  made / RATE_HZ, len(starts) - 1)


def generate(make: Make, embeddings: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Ten seconds of mono music for each embedding, each from a generator and a seed of its own."""
    made = []
    for number, embedding in enumerate(embeddings):
        generator = make(number)
        generator.condition(Condition(0, 0, embedding))
        chunks, frames = [], 0
        while frames < HEARD_S * RATE_HZ:
            chunks.append(mono(generator.chunk().frames))
            frames += len(chunks[-1])
        made.append(np.concatenate(chunks)[: round(HEARD_S * RATE_HZ)])
    return made


def identification(sounds: list[NDArray[np.float32]], targets: list[NDArray[np.float32]], embedder: Embedder,
                   seed: int = 0) -> dict[str, Any]:
    """Identification accuracy of generated music among all targets, by this embedder, and with targets permuted."""
    got = np.array([embedder.embed(sound, RATE_HZ) for sound in sounds], np.float64)
    wanted = np.array([embedder.embed(target, RATE_HZ) for target in targets], np.float64)
    names = [str(number) for number in range(len(targets))]
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    return {"value": identification_accuracy(got, wanted, names).mean, "n": len(targets),
            "permuted": identification_accuracy(got, wanted[shuffled], names).mean, "embedder": embedder.space.name}


def quality(make: Make, pieces: PieceSet, targets: list[NDArray[np.float32]], embedders: list[Embedder]
            ) -> dict[str, Any]:
    """Identification of music generated from the pieces' own embeddings, by each embedder."""
    sounds = generate(make, pieces.embeddings)
    return {f"identification by {number}": identification(sounds, targets, embedder)
            for number, embedder in enumerate(embedders)}


def makers(folder: Path, seed: int = 0) -> dict[str, Make]:
    """The generators that a trained folder holds."""
    from realtime.generators.director import Director
    from realtime.generators.readouts import Readouts
    from realtime.generators.token_composer import TokenComposer
    from realtime.generators.token_model import read_token_model

    readouts = Readouts.load(folder / "readouts.npz")
    return {"director": lambda number: ScoreGenerator(Director(readouts, seed + number), RATE_HZ),
            "model": lambda number: ScoreGenerator(
                TokenComposer(read_token_model(folder), readouts, seed + number), RATE_HZ)}
