"""Connections to a live program's port that have no business there, from a process of their own.

python tests/bridge_flood.py garbage|strangers ENDPOINT N LIVE_KEY
"""

import contextlib
import random
import socket
import sys

import zmq

from scanner_bridge.sockets import new_key_pair


def garbage(endpoint: str, n_connections: int, _: bytes) -> None:
    """Connections that send anything at all; some of it begins as ZeroMQ does. Every tenth stays open for a while."""
    rng = random.Random(1)
    port = int(endpoint.rpartition(":")[2])
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


def strangers(endpoint: str, n_connections: int, server_key: bytes) -> None:
    """Bridges whose key nobody knows: each handshake is real, and fails."""
    with zmq.Context() as context:
        for _ in range(n_connections):
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger = 0
                dealer.reconnect_ivl = -1
                pair = new_key_pair()
                dealer.curve_publickey, dealer.curve_secretkey = pair.public, pair.secret
                dealer.curve_serverkey = server_key
                with dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED) as events:
                    dealer.connect(endpoint)
                    assert events.poll(10_000), "the handshake did not end"
                    dealer.disable_monitor()


if __name__ == "__main__":
    {"garbage": garbage, "strangers": strangers}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), sys.argv[4].encode())
