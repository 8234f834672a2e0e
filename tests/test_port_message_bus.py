"""What every MessageBus must do, checked on each one: with a broker, without, and to nobody."""

import asyncio
import json
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from realtime.broker import embedded_broker
from realtime.bus import BusSettings, MqttBus, NullBus
from realtime.ports import MessageBus

OpenBus = Callable[[], AbstractAsyncContextManager[MessageBus]]


@asynccontextmanager
async def with_broker() -> AsyncIterator[MessageBus]:
    async with embedded_broker(0) as port, MqttBus(BusSettings("test", port=port)) as bus:
        await bus.connected.wait()
        yield bus


@asynccontextmanager
async def without_broker() -> AsyncIterator[MessageBus]:
    with socket.socket() as nobody:  # bound but not listening: refuses every connection
        nobody.bind(("127.0.0.1", 0))
        async with MqttBus(BusSettings("test", port=nobody.getsockname()[1])) as bus:
            yield bus


@asynccontextmanager
async def with_mosquitto() -> AsyncIterator[MessageBus]:
    """The broker of a real installation, where it is installed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = await asyncio.create_subprocess_exec("mosquitto", "-p", str(port), stderr=asyncio.subprocess.DEVNULL)
    try:
        async with MqttBus(BusSettings("test", port=port)) as bus:
            async with asyncio.timeout(30):
                await bus.connected.wait()
            yield bus
    finally:
        broker.terminate()
        await broker.wait()


MOSQUITTO = pytest.param(with_mosquitto, marks=pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed"))


@pytest.fixture(params=[NullBus, with_broker, MOSQUITTO, without_broker],
                ids=["null", "mqtt", "mosquitto", "mqtt-without-broker"])
def open_bus(request: pytest.FixtureRequest) -> OpenBus:
    made: OpenBus = request.param
    return made


def test_publishing_never_blocks(open_bus: OpenBus) -> None:
    async def session() -> float:
        async with open_bus() as bus:
            start_s = time.monotonic()
            for number in range(5000):
                bus.publish("step", {"number": number, "text": "x" * 200})
                bus.publish("state", {"number": number}, retain=True)
            return time.monotonic() - start_s

    assert asyncio.run(session()) < 2.0


def test_values_of_numpy_and_paths_may_be_published(open_bus: OpenBus) -> None:
    async def session() -> None:
        async with open_bus() as bus:
            bus.publish("step", {"score": np.float32(0.5), "n": np.int64(3), "z": np.arange(3.0), "file": Path("a")})

    asyncio.run(session())


def test_a_payload_without_json_is_refused_at_the_call(open_bus: OpenBus) -> None:
    async def session() -> None:
        async with open_bus() as bus:
            with pytest.raises(TypeError, match="object has no JSON"):
                bus.publish("step", {"what": object()})

    asyncio.run(session())


def test_the_commands_end_with_the_bus(open_bus: OpenBus) -> None:
    async def session() -> list[dict[str, object]]:
        async with open_bus() as bus:
            reader = asyncio.create_task(collect(bus))
            await asyncio.sleep(0)
        return await reader

    async def collect(bus: MessageBus) -> list[dict[str, object]]:
        return [command async for command in bus.commands()]

    assert asyncio.run(session()) == []


def test_json_is_what_a_reader_gets() -> None:
    from realtime.bus import _encode

    assert json.loads(
        _encode({"score": np.float32(0.5), "z": np.arange(2), "nan": float("nan"), "file": Path("a")})
    ) == {
        "score": 0.5,
        "z": [0, 1],
        "nan": None,
        "file": "a",
    }
