"""What stands before every message between bridge and live program: whose it is, and its place. Bytes only.

The bridge numbers its messages in streams, one stream per run. The live program answers:

=======  ==========================================================================
ACK      everything before `seq` is stored
RESEND   send again from `seq` on
REFUSE   `seq` is wanted, but the sender has already let go of it: this receiver's
         record does not belong to this stream
=======  ==========================================================================

PING and PONG carry `Stamps` in a second frame: they say that the other side lives, and measure how
far the two hosts' clocks lie apart (`scanner_bridge.clock_offset`).
"""

import enum
import struct
from dataclasses import dataclass

import google_crc32c

from scanner_bridge.errors import VersionError, WireError

NONCE_BYTES = 16
ENVELOPE_VERSION = 2

_FAMILY = b"IWE"
_MAGIC = _FAMILY + str(ENVELOPE_VERSION).encode()
_ENVELOPE = struct.Struct("<4sI16sQQ")
_CRC = struct.Struct("<I")
_STAMPS = struct.Struct("<ddd")


class Kind(enum.IntEnum):
    """What an envelope is for."""

    DATA = 1
    ACK = 2
    RESEND = 3
    REFUSE = 4
    PING = 5
    PONG = 6


@dataclass(frozen=True)
class Envelope:
    """Place of a message in its stream, or an answer about that stream.

    Attributes
    ----------
    kind : Kind
        What it is for.
    nonce : bytes
        Names the stream: 16 random bytes drawn once per run that is sent. PING, PONG: names the bridge's life.
    seq : int
        DATA: number of this message, from 0. Answers: see the table of the module. PING, PONG: 0.
    first_seq : int
        DATA: the oldest message the sender still holds, so that a receiver which knows less
        than that can say so. 0 otherwise.
    """

    kind: Kind
    nonce: bytes
    seq: int = 0
    first_seq: int = 0

    def to_bytes(self) -> bytes:
        """44 bytes ending in their own CRC32C."""
        body = _ENVELOPE.pack(_MAGIC, self.kind, self.nonce, self.seq, self.first_seq)
        return body + _CRC.pack(google_crc32c.value(body))

    @classmethod
    def from_bytes(cls, frame: bytes) -> "Envelope":
        """Envelope of a frame.

        Raises
        ------
        VersionError
            The peer is one of ours, of another version.
        WireError
            The frame is anything else.
        """
        if frame[: len(_FAMILY)] == _FAMILY and frame[: len(_MAGIC)] != _MAGIC and len(frame) >= _ENVELOPE.size:
            theirs = frame[len(_FAMILY) : len(_MAGIC)].decode("ascii", "replace")
            raise VersionError(
                f"the other side speaks version {theirs} of the bridge's protocol, this one {ENVELOPE_VERSION}: "
                "run the same release on both hosts"
            )
        body, crc = frame[: _ENVELOPE.size], frame[_ENVELOPE.size :]
        if len(frame) != _ENVELOPE.size + _CRC.size or crc != _CRC.pack(google_crc32c.value(body)):
            raise WireError(f"{len(frame)} bytes are not an envelope: the peer is not a bridge, or the bytes changed")
        magic, kind, nonce, seq, first_seq = _ENVELOPE.unpack(body)
        if magic != _MAGIC or kind not in Kind.__members__.values():
            raise WireError(f"envelope {magic!r} of kind {kind}, wanted {_MAGIC!r}: run the same release on both hosts")
        return cls(Kind(kind), nonce, seq, first_seq)


@dataclass(frozen=True)
class Stamps:
    """The times a PING or PONG carries, NTP's (RFC 5905): seconds of monotonic clocks, NaN where there is none yet.

    Attributes
    ----------
    origin_s : float
        `transmit_s` of the last one that came from the other side: the other side's clock.
    receive_s : float
        When that came: our clock.
    transmit_s : float
        When this leaves: our clock.
    """

    origin_s: float
    receive_s: float
    transmit_s: float

    def to_bytes(self) -> bytes:
        """24 bytes."""
        return _STAMPS.pack(self.origin_s, self.receive_s, self.transmit_s)

    @classmethod
    def from_bytes(cls, frame: bytes) -> "Stamps":
        """Stamps of a frame; WireError when it is anything else."""
        if len(frame) != _STAMPS.size:
            raise WireError(f"{len(frame)} bytes are no time stamps, wanted {_STAMPS.size}: the peer is not a bridge")
        return cls(*_STAMPS.unpack(frame))
