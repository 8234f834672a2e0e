"""Music that is made while it plays: chunks come in from a producer, the mixer takes them in order."""

import threading
from collections import deque
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.playback.ring import CHANNELS

RESERVE_S = 0.01  # kept back while no further chunk is there, so that a stream that breaks off can fade
LONGEST_CHUNK_S = 4.0


class ChunkHeader(msgspec.Struct, frozen=True):
    """What is said of a chunk; its samples follow, float32 little-endian, frame by frame.

    Attributes
    ----------
    condition : int
        Number of the condition that it was made under; grows with each new one.
    n_frames : int
        Length.
    beat_frames : float
        Length of a beat; 0 when there is none.
    to_beat : int
        Frames from the start of the chunk to the first beat in it, or after it.
    """

    condition: int
    n_frames: int
    beat_frames: float = 0.0
    to_beat: int = 0

    def problem(self, rate_hz: int) -> str:
        """What is wrong with it, in words; "" when nothing is."""
        if not 1 <= self.n_frames <= LONGEST_CHUNK_S * rate_hz:
            return f"chunk of {self.n_frames} frames, wanted 1 to {LONGEST_CHUNK_S * rate_hz:.0f}"
        if not 0.0 <= self.beat_frames <= 60.0 * rate_hz or self.to_beat < 0:
            return f"beats {self.beat_frames} frames apart, the first after {self.to_beat}, wanted neither negative"
        return ""


@dataclass(frozen=True)
class ConditionStart:
    """The first frame that a new condition made: frame of the mix, from 0."""

    stream: str
    condition: int
    frame: int


class StreamSource:
    """The chunks of one producer, between the thread that receives them and the mixer.

    Its sound never breaks off hard: the last 10 ms are kept back until the next chunk is there,
    and are faded out when it does not come in time; what comes later fades in.

    Parameters
    ----------
    stream : str
        Name of the stream.
    rate_hz : int
        Frames per second.
    """

    def __init__(self, stream: str, rate_hz: int) -> None:
        self.stream = stream
        self._reserve = max(1, round(RESERVE_S * rate_hz))
        self._lock = threading.Lock()
        self._chunks: deque[tuple[ChunkHeader, NDArray[np.float32]]] = deque()
        self._queued = 0
        self._taken = 0  # of the first chunk
        self._condition = -1
        self._conditions: list[tuple[int, int]] = []  # condition, position where it begins
        self._beat_frames = 0.0
        self._beat = 0  # position of a beat
        self._dry = False  # chunks are missing: fading, or faded, out
        self._gain = 1.0
        self._stall_told = False
        self._starts = 0

    @property
    def source_id(self) -> str:
        """What the mixer tells sources apart by."""
        return f"stream {self.stream}"

    @property
    def beat_frames(self) -> float:
        """Length of a beat in what plays now; 0 when there is none."""
        return self._beat_frames

    @property
    def queued(self) -> int:
        """Frames received and not yet mixed."""
        return self._queued

    @property
    def ready(self) -> int:
        """Frames that can be mixed without touching the reserve."""
        return max(0, self._queued - self._reserve)

    @property
    def starved(self) -> bool:
        """Whether it broke off for want of chunks, and has not come back yet."""
        return self._dry and self._gain == 0.0

    @property
    def starts(self) -> int:
        """How often it was forgotten: a chunk asked for before that is of no use after it."""
        return self._starts

    def feed(self, header: ChunkHeader, frames: NDArray[np.float32]) -> None:
        """Queue a chunk of shape (n_frames, 2); from any thread."""
        with self._lock:
            self._chunks.append((header, frames))
            self._queued += len(frames)

    def forget(self) -> None:
        """Drop what is queued: the stream plays no more, and begins anew when it is asked for again."""
        with self._lock:
            self._starts += 1
            self._drop()
            self._condition = -1
            self._dry, self._gain, self._stall_told = False, 1.0, False

    def add_to(self, out: NDArray[np.float32], position: int, gains: NDArray[np.float64] | None) -> None:
        """Add the next `len(out)` frames times gains of shape (len(out),); `position` counts from its first frame."""
        with self._lock:
            frames = self._take(len(out), position)
        out[: len(frames)] += frames if gains is None else frames * gains[: len(frames), None].astype(np.float32)

    def take_conditions(self) -> list[tuple[int, int]]:
        """Conditions that began since the last call, each with its position."""
        began, self._conditions = self._conditions, []
        return began

    def tell_stall(self) -> bool:
        """Whether it has starved, and this is the first question since."""
        first = self.starved and not self._stall_told
        self._stall_told = self.starved
        return first

    def next_beat(self, position: int) -> int:
        """First beat at or after a position."""
        if self._beat_frames <= 0 or self._dry:
            return position
        n_beats = np.ceil((position - self._beat) / self._beat_frames - 1e-9)
        return max(position, round(self._beat + float(n_beats) * self._beat_frames))

    def _take(self, n_frames: int, position: int) -> NDArray[np.float32]:
        """At most the next frames, in order; fewer, and those faded out, when chunks are missing."""
        if self._dry and self.ready >= max(n_frames, self._reserve):
            self._dry = False
        elif self.ready < n_frames:
            self._dry = True
        if self.starved:
            return np.zeros((0, CHANNELS), np.float32)
        taken = self._dequeue(min(n_frames, self._queued), position)
        target = 0.0 if self._dry else 1.0
        if self._gain != target:
            steps = np.arange(1, len(taken) + 1) * ((-1.0 if self._dry else 1.0) / self._reserve)
            gains = np.clip(self._gain + steps, 0.0, 1.0)
            taken *= gains[:, None].astype(np.float32)
            self._gain = float(gains[-1])
            if self.starved and not self.ready:
                self._drop()  # the rest of the reserve would sound late
        return taken

    def _drop(self) -> None:
        self._chunks.clear()
        self._queued = self._taken = 0

    def _dequeue(self, n_frames: int, position: int) -> NDArray[np.float32]:
        """A copy of the next frames; there are as many."""
        taken = np.empty((n_frames, CHANNELS), np.float32)
        done = 0
        while done < n_frames:
            header, frames = self._chunks[0]
            if self._taken == 0:
                self._begin_chunk(header, position + done)
            piece = frames[self._taken : self._taken + n_frames - done]
            taken[done : done + len(piece)] = piece
            done += len(piece)
            self._taken += len(piece)
            if self._taken == len(frames):
                self._chunks.popleft()
                self._taken = 0
        self._queued -= n_frames
        return taken

    def _begin_chunk(self, header: ChunkHeader, position: int) -> None:
        self._beat_frames = header.beat_frames
        self._beat = position + header.to_beat
        if header.condition != self._condition:
            self._condition = header.condition
            self._conditions.append((header.condition, position))

