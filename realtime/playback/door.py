"""The player's own door: a socket beside the recording, for STOP from anywhere and for producers of music.

It belongs to the player alone: a live program that hangs or is dead is not in the way. Whoever may
write to the session's folder may come in (mode 0600).
"""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.playback import feed, protocol
from realtime.playback.resampling import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, Resampler
from realtime.playback.streams import ChunkHeader, StreamSource

BACKLOG = 16
SEND_TIMEOUT = struct.pack("ll", 0, 50_000)  # s, µs: a producer that does not read for so long is no producer


class Inlet:
    """A producer's chunks on their way into a source.

    Parameters
    ----------
    connection : socket
        To the producer.
    source : StreamSource
        What they are queued in.
    rates : tuple of int
        Frames per second of the producer, and of the player.
    """

    def __init__(self, connection: socket.socket, source: StreamSource, rates: tuple[int, int]) -> None:
        self.source = source
        self.open = True
        self._rates = rates
        self._resampler = Resampler(*rates)
        self._connection = connection
        self._wanted = False
        self._wanted_for = -1  # which start of the source the last chunk was wanted for

    def want(self) -> None:
        """Ask for a chunk, unless one is on its way."""
        if self._wanted or not self.open:
            return
        begins = self._wanted_for != self.source.starts
        if begins:
            self._resampler = Resampler(*self._rates)
        self._wanted, self._wanted_for = True, self.source.starts
        try:
            self._connection.sendall(feed.encode_feed(feed.Want(begins)))
        except OSError:
            self.close()

    def take(self, chunk: feed.Chunk, pipe: BinaryIO) -> None:
        """Queue the chunk whose line has just come, unless it comes too late for its start of the stream.

        Raises
        ------
        ValueError
            A chunk that was not asked for, or is not what it says.
        EOFError
            The producer ended within it.
        """
        if problem := chunk.header.problem(self._rates[0]):
            raise ValueError(problem)
        if not self._wanted:
            message = "a chunk that was not wanted, wanted one for each `want`"
            raise ValueError(message)
        frames = feed.read_frames(pipe, chunk.header.n_frames)
        if self._wanted_for == self.source.starts:
            self.source.feed(*self._converted(chunk.header, frames))
        self._wanted = False

    def _converted(self, header: ChunkHeader, frames: NDArray[np.float32]) -> tuple[ChunkHeader, NDArray[np.float32]]:
        """A chunk at the player's rate; its last frames come with the next one."""
        from_hz, to_hz = self._rates
        if from_hz == to_hz:
            return header, frames
        begins, beat = self._resampler.given, self._resampler.place_of(self._resampler.taken + header.to_beat)
        finite = bool(np.isfinite(frames).all())
        converted = self._resampler.process(frames if finite else np.zeros_like(frames))
        if not finite:  # the chain silences and counts it; in the filter it would stay for the next chunk, too
            converted[:] = np.nan
        return ChunkHeader(header.condition, len(converted), header.beat_frames * to_hz / from_hz,
                           max(0, beat - begins)), converted

    def close(self) -> None:
        """End the connection; from any thread."""
        self.open = False
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class Door:
    """Listens until the process ends; each guest has a thread.

    Parameters
    ----------
    path : Path
        The socket; one left by a dead player is replaced.
    rate_hz : int
        Of the player; streams at another rate are converted.
    obey : callable
        Carries out a command; called from the guests' threads; returns what to answer.
    fed : callable
        Called after each chunk.

    Raises
    ------
    OSError
        The folder does not take sockets.
    """

    def __init__(
        self, path: Path, rate_hz: int, obey: Callable[[protocol.Command], protocol.Event], fed: Callable[[], None]
    ) -> None:
        self._rate_hz = rate_hz
        self._obey = obey
        self._fed = fed
        self._inlets: dict[str, Inlet] = {}
        self._listener = _listen(path)
        threading.Thread(target=self._accept, name="door", daemon=True).start()

    def inlet(self, stream: str) -> Inlet | None:
        """The stream of this name, if somebody feeds it now."""
        inlet = self._inlets.get(stream)
        return inlet if inlet is not None and inlet.open else None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # out of descriptors for a moment, or a guest that left at once
                continue
            threading.Thread(target=self._serve, args=(connection,), name="guest", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as pipe, contextlib.suppress(OSError, EOFError):
            line = pipe.readline(feed.LONGEST_LINE)
            try:
                opening = feed.decode_from_producer(line)
            except msgspec.MsgspecError:
                self._take_commands(connection, pipe, line)
                return
            try:
                self._take_stream(connection, pipe, opening)
            except (ValueError, msgspec.MsgspecError) as exc:
                reason = f"The player ends this stream: got {exc}. Correct the producer."
                connection.sendall(feed.encode_feed(feed.Refused(reason)))

    def _take_commands(self, connection: socket.socket, pipe: BinaryIO, line: bytes) -> None:
        while line:
            try:
                answer = self._obey(protocol.decode_command(line))
            except msgspec.MsgspecError as exc:
                answer = protocol.Rejected(-1, f"Not a command: {exc}")
            connection.sendall(protocol.encode_line(answer))
            line = pipe.readline(feed.LONGEST_LINE)

    def _take_stream(self, connection: socket.socket, pipe: BinaryIO, opening: feed.FromProducer) -> None:
        if not isinstance(opening, feed.Open):
            message = "a chunk before the stream was opened, wanted `open` first"
            raise ValueError(message)
        if not LOWEST_RATE_HZ <= opening.rate_hz <= HIGHEST_RATE_HZ:
            wanted = f"wanted {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
            message = f"stream {opening.stream!r} at {opening.rate_hz} Hz, {wanted}"
            raise ValueError(message)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
        before = self._inlets.get(opening.stream)  # a producer that comes back goes on where its stream stands
        source = before.source if before is not None else StreamSource(opening.stream, self._rate_hz)
        self._inlets[opening.stream] = inlet = Inlet(connection, source, (opening.rate_hz, self._rate_hz))
        if before is not None:
            before.close()  # the newest producer has the stream
        connection.sendall(feed.encode_feed(feed.Welcome()))
        try:
            while line := pipe.readline(feed.LONGEST_LINE):
                chunk = feed.decode_from_producer(line)
                if not isinstance(chunk, feed.Chunk):
                    message = "a second `open`, wanted chunks"
                    raise ValueError(message)
                inlet.take(chunk, pipe)
                self._fed()
        finally:
            inlet.open = False
            self._fed()


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
        os.close(folder)
    return listener
