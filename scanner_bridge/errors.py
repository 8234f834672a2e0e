"""Errors of the scanner bridge.

BridgeError
├── SourceError          a source cannot be read, or holds something it should not
│   ├── ForeignError     bytes that are no image of a run
│   ├── UnfinishedError  an image that is still being written, or damaged
│   ├── SkippedError     an image that is left alone by a rule
│   ├── ProtocolError    a peer on the network sent what its protocol does not allow
│   └── PeerGone         a peer on the network left, or fell silent, in the middle of something
├── WireError            bytes that are not a message of ours
│   ├── ChecksumError    the frame is whole but its bytes changed on the way
│   └── VersionError     the other side is one of ours, of another version
├── TriggerError         no pulses can be had from a trigger
├── SpoolError           the bridge's own disk cannot take or give back a message
└── TransportError       the other side cannot be reached, or the port is taken
    └── RefusedError     the other side wants messages that are not held any more

Every message says what, which one, got, wanted, and what to do.
"""


class BridgeError(Exception):
    """Root of everything the bridge raises on purpose."""


class SourceError(BridgeError):
    """A source cannot be read, or holds something it should not."""


class ForeignError(SourceError):
    """Bytes that are no image of a run: no DICOM, or no MR image."""


class UnfinishedError(SourceError):
    """An image that is still being written, or damaged."""


class SkippedError(SourceError):
    """An image that is left alone by a rule.

    Attributes
    ----------
    rule : str
        Short name of the rule, like ``phase``.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class ProtocolError(SourceError):
    """A peer on the network sent what its protocol does not allow."""


class PeerGone(SourceError):
    """A peer on the network left, or fell silent, in the middle of something."""


class WireError(BridgeError):
    """Bytes that are not a message of ours."""


class ChecksumError(WireError):
    """The frame is whole, but its bytes changed on the way."""


class VersionError(WireError):
    """The other side is one of ours, of another version."""


class TriggerError(BridgeError):
    """No pulses can be had from a trigger."""


class SpoolError(BridgeError):
    """The bridge's own disk cannot take or give back a message."""


class TransportError(BridgeError):
    """The other side cannot be reached, or the port is taken."""


class RefusedError(TransportError):
    """The other side wants messages that are not held any more."""
