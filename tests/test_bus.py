"""The MQTT bus against a real broker that is late, killed, restarted, and full of nonsense."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.broker import embedded_broker, free_port
from realtime.bus import NO_DELAY, OFFLINE, STATUS_KEPT, BusSettings, MqttBus, _decode
from realtime.errors import ConfigError, SessionError

BROKER = """
import asyncio, sys
from realtime.broker import embedded_broker

async def main():
    async with embedded_broker(int(sys.argv[1])) as port:
        print(port, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class BrokerProcess:
    """A broker that can be killed; comes back on the same port."""

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", BROKER, str(port)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> "BrokerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def run(session: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await session()

    asyncio.run(limited())


def payload_of(message: aiomqtt.Message) -> dict[str, Any]:
    assert isinstance(message.payload, bytes | bytearray)
    decoded: dict[str, Any] = json.loads(message.payload)
    return decoded


async def next_on(client: aiomqtt.Client, topic: str) -> dict[str, Any]:
    async for message in client.messages:
        if str(message.topic) == topic:
            return payload_of(message)
    raise AssertionError("disconnected")


@asynccontextmanager
async def relay(port: int, target: int) -> AsyncIterator[None]:
    """Another port of this machine that leads to the same broker."""

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(passed_on(reader, to_broker), passed_on(from_broker, writer), return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


def test_steps_arrive_in_order_and_state_is_retained() -> None:
    async def session() -> None:
        async with embedded_broker(0) as port, aiomqtt.Client("127.0.0.1", port) as console:
            await console.subscribe("innerear/s1/#", qos=1)
            async with MqttBus(BusSettings("s1", port=port)) as bus:
                for number in range(100):
                    bus.publish("step", {"number": number})
                bus.publish("state", {"status": "running"}, retain=True)
                got = [(await next_on(console, "innerear/s1/step"))["number"] for _ in range(100)]
                assert got == list(range(100))
                async with aiomqtt.Client("127.0.0.1", port) as latecomer:
                    await latecomer.subscribe("innerear/s1/state")
                    assert await next_on(latecomer, "innerear/s1/state") == {"status": "running"}

    run(session)


def test_commands_arrive_with_all_their_fields() -> None:
    async def session() -> None:
        async with embedded_broker(0) as port, aiomqtt.Client("127.0.0.1", port) as console:
            async with MqttBus(BusSettings("s1", port=port)) as bus:
                await bus.connected.wait()
                await console.publish("innerear/s1/command", b'{"name": "mark", "text": "coughed"}', qos=1)
                await console.publish("innerear/s1/command", b'{"name": "volume", "value": -3}', qos=1)
                await console.publish("innerear/other/command", b'{"name": "stop"}', qos=1)
                await console.publish("innerear/s1/command", b'{"name": "pause"}', qos=1)
                commands = bus.commands()
                assert [await anext(commands) for _ in range(3)] == [
                    {"name": "mark", "text": "coughed", "value": None},
                    {"name": "volume", "text": "", "value": -3.0},
                    {"name": "pause", "text": "", "value": None},
                ]

    run(session)


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        (b"not json", "malformed"),
        (b'{"name": "explode"}', "Invalid enum value 'explode'"),
        (b'{"name": "start", "args": 1}', "unknown field `args`"),
        (b'{"name": "volume"}', "volume needs a finite value"),
        (b'{"name": "volume", "value": "loud"}', "Expected `float | null`"),
        (b"[" * 4000, "object"),
        (b'{"name": "mark", "text": "' + b"x" * 5000 + b'"}', "at most 4096 bytes"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_a_command_that_is_none_is_refused_with_the_reason(nonsense: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _decode(nonsense)


@given(payload=st.binary(max_size=200) | st.text().map(str.encode) | st.none() | st.floats())
def test_any_payload_is_either_a_command_or_refused(payload: object) -> None:
    try:
        command = _decode(payload)
    except ValueError:
        return
    assert set(command) == {"name", "text", "value"}


def test_nonsense_and_retained_commands_are_ignored_and_reported() -> None:
    async def session() -> None:
        async with embedded_broker(0) as port, aiomqtt.Client("127.0.0.1", port) as console:
            await console.subscribe("innerear/s1/rejected", qos=1)
            await console.publish("innerear/s1/command", b'{"name": "start"}', qos=1, retain=True)
            async with MqttBus(BusSettings("s1", port=port)) as bus:
                old = await next_on(console, "innerear/s1/rejected")
                assert "retained" in old["reason"]
                await console.publish("innerear/s1/command", b'{"name": "explode"}', qos=1)
                unknown = await next_on(console, "innerear/s1/rejected")
                assert unknown["got"] == '{"name": "explode"}'
                await console.publish("innerear/s1/command", b'{"name": "mute"}', qos=1)
                assert (await anext(bus.commands()))["name"] == "mute"

    run(session)


def test_without_a_broker_the_newest_wait_and_arrive_when_it_comes() -> None:
    port = free_port()

    async def session() -> None:
        async with MqttBus(BusSettings("s1", port=port)) as bus:
            for number in range(STATUS_KEPT + 50):
                bus.publish("step", {"number": number})
            bus.publish("state", {"status": "old"}, retain=True)
            bus.publish("state", {"status": "running"}, retain=True)
            assert bus.dropped == 50
            assert not bus.connected.is_set()
            async with embedded_broker(0) as broker, aiomqtt.Client("127.0.0.1", broker) as console:
                await console.subscribe("innerear/s1/#", qos=1)
                async with relay(port, broker):  # only now: what is not retained goes to those who listen already
                    seen = [payload_of(message) async for message in limited(console, STATUS_KEPT + 1)]
                assert seen[0] == {"status": "running"}
                assert [each["number"] for each in seen[1:]] == list(range(50, STATUS_KEPT + 50))

    async def limited(client: aiomqtt.Client, n_messages: int) -> Any:
        for _ in range(n_messages):
            yield await anext(aiter(client.messages))

    run(session)


def test_a_broker_that_is_killed_and_comes_back_gets_the_state_again_and_commands_work() -> None:
    async def session() -> None:
        first = BrokerProcess()
        async with MqttBus(BusSettings("s1", port=first.port)) as bus:
            bus.publish("state", {"status": "running"}, retain=True)
            async with aiomqtt.Client("127.0.0.1", first.port) as console:
                await console.subscribe("innerear/s1/state", qos=1)
                assert await next_on(console, "innerear/s1/state") == {"status": "running"}
            first.kill()
            while bus.connected.is_set():
                bus.publish("step", {"number": 0})
                await asyncio.sleep(0.01)
            with BrokerProcess(first.port) as second:
                await bus.connected.wait()
                async with aiomqtt.Client("127.0.0.1", second.port) as console:
                    await console.subscribe("innerear/s1/state", qos=1)
                    assert await next_on(console, "innerear/s1/state") == {"status": "running"}
                    await console.publish("innerear/s1/command", b'{"name": "stop"}', qos=1)
                    assert (await anext(bus.commands()))["name"] == "stop"
                    await bus.close()
                    assert await next_on(console, "innerear/s1/state") == OFFLINE

    run(session)


PROGRAM = """
import asyncio, sys
from realtime.bus import BusSettings, MqttBus

async def main():
    async with MqttBus(BusSettings("s1", port=int(sys.argv[1]))) as bus:
        bus.publish("state", {"status": "running"}, retain=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_when_the_program_is_killed_its_last_will_says_offline() -> None:
    async def session() -> None:
        async with embedded_broker(0) as port, aiomqtt.Client("127.0.0.1", port) as console:
            await console.subscribe("innerear/s1/state", qos=1)
            program = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, str(port))
            assert await next_on(console, "innerear/s1/state") == {"status": "running"}
            program.kill()
            await program.wait()
            assert await next_on(console, "innerear/s1/state") == OFFLINE

    run(session)


def test_answers_to_commands_do_not_wait_for_delayed_acknowledgements() -> None:
    async def session() -> None:
        async with (
            embedded_broker(0) as port,
            aiomqtt.Client("127.0.0.1", port, socket_options=[NO_DELAY]) as console,
            MqttBus(BusSettings("s1", port=port)) as bus,
        ):
            await console.subscribe("innerear/s1/step", qos=1)
            await bus.connected.wait()
            commands, waits_s = bus.commands(), []
            for _ in range(30):
                start_s = time.monotonic()
                await console.publish("innerear/s1/command", b'{"name": "mark"}', qos=1)
                await anext(commands)
                bus.publish("step", {})
                await next_on(console, "innerear/s1/step")
                waits_s.append(time.monotonic() - start_s)
            assert sorted(waits_s)[15] < 0.03  # the median; over 40 ms without TCP_NODELAY, some 3 ms with it

    run(session)


def test_a_taken_port_is_refused_with_a_sentence() -> None:
    async def session() -> None:
        async with embedded_broker(0) as port:
            with pytest.raises(SessionError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*choose another port"):
                async with embedded_broker(port):
                    pass

    run(session)


def test_the_embedded_broker_is_reachable_from_this_machine_only() -> None:
    async def session() -> None:
        async with embedded_broker(0) as port:
            with socket.socket() as other:
                other.bind(("127.0.0.2", port))  # free: the broker took one loopback address, not all interfaces

    run(session)


@pytest.mark.parametrize("session", ["", "a/b", "a+", "#", "s\0"])
def test_session_names_that_would_change_the_topic_are_refused(session: str) -> None:
    with pytest.raises(ConfigError, match="cannot be in an MQTT topic"):
        BusSettings(session)
