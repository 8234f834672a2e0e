"""The swap points of the live program, on one page.

Adding an implementation is one file, one line in `realtime.app` and one line in the port's
conformance suite (`tests/test_port_*.py`), which says when it is done. The bridge's own
swap point, `VolumeSource`, lives with the bridge and is named here too.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from realtime.messages import Chunk, Clip, Condition, EmbeddingSpace, Match
from scanner_bridge.ports import VolumeSource

__all__ = ["AudioSink", "Decoder", "Embedder", "Generator", "MessageBus", "MusicIndex", "SinkStats", "TextEmbedder",
           "VolumeSource"]


class Embedder(Protocol):
    """Audio to a vector of one embedding space."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space its vectors live in."""
        ...

    def embed(self, audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Vector of shape (dim,), finite, for sound of shape (n_samples,) or (n_samples, n_channels) in [-1, 1].

        Silence has a vector, too.

        Raises
        ------
        EmbedderError
            The sound is too short, of too low a rate, or holds NaN.
        """
        ...


class Decoder(Protocol):
    """Features to an embedding. Synchronous and deterministic; must answer within 20 ms."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space it predicts in."""
        ...

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding of shape (dim,) for finite features of shape (n_voxels,)."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Words to a vector of the space that an `Embedder` puts music in."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space its vectors live in."""
        ...

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Vector of shape (dim,), finite, for words such as "calm piano".

        Raises
        ------
        EmbedderError
            There is no text tower, or none of the words means anything to it.
        """
        ...


class MusicIndex(Protocol):
    """Nearest clips in one embedding space. Synchronous; in a live session it must answer within 20 ms.

    All implementations give the same score, to the bit, for the same clip and query; one that
    searches approximately may miss clips.
    """

    @property
    def space(self) -> EmbeddingSpace:
        """The space its clips are embedded in."""
        ...

    @property
    def centre(self) -> NDArray[np.float32]:
        """Mean embedding of the corpus, shape (dim,): cosines are taken after subtracting it from both sides."""
        ...

    @property
    def clips(self) -> Sequence[Clip]:
        """All clips."""
        ...

    def clip(self, clip_id: str) -> Clip:
        """The clip of that id; CatalogueError when there is none."""
        ...

    def similarities(self, embedding: NDArray[np.float32], clip_ids: Sequence[str]) -> NDArray[np.float32]:
        """Centred cosine of shape (len(clip_ids),) of these clips to a finite embedding of shape (dim,)."""
        ...

    def embeddings(self, clip_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of shape (len(clip_ids), dim) of these clips, not centred; CatalogueError when there is none."""
        ...

    def search(self, embedding: NDArray[np.float32], n: int) -> list[Match]:
        """The n best clips for a finite embedding of shape (dim,), best first, ties by clip id."""
        ...


class Generator(Protocol):
    """Music without end, a chunk at a time. Synchronous.

    The same seed, and the same conditions before the same chunks, give the same samples on one machine.
    A condition may come before any chunk; the newest wins and is heard from the next chunk on.
    """

    @property
    def space(self) -> EmbeddingSpace:
        """The space its conditions live in."""
        ...

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        ...

    @property
    def longest_chunk(self) -> int:
        """Frames that no chunk exceeds."""
        ...

    def condition(self, condition: Condition) -> None:
        """Sound like this from the next chunk on. Nothing is rendered here."""
        ...

    def chunk(self) -> Chunk:
        """The next piece of music; silence before the first condition. Never raises for what its music is made of."""
        ...

    def state(self) -> bytes:
        """All that the coming chunks depend on, besides coming conditions."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on exactly where `state` was taken; GeneratorError for bytes that are not of this generator."""
        ...


@dataclass(frozen=True)
class SinkStats:
    """What a sink counted since it opened.

    Attributes
    ----------
    frames_played : int
        Frames that left the ring, silence of underruns included.
    underruns : int
        Times the ring was empty when the clock asked for a block.
    peak : float
        Largest absolute sample that left, full scale 1.
    """

    frames_played: int
    underruns: int
    peak: float


class AudioSink(Protocol):
    """The end of the sound's way. `write` blocks while the ring is full: that is the clock.

    Frames leave at the sample rate whether or not `write` is called; what is missing is
    silence and an underrun. Samples are float32 in [-1, 1], shape (n_frames, 2).
    """

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        ...

    def write(self, block: NDArray[np.float32]) -> None:
        """Queue a block; returns when it is in the ring."""
        ...

    def time_of_frame(self, frame: int) -> float:
        """Monotonic time at which this frame (counted from 0 over all writes) leaves the ring."""
        ...

    def stats(self) -> SinkStats:
        """Counters so far."""
        ...

    def close(self) -> None:
        """Play out what is queued, then stop; may be called twice."""
        ...


class MessageBus(Protocol):
    """Control in, status out. Never the record of truth: losing it loses no data."""

    def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        """Send soon, or drop the oldest status when the broker is away; never blocks."""
        ...

    def commands(self) -> AsyncIterator[dict[str, Any]]:
        """Operator commands as they come."""
        ...
