"""How a producer's chunks come to the player: the wire, and the producer's end of it.

The player asks, the producer answers: one chunk for each `want`, made under the newest condition
there is at that moment. So nothing is ever made ahead of what the player's look-ahead needs, and a
new condition waits for one chunk and the look-ahead, no longer. A message is one JSON line; a
chunk's line is followed by its samples.
"""

import select
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.address import connect_unix
from realtime.playback.ring import CHANNELS
from realtime.playback.streams import ChunkHeader

FRAME_BYTES = 4 * CHANNELS
LONGEST_LINE = 1 << 16
ANSWER_TIMEOUT_S = 5.0


class Open(msgspec.Struct, frozen=True, tag_field="feed", tag="open"):
    """The producer's first message: which stream it makes."""

    stream: str
    rate_hz: int


class Chunk(msgspec.Struct, frozen=True, tag_field="feed", tag="chunk"):
    """The producer's answer to `Want`; the samples follow."""

    header: ChunkHeader


class Welcome(msgspec.Struct, frozen=True, tag_field="feed", tag="welcome"):
    """The player's answer to `Open`."""


class Want(msgspec.Struct, frozen=True, tag_field="feed", tag="want"):
    """The player asks for one chunk, now; `begins` with the first one since the stream was silent or connected."""

    begins: bool


class Refused(msgspec.Struct, frozen=True, tag_field="feed", tag="refused"):
    """The player will not take this; the connection ends."""

    reason: str


FromProducer = Open | Chunk
FromPlayer = Welcome | Want | Refused
_from_producer: msgspec.json.Decoder[FromProducer] = msgspec.json.Decoder(FromProducer)
_from_player: msgspec.json.Decoder[FromPlayer] = msgspec.json.Decoder(FromPlayer)


def encode_feed(message: FromProducer | FromPlayer) -> bytes:
    """One line, its end included."""
    return msgspec.json.encode(message) + b"\n"


def decode_from_producer(line: bytes) -> FromProducer:
    """The message in a line; raises msgspec.MsgspecError."""
    return _from_producer.decode(line)


def read_frames(pipe: BinaryIO, n_frames: int) -> NDArray[np.float32]:
    """The samples of a chunk, shape (n_frames, 2); raises EOFError when the producer ends within them."""
    content = pipe.read(n_frames * FRAME_BYTES)
    if len(content) < n_frames * FRAME_BYTES:
        message = f"{len(content)} bytes of a chunk, wanted {n_frames * FRAME_BYTES}"
        raise EOFError(message)
    frames = np.frombuffer(content, dtype="<f4").reshape(n_frames, CHANNELS)
    return frames.astype(np.float32)


class StreamFeed:
    """A producer's connection to the player. For one thread of the producer.

    Parameters
    ----------
    door : Path
        The player's socket: `Started.door`.
    stream : str
        Name of the stream, as `PlayerClient.play_stream` will ask for it.
    rate_hz : int
        Frames per second; the player refuses any but its own.

    Raises
    ------
    PlaybackError
        No player there, or it refuses the stream.
    """

    def __init__(self, door: Path, stream: str, rate_hz: int) -> None:
        self.stream = stream
        try:
            self._socket = connect_unix(door, ANSWER_TIMEOUT_S)
        except OSError as exc:
            message = f"No player at {door} takes stream {stream!r}: {exc.strerror}. Start the player first."
            raise PlaybackError(message) from exc
        self._reader = self._socket.makefile("rb", buffering=0)  # what a buffer held back, `select` would not see
        try:
            self._socket.sendall(encode_feed(Open(stream, rate_hz)))
            answer = self._next()
            if not isinstance(answer, Welcome):
                message = f"The player answered stream {stream!r} with {answer}, wanted a welcome. Use one version."
                raise PlaybackError(message)
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_until_wanted(self, timeout_s: float) -> Want | None:
        """Wait for the player to want a chunk; None when it wanted none within the time.

        Raises
        ------
        PlaybackError
            The player is gone, or refused what it was sent.
        """
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return None
        message = self._next()
        return message if isinstance(message, Want) else None

    def send(self, header: ChunkHeader, frames: NDArray[np.float32]) -> None:
        """Answer a want with a chunk of shape (n_frames, 2).

        Raises
        ------
        PlaybackError
            The player is gone.
        """
        samples = np.ascontiguousarray(frames, dtype="<f4")
        if samples.shape != (header.n_frames, CHANNELS):
            wanted = (header.n_frames, CHANNELS)
            message = f"Stream {self.stream!r}: got a chunk of shape {samples.shape}, wanted {wanted}."
            raise PlaybackError(message)
        try:
            self._socket.sendall(encode_feed(Chunk(header)) + samples.tobytes())
        except OSError as exc:
            raise self._gone(exc) from exc

    def close(self) -> None:
        """Leave; what was sent is still played. May be called twice."""
        self._reader.close()
        self._socket.close()

    def _next(self) -> FromPlayer:
        try:
            line = self._reader.readline(LONGEST_LINE)
            if not line:
                raise ConnectionResetError(0, "it closed the connection")
            message = _from_player.decode(line)
        except (OSError, msgspec.MsgspecError) as exc:
            raise self._gone(exc) from exc
        if isinstance(message, Refused):
            raise PlaybackError(message.reason)
        return message

    def _gone(self, error: Exception) -> PlaybackError:
        return PlaybackError(f"The player does not take stream {self.stream!r} any more: {error}. Connect again.")
