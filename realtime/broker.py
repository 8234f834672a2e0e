"""An MQTT broker inside this program, for the demo and for one machine without Mosquitto."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from realtime.errors import SessionError

LOOPBACK = "127.0.0.1"
_GIVEN_TO_NOBODY = range(20000, 32000)  # below what Linux, macOS and Windows take for connections of their own
_TRIES = 100


@asynccontextmanager
async def embedded_broker(port: int = 1883) -> AsyncIterator[int]:
    """Run a broker on this machine's loopback while the block lasts; anyone on the machine may connect.

    For more than one machine, or passwords, run Mosquitto. Needs the package amqtt, which comes with
    the optional dependencies `broker`.

    Parameters
    ----------
    port : int
        TCP port; 0 takes a free one.

    Yields
    ------
    int
        The port it listens on.

    Raises
    ------
    SessionError
        The port is taken or not allowed, or amqtt is not installed.
    """
    try:
        from amqtt.broker import Broker  # noqa: PLC0415 - optional, and only this function needs it
        from amqtt.errors import BrokerError  # noqa: PLC0415
    except ImportError as exc:
        message = 'The embedded MQTT broker needs amqtt, which is missing. Install it: pip install "innerear[broker]".'
        raise SessionError(message) from exc
    port = free_port(port)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}", "max_connections": 100}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    try:
        await broker.start()
    except BrokerError as exc:
        raise SessionError(_busy(port, str(exc))) from exc
    try:
        yield port
    finally:
        await broker.shutdown()


def free_port(port: int = 0) -> int:
    """The loopback port, or a free one for 0, tried before the broker does: its own refusal is a stack trace.

    A free one is none that the system gives to connections by itself: until it is listened on, no other program comes
    upon it but by the same kind of chance.

    Raises
    ------
    SessionError
        The port is taken or not allowed.
    """
    if port:
        if reason := _refused(port):
            raise SessionError(_busy(port, reason))
        return port
    for tried in random.SystemRandom().sample(_GIVEN_TO_NOBODY, _TRIES):
        if not _refused(tried):
            return tried
    raise SessionError(_busy(0, f"of {_TRIES} ports none was free"))


def _refused(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as exc:
            return str(exc)
    return ""


def _busy(port: int, reason: str) -> str:
    return (
        f"The embedded MQTT broker cannot listen on {LOOPBACK}:{port}: {reason}. Another broker may run there: "
        "use that one, or choose another port."
    )
