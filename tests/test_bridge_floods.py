"""Thousands of connections that have no business here: refused, seen, and the service goes on."""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from scanner_bridge.client import BridgeClient
from scanner_bridge.keys import ClientKeys, load_client_keys, load_server_keys, write_key_files
from scanner_bridge.sockets import new_key_pair
from tests.live_end import a_header, a_volume, live_program

SERVICE_S = 0.1


def garbage(port: int, n_connections: int, seed: int) -> None:
    """Connections that send anything at all; some of it begins as ZeroMQ does. Every tenth stays open for a while."""
    rng = random.Random(seed)
    idle: list[socket.socket] = []
    for place in range(n_connections):
        peer = socket.create_connection(("127.0.0.1", port), timeout=10)
        greeting = b"\xff" + bytes(8) + b"\x7f\x03" if place % 3 == 0 else b""
        with contextlib.suppress(OSError):  # refused already
            peer.sendall(greeting + rng.randbytes(rng.randrange(1, 600)))
        if place % 10 == 0:
            idle.append(peer)
        else:
            peer.close()
    for peer in idle:
        peer.close()


def strangers(endpoint: str, n_connections: int, keys: ClientKeys) -> None:
    """Bridges whose key nobody knows: each handshake is real, and fails."""
    with zmq.Context() as context:
        for _ in range(n_connections):
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger = 0
                dealer.reconnect_ivl = -1
                pair = new_key_pair()
                dealer.curve_publickey, dealer.curve_secretkey = pair.public, pair.secret
                dealer.curve_serverkey = keys.server
                with dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED) as events:
                    dealer.connect(endpoint)
                    assert events.poll(10_000), "the handshake did not end"
                    dealer.disable_monitor()


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize(("n_garbage", "n_strangers"), [
    (250, 50), pytest.param(4000, 1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_a_flood_is_refused_and_seen_and_volumes_are_stored_in_time(
        tmp_path: Path, n_garbage: int, n_strangers: int) -> None:
    live, bridge = (write_key_files(tmp_path, name, new_key_pair()) for name in ("live", "bridge"))
    keys = load_client_keys(bridge[1], live[0])
    waits_s: list[float] = []
    with live_program(keys=load_server_keys(live[1], [bridge[0]])) as program, BridgeClient(
            program.endpoint, keys=keys, timeout_s=5.0) as client:
        client.send(a_header())
        client.flush(10)
        port = int(program.endpoint.rpartition(":")[2])
        floods = [in_thread(lambda: garbage(port, n_garbage, seed=1)),
                  in_thread(lambda: strangers(program.endpoint, n_strangers, keys))]
        index = 0
        while any(flood.is_alive() for flood in floods):
            begun_s = time.monotonic()
            client.send(a_volume(index))
            client.flush(10)
            waits_s.append(time.monotonic() - begun_s)
            index += 1
            time.sleep(0.02)
        client.send(a_volume(index))
        client.flush(10)
        deadline_s = time.monotonic() + 10
        while program.statuses[-1].refused.get("wrong key", 0) < n_strangers and time.monotonic() < deadline_s:
            time.sleep(0.05)
        status = program.statuses[-1]
        assert program.indices == list(range(index + 1))
    waits_s.sort()
    figures = {"garbage": n_garbage, "wrong_key": n_strangers, "tried": status.tried,
               "let_in": status.let_in, "refused": dict(status.refused), "n": len(waits_s),
               "service_ms": {"p50": round(1e3 * waits_s[len(waits_s) // 2], 1),
                              "p99": round(1e3 * waits_s[int(0.99 * len(waits_s))], 1),
                              "max": round(1e3 * waits_s[-1], 1)}}
    print(json.dumps(figures))
    (tmp_path / "floods.json").write_text(json.dumps(figures))
    assert status.refused["wrong key"] == n_strangers
    assert status.tried == n_garbage + n_strangers + 1
    assert status.let_in == 1
    assert waits_s[int(0.99 * len(waits_s))] <= SERVICE_S
