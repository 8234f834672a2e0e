"""The bridge's socket and the one thread that uses it."""

import contextlib
import logging
import math
import threading
import time

import zmq
from zmq.utils.monitor import parse_monitor_message

from scanner_bridge.delivery import Envelope, Sender
from scanner_bridge.errors import TransportError, WireError
from scanner_bridge.keys import ClientKeys
from scanner_bridge.sockets import SOCKET_OPTIONS, configure, waiting

logger = logging.getLogger(__name__)

_CLIENT_OPTIONS: dict[int, int] = {
    zmq.IMMEDIATE: 1,  # queue for a live connection only: what waits for one stays in the window, not in a socket
    zmq.RECONNECT_IVL: 50,
    zmq.RECONNECT_IVL_MAX: 1000,
}
_LINK_STATES = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: "connected",
    zmq.EVENT_DISCONNECTED: "the connection was lost",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the live program does not know this bridge's key",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed: check the keys on both hosts",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed: one side uses keys and the other does not",
}


class Link:
    """Carries what a `Sender` holds to the live program, and its answers back, in a thread of its own.

    Attributes
    ----------
    changed : threading.Condition
        Held for every use of `sender`; notified when an answer came or the link stopped.
    failure : TransportError or None
        Why the link stopped by itself.
    state : str
        What is known of the connection, for people.
    stopped : bool
        Nothing is sent any more.
    """

    def __init__(self, endpoint: str, sender: Sender, keys: ClientKeys | None) -> None:
        self.changed = threading.Condition()
        self.failure: TransportError | None = None
        self.state = "nobody answered"
        self.stopped = False
        self._endpoint = endpoint
        self._sender = sender
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
        """Make the thread look at the sender now; call with `changed` held, which also guards the wake socket."""
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
                sent_all = self._send_due()
                poller.register(self._dealer, zmq.POLLIN if sent_all else zmq.POLLIN | zmq.POLLOUT)
        except (TransportError, zmq.ZMQError) as error:
            with self.changed:
                self.failure, self.stopped = TransportError(str(error)), True
                self.changed.notify_all()
        finally:
            wake.close(linger=0)

    def _wait(self, poller: zmq.Poller, sent_all: bool) -> None:
        with self.changed:
            due_s = self._sender.next_due_s()
        if due_s is None or not sent_all:
            poller.poll(1000)
        else:
            poller.poll(math.ceil(1000 * max(0.0, min(1.0, due_s - time.monotonic()))))

    def _watch_link(self) -> None:
        while self._monitor.poll(0):
            event = zmq.Event(parse_monitor_message(self._monitor.recv_multipart())["event"])
            if event is zmq.Event.DISCONNECTED and self.state != _LINK_STATES[zmq.EVENT_HANDSHAKE_SUCCEEDED]:
                continue  # follows every failed handshake, whose own event says more
            with self.changed:
                self.state = _LINK_STATES[event]
                if event is zmq.Event.HANDSHAKE_SUCCEEDED:
                    self._sender.send_again()  # what the old connection swallowed
            logger.info("bridge to %s: %s", self._endpoint, self.state)

    def _take_answers(self) -> None:
        for frames in waiting(self._dealer):
            try:
                answer = Envelope.from_bytes(b"".join(frames))
            except WireError as error:
                logger.warning("ignored an answer from %s: %s", self._endpoint, error)
                continue
            with self.changed:
                self._sender.on_answer(answer, time.monotonic())
                self.changed.notify_all()

    def _send_due(self) -> bool:
        """Send what is due; False when some of it waits for a connection."""
        with self.changed:
            due = self._sender.to_send(time.monotonic())
        for outgoing in due:
            try:
                self._dealer.send_multipart([outgoing.envelope.to_bytes(), *outgoing.frames], zmq.NOBLOCK)
            except zmq.Again:
                with self.changed:
                    self._sender.send_again(outgoing.envelope.seq)
                return False
        return True
