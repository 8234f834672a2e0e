"""Every message arrives exactly once, in order, and stays when either side dies. Pure: no sockets, no clock.

Each frame pair travels behind an envelope that names its stream (a nonce drawn by the sender) and
its place in it. The receiver takes messages strictly in order, and acknowledges one only after its
caller has stored it; acknowledgements are cumulative ("everything before `seq` is stored"). What is
not acknowledged is sent again after a timeout, or at once when the receiver asks for it.

What the receiver says goes back as an envelope too:

=======  ==========================================================================
ACK      everything before `seq` is stored
RESEND   send again from `seq` on
REFUSE   `seq` is wanted, but the sender has already let go of it: this receiver's
         record does not belong to this stream
=======  ==========================================================================
"""

import enum
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import google_crc32c

from scanner_bridge.errors import TransportError, WireError
from scanner_bridge.volume import Message
from scanner_bridge.wire import decode

NONCE_BYTES = 16
MAX_REQUESTS = 3
"""How often damaged frames are asked for again before they are kept as they came."""

MAX_PATIENCE_S = 30.0
"""Longest wait for an acknowledgement before sending again."""

_ENVELOPE = struct.Struct("<4sI16sQQ")
_CRC = struct.Struct("<I")
_MAGIC = b"IWE1"


class Kind(enum.IntEnum):
    """What an envelope is for."""

    DATA = 1
    ACK = 2
    RESEND = 3
    REFUSE = 4


@dataclass(frozen=True)
class Envelope:
    """Place of a message in its stream, or the receiver's answer about that stream.

    Attributes
    ----------
    kind : Kind
        What it is for.
    nonce : bytes
        Names the stream: 16 random bytes drawn once per sender.
    seq : int
        DATA: number of this message, from 0. Otherwise: see the table of the module.
    first_seq : int
        DATA: the oldest message the sender still holds, so that a receiver which knows less
        than that can say so. 0 in answers.
    """

    kind: Kind
    nonce: bytes
    seq: int
    first_seq: int = 0

    def to_bytes(self) -> bytes:
        """44 bytes ending in their own CRC32C."""
        body = _ENVELOPE.pack(_MAGIC, self.kind, self.nonce, self.seq, self.first_seq)
        return body + _CRC.pack(google_crc32c.value(body))

    @classmethod
    def from_bytes(cls, frame: bytes) -> "Envelope":
        """Envelope of a frame; WireError when it is anything else."""
        body, crc = frame[: _ENVELOPE.size], frame[_ENVELOPE.size :]
        if len(frame) != _ENVELOPE.size + _CRC.size or crc != _CRC.pack(google_crc32c.value(body)):
            raise WireError(f"{len(frame)} bytes are not an envelope: the peer is not a bridge, or the bytes changed")
        magic, kind, nonce, seq, first_seq = _ENVELOPE.unpack(body)
        if magic != _MAGIC or kind not in Kind.__members__.values():
            raise WireError(f"envelope {magic!r} of kind {kind}, wanted {_MAGIC!r}: run the same release on both hosts")
        return cls(Kind(kind), nonce, seq, first_seq)


@dataclass(frozen=True)
class Outgoing:
    """One message to put on the socket now."""

    envelope: Envelope
    frames: Sequence[bytes]


@dataclass
class _Held:
    """A message not yet acknowledged; `sent_s` is its last and `first_s` its first sending over this connection."""

    frames: Sequence[bytes]
    sent_s: float | None = None
    first_s: float | None = None


class Sender:
    """Messages that were submitted and not yet acknowledged.

    Parameters
    ----------
    nonce : bytes
        16 bytes that no other sender ever used.
    window : int
        How many messages may be unacknowledged at a time.
    timeout_s : float
        After this long without acknowledgement a message is sent again. On a link that is slower
        than this, twice the time the last acknowledgement took; doubled while nothing is
        acknowledged. Otherwise a slow link would carry little but repetitions.
    """

    def __init__(self, nonce: bytes, *, window: int = 32, timeout_s: float = 1.0) -> None:
        if len(nonce) != NONCE_BYTES or window < 1 or timeout_s <= 0:
            raise TransportError(
                f"a sender needs a nonce of {NONCE_BYTES} bytes, a window of 1 or more and a positive timeout; "
                f"got {len(nonce)} bytes, {window} and {timeout_s} s"
            )
        self.nonce = nonce
        self._window = window
        self._timeout_s = timeout_s
        self._patience_s = timeout_s
        self._first_seq = 0
        self._held: deque[_Held] = deque()

    @property
    def full(self) -> bool:
        """Whether `submit` has to wait for an acknowledgement."""
        return len(self._held) >= self._window

    @property
    def unacknowledged(self) -> int:
        """How many messages the receiver has not said it stored."""
        return len(self._held)

    def submit(self, frames: Sequence[bytes]) -> int:
        """Take a message for delivery and return its number; TransportError when the window is full."""
        if self.full:
            raise TransportError(f"{self._window} messages wait for acknowledgement: wait before submitting more")
        self._held.append(_Held(frames))
        return self._first_seq + len(self._held) - 1

    def to_send(self, now_s: float) -> list[Outgoing]:
        """Messages that were never sent or timed out, in order; each counts as sent at `now_s`."""
        due, repeated = [], False
        for place, held in enumerate(self._held):
            if held.sent_s is not None and now_s - held.sent_s < self._patience_s:
                continue
            repeated |= held.sent_s is not None
            held.sent_s = now_s
            held.first_s = now_s if held.first_s is None else held.first_s
            envelope = Envelope(Kind.DATA, self.nonce, self._first_seq + place, self._first_seq)
            due.append(Outgoing(envelope, held.frames))
        if repeated:
            self._patience_s = min(2 * self._patience_s, max(MAX_PATIENCE_S, self._timeout_s))
        return due

    def next_due_s(self) -> float | None:
        """When `to_send` has something again; minus infinity for at once, None when nothing is held."""
        if not self._held:
            return None
        return min(float("-inf") if held.sent_s is None else held.sent_s + self._patience_s for held in self._held)

    def send_again(self, from_seq: int = 0) -> None:
        """Make every held message from `from_seq` on due at once (its request came, or its socket broke)."""
        for place, held in enumerate(self._held):
            if self._first_seq + place >= from_seq:
                held.sent_s = held.first_s = None

    def on_answer(self, answer: Envelope, now_s: float) -> None:
        """Act on what the receiver said; answers to other streams and stale ones change nothing.

        Raises
        ------
        TransportError
            The receiver refuses the stream, or acknowledges what was never submitted.
        """
        if answer.nonce != self.nonce or answer.kind is Kind.DATA:
            return
        if answer.seq > self._first_seq + len(self._held):
            raise TransportError(
                f"the live program speaks of message {answer.seq}, but only {self._first_seq + len(self._held)} were "
                "sent: its record is not of this run; start a new session there and this bridge again"
            )
        if answer.kind is Kind.ACK:
            while self._first_seq < answer.seq:
                first_s = self._held.popleft().first_s
                self._first_seq += 1
                took_s = 0.0 if first_s is None else now_s - first_s
                self._patience_s = max(self._timeout_s, min(2 * took_s, MAX_PATIENCE_S))
        elif answer.kind is Kind.RESEND:
            self.send_again(answer.seq)
        elif answer.kind is Kind.REFUSE:
            raise TransportError(
                f"the live program has {answer.seq} of the {self._first_seq} messages it once acknowledged: it was "
                "started without its record of this run; restart it in the same session, or start this bridge again"
            )


