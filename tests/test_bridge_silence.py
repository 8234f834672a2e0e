"""Whose silence it is: a bridge that says nothing is gone; one that nobody listened to is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scanner_bridge import server as server_module
from scanner_bridge.client import BridgeClient
from scanner_bridge.peers import SILENCE_S
from scanner_bridge.server import VolumeServer
from tests.live_end import ANY_PORT, a_header

A_WHILE_S = 5 * SILENCE_S


@dataclass
class Watched:
    """A live program that has heard a bridge once, on a clock that only runs while it sleeps."""

    server: VolumeServer
    client: BridgeClient
    now_s: float = 0.0
    stands_still_s: float = 0.0
    a_while_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> list[int]:
        """Look at the line for a while: the number of bridges, and again after each change."""
        seen: list[int] = []

        async def keep() -> None:
            async for status in self.server.link_changes():
                seen.append(status.n_bridges)  # noqa: PERF401 - what was seen before the end counts

        keeping = asyncio.create_task(keep())
        await asyncio.wait_for(self.a_while_over.wait(), 60)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        return seen


@contextlib.asynccontextmanager
async def a_bridge_heard_once(spool: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    real_sleep = asyncio.sleep
    async with VolumeServer(ANY_PORT) as server:
        with BridgeClient(server.endpoint, spool=spool) as client:
            watched = Watched(server, client)

            async def sleep(duration_s: float) -> None:
                await real_sleep(0)
                if duration_s > 0:
                    watched.now_s += duration_s + watched.stands_still_s
                if watched.now_s >= A_WHILE_S:
                    watched.a_while_over.set()

            monkeypatch.setattr(server, "_now_s", lambda: watched.now_s)
            monkeypatch.setattr(server_module.asyncio, "sleep", sleep)
            client.send(a_header())
            await server.acknowledge(await server.receive())
            yield watched


def test_a_bridge_that_nobody_listened_to_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy() -> list[int]:
        async with a_bridge_heard_once(tmp_path, monkeypatch) as watched:
            return await watched.watch()  # it stores what it has and does not come to the socket

    assert asyncio.run(busy()) == [1]


def test_a_program_that_stood_still_does_not_blame_the_bridge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def suspended() -> list[int]:
        async with a_bridge_heard_once(tmp_path, monkeypatch) as watched:
            watched.client.close()
            receiving = asyncio.create_task(watched.server.receive())
            watched.stands_still_s = A_WHILE_S
            seen = await watched.watch()
            receiving.cancel()
            return seen

    assert asyncio.run(suspended()) == [1]


def test_a_bridge_that_says_nothing_to_one_who_listens_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listening() -> list[int]:
        async with a_bridge_heard_once(tmp_path, monkeypatch) as watched:
            watched.client.close()
            receiving = asyncio.create_task(watched.server.receive())
            seen = await watched.watch()
            receiving.cancel()
            return seen

    assert asyncio.run(listening()) == [1, 0]
