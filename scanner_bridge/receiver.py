"""What to do with each frame that arrives, so that every stream is stored once and in order. Pure: no sockets, no disk.

The receiver takes the messages of a stream strictly in order, and acknowledges one only after its
caller has stored it; acknowledgements are cumulative. Frames that are damaged are asked for again
`MAX_REQUESTS` times, then handed over as they came, so that the stream goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scanner_bridge.envelope import Envelope, Kind
from scanner_bridge.errors import TransportError, WireError
from scanner_bridge.volume import Message
from scanner_bridge.wire import decode

MAX_REQUESTS = 3
"""How often damaged frames are asked for again before they are kept as they came."""


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