@dataclass(frozen=True)
class Accept:
    """The next message of its stream: store it, then call `Receiver.acknowledge`."""

    nonce: bytes
    seq: int
    frames: Sequence[bytes]
    message: Message


@dataclass(frozen=True)
class Rejected:
    """The next frames of their stream, damaged every time they came: store them as they are, then acknowledge."""

    nonce: bytes
    seq: int
    frames: Sequence[bytes]
    reason: str


@dataclass(frozen=True)
class Answer:
    """Nothing to store; tell the sender this (None: say nothing)."""

    envelope: Envelope | None


Verdict = Accept | Rejected | Answer


@dataclass
class _Stream:
    """Two counters of one stream: `stored` ≤ `accepted`; what lies between is with the caller."""

    stored: int = 0
    accepted: int = 0
    asked_from: int | None = None
    n_damaged: int = 0


class Receiver:
    """Takes the messages of any number of streams, each strictly in order.

    Parameters
    ----------
    stored : mapping of bytes to int
        What a journal holds of each stream (by nonce): how many messages.
    """

    def __init__(self, stored: Mapping[bytes, int] | None = None) -> None:
        self._streams = {nonce: _Stream(count, count) for nonce, count in (stored or {}).items()}

    def on_data(self, envelope: Envelope, frames: Sequence[bytes]) -> Verdict:
        """What to do with frames that came behind a DATA envelope."""
        stream = self._streams.setdefault(envelope.nonce, _Stream())
        if envelope.seq < stream.accepted:
            return self._answer(Kind.ACK, envelope.nonce, stream.stored)
        if envelope.first_seq > stream.accepted:
            return self._answer(Kind.REFUSE, envelope.nonce, stream.accepted)
        if envelope.seq > stream.accepted:
            # Asked once per hole: the rest of the window is already on its way and would multiply the request.
            return self._ask(envelope.nonce, stream) if stream.asked_from != stream.accepted else Answer(None)
        try:
            message = decode(frames)
        except WireError as error:
            stream.n_damaged += 1
            if stream.n_damaged <= MAX_REQUESTS:
                return self._ask(envelope.nonce, stream)
            self._advance(stream)
            return Rejected(envelope.nonce, envelope.seq, frames, str(error))
        self._advance(stream)
        return Accept(envelope.nonce, envelope.seq, frames, message)

    def acknowledge(self, nonce: bytes, seq: int) -> Envelope:
        """Say that message `seq` is on disk; returns the answer to send.

        Raises
        ------
        TransportError
            Not the oldest message that was handed out: acknowledging it would also acknowledge
            an earlier one that may not be stored.
        """
        stream = self._streams.get(nonce, _Stream())
        if not (seq == stream.stored < stream.accepted):
            raise TransportError(
                f"message {seq} cannot be acknowledged: {stream.stored} are stored and {stream.accepted} were handed "
                f"out; acknowledge each once, in the order it was received"
            )
        stream.stored += 1
        return Envelope(Kind.ACK, nonce, stream.stored)

    @staticmethod
    def _advance(stream: _Stream) -> None:
        stream.accepted += 1
        stream.n_damaged = 0
        stream.asked_from = None

    def _ask(self, nonce: bytes, stream: _Stream) -> Answer:
        stream.asked_from = stream.accepted
        return self._answer(Kind.RESEND, nonce, stream.accepted)

    @staticmethod
    def _answer(kind: Kind, nonce: bytes, seq: int) -> Answer:
        return Answer(Envelope(kind, nonce, seq))
