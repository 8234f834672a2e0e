"""Whose silence it is: a bridge that says nothing is gone; one that nobody listened to is not."""

import asyncio
import contextlib

import pytest

from scanner_bridge import server as server_module
from scanner_bridge.envelope import Envelope, Kind
from scanner_bridge.peers import SILENCE_S
from scanner_bridge.server import VolumeServer
from scanner_bridge.wire import encode
from tests.live_end import ANY_PORT, a_header, raw_dealer

A_WHILE_S = 5 * SILENCE_S


async def bridges_seen(monkeypatch: pytest.MonkeyPatch, *, listens: bool, stands_still_s: float = 0.0) -> list[int]:
    """How many bridges there are, and again after each change, for a while after one spoke once.

    The clock only runs while the line is not looked at, and `stands_still_s` too long each time.
    """
    now_s, over, real_sleep = 0.0, asyncio.Event(), asyncio.sleep
    seen: list[int] = []

    async def sleep(duration_s: float) -> None:
        nonlocal now_s
        await real_sleep(0)
        if duration_s > 0:
            now_s += duration_s + stands_still_s
        if now_s >= A_WHILE_S:
            over.set()

    async def look(server: VolumeServer) -> None:
        async for status in server.link_changes():
            if seen[-1:] != [status.n_bridges]:  # that the monitor has counted the connection is another change
                seen.append(status.n_bridges)

    monkeypatch.setattr(server_module.asyncio, "sleep", sleep)
    monkeypatch.setattr(VolumeServer, "_now_s", staticmethod(lambda: now_s))
    async with VolumeServer(ANY_PORT) as server:
        with raw_dealer(server.endpoint) as bridge:
            bridge.send_multipart([Envelope(Kind.DATA, bytes(16)).to_bytes(), *encode(a_header())])
            await server.acknowledge(await server.receive())
            tasks = [asyncio.create_task(server.receive())] if listens else []
            tasks.append(asyncio.create_task(look(server)))
            await asyncio.wait_for(over.wait(), 60)
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
    return seen


def test_a_bridge_that_nobody_listened_to_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live program stores what it has, and does not come to the socket."""
    assert asyncio.run(bridges_seen(monkeypatch, listens=False)) == [1]


def test_a_program_that_stood_still_does_not_blame_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(bridges_seen(monkeypatch, listens=True, stands_still_s=A_WHILE_S / 2)) == [1]


def test_a_bridge_that_says_nothing_to_one_who_listens_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(bridges_seen(monkeypatch, listens=True)) == [1, 0]
