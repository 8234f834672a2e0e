"""A TCP connection to a receiver that may not be there yet."""

import socket
import time
from collections.abc import Callable

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.address import Address

_AGAIN_S = 0.1
_SEND_S = 30.0


def connect(address: Address, wait_s: float, *, sleep: Callable[[float], None] = time.sleep) -> socket.socket:
    """Connect, trying again for `wait_s`; sending then fails when nothing is taken for 30 s.

    Raises
    ------
    SourceError
        Nobody listens there.
    """
    until_s = time.monotonic() + wait_s
    while True:
        try:
            return socket.create_connection((address.host, address.port), timeout=_SEND_S)
        except OSError as error:
            if time.monotonic() >= until_s:
                raise SourceError(
                    f"nobody takes a connection at {address} ({error}): start the receiver, or name where it listens"
                ) from error
        sleep(_AGAIN_S)


def send_all(connection: socket.socket, data: bytes, address: Address) -> None:
    """Send everything.

    Raises
    ------
    SourceError
        The receiver has gone, or takes nothing.
    """
    try:
        connection.sendall(data)
    except OSError as error:
        raise SourceError(f"the receiver at {address} went away: {error}; see what it says") from error
