"""What every ZeroMQ socket of the bridge has in common: bounds, heartbeats, keys."""

import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Any

import zmq

from scanner_bridge.keys import KeyPair
from scanner_bridge.wire import MAX_HEADER_BYTES
from scanner_bridge.wire_headers import MAX_PAYLOAD_BYTES

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5577"
"""Where the live program listens unless told otherwise."""

_QUEUE_MESSAGES = 64

SOCKET_OPTIONS: dict[int, int] = {
    zmq.LINGER: 0,
    zmq.SNDHWM: _QUEUE_MESSAGES,
    zmq.RCVHWM: _QUEUE_MESSAGES,
    zmq.MAXMSGSIZE: MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES,
    zmq.HEARTBEAT_IVL: 300,
    zmq.HEARTBEAT_TIMEOUT: 900,
    zmq.HEARTBEAT_TTL: 900,
    zmq.HANDSHAKE_IVL: 3000,
}
"""Bounded in both directions, nothing lingers, a dead peer is noticed within 900 ms."""


def configure(socket: zmq.Socket[Any], options: Mapping[int, int], own: KeyPair | None) -> None:
    """Set integer options, and this host's keys when there are any."""
    for option, value in options.items():
        socket.setsockopt(option, value)
    if own is not None:
        socket.curve_publickey = own.public
        socket.curve_secretkey = own.secret


def new_key_pair() -> KeyPair:
    """A fresh CURVE pair, for `scanner_bridge.keys.write_key_files`."""
    return KeyPair(*zmq.curve_keypair())


def waiting(socket: zmq.Socket[bytes]) -> list[list[bytes]]:
    """Messages that lie in the socket now; never waits."""
    messages = []
    with contextlib.suppress(zmq.Again):
        while True:
            messages.append(socket.recv_multipart(zmq.NOBLOCK))
    return messages


def is_this_host(endpoint: str) -> bool:
    """Whether nobody but this host can reach an endpoint."""
    scheme, _, address = endpoint.partition("://")
    if scheme in ("ipc", "inproc"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
