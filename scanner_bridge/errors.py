"""Errors of the scanner bridge.

BridgeError
├── SourceError          a source cannot be read, or holds something it should not
│   ├── ProtocolError    a peer on the network sent what its protocol does not allow
│   └── PeerGone         a peer on the network left, or fell silent, in the middle of something
├── WireError            bytes that are not a message of ours
│   └── ChecksumError    the frame is whole but its bytes changed on the way
└── TransportError       the other side cannot be reached, or the port is taken

Every message says what, which one, got, wanted, and what to do.
"""


class BridgeError(Exception):
    """Root of everything the bridge raises on purpose."""


class SourceError(BridgeError):
    """A source cannot be read, or holds something it should not."""


class ProtocolError(SourceError):
    """A peer on the network sent what its protocol does not allow."""


class PeerGone(SourceError):
    """A peer on the network left, or fell silent, in the middle of something."""


class WireError(BridgeError):
    """Bytes that are not a message of ours."""


class ChecksumError(WireError):
    """The frame is whole, but its bytes changed on the way."""


class TransportError(BridgeError):
    """The other side cannot be reached, or the port is taken."""
