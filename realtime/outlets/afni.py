"""A stream of floats as AFNI's real-time plugin sends it to a task that listens as realtime_receiver.py does.

One connection per attempt: hello (`ab cd ef ac`: version 1) and the number of extra values as a 32-bit integer; per
volume six motion values and the extra ones as 32-bit floats; `de ad de ad` at the end. In this host's byte order, as
AFNI does. A receiver counts volumes, so each has its place in the stream: NaN stands for what is not known. A receiver
that comes late, or again, gets the attempt from its first volume.
"""

import asyncio
import contextlib
import logging
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from realtime.topics import State, Step

logger = logging.getLogger(__name__)

HELLO = bytes((0xAB, 0xCD, 0xEF, 0xAB + 1))
BYE = bytes((0xDE, 0xAD, 0xDE, 0xAD))
EXTRAS = ("feedback", "confidence", "genre_confidence")
_FRAME = struct.Struct(f"={6 + len(EXTRAS)}f")
_RETRY_S = 0.5
_CONNECT_S = 2.0
_LONGEST = 1_000_000


def afni_motion(six: Sequence[float] | None) -> tuple[float, ...]:
    """AFNI's six from ours (shifts to the right, front and head in mm, turns about these in degrees).

    Displacements to superior, left and posterior, then roll, pitch and yaw: turns about these three axes by the right
    hand. NaN for what is not known.
    """
    if six is None:
        return (math.nan,) * 6
    right, front, head, about_right, about_front, about_head = six
    return head, -right, -front, about_head, -about_right, -about_front


def frame(step: Step) -> bytes:
    """The bytes of one volume."""
    extras = (getattr(step, name) for name in EXTRAS)
    return _FRAME.pack(*afni_motion(step.six_motions), *(math.nan if value is None else value for value in extras))


_NOTHING = _FRAME.pack(*(math.nan,) * (6 + len(EXTRAS)))


@dataclass
class AfniStream:
    """Sends each attempt to a task; an outlet.

    Attributes
    ----------
    host, port
        Where the task listens.
    """

    host: str
    port: int
    _attempt: int = 0
    _frames: list[bytes] = field(default_factory=list)
    _over: bool = False
    _waits: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, message: msgspec.Struct) -> None:
        """Keep the present attempt's frames, each in its place."""
        match message:
            case State(state="armed"):
                self._attempt = 0
            case State(state="ended" | "aborted" | "offline"):
                self._over = True
            case Step() if message.volume < _LONGEST:
                if message.attempt != self._attempt:
                    self._attempt, self._frames = message.attempt, []
                self._over, self._waits = False, True
                missing = message.volume + 1 - len(self._frames)  # the bus may have lost some
                self._frames += [_NOTHING] * missing
                if missing > 0:
                    self._frames[message.volume] = frame(message)
        self._news.set()

    async def open(self) -> None:
        """Nothing is listened for."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not self._waits:
                await self._told()
                continue
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    reader, writer = await asyncio.open_connection(self.host, self.port)
                await self._attempt_to(reader, writer)
                continue
            await asyncio.sleep(_RETRY_S)

    async def _attempt_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One attempt from its first volume to its end, as it comes; OSError when the receiver goes away."""
        frames = self._frames
        gone = asyncio.create_task(reader.read(), name="afni.gone")  # it never says anything
        try:
            writer.write(HELLO + struct.pack("=i", len(EXTRAS)))
            await self._send(frames, writer, gone)
            writer.write(BYE)
            await writer.drain()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._waits = self._frames is not frames  # else all of it was sent, unless more comes

    async def _send(self, frames: list[bytes], writer: asyncio.StreamWriter, gone: asyncio.Task[bytes]) -> None:
        n_sent = 0
        while True:
            writer.write(b"".join(frames[n_sent:]))
            n_sent = len(frames)
            await writer.drain()
            if self._frames is not frames or self._over:
                return
            told = asyncio.create_task(self._told(), name="afni.told")
            try:
                await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
            if gone.done():
                raise ConnectionResetError("the receiver closed the connection")

    async def _told(self) -> None:
        await self._news.wait()
        self._news.clear()
