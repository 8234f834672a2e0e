"""Results as Pyneal serves them: a task asks by TCP for a volume, four digits, and gets its results as JSON.

The answer is a line with the number of bytes that follow, and the bytes; then the connection is closed. `foundResults`
is false for a volume that is not here yet, and for one that brought nothing (a gap, or no evidence yet). `average` is
the feedback: the grade of a designed run, else the posterior of the best clip.
"""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

import msgspec

from realtime.errors import SessionError
from realtime.topics import State, Step

logger = logging.getLogger(__name__)

DIGITS = 4
ASK_WITHIN_S = 5.0


@dataclass
class PynealResults:
    """Answers questions about the present attempt; an outlet.

    Attributes
    ----------
    host, port
        Where to listen.
    """

    host: str
    port: int
    _attempt: int = 0
    _results: dict[int, dict[str, Any]] = field(default_factory=dict)
    _server: asyncio.Server | None = None

    def hear(self, message: msgspec.Struct) -> None:
        """Keep what each volume of the present attempt brought."""
        if isinstance(message, State) and message.state == "armed":
            self._attempt, self._results = 0, {}  # of another run, nobody's question is meant for it
        elif isinstance(message, State) and message.state == "running":
            self._begin(message.attempt or 0)
        elif isinstance(message, Step):
            self._begin(message.attempt)
            if message.feedback is not None:
                self._results[message.volume] = {
                    "average": message.feedback, "volume": message.volume, "status": message.status,
                    "confidence": message.confidence, "genre": message.genre,
                    "clip_id": message.top[0].clip_id if message.top else "", "foundResults": True}

    def _begin(self, attempt: int) -> None:
        if attempt != self._attempt:
            self._attempt, self._results = attempt, {}

    async def open(self) -> None:
        """Listen; SessionError when the port cannot be had."""
        try:
            self._server = await asyncio.start_server(self._answer, self.host, self.port)
        except OSError as exc:
            raise SessionError(f"Pyneal's results cannot be served on {self.host}:{self.port} ({exc.strerror}); stop "
                               "the program that holds it, or choose another outlets.pyneal") from exc

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._server is not None
        async with self._server:
            await self._server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                asked = await reader.readexactly(DIGITS)
                writer.write(self.answer(asked))
                await writer.drain()
        except (OSError, EOFError, TimeoutError) as exc:
            logger.warning("a question in Pyneal's way broke off: %s", exc or "no answer was waited for")
        finally:
            writer.close()

    def answer(self, asked: bytes) -> bytes:
        """The bytes of the answer to a question of four bytes; nothing is found by what is no number."""
        volume = int(asked) if asked.isdigit() else -1
        body = json.dumps(self._results.get(volume, {"foundResults": False})).encode()
        return b"%d\n%s" % (len(body), body)
