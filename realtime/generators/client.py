"""The live program's hand on the process that generates. Nothing here waits for sound."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

import realtime
from realtime.errors import GeneratorError
from realtime.generators import host_protocol as protocol
from realtime.generators.settings import GeneratorSettings
from realtime.messages import Condition

START_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0
MAX_STARTS = 4
"""A process that died this often is not started again: the corpus goes on playing."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class HostFiles:
    """What the process works with.

    Attributes
    ----------
    corpus : Path
        The session's catalogue.
    diary : Path
        Of what was asked for; its log lies beside it.
    """

    corpus: Path
    diary: Path


class GeneratorClient:
    """A process that generates, for a whole session. Made by `await GeneratorClient.start(settings, files, door)`.

    When it dies another one takes its place, with the last condition, and begins a life of its own in
    the diary; meanwhile the player falls back to the clip of its cue. `events` must be read.
    """

    def __init__(self, settings: GeneratorSettings, files: HostFiles, door: Path) -> None:
        self._settings, self._files, self._door = settings, files, door
        self._process: asyncio.subprocess.Process | None = None
        self._condition: Condition | None = None
        self._over = False
        self.n_starts = 0

    @classmethod
    async def start(cls, settings: GeneratorSettings, files: HostFiles, door: Path) -> Self:
        """Start the process; returns when it is warm.

        Raises
        ------
        GeneratorError
            It cannot generate with these settings, or does not start.
        """
        client = cls(settings, files, door)
        await client._spawn()
        return client

    @property
    def pid(self) -> int:
        """Of the process; 0 when there is none."""
        return 0 if self._process is None else self._process.pid

    def condition(self, condition: Condition) -> None:
        """Sound like this from the next chunk on."""
        self._condition = condition
        self._send(protocol.Ask.of(condition))

    def feed(self, door: Path) -> None:
        """Another player: feed that one from now on."""
        self._door = door
        self._send(protocol.Feed(door))

    async def events(self) -> AsyncIterator[protocol.News]:
        """News as it comes, from every process one after the other; a death is a `Broken`. For one reader."""
        while True:
            async for news in self._news():
                yield news
            if self._over:
                return
            yield protocol.Broken(f"the process that generates died with status {await self._status()}")
            await self._close_pipe()
            if self.n_starts >= MAX_STARTS:
                yield protocol.Broken(f"it died {self.n_starts} times and is not started again; the corpus plays on")
                return
            try:
                await self._spawn()
            except GeneratorError as exc:
                yield protocol.Broken(f"it cannot be started again, the corpus plays on: {exc}")
                return

    async def close(self) -> None:
        """End the process, and its diary; may be called twice."""
        self._over = True
        process = self._process
        if process is None:
            return
        self._send(protocol.Close())
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        finally:
            await self._close_pipe()

    async def _close_pipe(self) -> None:
        pipe = None if self._process is None else self._process.stdin
        if pipe is not None:
            pipe.close()
            with contextlib.suppress(OSError):
                await pipe.wait_closed()

    async def _spawn(self) -> None:
        root = str(Path(realtime.__path__[0]).parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self.n_starts += 1
        try:
            with self._files.diary.with_suffix(".log").open("ab") as errors:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "realtime.generators.host", stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE, stderr=errors,
                    env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path})
        except OSError as exc:
            raise GeneratorError(f"the process that generates cannot be started ({exc}); choose a session folder you "
                                 "may write to") from exc
        self._send(protocol.Configure(self._settings, self._files.corpus.resolve(), self._files.diary.resolve()))
        first = await self._first_news()
        if not isinstance(first, protocol.Ready):
            await self.close()
            reason = first.reason if isinstance(first, protocol.Broken) else f"it began with {first}"
            raise GeneratorError(reason)
        self._send(protocol.Feed(self._door))
        if self._condition is not None:
            self._send(protocol.Ask.of(self._condition))

    async def _first_news(self) -> protocol.News:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                async for news in self._news():
                    return news
        except TimeoutError:
            return protocol.Broken(f"it was not ready within {START_TIMEOUT_S:g} s")
        return protocol.Broken(f"it ended with status {await self._status()}; see {self._files.diary.stem}.log")

    async def _news(self) -> AsyncIterator[protocol.News]:
        pipe = None if self._process is None else self._process.stdout
        while pipe is not None and (line := await pipe.readline()):
            with contextlib.suppress(msgspec.MsgspecError):
                yield protocol.decode_news(line)

    async def _status(self) -> int:
        return -1 if self._process is None else await self._process.wait()

    def _send(self, command: protocol.Command) -> None:
        pipe = None if self._process is None else self._process.stdin
        if pipe is not None and not pipe.is_closing():
            pipe.write(protocol.encode_line(command))
