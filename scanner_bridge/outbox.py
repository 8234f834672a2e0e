"""The spool on its way out: one run after the other, each by a `Sender`, deleted when it is delivered."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from scanner_bridge.envelope import Envelope
from scanner_bridge.errors import RefusedError
from scanner_bridge.sender import TIMEOUT_S, WINDOW, Held, Sender
from scanner_bridge.spool import Spool
from scanner_bridge.spool_stream import SpooledStream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outgoing:
    """One message to put on the socket now."""

    envelope: Envelope
    frames: Sequence[bytes]


class Outbox:
    """What the live program has still to store. Not for two threads at once.

    Runs are delivered in the order they were begun. The run of this life of the bridge is sent from its
    start to a live program that lost its record; what an earlier life left behind goes on only where it
    was stored so far, so that no session is given the run of another.

    Parameters
    ----------
    spool : Spool
        Where the messages lie.
    window, timeout_s
        See `Sender`.
    """

    def __init__(self, spool: Spool, *, window: int = WINDOW, timeout_s: float = TIMEOUT_S) -> None:
        self._spool = spool
        self._window = window
        self._timeout_s = timeout_s
        self._current: SpooledStream | None = None
        self._sending: SpooledStream | None = None
        self._sender: Sender | None = None
        self._unwanted: list[SpooledStream] = []

    @property
    def unacknowledged(self) -> int:
        """How many messages the live program has not said it stored."""
        return sum(stream.unacknowledged for stream in self._wanted())

    @property
    def n_bytes_unacknowledged(self) -> int:
        """Their length."""
        return sum(stream.n_bytes_unacknowledged for stream in self._wanted())

    def go_on_with(self, stream: SpooledStream) -> None:
        """Make this the run of the bridge's present life."""
        self._current = stream
        self._unwanted = [other for other in self._unwanted if other is not stream]
        if self._sending is stream:
            self._sending = self._sender = None  # from now on all of it may be asked for

    def to_send(self, now_s: float) -> list[Outgoing]:
        """What is due, read from the disk; each counts as sent at `now_s`."""
        sender = self._ready()
        if sender is None or self._sending is None:
            return []
        return [Outgoing(envelope, self._sending.read(envelope.seq)) for envelope in sender.to_send(now_s)]

    def next_due_s(self) -> float | None:
        """When `to_send` has something again; minus infinity for at once, None when nothing waits."""
        sender = self._ready()
        return None if sender is None else sender.next_due_s()

    def send_again(self, from_seq: int = 0) -> None:
        """Make what is on its way due at once."""
        if self._sender is not None:
            self._sender.send_again(from_seq)

    def on_answer(self, answer: Envelope, now_s: float) -> None:
        """Act on what the live program said.

        Raises
        ------
        TransportError
            It refuses the present run, or speaks of what it was never sent.
        """
        sender, stream = self._sender, self._sending
        if sender is None or stream is None:
            return
        try:
            sender.on_answer(answer, now_s)
        except RefusedError as error:
            if stream is self._current:
                raise
            logger.warning(
                "%d messages of run %s stay in %s: %s",
                stream.unacknowledged,
                stream.header.run_id,
                self._spool.folder,
                error,
            )
            self._unwanted.append(stream)
            self._sending = self._sender = None
            return
        if sender.acknowledged != stream.acknowledged:
            stream.acknowledge(sender.acknowledged)
        if stream.done:
            self._spool.remove(stream)
            self._sending = self._sender = None

    def _wanted(self) -> list[SpooledStream]:
        return [stream for stream in self._spool.streams if stream not in self._unwanted]

    def _ready(self) -> Sender | None:
        """The sender of the oldest run that waits, knowing all that the spool holds of it now."""
        if self._sending is None:
            self._sending = next(iter(self._wanted()), None)
            if self._sending is None:
                return None
            held = self._sending.held
            if self._sending is not self._current:
                held = Held(held.acknowledged, held.acknowledged, held.next_seq)
            self._sender = Sender(self._sending.nonce, held, window=self._window, timeout_s=self._timeout_s)
        assert self._sender is not None  # made together
        self._sender.hold(self._sending.next_seq)
        return self._sender
