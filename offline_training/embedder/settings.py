"""How an embedder is made."""

from dataclasses import dataclass, field

from offline_training.errors import FitError
from realtime.music.logmel import LogMelSettings


@dataclass(frozen=True)
class PieceSettings:
    """The music it learns from.

    Attributes
    ----------
    n_pieces, n_scrambled : int
        For training: those of one or two genres, and those whose every part comes from any genre. In the
        latter the melody's instrument must be heard, it cannot be guessed from the style.
    n_test_pieces : int
        Of each of the three kinds it is tested on.
    piece_s : float
        Shortest length of a piece.
    mixed : float
        Probability that a piece of `n_pieces` has parts of two genres.
    swapped : float
        Probability that melody or chords are played by any instrument.
    seed : int
        Of the music.
    """

    n_pieces: int = 4000
    n_scrambled: int = 1000
    n_test_pieces: int = 150
    piece_s: float = 12.6
    mixed: float = 0.4
    swapped: float = 0.6
    seed: int = 0


@dataclass(frozen=True)
class EmbedderSettings:
    """One embedder.

    Attributes
    ----------
    name : str
        Of its space.
    dim : int
        Length of a vector.
    seed : int
        Of the weights, and of the order and the hearing of the pieces.
    n_epochs, batch_size : int
        Of the training.
    learning_rate : float
        At its highest; falls along a cosine.
    n_channels : int
        Of the temporal convolutions.
    window_s, hop_s, shortest_s : float
        What one vector describes, the distance of windows in longer sound, and the least it takes.
    front_end : LogMelSettings
        From sound to levels.
    pieces : PieceSettings
        The music.
    """

    name: str = "synth-128"
    dim: int = 128
    seed: int = 0
    n_epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    n_channels: int = 128
    window_s: float = 10.0
    hop_s: float = 5.0
    shortest_s: float = 2.0
    front_end: LogMelSettings = field(default_factory=LogMelSettings)
    pieces: PieceSettings = field(default_factory=PieceSettings)

    def __post_init__(self) -> None:
        problems = []
        if not 2 <= self.batch_size <= self.pieces.n_pieces:
            problems.append(f"batch_size is {self.batch_size}, wanted 2 to n_pieces ({self.pieces.n_pieces})")
        if min(self.pieces.n_scrambled, self.pieces.n_test_pieces, self.pieces.seed) < 0:
            problems.append("pieces.n_scrambled, n_test_pieces and seed must be 0 or more")
        if self.pieces.piece_s < max(self.window_s, 12.5):
            problems.append(f"pieces.piece_s is {self.pieces.piece_s:g}, wanted 12.5, window_s or more")
        if not 1 <= self.shortest_s <= self.window_s:
            problems.append(f"shortest_s is {self.shortest_s:g}, wanted 1 to window_s ({self.window_s:g})")
        if self.front_end.n_bands % 8:
            problems.append(f"front_end.n_bands is {self.front_end.n_bands}, wanted a multiple of 8")
        if min(self.dim, self.n_epochs, self.n_channels) < 1 or self.learning_rate <= 0:
            problems.append("dim, n_epochs, n_channels and learning_rate must be positive")
        if problems:
            raise FitError(f"no embedder can be trained with these settings: {'; '.join(problems)}; correct them")
