"""A receiving program in a thread of the test, and volumes to send to it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import zmq

from scanner_bridge.client import BridgeClient
from scanner_bridge.peers import LinkStatus
from scanner_bridge.server import Received, VolumeServer
from scanner_bridge.volume import RunHeader, Volume

ANY_PORT = "tcp://127.0.0.1:*"
SHAPE = (16, 16, 8)


def a_header(run_id: str = "run", n_volumes: int | None = None) -> RunHeader:
    return RunHeader(run_id, SHAPE, "<i2", np.eye(4), 1.0, n_volumes)


def a_volume(index: int, run_id: str = "run") -> Volume:
    return Volume(index, np.full(SHAPE, index, np.int16), np.eye(4), 1.0, run_id)


def send_volumes(client: BridgeClient, n_volumes: int) -> None:
    client.send(a_header())
    for index in range(n_volumes):
        client.send(a_volume(index))


@dataclass
class LiveProgram:
    """A server in its own thread that keeps what it acknowledged; `arrived` is set by the first volume."""

    endpoint: str
    stop: Callable[[], None]
    received: list[Received] = field(default_factory=list)
    statuses: list[LinkStatus] = field(default_factory=list)
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

    async def watch(server: VolumeServer) -> None:
        async for status in server.link_changes():
            program.statuses.append(status)

    async def serve() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        program.stop = lambda: loop.call_soon_threadsafe(task.cancel)  # type: ignore[assignment]
        async with VolumeServer(endpoint, **options) as server:  # type: ignore[arg-type]
            program.endpoint = server.endpoint
            watching = asyncio.create_task(watch(server))
            started.set()
            while not watching.done():  # a bug in it shall not hide
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


@contextlib.contextmanager
def raw_dealer(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        yield dealer
