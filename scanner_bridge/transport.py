"""The ZeroMQ sockets under `delivery`: the bridge connects and sends, the live program binds and stores.

`BridgeClient` is synchronous, with one thread (`link`) that owns the socket; `VolumeServer` lives in
an asyncio loop. Between them travel three frames: envelope, header, voxels.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from scanner_bridge.delivery import NONCE_BYTES, Accept, Answer, Envelope, Kind, Receiver, Rejected, Sender
from scanner_bridge.errors import TransportError, WireError
from scanner_bridge.keys import ClientKeys, ServerKeys
from scanner_bridge.link import Link
from scanner_bridge.sockets import SOCKET_OPTIONS, configure, is_this_host
from scanner_bridge.volume import Message
from scanner_bridge.wire import MAX_PACKED_FRAMES, encode, pack

logger = logging.getLogger(__name__)

_ZAP_DOMAIN = "scanner_bridge"


class BridgeClient:
    """Sends messages to the live program; each is held until it was stored there.

    Parameters
    ----------
    endpoint : str
        Where the live program listens, like ``tcp://192.168.2.5:5555``.
    keys : ClientKeys, optional
        Encrypt, and prove who we are.
    window : int
        How many messages may be unacknowledged before `send` waits.
    timeout_s : float
        First wait before a message is sent again.
    """

    def __init__(
        self, endpoint: str, *, keys: ClientKeys | None = None, window: int = 32, timeout_s: float = 1.0
    ) -> None:
        self.endpoint = endpoint
        self._sender = Sender(secrets.token_bytes(NONCE_BYTES), window=window, timeout_s=timeout_s)
        self._link = Link(endpoint, self._sender, keys)

    def send(self, message: Message, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Hand a message over for delivery; waits only while the window is full.

        Parameters
        ----------
        message : RunHeader, Volume or RunEnd
            What to send.
        cancelled : callable
            Asked every 100 ms while waiting; true gives up with TransportError.

        Raises
        ------
        WireError
            The message cannot cross the wire.
        TransportError
            The live program refused this stream, the client is closed, or the wait was cancelled.
        """
        frames = encode(message)
        with self._link.changed:
            while self._sender.full and not self._link.stopped:
                if cancelled():
                    raise TransportError(self._stalled("the wait was cancelled"))
                self._link.changed.wait(0.1)
            self._raise_when_stopped()
            self._sender.submit(frames)
            self._link.wake()

    def flush(self, timeout_s: float, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until everything is stored on the other side; TransportError when that takes longer or is cancelled."""
        until_s = time.monotonic() + timeout_s
        with self._link.changed:
            while self._sender.unacknowledged and not self._link.stopped:
                remaining_s = until_s - time.monotonic()
                if remaining_s <= 0:
                    raise TransportError(self._stalled(f"waited {timeout_s:g} s"))
                if cancelled():
                    raise TransportError(self._stalled("the wait was cancelled"))
                self._link.changed.wait(min(0.1, remaining_s))
            self._raise_when_stopped()

    @property
    def unacknowledged(self) -> int:
        """How many messages the live program has not said it stored."""
        with self._link.changed:
            return self._sender.unacknowledged

    def close(self) -> None:
        """Stop at once; what was not acknowledged is dropped (call `flush` first). May be called twice."""
        self._link.close()

    def __enter__(self) -> "BridgeClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _raise_when_stopped(self) -> None:
        if self._link.failure is not None:
            raise TransportError(str(self._link.failure)) from self._link.failure
        if self._link.stopped:
            raise TransportError(f"the connection to {self.endpoint} was closed: open a new one to send more")

    def _stalled(self, wait: str) -> str:
        return (
            f"{self._sender.unacknowledged} messages are not stored by the live program at {self.endpoint} ({wait}; "
            f"{self._link.state}): start it there, or check the address and the network"
        )


@dataclass(frozen=True, eq=False)
class Received:
    """One message of a bridge, or frames that stayed damaged; store `blob`, then `VolumeServer.acknowledge` it.

    Attributes
    ----------
    message : RunHeader, Volume, RunEnd or None
        None when the frames stayed damaged.
    rejected : str or None
        Why there is no message; None when there is one.
    blob : bytes
        The frames as they came, as `scanner_bridge.wire.pack` packs them: what a journal stores.
    nonce : str
        Names the bridge's stream (32 hex digits).
    seq : int
        Number of the message in that stream, from 0.
    received_s : float
        Monotonic time of this host at which it was taken from the socket.
    """

    message: Message | None
    rejected: str | None
    blob: bytes
    nonce: str
    seq: int
    received_s: float


class VolumeServer:
    """The live program's end: receives in order, acknowledges what its caller has stored.

    Use as ``async with VolumeServer(endpoint, stored=...) as server``.

    Parameters
    ----------
    endpoint : str
        Where to listen, like ``tcp://127.0.0.1:5555``; port ``*`` takes any free one (see `endpoint`).
    stored : mapping of str to int
        What the journal already holds of each stream: {nonce in hex: number of messages}.
    keys : ServerKeys, optional
        Encrypt, and let in these bridges only. Required to listen beyond this host.
    """

    def __init__(
        self, endpoint: str, *, stored: Mapping[str, int] | None = None, keys: ServerKeys | None = None
    ) -> None:
        if keys is None and not is_this_host(endpoint):
            raise TransportError(
                f"will not listen on {endpoint} without keys: anyone on that network could send volumes; listen on "
                "127.0.0.1, or make keys for both hosts and name them"
            )
        self.endpoint = endpoint
        self._keys = keys
        self._receiver = Receiver({bytes.fromhex(nonce): count for nonce, count in (stored or {}).items()})
        self._route: dict[bytes, bytes] = {}
        self._open = contextlib.ExitStack()
        self._router: zmq.asyncio.Socket | None = None

    async def __aenter__(self) -> "VolumeServer":
        """Listen; `endpoint` then names the real port. TransportError when it cannot be had."""
        context = zmq.asyncio.Context()
        self._open.callback(context.destroy, linger=0)
        try:
            router = context.socket(zmq.ROUTER)
            configure(router, SOCKET_OPTIONS, self._keys.own if self._keys else None)
            if self._keys is not None:
                self._guard(context, router, self._keys)
            router.bind(self.endpoint)
        except (zmq.ZMQError, ValueError) as error:
            self._open.close()
            raise TransportError(
                f"cannot listen on {self.endpoint!r}: {error}; stop the program that holds it "
                "(`ss -ltnp` names it) or choose another port"
            ) from error
        self.endpoint = router.get_string(zmq.LAST_ENDPOINT)
        self._router = router
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._router = None
        self._open.close()

    async def receive(self) -> Received:
        """The next message of any bridge, each stream in order; waits until there is one.

        Several may be received before the first is acknowledged. Cancelling loses nothing: what was
        not returned was not acknowledged and comes again.
        """
        router = self._listening()
        while True:
            route, *frames = await router.recv_multipart()
            received_s = time.monotonic()
            received = await self._judge(route, frames, received_s)
            if received is not None:
                return received
            await asyncio.sleep(0)  # frames that lead nowhere must not keep the loop for themselves

    async def acknowledge(self, received: Received) -> None:
        """Tell the bridge that this message is on disk: call only after it is.

        Raises
        ------
        TransportError
            Not the oldest message received and not yet acknowledged.
        """
        nonce = bytes.fromhex(received.nonce)
        await self._reply(nonce, self._receiver.acknowledge(nonce, received.seq))

    async def _judge(self, route: bytes, frames: list[bytes], received_s: float) -> Received | None:
        try:
            envelope = Envelope.from_bytes(frames[0] if frames else b"")
        except WireError as error:
            logger.warning("ignored %d frames: %s", len(frames), error)
            return None
        if envelope.kind is not Kind.DATA or len(frames) - 1 > MAX_PACKED_FRAMES:
            logger.warning("ignored %d frames behind a %s envelope", len(frames), envelope.kind.name)
            return None
        self._route[envelope.nonce] = route
        verdict = self._receiver.on_data(envelope, frames[1:])
        if isinstance(verdict, Answer):
            if verdict.envelope is not None:
                await self._reply(envelope.nonce, verdict.envelope)
            return None
        return Received(
            message=verdict.message if isinstance(verdict, Accept) else None,
            rejected=verdict.reason if isinstance(verdict, Rejected) else None,
            blob=pack(verdict.frames),
            nonce=verdict.nonce.hex(),
            seq=verdict.seq,
            received_s=received_s,
        )

    async def _reply(self, nonce: bytes, answer: Envelope) -> None:
        """Send an answer if its bridge is there; a lost answer is made good by the next one."""
        with contextlib.suppress(zmq.Again):
            await self._listening().send_multipart([self._route[nonce], answer.to_bytes()], zmq.NOBLOCK)

    def _listening(self) -> zmq.asyncio.Socket:
        if self._router is None:
            raise TransportError(f"not listening on {self.endpoint}: use `async with VolumeServer(...)`")
        return self._router

    def _guard(self, context: zmq.asyncio.Context, router: zmq.asyncio.Socket, keys: ServerKeys) -> None:
        authenticator = AsyncioAuthenticator(context, log=logger)
        authenticator.start()
        self._open.callback(authenticator.stop)
        # One named domain at both ends, enforced: with none, a missing authenticator would let everyone in.
        authenticator.certs[_ZAP_DOMAIN] = dict.fromkeys(keys.clients, True)
        router.zap_domain = _ZAP_DOMAIN.encode()
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        router.curve_server = True
