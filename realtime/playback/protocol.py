"""What the live program and the player say to each other: one JSON object per line.

Commands go down the player's standard input, events come up its standard output. The end of
the input is the death of the parent.
"""

from pathlib import Path
from typing import Any

import msgspec

from realtime.messages import Clip
from realtime.playback.settings import PlayerSettings


class Configure(msgspec.Struct, frozen=True, tag_field="command", tag="configure"):
    """Always the first command."""

    settings: PlayerSettings
    clips: list[Clip]
    parent_pid: int


class Play(msgspec.Struct, frozen=True, tag_field="command", tag="play"):
    """Change to a clip at the next beat, or fade out for ""."""

    cue: int
    clip_id: str


class PlayStream(msgspec.Struct, frozen=True, tag_field="command", tag="play_stream"):
    """Change to a stream at the next beat after its first chunk; to the fallback clip whenever it breaks off.

    Somebody must feed the stream through the player's door: `realtime.playback.feed.StreamFeed`.
    With the fallback "" a stream that breaks off leaves silence until its next chunk.
    """

    cue: int
    stream: str
    fallback_clip_id: str


class Volume(msgspec.Struct, frozen=True, tag_field="command", tag="volume"):
    """Set the operator's volume."""

    volume_db: float


class Level(msgspec.Struct, frozen=True, tag_field="command", tag="level"):
    """Set the level of what plays, below the operator's volume: feedback. Above 0 dB counts as 0."""

    level_db: float


class Clarity(msgspec.Struct, frozen=True, tag_field="command", tag="clarity"):
    """Set how clear what plays sounds: 1 as it is, 0 as through a wall."""

    clarity: float


class Mute(msgspec.Struct, frozen=True, tag_field="command", tag="mute"):
    """Mute or unmute at once, ahead of what is queued."""

    muted: bool


class Stop(msgspec.Struct, frozen=True, tag_field="command", tag="stop"):
    """Silence at once, until `Rearm`; later players in this folder stay silent too."""


class Rearm(msgspec.Struct, frozen=True, tag_field="command", tag="rearm"):
    """Take STOP back. Said by the operator and by nobody else."""


class Close(msgspec.Struct, frozen=True, tag_field="command", tag="close"):
    """Fade out, close the recording, end."""


class Started(msgspec.Struct, frozen=True, tag_field="event", tag="started"):
    """The sink is open.

    Attributes
    ----------
    sink : str
        "device", "wav" or "null".
    reason : str
        Why "auto" did not take the sound card; else "".
    played_wav : str
        The recording; "" when there is none.
    time_s : float
        Monotonic time at which frame 0 left the ring, and position 0 of the recording.
    device_latency_s : float
        From leaving the ring to leaving the card; 0 without one.
    priority : str
        "realtime" when the system granted it, else "normal".
    device : str
        The sound card, as the system names it; "" without one.
    door : str
        The player's own socket, for STOP and for producers of streams; "" when the folder takes none.
    rate_hz : int
        Frames per second of the sink and the recording: what was asked for, or what the card takes instead.
    converted : str
        Which clips are at another rate or of more than two channels, and so converted, in words; "" for none.
    """

    sink: str
    reason: str
    played_wav: str
    time_s: float
    device_latency_s: float
    priority: str
    device: str
    door: str
    rate_hz: int
    converted: str


class Sounding(msgspec.Struct, frozen=True, tag_field="event", tag="sounding"):
    """The first sample of a cue has left the ring.

    Attributes
    ----------
    cue : int
        Its number.
    clip_id : str
        "stream NAME" for a stream; "" when silence begins.
    frame : int
        Frame of the mix, underruns not counted.
    position : int
        Frame of the recording, underruns counted.
    time_s : float
        Monotonic time at which it left.
    """

    cue: int
    clip_id: str
    frame: int
    position: int
    time_s: float


class Conditioned(msgspec.Struct, frozen=True, tag_field="event", tag="conditioned"):
    """The first sample that a stream made under a new condition has left the ring; times as in `Sounding`."""

    stream: str
    condition: int
    frame: int
    position: int
    time_s: float


class Stalled(msgspec.Struct, frozen=True, tag_field="event", tag="stalled"):
    """A stream broke off: its chunk did not come in time. Its fallback plays, or silence when there is none."""

    stream: str
    fallback_clip_id: str


class Overtaken(msgspec.Struct, frozen=True, tag_field="event", tag="overtaken"):
    """A newer cue came before this one's beat; it will never sound."""

    cue: int


class Rejected(msgspec.Struct, frozen=True, tag_field="event", tag="rejected"):
    """A command that cannot be carried out; `cue` is -1 when it was not a cue. What plays plays on."""

    cue: int
    reason: str


class Obeyed(msgspec.Struct, frozen=True, tag_field="event", tag="obeyed"):
    """The answer to a command that came by the door.

    Attributes
    ----------
    stopped : bool
        Whether STOP holds now.
    silent_s : float
        Monotonic time at which mute or STOP had last come to silence; 0 when never.
    """

    stopped: bool
    silent_s: float


class Recovered(msgspec.Struct, frozen=True, tag_field="event", tag="recovered"):
    """The sound card is back, and the music fades in."""

    device: str


class Status(msgspec.Struct, frozen=True, tag_field="event", tag="status"):
    """Twice a second: counters since the start, levels since the last status (dB, at least -200).

    `level_dba` and `dose_percent`, at the ear, are None without a calibration; `drift_ppm`, how much faster
    than the monotonic clock the sink's runs, is None in the first ten seconds; `sink` as in `Started`, by now.
    """

    sink: str
    frames_played: int
    underruns: int
    peak: float
    peak_dbfs: float
    rms_dbfs: float
    momentary_lufs: float
    short_term_lufs: float
    level_dba: float | None
    dose_percent: float | None
    drift_ppm: float | None
    bad_chunks: int
    limited_chunks: int
    device_underruns: int
    recording_lost_frames: int
    stopped: bool


class Failed(msgspec.Struct, frozen=True, tag_field="event", tag="failed"):
    """Something broke. The session goes on; without sound unless `sink` is "device", not at all when it is ""."""

    reason: str
    sink: str


class Ended(msgspec.Struct, frozen=True, tag_field="event", tag="ended"):
    """The last event of a player that ended in order."""

    reason: str
    frames_played: int
    underruns: int
    peak: float


Command = Configure | Play | PlayStream | Volume | Level | Clarity | Mute | Stop | Rearm | Close
Event = Started | Sounding | Conditioned | Stalled | Overtaken | Rejected | Obeyed | Recovered | Status | Failed | Ended


def _to_json(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    message = f"{type(value).__name__} does not go into a message"
    raise NotImplementedError(message)


def _from_json(wanted: type, value: Any) -> Any:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    message = f"{wanted.__name__} does not come in a message"
    raise NotImplementedError(message)


_encoder = msgspec.json.Encoder(enc_hook=_to_json)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command, dec_hook=_from_json)
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_line(message: msgspec.Struct) -> bytes:
    """One line, its end included."""
    return _encoder.encode(message) + b"\n"


def decode_command(line: bytes) -> Command:
    """The command in a line; raises msgspec.ValidationError or DecodeError, both MsgspecError."""
    return _commands.decode(line)


def decode_event(line: bytes) -> Event:
    """The event in a line; raises msgspec.MsgspecError."""
    return _events.decode(line)
