"""Real sockets: nothing acknowledged is lost, whoever dies; nobody comes in who should not."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zmq

from scanner_bridge.delivery import MAX_REQUESTS, Envelope, Kind
from scanner_bridge.errors import TransportError, WireError
from scanner_bridge.keys import ClientKeys, load_client_keys, load_server_keys, write_key_files
from scanner_bridge.sockets import new_key_pair
from scanner_bridge.transport import BridgeClient, Received, VolumeServer
from scanner_bridge.volume import RunEnd, Volume
from scanner_bridge.wire import decode, encode, unpack
from tests.bridge_receiver import read_log
from tests.loopback import free_endpoint

ROOT = Path(__file__).resolve().parents[1]
ANY_PORT = "tcp://127.0.0.1:*"


def a_volume(index: int) -> Volume:
    data = np.full((16, 16, 8), index, np.int16)
    return Volume(index, data, np.eye(4), 1.0)


def send_volumes(client: BridgeClient, n_volumes: int) -> None:
    for index in range(n_volumes):
        client.send(a_volume(index))


@dataclass
class LiveProgram:
    """A server in its own thread that keeps what it acknowledged; `arrived` is set by the first volume."""

    endpoint: str
    stop: Callable[[], None]
    received: list[Received] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def indices(self) -> list[int]:
        return [received.message.index for received in self.received if isinstance(received.message, Volume)]


@contextlib.contextmanager
def live_program(endpoint: str = ANY_PORT, **options: object) -> Iterator[LiveProgram]:
    """Runs a VolumeServer in a thread; an exception of it is raised here at the end."""
    started = threading.Event()
    program = LiveProgram("", lambda: None)
    failures: list[BaseException] = []

    async def serve() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        program.stop = lambda: loop.call_soon_threadsafe(task.cancel)  # type: ignore[assignment]
        async with VolumeServer(endpoint, **options) as server:  # type: ignore[arg-type]
            program.endpoint = server.endpoint
            started.set()
            while True:
                received = await server.receive()
                program.received.append(received)
                await server.acknowledge(received)
                if isinstance(received.message, Volume):
                    program.arrived.set()

    def run() -> None:
        try:
            asyncio.run(serve())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # handed to the test's own thread below
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield program
    finally:
        program.stop()
        thread.join()
    for failure in failures:
        raise failure


def test_messages_arrive_in_order_as_they_were_sent() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as client:
        for index in range(40):
            client.send(a_volume(index))
        client.send(RunEnd("run", 40))
        client.flush(10)
        assert client.unacknowledged == 0
        assert program.indices == list(range(40))
        assert [received.seq for received in program.received] == list(range(41))
        assert {received.nonce for received in program.received} == {program.received[0].nonce}
        last_volume = decode(unpack(program.received[39].blob))
        assert isinstance(last_volume, Volume)
        np.testing.assert_array_equal(last_volume.data, a_volume(39).data)


def test_messages_sent_before_the_live_program_starts_are_delivered() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        for index in range(5):
            client.send(a_volume(index))
        with live_program(endpoint) as program:
            client.flush(10)
            assert program.indices == list(range(5))


def test_two_bridges_do_not_disturb_each_other() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as one, BridgeClient(program.endpoint) as two:
        for index in range(10):
            one.send(a_volume(index))
            two.send(a_volume(100 + index))
        one.flush(10)
        two.flush(10)
        assert sorted(program.indices) == [*range(10), *range(100, 110)]
        assert [index for index in program.indices if index < 100] == list(range(10))


def test_a_window_that_fills_holds_the_sender_back() -> None:
    with BridgeClient(free_endpoint(), window=2) as client:
        client.send(a_volume(0))
        client.send(a_volume(1))
        with pytest.raises(TransportError, match=r"2 messages are not stored .*wait was cancelled"):
            client.send(a_volume(2), cancelled=lambda: True)


def test_flushing_towards_nobody_says_who_does_not_answer() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        client.send(a_volume(0))
        with pytest.raises(TransportError, match=f"1 messages are not stored by .* at {endpoint}.*nobody"):
            client.flush(0.05)


def test_a_closed_client_refuses_to_send() -> None:
    client = BridgeClient(free_endpoint())
    client.close()
    client.close()
    with pytest.raises(TransportError, match="closed"):
        client.send(a_volume(0))


def test_a_message_that_cannot_cross_leaves_the_stream_usable() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as client:
        with pytest.raises(WireError):
            client.send(Volume(0, np.zeros((2, 2)), np.eye(4), 1.0))
        client.send(a_volume(1))
        client.flush(10)
        assert program.indices == [1]


def spawn_receiver(endpoint: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "tests" / "bridge_receiver.py"), endpoint, str(log)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_nothing_is_lost_when_the_receiver_is_killed_again_and_again(tmp_path: Path) -> None:
    endpoint, log = free_endpoint(), tmp_path / "log"
    n_volumes, window = 60, 6
    receiver = spawn_receiver(endpoint, log)
    n_acknowledged_at_kill = []
    try:
        with BridgeClient(endpoint, window=window) as client:
            for index in range(n_volumes):
                client.send(a_volume(index))
                if index % 10 == 9:  # some of these are stored, some are on their way: any moment will do
                    receiver.send_signal(signal.SIGKILL)
                    receiver.wait()
                    n_acknowledged_at_kill.append(index + 1 - client.unacknowledged)
                    assert n_acknowledged_at_kill[-1] <= len(read_log(log))
                    receiver = spawn_receiver(endpoint, log)
            client.flush(30)
    finally:
        receiver.kill()
        receiver.wait()
    messages = [decode(unpack(blob)) for _, blob in read_log(log)]
    assert [message.index for message in messages if isinstance(message, Volume)] == list(range(n_volumes))
    assert len(n_acknowledged_at_kill) == 6


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
                    assert isinstance(received.message, Volume)
                    indices.append(received.message.index)
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
                    assert isinstance(received.message, Volume)
                    indices.append(received.message.index)
                    await server.acknowledge(received)
                await sending
        return indices, n_cancelled

    indices, n_cancelled = asyncio.run(run())
    assert indices == list(range(40))
    assert n_cancelled > 20


@contextlib.contextmanager
def raw_dealer(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        yield dealer


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
        client.send(a_volume(3))
        client.flush(10)
        assert program.indices == [3]


def test_a_live_program_without_its_record_is_told_so_and_the_bridge_stops() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        with live_program(endpoint):
            client.send(a_volume(0))
            client.flush(10)
        with live_program(endpoint) as forgetful:
            client.send(a_volume(1))
            with pytest.raises(TransportError, match="without its record"):
                client.flush(10)
            with pytest.raises(TransportError, match="without its record"):
                client.send(a_volume(2))
            assert forgetful.received == []


def test_a_live_program_with_its_record_goes_on_where_it_stopped() -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        with live_program(endpoint) as first:
            client.send(a_volume(0))
            client.flush(10)
        with live_program(endpoint, stored={first.received[0].nonce: 1}) as second:
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


@dataclass(frozen=True)
class KeyFiles:
    live: tuple[Path, Path]
    bridge: tuple[Path, Path]
    stranger: tuple[Path, Path]

    def client(self, own: tuple[Path, Path]) -> ClientKeys:
        return load_client_keys(own[1], self.live[0])


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    return KeyFiles(*(write_key_files(tmp_path, name, new_key_pair()) for name in ("live", "bridge", "stranger")))


def test_only_a_bridge_with_a_known_key_comes_in(keys: KeyFiles) -> None:
    with live_program(keys=load_server_keys(keys.live[1], [keys.bridge[0]])) as program:
        with BridgeClient(program.endpoint, keys=keys.client(keys.bridge)) as client:
            client.send(a_volume(0))
            client.flush(10)
        wrong_server = load_client_keys(keys.bridge[1], keys.stranger[0])
        for intruder in (keys.client(keys.stranger), wrong_server, None):
            with BridgeClient(program.endpoint, keys=intruder) as client:
                client.send(a_volume(1))
                with pytest.raises(TransportError, match="not stored"):
                    client.flush(0.4)
        assert program.indices == [0]


def test_an_unknown_key_is_named_as_the_reason(keys: KeyFiles) -> None:
    with live_program(keys=load_server_keys(keys.live[1], [keys.bridge[0]])) as program:
        with BridgeClient(program.endpoint, keys=keys.client(keys.stranger)) as client:
            client.send(a_volume(1))
            with pytest.raises(TransportError, match="does not know this bridge's key"):
                client.flush(1.5)


def test_a_secret_key_that_others_can_read_is_refused(keys: KeyFiles) -> None:
    assert keys.live[1].stat().st_mode & 0o777 == 0o600
    keys.live[1].chmod(0o640)
    with pytest.raises(TransportError, match="mode 0640, wanted 0600: run chmod 600"):
        load_server_keys(keys.live[1], [keys.bridge[0]])


def test_key_files_that_cannot_serve_are_named(keys: KeyFiles, tmp_path: Path) -> None:
    keys.bridge[0].chmod(0o600)
    with pytest.raises(TransportError, match="holds no secret key"):
        load_client_keys(keys.bridge[0], keys.live[0])
    with pytest.raises(TransportError, match="missing"):
        load_client_keys(keys.bridge[1], tmp_path / "missing.key")
    with pytest.raises(TransportError, match="nobody could connect"):
        load_server_keys(keys.live[1], [])
    with pytest.raises(TransportError, match="cannot write keys"):
        write_key_files(tmp_path, "live", new_key_pair())
    empty = tmp_path / "empty.key"
    empty.touch()
    with pytest.raises(TransportError, match="holds no public key"):
        load_server_keys(keys.live[1], [empty])
