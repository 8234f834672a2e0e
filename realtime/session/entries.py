"""What the journal's payloads mean."""

import json
import struct
from dataclasses import asdict, dataclass, replace

from realtime.errors import JournalError
from realtime.session.journal import JournalRecord, Kind

_MESSAGE = struct.Struct("<16sQd")


@dataclass(frozen=True)
class MessageEntry:
    """A message of the bridge, as it came.

    Attributes
    ----------
    nonce : str
        Names the sender's life, 32 hex digits; a restarted bridge has another.
    seq : int
        The sender's number for it.
    received_s : float
        Monotonic time of its arrival here.
    blob : bytes
        The wire's own bytes (`scanner_bridge.wire.unpack`).
    """

    nonce: str
    seq: int
    received_s: float
    blob: bytes

    def to_payload(self) -> bytes:
        """Bytes for the journal."""
        return _MESSAGE.pack(bytes.fromhex(self.nonce), self.seq, self.received_s) + self.blob

    @staticmethod
    def from_payload(payload: bytes) -> "MessageEntry":
        """The entry that `to_payload` wrote."""
        nonce, seq, received_s = _MESSAGE.unpack_from(payload)
        return MessageEntry(nonce.hex(), seq, received_s, payload[_MESSAGE.size:])


@dataclass(frozen=True)
class EventEntry:
    """Something that happened on this side and counts for replay.

    Attributes
    ----------
    name : str
        start, stop, abort, pause, resume, mute, unmute, volume, mark, note, rate, stale, overdue,
        aborted, unplayable.
    text : str
        Free words of the operator; the clip that is unplayable.
    value : float or None
        For commands that carry one.
    at_s : float
        Monotonic time.
    """

    name: str
    text: str = ""
    value: float | None = None
    at_s: float = 0.0

    def to_payload(self) -> bytes:
        """Bytes for the journal."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_payload(payload: bytes) -> "EventEntry":
        """The entry that `to_payload` wrote."""
        return EventEntry(**json.loads(payload))


def read_entry(record: JournalRecord) -> MessageEntry | EventEntry:
    """The meaning of a record; a REJECTED one is a message whose blob cannot be decoded.

    Raises
    ------
    JournalError
        The payload is not what its kind says: another program wrote it.
    """
    try:
        if record.kind is Kind.EVENT:
            return EventEntry.from_payload(record.payload)
        return MessageEntry.from_payload(record.payload)
    except (ValueError, TypeError, struct.error) as exc:
        raise JournalError(f"journal record {record.number} is whole but not readable as {record.kind.name} ({exc}); "
                           "it was written by another version of this program") from exc


@dataclass(frozen=True)
class SoundState:
    """How loud the operator has set the player; a volume of None is the settings' own."""

    muted: bool = False
    volume_db: float | None = None


def last_sound(records: tuple[JournalRecord, ...]) -> SoundState:
    """What mute and volume were when the journal ends: a resumed session must not sound where it was muted."""
    state = SoundState()
    for record in records:
        entry = read_entry(record)
        if isinstance(entry, EventEntry) and entry.name in ("mute", "unmute"):
            state = replace(state, muted=entry.name == "mute")
        elif isinstance(entry, EventEntry) and entry.name == "volume":
            state = replace(state, volume_db=entry.value)
    return state


def next_expected(records: tuple[JournalRecord, ...]) -> dict[str, int]:
    """For every sender the sequence number that must come next, from what the journal holds."""
    expected: dict[str, int] = {}
    for record in records:
        entry = read_entry(record)
        if isinstance(entry, MessageEntry):
            expected[entry.nonce] = max(expected.get(entry.nonce, 0), entry.seq + 1)
    return expected
