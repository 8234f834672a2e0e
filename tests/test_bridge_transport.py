"""Real sockets: what one end was given the other end has, once and in order."""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from scanner_bridge.client import BridgeClient
from scanner_bridge.envelope import Envelope, Kind
from scanner_bridge.errors import SpoolError, TransportError, WireError
from scanner_bridge.receiver import MAX_REQUESTS
from scanner_bridge.server import VolumeServer
from scanner_bridge.volume import RunEnd, Volume
from scanner_bridge.wire import decode, encode, unpack
from tests.live_end import ANY_PORT, a_header, a_volume, live_program, raw_dealer, send_volumes
from tests.loopback import free_endpoint


def test_messages_arrive_in_order_as_they_were_sent() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as client:
        send_volumes(client, 40)
        client.send(RunEnd("run", 40))
        client.flush(10)
        assert client.unacknowledged == 0
        assert program.indices == list(range(40))
        assert [received.seq for received in program.received] == list(range(42))
        assert {received.nonce for received in program.received} == {program.received[0].nonce}
        last_volume = decode(unpack(program.received[40].blob))
        assert isinstance(last_volume, Volume)
        np.testing.assert_array_equal(last_volume.data, a_volume(39).data)


def test_messages_sent_before_the_live_program_starts_are_delivered() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        send_volumes(client, 5)
        with live_program(endpoint) as program:
            client.flush(10)
            assert program.indices == list(range(5))


def test_two_bridges_do_not_disturb_each_other(tmp_path: Path) -> None:
    with (
        live_program() as program,
        BridgeClient(program.endpoint) as one,
        BridgeClient(program.endpoint, spool=tmp_path / "spool") as two,
    ):
        one.send(a_header())
        two.send(a_header())
        for index in range(10):
            one.send(a_volume(index))
            two.send(a_volume(100 + index))
        one.flush(10)
        two.flush(10)
        assert sorted(program.indices) == [*range(10), *range(100, 110)]
        assert [index for index in program.indices if index < 100] == list(range(10))


def test_a_spool_that_fills_holds_the_source_back_and_says_so_well_before(caplog: pytest.LogCaptureFixture) -> None:
    with BridgeClient(free_endpoint(), limit_bytes=30_000) as client:
        client.send(a_header())
        for index in range(6):  # 4 kB each
            client.send(a_volume(index))
        alarms = [record.getMessage() for record in caplog.records if " % full" in record.getMessage()]
        assert [alarm.partition(" is ")[2][:9] for alarm in alarms] == ["60 % full", "89 % full"]
        with pytest.raises(SpoolError, match=r"may hold 0\.0 MB: the source waits"):
            client.send(a_volume(7), cancelled=lambda: True)
        assert client.unacknowledged == 7


def test_flushing_towards_nobody_says_who_does_not_answer() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        send_volumes(client, 1)
        with pytest.raises(TransportError, match=f"2 messages are not stored by .* at {endpoint}.*nobody.* stay in"):
            client.flush(0.05)


def test_a_run_begins_with_its_header_and_is_over_with_its_end() -> None:
    with BridgeClient(free_endpoint()) as client:
        with pytest.raises(TransportError, match="before any run header"):
            client.send(a_volume(0))
        send_volumes(client, 1)
        client.send(RunEnd("run", 1))
        with pytest.raises(TransportError, match="after its run's end"):
            client.send(a_volume(1))


def test_a_volume_that_was_given_twice_is_sent_once_and_one_with_other_voxels_too() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as client:
        send_volumes(client, 3)
        other = Volume(1, a_volume(2).data, np.eye(4), 1.0)
        for volume in (a_volume(1), other, other, a_volume(1)):
            client.send(volume)
        client.flush(10)
        assert program.indices == [0, 1, 2, 1]


def test_a_closed_client_refuses_to_send() -> None:
    client = BridgeClient(free_endpoint())
    client.close()
    client.close()
    with pytest.raises(TransportError, match="closed"):
        client.send(a_header())


def test_a_message_that_cannot_cross_leaves_the_stream_usable() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as client:
        client.send(a_header())
        with pytest.raises(WireError):
            client.send(Volume(0, np.zeros((2, 2)), np.eye(4), 1.0))
        client.send(a_volume(1))
        client.flush(10)
        assert program.indices == [1]


@contextlib.asynccontextmanager
async def breaking_proxy(target_port: int, break_after_bytes: int) -> AsyncIterator[str]:
    """A TCP proxy that cuts every connection after so many bytes towards the target."""
    host = "127.0.0.1"

    connections: list[asyncio.Future[tuple[None, None]]] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: float) -> None:
        with contextlib.suppress(OSError):
            while budget > 0 and (chunk := await reader.read(4096)):
                writer.write(chunk)
                budget -= len(chunk)
        writer.transport.abort()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(host, target_port)
        there, back = forward(reader, target_writer, break_after_bytes), forward(target_reader, writer, float("inf"))
        connections.append(asyncio.gather(there, back))

    proxy = await asyncio.start_server(connected, host, 0)
    async with proxy:
        yield f"tcp://{host}:{proxy.sockets[0].getsockname()[1]}"
    await asyncio.gather(*connections)
    assert len(connections) > 3


