"""The bridge's socket and the one thread that uses it."""

import contextlib
import logging
import math
import secrets
import threading
import time

import zmq
from zmq.utils.monitor import parse_monitor_message

from scanner_bridge.envelope import NONCE_BYTES, Envelope, Kind, Stamps
from scanner_bridge.errors import BridgeError, TransportError, VersionError, WireError
from scanner_bridge.keys import ClientKeys
from scanner_bridge.outbox import Outbox
from scanner_bridge.sockets import SOCKET_OPTIONS, configure, waiting

logger = logging.getLogger(__name__)

_CLIENT_OPTIONS: dict[int, int] = {
    zmq.IMMEDIATE: 1,  # queue for a live connection only: what waits for one stays in the spool, not in a socket
    zmq.RECONNECT_IVL: 50,
    zmq.RECONNECT_IVL_MAX: 200,  # a live program on the same network: a try costs it nothing, waiting costs volumes
    zmq.CONNECT_TIMEOUT: 500,  # else the kernel's own retries: up to 32 s of silence after a cut of a minute
}
_CONNECTED = "connected"
_LOST = "the connection was lost"
_NOBODY = "nobody answered"
_MUTE = "connected, but the live program does not answer: it stands still, or its host is overloaded"
_LINK_STATES = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: _CONNECTED,
    zmq.EVENT_DISCONNECTED: _LOST,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the live program does not know this bridge's key",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed: check the keys on both hosts",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed: one side uses keys and the other does not",
}
_PING_S = 0.5
_FIRST_PINGS = 8
_FIRST_PING_S = 0.05
_SILENCE_S = 3.0
_NOBODY_S = 3.0


