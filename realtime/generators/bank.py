"""The bank: clips that exist already, chosen by embedding and cross-faded. Music that cannot fail.

A big model renders clips ahead of time, at many places of the embedding space; live, the nearest
ones are played. With a corpus's own clips it is retrieval as a generator: what all else falls back to.
"""

import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.generators.state import pack_state, unpack_state
from realtime.messages import Chunk, Condition, EmbeddingSpace
from realtime.playback.clips import ClipLibrary, Loop
from realtime.ports import MusicIndex

CHUNK_S = 0.1
FADE_S = 0.5
MARGIN = 0.03  # by which another clip must be nearer before it is changed to


class Bank:
    """Plays the clip nearest to the condition; implements `realtime.ports.Generator`.

    A condition for another clip begins an equal-power cross-fade with the next chunk. A clip whose
    file has become unreadable is passed over for the next nearest; when there is none, silence.

    Parameters
    ----------
    index : MusicIndex
        The clips, and where they lie.
    library : ClipLibrary
        Their sound.
    rate_hz : int
        Frames per second.
    """

    def __init__(self, index: MusicIndex, library: ClipLibrary, rate_hz: int) -> None:
        self._index, self._library, self._rate_hz = index, library, rate_hz
        self._asked: Condition | None = None
        self._condition = -1
        self._playing = ""
        self._at = 0
        self._leaving = ""
        self._left_at = 0
        self._fade = round(FADE_S * rate_hz)
        self._faded = self._fade

    @property
    def space(self) -> EmbeddingSpace:
        """The space its conditions live in."""
        return self._index.space

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return self._rate_hz

    @property
    def longest_chunk(self) -> int:
        """Frames of every chunk."""
        return round(CHUNK_S * self._rate_hz)

    def condition(self, condition: Condition) -> None:
        """Play what is nearest to this from the next chunk on."""
        self._asked = condition

    def chunk(self) -> Chunk:
        """The next tenth of a second."""
        if self._asked is not None and self._faded >= self._fade:  # one cross-fade at a time
            self._choose(self._asked)
            self._condition, self._asked = self._asked.number, None
        out = np.zeros((self.longest_chunk, 2), np.float32)
        beat_frames, to_beat = 0.0, 0
        progress = np.clip((self._faded + np.arange(len(out)) + 0.5) / self._fade, 0.0, 1.0) * (np.pi / 2)
        if (loop := self._load(self._playing)) is not None:
            beat_frames = loop.beat_frames
            to_beat = round(-self._at % beat_frames) if beat_frames else 0
            out += _around(loop, self._at, len(out)) * np.sin(progress)[:, None].astype(np.float32)
        if self._faded < self._fade and (loop := self._load(self._leaving)) is not None:
            out += _around(loop, self._left_at, len(out)) * np.cos(progress)[:, None].astype(np.float32)
        self._at, self._left_at = self._at + len(out), self._left_at + len(out)
        self._faded = min(self._fade, self._faded + len(out))
        return Chunk(np.clip(out, -1.0, 1.0), self._condition, beat_frames, to_beat)

    def state(self) -> bytes:
        """All that the coming chunks depend on, besides coming conditions and the clips."""
        return pack_state(self._kind, {
            "asked": None if self._asked is None else vars(self._asked), "condition": self._condition,
            "playing": self._playing, "at": self._at, "leaving": self._leaving, "left_at": self._left_at,
            "faded": self._faded})

    def restore(self, state: bytes) -> None:
        """Go on exactly where `state` was taken; GeneratorError for bytes of another generator."""
        memory = unpack_state(self._kind, state)
        self._asked = memory["asked"] and Condition(**memory["asked"])
        self._condition, self._playing, self._at = memory["condition"], memory["playing"], memory["at"]
        self._leaving, self._left_at, self._faded = memory["leaving"], memory["left_at"], memory["faded"]

    @property
    def _kind(self) -> str:
        return f"bank of {len(self._index.clips)} clips at {self._rate_hz} Hz in space {self.space.sha256}"

    def _choose(self, condition: Condition) -> None:
        matches = self._index.search(condition.embedding, 5)
        score = {match.clip.clip_id: match.score for match in matches}
        if matches and score.get(self._playing, -2.0) > matches[0].score - MARGIN:
            return
        for match in matches:
            if match.clip.clip_id != self._playing and self._load(match.clip.clip_id) is not None:
                self._leaving, self._left_at = self._playing, self._at
                self._playing, self._at, self._faded = match.clip.clip_id, 0, 0
                return

    def _load(self, clip_id: str) -> Loop | None:
        try:
            return self._library.load(clip_id) if clip_id else None
        except PlaybackError:  # a file that vanished while the music plays is no reason to stop
            return None


def _around(loop: Loop, at: int, n_frames: int) -> NDArray[np.float32]:
    """Frames of an endless loop from `at` on, shape (n_frames, 2)."""
    piece: NDArray[np.float32] = np.take(loop.frames, np.arange(at, at + n_frames), axis=0, mode="wrap")
    return piece
