"""Music as an embedding sees it: a corpus's clips, or clips that exist as vectors only."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from offline_training.corpus import Corpus
from offline_training.simulation.settings import SimulationSettings
from realtime.music.synth_styles import GENRES


@dataclass(frozen=True)
class EmbeddingSettings:
    """A space of music embeddings in which genres overlap as they do in learnt ones.

    Attributes
    ----------
    dim : int
        Dimensions.
    spectrum : float
        Variance of principal component k within a genre falls as k to this power, negated.
    genre_share : float
        Share of the variance that lies between genres.
    genre_spectrum : float
        As `spectrum`, of the genres' means.
    """

    dim: int = 128
    spectrum: float = 0.4
    genre_share: float = 0.12
    genre_spectrum: float = 1.5


@dataclass(frozen=True, eq=False)
class Music:
    """Clips that can be heard.

    Attributes
    ----------
    clip_ids, genres : tuple of str
        Of every clip.
    training : bool array of shape (n_clips,)
        False for clips that are kept for test runs.
    embeddings : float32 array of shape (n_clips, dim)
    rows : dict of str to int
        Row of every clip.
    """

    clip_ids: tuple[str, ...]
    genres: tuple[str, ...]
    training: NDArray[np.bool_]
    embeddings: NDArray[np.float32]
    rows: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", {clip: row for row, clip in enumerate(self.clip_ids)})

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        """The clips of a corpus."""
        clips = corpus.clips
        return cls(tuple(clip.clip_id for clip in clips), tuple(clip.genre for clip in clips),
                   np.array([clip.split == "training" for clip in clips]), corpus.embeddings)

    def embedding(self, clip_id: str) -> NDArray[np.float32]:
        """Of a clip, shape (dim,)."""
        vector: NDArray[np.float32] = self.embeddings[self.rows[clip_id]]
        return vector


def embedded_music(settings: SimulationSettings, space: EmbeddingSettings | None = None) -> Music:
    """As many clips of ten genres as the session needs, as vectors.

    A clip's vector is its genre's mean and its own part, Gaussian along common principal axes that
    are turned at random, so that no dimension is an axis. Total variance is 1 per dimension.
    """
    space = space or EmbeddingSettings()
    rng = np.random.default_rng([settings.seed, 11])
    n_training = settings.n_training_runs * settings.blocks_per_training_run
    n_each = n_training + settings.n_test_runs + settings.extra_clips_per_genre
    order = np.arange(1, space.dim + 1)
    own = order ** -space.spectrum
    shared = order ** -space.genre_spectrum
    own *= (1 - space.genre_share) * space.dim / own.sum()
    shared *= space.genre_share * space.dim / shared.sum()
    means = np.sqrt(shared) * rng.standard_normal((len(GENRES), space.dim))
    genre = np.repeat(np.arange(len(GENRES)), n_each)
    along = means[genre] + np.sqrt(own) * rng.standard_normal((len(genre), space.dim))
    turn = np.linalg.qr(rng.standard_normal((space.dim, space.dim)))[0]
    number = np.tile(np.arange(n_each), len(GENRES))
    names = tuple(f"{GENRES[g]}.{i:05d}" for g, i in zip(genre, number, strict=True))
    is_test = (number >= n_training) & (number < n_training + settings.n_test_runs)
    return Music(names, tuple(GENRES[g] for g in genre), ~is_test, (along @ turn).astype(np.float32))
