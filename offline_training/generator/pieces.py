"""Procedural pieces to learn from: what was played, and where it lies in an embedding space."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from offline_training.errors import FitError
from offline_training.progress import Progress, counted
from realtime.generators.themes import Themes, theme_of
from realtime.messages import Condition, EmbeddingSpace
from realtime.music.synth import mono, perform
from realtime.music.synth_parts import AS_THE_STYLE_HAS_IT, Arrangement
from realtime.music.synth_score import Score, compose
from realtime.music.synth_styles import GENRES, STYLES
from realtime.playback.settings import RATE_HZ
from realtime.ports import Embedder, Generator

CORPUS_BORROW = 0.3
BORROW = 0.6
SWAP = 0.3
HEARD_S = 10.0


@dataclass(frozen=True, eq=False)
class Piece:
    """A score, the first `HEARD_S` of which the embedding describes.

    Attributes
    ----------
    score : Score
        The notes.
    embedding : float32 array of shape (dim,)
        In the space of the set it belongs to.
    """

    score: Score
    embedding: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PieceSet:
    """Pieces in one embedding space."""

    space: EmbeddingSpace
    pieces: tuple[Piece, ...]

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """Of all pieces, shape (n, dim)."""
        return np.array([piece.embedding for piece in self.pieces])

    @property
    def themes(self) -> Themes:
        """Of all pieces, as a library."""
        return Themes(self.space, [theme_of(piece.score.band) for piece in self.pieces], self.embeddings)


def scores(n: int, seed: int) -> Iterator[Score]:
    """Pieces to learn from, genres in turn.

    Six in ten borrow a part from another genre, three in ten have the lead or the chords played by a voice of
    another genre: what is learnt must be the parts, not ten labels.
    """
    for number in range(n):
        genre = GENRES[number % len(GENRES)]
        rng = np.random.default_rng([seed, number, 3])
        swapped = Arrangement()
        if rng.random() < SWAP:
            other = STYLES[GENRES[int(rng.integers(len(GENRES)))]]
            lead, chords = rng.choice(other.lead.voices), rng.choice(other.chords.voices)
            swapped = Arrangement(lead=str(lead)) if rng.random() < 0.5 else Arrangement(chords=str(chords))
        arrangement = swapped if swapped != Arrangement() else AS_THE_STYLE_HAS_IT
        yield compose(genre, _piece_seed(seed, number), HEARD_S, BORROW, arrangement)


def corpus_scores(n: int, seed: int) -> Iterator[Score]:
    """Pieces as `innerear corpus compose` makes them, genres in turn."""
    for number in range(n):
        yield compose(GENRES[number % len(GENRES)], _piece_seed(seed, number), HEARD_S, CORPUS_BORROW)


def _piece_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def heard(score: Score) -> NDArray[np.float32]:
    """The first `HEARD_S` of a score, mono, shape (n_frames,), at the player's rate."""
    return mono(perform(score, RATE_HZ).audio)[: round(HEARD_S * RATE_HZ)]


def played(generator: Generator, condition: Condition) -> NDArray[np.float32]:
    """The first `HEARD_S` that a fresh generator makes under a condition, mono, shape (n_frames,)."""
    generator.condition(condition)
    chunks, frames, wanted = [], 0, round(HEARD_S * generator.rate_hz)
    while frames < wanted:
        chunks.append(mono(generator.chunk().frames))
        frames += len(chunks[-1])
    return np.concatenate(chunks)[:wanted]


def make_pieces(embedder: Embedder, n: int, seed: int, progress: Progress | None = None) -> PieceSet:
    """Compose, play and embed n pieces, on all cores.

    Raises
    ------
    FitError
        Fewer than ten pieces: not one of each genre.
    """
    if n < len(GENRES):
        raise FitError(f"{n} pieces are too few to learn from; wanted at least {len(GENRES)}, a few thousand for use")

    def make(score: Score) -> Piece:
        return Piece(score, embedder.embed(heard(score), RATE_HZ))

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # else BLAS threads fight with ours
        made = tuple(counted(pool.map(make, scores(n, seed)), "composing and embedding", n, progress))
    return PieceSet(embedder.space, made)
