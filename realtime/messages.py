"""Values that pass between the stages of the live program."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EmbeddingSpace:
    """Identity of a music embedding: two vectors may be compared only when all three agree.

    Attributes
    ----------
    name : str
        For people, such as "logmel-pca".
    dim : int
        Length of a vector.
    sha256 : str
        Of everything that defines the map from audio to vector.
    """

    name: str
    dim: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.name!r} (dim {self.dim}, sha256 {self.sha256[:8]})"


@dataclass(frozen=True)
class Clip:
    """One piece of music that can be played.

    Attributes
    ----------
    clip_id : str
        Unique in its catalogue.
    path : Path
        Audio file (WAV, FLAC or OGG).
    genre : str
        Label; "" when unknown.
    duration_s : float
        Length of the audio.
    bpm : float
        Tempo; 0 when unknown.
    first_beat_s : float
        Time of the first downbeat.
    gain_db : float
        What brings the file to the catalogue's loudness.
    sha256 : str
        Of the audio file.
    """

    clip_id: str
    path: Path
    genre: str = ""
    duration_s: float = 0.0
    bpm: float = 0.0
    first_beat_s: float = 0.0
    gain_db: float = 0.0
    sha256: str = ""


@dataclass(frozen=True)
class Match:
    """A clip found in a catalogue, with its centred cosine similarity to the query."""

    clip: Clip
    score: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a free run in which the same seems to go on.

    Attributes
    ----------
    number : int
        In the run, from 0.
    first_volume : int
        From which on the response is to it.
    change_log_odds : float
        That something new began within the last volumes, as it was when they came in; 0 while too few have.
    """

    number: int
    first_volume: int
    change_log_odds: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the volumes of the present trial, or segment, say so far.

    Attributes
    ----------
    trial : int
        Number of the trial in the run, from 0; -1 in a free run.
    n_volumes : int
        Usable volumes that went into it.
    embedding : float32 array of shape (dim,)
        Decoded from the mean of their features.
    segment : Segment or None
        Of a free run; None where there are trials.
    """

    trial: int
    n_volumes: int
    embedding: NDArray[np.float32]
    segment: Segment | None = None


@dataclass(frozen=True)
class Cue:
    """An instruction to the player: from the next beat on, play this clip.

    Attributes
    ----------
    number : int
        Counts the cues of a session, from 0.
    volume_index : int
        The volume whose decision this is.
    clip_id : str
        What to play; "" fades to silence.
    """

    number: int
    volume_index: int
    clip_id: str


@dataclass(frozen=True)
class Rendering:
    """How what plays is made to sound: graded feedback, always below what the operator set.

    Attributes
    ----------
    level_db : float
        Below the operator's volume; at most 0.
    clarity : float
        1 as it is; below, dull as through a wall: a low-pass that falls to 250 Hz at 0.
    """

    level_db: float = 0.0
    clarity: float = 1.0


PLAIN = Rendering()
"""As it is."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What generated music shall sound like from now on.

    Attributes
    ----------
    number : int
        Counts the conditions of a session, from 0.
    volume_index : int
        The volume whose decision this is.
    embedding : float32 array of shape (dim,)
        Finite, not centred.
    clip_id : str
        What retrieval would play: the anchor to begin from, and the fallback; "" for none.
    """

    number: int
    volume_index: int
    embedding: NDArray[np.float32]
    clip_id: str = ""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A short piece of generated music.

    Attributes
    ----------
    frames : float32 array of shape (n_frames, 2)
        Within ±1, finite.
    condition : int
        Number of the condition it was made under; -1 before the first.
    beat_frames : float
        Length of a beat; 0 when there is none.
    to_beat : int
        Frames from its start to the first beat in it or after it.
    """

    frames: NDArray[np.float32]
    condition: int
    beat_frames: float = 0.0
    to_beat: int = 0