class Link:
    """Carries what an `Outbox` holds to the live program, and its answers back, in a thread of its own.

    Attributes
    ----------
    changed : threading.Condition
        Held for every use of `outbox`; notified when an answer came or the link stopped.
    failure : TransportError or None
        Why the link stopped by itself.
    state : str
        What is known of the connection, for people.
    stopped : bool
        Nothing is sent any more.
    """

    def __init__(self, endpoint: str, outbox: Outbox, keys: ClientKeys | None) -> None:
        self.changed = threading.Condition()
        self.failure: TransportError | None = None
        self.state = _NOBODY
        self.stopped = False
        self._endpoint = endpoint
        self._outbox = outbox
        self._pulse = _Pulse(time.monotonic())
        self._context = zmq.Context()
        try:
            self._dealer = self._context.socket(zmq.DEALER)
            configure(self._dealer, SOCKET_OPTIONS | _CLIENT_OPTIONS, keys.own if keys else None)
            if keys is not None:
                self._dealer.curve_serverkey = keys.server
            self._monitor = self._dealer.get_monitor_socket(sum(_LINK_STATES))
            self._dealer.connect(endpoint)
        except (zmq.ZMQError, ValueError) as error:
            self._context.destroy(linger=0)
            raise TransportError(f"cannot connect to {endpoint!r}: {error}; wanted tcp://HOST:PORT") from error
        self._wake = self._context.socket(zmq.PAIR)
        self._wake.bind("inproc://wake")
        self._thread = threading.Thread(target=self._run, name="bridge-link", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Make the thread look at the outbox now; call with `changed` held, which also guards the wake socket."""
        with contextlib.suppress(zmq.Again):  # the thread is gone after a failure
            self._wake.send(b"", zmq.NOBLOCK)

    def close(self) -> None:
        """Stop at once and let go of the sockets; may be called twice."""
        with self.changed:
            if self._context.closed:
                return
            self.stopped = True
            self.wake()
            self.changed.notify_all()
        self._thread.join()
        self._dealer.disable_monitor()
        self._context.destroy(linger=0)

    def _run(self) -> None:
        """Send what is due, take answers, watch the connection; alone uses the DEALER."""
        wake = self._context.socket(zmq.PAIR)
        wake.connect("inproc://wake")
        poller = zmq.Poller()
        for socket in (wake, self._monitor, self._dealer):
            poller.register(socket, zmq.POLLIN)
        sent_all = True
        try:
            while not self.stopped:
                self._wait(poller, sent_all)
                waiting(wake)
                self._watch_link()
                self._take_answers()
                self._ping()
                sent_all = self._send_due()
                poller.register(self._dealer, zmq.POLLIN if sent_all else zmq.POLLIN | zmq.POLLOUT)
        except (BridgeError, zmq.ZMQError) as error:
            with self.changed:
                self.failure, self.stopped = TransportError(str(error)), True
                self.changed.notify_all()
        finally:
            wake.close(linger=0)

    def _wait(self, poller: zmq.Poller, sent_all: bool) -> None:
        with self.changed:
            due_s = self._outbox.next_due_s() if sent_all else None
        until_s = min(self._pulse.due_s, math.inf if due_s is None else due_s)
        poller.poll(math.ceil(1000 * max(0.0, min(1.0, until_s - time.monotonic()))))

    def _watch_link(self) -> None:
        while self._monitor.poll(0):
            event = zmq.Event(parse_monitor_message(self._monitor.recv_multipart())["event"])
            if event is zmq.Event.DISCONNECTED and self.state not in (_CONNECTED, _MUTE):
                continue  # follows every failed handshake, whose own event says more
            if event is zmq.Event.HANDSHAKE_SUCCEEDED:
                with self.changed:
                    self._outbox.send_again()  # what the old connection swallowed
                self._pulse.connected(time.monotonic())
            self._say(_LINK_STATES[event])

    def _say(self, state: str) -> None:
        """Tell people when the connection changes: trouble as a warning."""
        if state == self.state:
            return
        with self.changed:
            self.state = state
        level = logging.INFO if state == _CONNECTED else logging.WARNING
        logger.log(level, "bridge to %s: %s", self._endpoint, state)

    def _take_answers(self) -> None:
        for frames in waiting(self._dealer):
            try:
                answer = Envelope.from_bytes(frames[0])
                stamps = Stamps.from_bytes(frames[1]) if answer.kind is Kind.PONG and len(frames) == 2 else None
            except VersionError as error:
                self._say(str(error))
                continue
            except WireError as error:
                logger.warning("ignored an answer from %s: %s", self._endpoint, error)
                continue
            self._pulse.heard(stamps, time.monotonic())
            if self.state == _MUTE:
                self._say(_CONNECTED)
            with self.changed:
                self._outbox.on_answer(answer, time.monotonic())
                self.changed.notify_all()

    def _ping(self) -> None:
        now_s = time.monotonic()
        if now_s < self._pulse.due_s:
            return
        if self.state == _CONNECTED and self._pulse.silent(now_s, _SILENCE_S):
            self._say(_MUTE)
        elif self.state == _NOBODY and self._pulse.silent(now_s, _NOBODY_S):
            self._say(f"{_NOBODY}: start the live program there, or check the address and the network")
        with contextlib.suppress(zmq.Again):
            self._dealer.send_multipart(self._pulse.ping(now_s), zmq.NOBLOCK)

    def _send_due(self) -> bool:
        """Send what is due; False when some of it waits for a connection."""
        with self.changed:
            due = self._outbox.to_send(time.monotonic())
        for outgoing in due:
            try:
                self._dealer.send_multipart([outgoing.envelope.to_bytes(), *outgoing.frames], zmq.NOBLOCK)
            except zmq.Again:
                with self.changed:
                    self._outbox.send_again(outgoing.envelope.seq)
                return False
        return True


class _Pulse:
    """When to ask whether the other side lives, and what the next question carries."""

    def __init__(self, now_s: float) -> None:
        self.due_s = now_s
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._n_sent = 0
        self._heard_s = now_s
        self._origin_s = self._receive_s = math.nan

    def connected(self, now_s: float) -> None:
        """Ask a few times quickly: the clocks' offset is wanted before the first volume."""
        self._n_sent, self.due_s, self._heard_s = 0, now_s, now_s

    def heard(self, stamps: Stamps | None, now_s: float) -> None:
        """Something came."""
        self._heard_s = now_s
        if stamps is not None:
            self._origin_s, self._receive_s = stamps.transmit_s, now_s

    def silent(self, now_s: float, for_s: float) -> bool:
        """Whether nothing came for so long."""
        return now_s - self._heard_s > for_s

    def ping(self, now_s: float) -> list[bytes]:
        """Frames to send now."""
        self._n_sent += 1
        self.due_s = now_s + (_FIRST_PING_S if self._n_sent < _FIRST_PINGS else _PING_S)
        stamps = Stamps(self._origin_s, self._receive_s, now_s)
        return [Envelope(Kind.PING, self._nonce).to_bytes(), stamps.to_bytes()]
