"""Errors of the live program.

RealtimeError
├── ConfigError            a settings file with an unknown key or a value out of range
├── BundleError            a bundle that cannot be read, or does not fit this run
│   └── SpaceMismatchError two parts that speak of different embedding spaces
├── CatalogueError         music that is missing or not what its index says
├── EmbedderError          an embedder that cannot be read, or sound or words it cannot embed
├── GeneratorError         music cannot be generated: a model, state or worker that is not what it should be
├── EventsError            an events file that does not fit the run
├── VolumeError            one volume that cannot be used; recorded, never fatal
├── JournalError           the journal cannot be written, or a record in it is damaged
├── PlaybackError          no way to make sound
└── SessionError           the session cannot start, go on or be resumed

Every message says what, which one, got, wanted, and what to do.
"""


class RealtimeError(Exception):
    """Root of everything the live program raises on purpose."""


class ConfigError(RealtimeError):
    """A settings file with an unknown key or a value out of range."""


class BundleError(RealtimeError):
    """A bundle that cannot be read, or does not fit this run."""


class SpaceMismatchError(BundleError):
    """Two parts that speak of different embedding spaces."""


class CatalogueError(RealtimeError):
    """Music that is missing or not what its index says."""


class EmbedderError(RealtimeError):
    """An embedder that cannot be read, or sound or words it cannot embed."""


class GeneratorError(RealtimeError):
    """Music cannot be generated: a model, state or worker that is not what it should be."""


class EventsError(RealtimeError):
    """An events file that does not fit the run."""


class VolumeError(RealtimeError):
    """One volume that cannot be used; recorded, never fatal."""


class JournalError(RealtimeError):
    """The journal cannot be written, or a record in it is damaged."""


class PlaybackError(RealtimeError):
    """No way to make sound."""


class SessionError(RealtimeError):
    """The session cannot start, go on or be resumed."""
