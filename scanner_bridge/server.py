"""The live program's end: receives every stream in order, and acknowledges what its caller has stored."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.utils.monitor import parse_monitor_message

from scanner_bridge.clock_offset import ClockOffset
from scanner_bridge.envelope import Envelope, Kind, Stamps
from scanner_bridge.errors import TransportError, VersionError, WireError
from scanner_bridge.keys import ServerKeys
from scanner_bridge.peers import LinkStatus, Peers
from scanner_bridge.receiver import Accept, Answer, Receiver, Rejected
from scanner_bridge.sockets import SOCKET_OPTIONS, configure, is_this_host
from scanner_bridge.volume import Message
from scanner_bridge.wire import MAX_PACKED_FRAMES, pack

logger = logging.getLogger(__name__)

_ZAP_DOMAIN = "scanner_bridge"
_REFUSALS = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "wrong key",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake broken off",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "no bridge, or one without keys",
}
_OTHER_VERSION = "bridge of another version"
_NOT_OURS = "message that is not ours"
_LOOK_S = 0.5


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
    clock : ClockOffset or None
        How far the bridge's monotonic clock lies from this host's; None while it is not known.
    """

    message: Message | None
    rejected: str | None
    blob: bytes
    nonce: str
    seq: int
    received_s: float
    clock: ClockOffset | None = None


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
        self._peers = Peers()
        self._route: dict[bytes, bytes] = {}
        self._open = contextlib.AsyncExitStack()
        self._router: zmq.asyncio.Socket | None = None
        self._away_s: float | None = None  # since when nobody stands at the socket

    async def __aenter__(self) -> "VolumeServer":
        """Listen; `endpoint` then names the real port. TransportError when it cannot be had."""
        context = zmq.asyncio.Context()
        self._open.callback(context.destroy, linger=0)
        try:
            router = context.socket(zmq.ROUTER)
            configure(router, SOCKET_OPTIONS, self._keys.own if self._keys else None)
            if self._keys is not None:
                self._guard(context, router, self._keys)
            monitor = router.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | sum(_REFUSALS))
            router.bind(self.endpoint)
        except (zmq.ZMQError, ValueError) as error:
            await self._open.aclose()
            raise TransportError(
                f"cannot listen on {self.endpoint!r}: {error}; stop the program that holds it "
                "(`ss -ltnp` names it) or choose another port"
            ) from error
        self._open.callback(router.close, linger=0)
        self._open.callback(router.disable_monitor)
        watching = asyncio.create_task(self._watch(monitor), name="volumes.watch")
        self._open.push_async_callback(_cancelled, watching)
        self.endpoint = router.get_string(zmq.LAST_ENDPOINT)
        self._router = router
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._router = None
        await self._open.aclose()

    async def receive(self) -> Received:
        """The next message of any bridge, each stream in order; waits until there is one.

        Several may be received before the first is acknowledged. Cancelling loses nothing: what was
        not returned was not acknowledged and comes again.
        """
        while True:
            self._away_s = None
            try:
                route, *frames = await self._listening().recv_multipart()
            finally:
                received_s = self._away_s = self._now_s()
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
        answer = self._receiver.acknowledge(nonce, received.seq)
        await self._reply(self._route[nonce], [answer.to_bytes()])

    async def link_changes(self) -> AsyncIterator[LinkStatus]:
        """The line as it is, and again whenever it has changed, at most twice a second."""
        told = None
        looked_s = self._now_s()
        while True:
            now_s = self._now_s()
            self._peers.unheard(self._deaf_s(looked_s, now_s), now_s)
            looked_s = now_s
            status = self._peers.status(now_s)
            if status != told:
                told = status
                yield status
            await asyncio.sleep(_LOOK_S)

    async def _judge(self, route: bytes, frames: list[bytes], received_s: float) -> Received | None:
        try:
            envelope = Envelope.from_bytes(frames[0] if frames else b"")
            if envelope.kind is Kind.PING and len(frames) == 2:
                await self._reply(route, self._peers.pong(route, envelope, Stamps.from_bytes(frames[1]), received_s))
                return None
        except VersionError as error:
            self._ignore(_OTHER_VERSION, str(error))
            await self._reply(route, [Envelope(Kind.PONG, bytes(16)).to_bytes()])  # whose version it can read
            return None
        except WireError as error:
            self._ignore(_NOT_OURS, f"{len(frames)} frames: {error}")
            return None
        if envelope.kind is not Kind.DATA or len(frames) - 1 > MAX_PACKED_FRAMES:
            self._ignore(_NOT_OURS, f"{len(frames)} frames behind a {envelope.kind.name} envelope")
            return None
        self._peers.heard(route, received_s)
        self._route[envelope.nonce] = route
        verdict = self._receiver.on_data(envelope, frames[1:])
        if isinstance(verdict, Answer):
            if verdict.envelope is not None:
                await self._reply(route, [verdict.envelope.to_bytes()])
            return None
        return Received(
            message=verdict.message if isinstance(verdict, Accept) else None,
            rejected=verdict.reason if isinstance(verdict, Rejected) else None,
            blob=pack(verdict.frames),
            nonce=verdict.nonce.hex(),
            seq=verdict.seq,
            received_s=received_s,
            clock=self._peers.clock(route, received_s),
        )

    def _deaf_s(self, looked_s: float, now_s: float) -> float:
        """How long since the last look we could not hear: the loop stood still (slow disk, suspended), or was busy."""
        late_s = now_s - looked_s - _LOOK_S
        away_s = 0.0 if self._away_s is None else now_s - max(looked_s, self._away_s)
        return max(0.0, late_s, away_s)

    def _ignore(self, reason: str, what: str) -> None:
        self._peers.refused(reason)
        logger.debug("ignored %s", what)

    async def _reply(self, route: bytes, frames: list[bytes]) -> None:
        """Send an answer if its bridge is there; a lost answer is made good by the next one."""
        with contextlib.suppress(zmq.Again):
            await self._listening().send_multipart([route, *frames], zmq.NOBLOCK)

    async def _watch(self, monitor: zmq.asyncio.Socket) -> None:
        while True:
            event = zmq.Event(parse_monitor_message(await monitor.recv_multipart())["event"])
            if event is zmq.Event.ACCEPTED:
                self._peers.tried()
            elif event is zmq.Event.HANDSHAKE_SUCCEEDED:
                self._peers.let_in()
            else:
                self._peers.refused(_REFUSALS[event])
            await asyncio.sleep(0)  # awaiting what is there already does not let go of the loop: volumes come first

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

    @staticmethod
    def _now_s() -> float:
        """The loop's monotonic clock."""
        return asyncio.get_running_loop().time()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