def test_nothing_is_lost_when_the_connection_breaks_again_and_again() -> None:
    async def run() -> list[int]:
        async with VolumeServer(ANY_PORT) as server:
            port = int(server.endpoint.rpartition(":")[2])
            async with breaking_proxy(port, break_after_bytes=50_000) as endpoint:
                client = BridgeClient(endpoint, window=8)
                sending = asyncio.create_task(asyncio.to_thread(send_volumes, client, 60))
                indices: list[int] = []
                while len(indices) < 60:
                    received = await server.receive()
                    indices += [received.message.index] if isinstance(received.message, Volume) else []
                    await server.acknowledge(received)
                await sending
                client.close()
                return indices

    assert asyncio.run(run()) == list(range(60))


def test_nothing_is_lost_when_receiving_is_cancelled_again_and_again() -> None:
    async def run() -> tuple[list[int], int]:
        indices: list[int] = []
        n_cancelled = 0
        async with VolumeServer(ANY_PORT) as server:
            with BridgeClient(server.endpoint, window=4, timeout_s=0.1) as client:
                sending = asyncio.create_task(asyncio.to_thread(send_volumes, client, 40))
                patience = itertools.cycle(range(1, 13))  # turns of the loop: some end a receive that has just begun
                while len(indices) < 40:
                    receiving = asyncio.create_task(server.receive())
                    for _ in range(next(patience)):
                        await asyncio.sleep(0)
                    receiving.cancel()
                    try:
                        received = await receiving
                    except asyncio.CancelledError:
                        n_cancelled += 1
                        continue
                    indices += [received.message.index] if isinstance(received.message, Volume) else []
                    await server.acknowledge(received)
                await sending
        return indices, n_cancelled

    indices, n_cancelled = asyncio.run(run())
    assert indices == list(range(40))
    assert n_cancelled > 20


def test_frames_that_stay_damaged_are_kept_and_the_stream_goes_on() -> None:
    with live_program() as program, raw_dealer(program.endpoint) as dealer:
        nonce = bytes(16)
        head, payload = encode(a_volume(0))
        for n_requests in range(MAX_REQUESTS + 1):
            dealer.send_multipart([Envelope(Kind.DATA, nonce, 0).to_bytes(), head, payload[:-1]])
            wanted = Envelope(Kind.RESEND, nonce, 0) if n_requests < MAX_REQUESTS else Envelope(Kind.ACK, nonce, 1)
            assert Envelope.from_bytes(dealer.recv()) == wanted
        dealer.send_multipart([Envelope(Kind.DATA, nonce, 1).to_bytes(), *encode(a_volume(1))])
        assert Envelope.from_bytes(dealer.recv()) == Envelope(Kind.ACK, nonce, 2)
    damaged, whole = program.received
    assert damaged.message is None
    assert "cut short" in (damaged.rejected or "")
    assert unpack(damaged.blob) == [head, payload[:-1]]
    assert whole.rejected is None


def test_what_is_not_ours_is_ignored() -> None:
    with live_program() as program, raw_dealer(program.endpoint) as stranger, BridgeClient(program.endpoint) as client:
        stranger.send(b"hello")
        stranger.send_multipart([b""] * 40)
        stranger.send_multipart([Envelope(Kind.ACK, bytes(16), 5).to_bytes(), b"", b""])
        stranger.send_multipart([Envelope(Kind.DATA, bytes(16), 0).to_bytes(), *[b"x"] * 40])
        port = int(program.endpoint.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as garbage:
            garbage.sendall(os.urandom(4096))
        send_volumes(client, 3)
        client.flush(10)
        assert program.indices == [0, 1, 2]


def test_a_live_program_that_lost_its_record_is_sent_the_whole_run_again() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        with live_program(endpoint):
            send_volumes(client, 3)
            client.flush(10)
        with live_program(endpoint) as forgetful:
            client.send(a_volume(3))
            client.flush(10)
            assert forgetful.indices == [0, 1, 2, 3]
            assert forgetful.received[0].seq == 0


def test_a_live_program_with_its_record_goes_on_where_it_stopped() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        with live_program(endpoint) as first:
            send_volumes(client, 1)
            client.flush(10)
        with live_program(endpoint, stored={first.received[0].nonce: 2}) as second:
            client.send(a_volume(1))
            client.flush(10)
            assert second.indices == [1]


def test_a_busy_port_is_named_with_the_remedy() -> None:
    async def listen(endpoint: str) -> None:
        async with VolumeServer(endpoint):
            pytest.fail("two programs listen on one port")

    with live_program() as program, pytest.raises(TransportError, match=f"{program.endpoint}.*stop the program"):
        asyncio.run(listen(program.endpoint))


@pytest.mark.parametrize("endpoint", ["tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://192.168.2.5:5555", "tcp://eth0:1"])
def test_listening_beyond_this_host_needs_keys(endpoint: str) -> None:
    with pytest.raises(TransportError, match="without keys"):
        VolumeServer(endpoint)


@pytest.mark.parametrize("endpoint", ["", "tcp://nowhere", "5555", "http://127.0.0.1:80"])
def test_an_address_that_cannot_be_used_is_refused(endpoint: str) -> None:
    with pytest.raises(TransportError, match="cannot connect"):
        BridgeClient(endpoint)


