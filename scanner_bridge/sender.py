"""Which messages of one stream to send now, so that each arrives whoever dies. Pure: no sockets, no clock, no disk.

Messages are numbered; the receiver acknowledges them cumulatively once they are on its disk. What is
not acknowledged is sent again after a timeout, or at once when the receiver asks for it. The messages
themselves lie in the spool: a sender that was killed is made again from what the spool holds.
"""

from dataclasses import dataclass

from scanner_bridge.envelope import NONCE_BYTES, Envelope, Kind
from scanner_bridge.errors import RefusedError, TransportError

MAX_PATIENCE_S = 30.0
"""Longest wait for an acknowledgement before sending again."""

WINDOW = 32
TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Held:
    """What a spool holds of a stream: messages `first_seq` to before `next_seq`, those before `acknowledged` stored."""

    first_seq: int = 0
    acknowledged: int = 0
    next_seq: int = 0


@dataclass
class _Flight:
    """`sent_s` is the last and `first_s` the first sending of a message over this connection."""

    sent_s: float
    first_s: float


class Sender:
    """What of one stream is on its way, and what is due.

    Parameters
    ----------
    nonce : bytes
        16 bytes that no other stream ever used.
    held : Held
        What can be sent.
    window : int
        How many messages may be on their way at a time.
    timeout_s : float
        After this long without acknowledgement a message is sent again. On a link that is slower
        than this, twice the time the last acknowledgement took; doubled while nothing is
        acknowledged. Otherwise a slow link would carry little but repetitions.
    """

    def __init__(self, nonce: bytes, held: Held | None = None, *, window: int = WINDOW, timeout_s: float = TIMEOUT_S):
        if len(nonce) != NONCE_BYTES or window < 1 or timeout_s <= 0:
            raise TransportError(
                f"a sender needs a nonce of {NONCE_BYTES} bytes, a window of 1 or more and a positive timeout; "
                f"got {len(nonce)} bytes, {window} and {timeout_s} s"
            )
        held = held or Held()
        self.nonce = nonce
        self.first_seq = held.first_seq
        self._acknowledged = held.acknowledged
        self._next_seq = held.next_seq
        self._window = window
        self._timeout_s = timeout_s
        self._patience_s = timeout_s
        self._flights: dict[int, _Flight] = {}

    @property
    def acknowledged(self) -> int:
        """Everything before this number is stored by the receiver."""
        return self._acknowledged

    @property
    def unacknowledged(self) -> int:
        """How many messages the receiver has not said it stored."""
        return self._next_seq - self._acknowledged

    def hold(self, next_seq: int) -> None:
        """Deliver messages up to before this one."""
        self._next_seq = next_seq

    def to_send(self, now_s: float) -> list[Envelope]:
        """Messages of the window that were never sent or timed out, in order; each counts as sent at `now_s`."""
        due, repeated = [], False
        for seq in self._in_window():
            flight = self._flights.get(seq)
            if flight is None:
                self._flights[seq] = _Flight(now_s, now_s)
            elif now_s - flight.sent_s < self._patience_s:
                continue
            else:
                repeated, flight.sent_s = True, now_s
            due.append(Envelope(Kind.DATA, self.nonce, seq, self.first_seq))
        if repeated:
            self._patience_s = min(2 * self._patience_s, max(MAX_PATIENCE_S, self._timeout_s))
        return due

    def next_due_s(self) -> float | None:
        """When `to_send` has something again; minus infinity for at once, None when all is acknowledged."""
        flights = [self._flights.get(seq) for seq in self._in_window()]
        due = [float("-inf") if flight is None else flight.sent_s + self._patience_s for flight in flights]
        return min(due, default=None)

    def send_again(self, from_seq: int = 0) -> None:
        """Make every message of the window from `from_seq` on due at once: it was asked for, or its socket broke."""
        for seq in [seq for seq in self._flights if seq >= from_seq]:
            del self._flights[seq]

    def on_answer(self, answer: Envelope, now_s: float) -> None:
        """Act on what the receiver said; answers to other streams and stale ones change nothing.

        A receiver that asks for what it once acknowledged has lost its record, or is another one: it is
        sent everything again from there, as long as that is held.

        Raises
        ------
        RefusedError
            The receiver wants messages that are not held any more.
        TransportError
            It speaks of what was never held.
        """
        if answer.nonce != self.nonce or answer.kind not in (Kind.ACK, Kind.RESEND, Kind.REFUSE):
            return
        if answer.seq > self._next_seq:
            raise TransportError(
                f"the live program speaks of message {answer.seq}, but only {self._next_seq} were "
                "sent: its record is not of this run; start a new session there and this bridge again"
            )
        if answer.kind is Kind.ACK:
            self._advance(answer.seq, now_s)
        elif answer.kind is Kind.RESEND:
            if self.first_seq <= answer.seq < self._acknowledged:
                self._acknowledged = answer.seq
            self.send_again(answer.seq)
        else:
            raise RefusedError(
                f"the live program has {answer.seq} of the {self._acknowledged} messages it once acknowledged, and the "
                f"spool begins with message {self.first_seq}: it was started without its record of this run; start "
                "it again in the session that holds it"
            )

    def _in_window(self) -> range:
        return range(self._acknowledged, min(self._next_seq, self._acknowledged + self._window))

    def _advance(self, before_seq: int, now_s: float) -> None:
        for seq in range(self._acknowledged, before_seq):
            flight = self._flights.pop(seq, None)
            took_s = 0.0 if flight is None else now_s - flight.first_s
            self._patience_s = max(self._timeout_s, min(2 * took_s, MAX_PATIENCE_S))
        self._acknowledged = max(self._acknowledged, before_seq)
