"""Settings of the live program: TOML in, frozen dataclasses out, every problem named at once.

Paths in a file are relative to the folder the program is started in, as they would be on the
command line.
"""

import difflib
import tomllib
import types
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from realtime.broker_address import BrokerAddress, BrokerTls, broker_address
from realtime.decoding.settings import DecodingSettings
from realtime.errors import ConfigError
from realtime.generators.settings import GeneratorSettings
from realtime.music.selection import SelectionSettings
from realtime.outlet_settings import OutletsSettings
from realtime.playback.settings import PlayerSettings, SoundSettings

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class BridgeSettings:
    """Where the scanner bridge delivers.

    Attributes
    ----------
    endpoint : str
        ZeroMQ endpoint to bind; beyond loopback only with keys.
    server_key : Path or None
        CURVE secret key file of this side (mode 0600).
    client_keys : Path or None
        Folder with the public keys of the bridges that may connect.
    stale_after_volumes : int
        Silence of this many repetition times fades the music until volumes come again.
    retry_wait_s : float
        After a run that was aborted, how long the program waits for another attempt at it; 0 ends the session.
    """

    endpoint: str = "tcp://127.0.0.1:5577"
    server_key: Path | None = None
    client_keys: Path | None = None
    stale_after_volumes: int = 5
    retry_wait_s: float = 600.0

    def __post_init__(self) -> None:
        if (self.server_key is None) != (self.client_keys is None):
            raise ConfigError("bridge.server_key and bridge.client_keys go together: give both, or neither")
        if self.stale_after_volumes < 1:
            raise ConfigError(f"bridge.stale_after_volumes is {self.stale_after_volumes}, wanted 1 or more")
        if not 0.0 <= self.retry_wait_s <= 86400.0:
            raise ConfigError(f"bridge.retry_wait_s is {self.retry_wait_s}, wanted 0 to 86400")


@dataclass(frozen=True)
class BrokerSettings:
    """MQTT: control in, status out.

    Attributes
    ----------
    broker : str
        "mqtt://host:port", "mqtts://host:port" (encrypted), "embedded" for a broker inside the program, "" for none.
    ca, cert, key : Path or None
        Of an encrypted connection: see `BrokerTls`.
    """

    broker: str = ""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.broker not in ("", "embedded"):
            _ = self.address

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is; ConfigError for one inside the program, or none."""
        return broker_address(self.broker, BrokerTls(self.ca, self.cert, self.key))


@dataclass(frozen=True)
class PlaybackSettings(SoundSettings):
    """How the music is played; see `SoundSettings` for all but the last.

    Attributes
    ----------
    tail_s : float
        How long the music goes on after a run that ended by itself.
    """

    tail_s: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.tail_s <= 60.0:
            raise ConfigError(f"playback.tail_s is {self.tail_s}, wanted 0 to 60")

    def to_player(self, played_wav: Path) -> PlayerSettings:
        """Settings of the player process, which records to `played_wav`."""
        return PlayerSettings(played_wav=played_wav, **{item.name: getattr(self, item.name)
                                                        for item in fields(SoundSettings)})


@dataclass(frozen=True)
class ConsoleSettings:
    """The operator's page (`innerear console`).

    Attributes
    ----------
    host : str
        Address to listen on; beyond this machine only with a token.
    port : int
        TCP port.
    token : Path or None
        File whose first line, of 16 characters or more, a browser must show.
    source : str
        What `innerear bridge serve` is given on this host, for the preflight: the export folder, or what it listens
        for; "" when the bridge runs on another.
    """

    host: str = "127.0.0.1"
    port: int = 8088
    token: Path | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"console.port is {self.port}, wanted 0 to 65535")
        if self.host not in ("127.0.0.1", "localhost", "::1") and self.token is None:
            raise ConfigError(f"console.host is {self.host!r} without console.token: whoever reaches it could stop the "
                              "session; name a file with a long secret word, or leave the host at 127.0.0.1")


@dataclass(frozen=True)
class LiveSettings:
    """One live session.

    Attributes
    ----------
    bundle : Path
        Folder that `innerear train` made.
    catalogue : Path
        Folder that `innerear corpus` made, in the bundle's embedding space.
    session : Path
        Folder for everything this session records; begun, or resumed after a crash.
    events : Path or None
        BIDS events file with the trial onsets; None when trials are marked over the bus.
    design : Path or None
        A designed run, which `innerear session` makes; its trials take the place of `events`.
    wait_for_start : bool
        Hold all decisions until the operator's command "start" comes over the bus; volumes are
        recorded and decoded meanwhile.
    blinded : bool
        Tell on the bus, and so on the console, nothing by which the arms of a study can be told apart.
    self_check : Path or None
        Folder of an embedder that listens to what is really played, every five seconds, in a process of its own, and
        tells how near it is to what was chosen and decoded; None for nobody.
    keep_until : date or None
        Until then what is recorded may be kept; `innerear purge` lists what is past its date.
    bridge, decoding, selection, generator, playback, bus, console, outlets
        See there.
    """

    bundle: Path
    catalogue: Path
    session: Path
    events: Path | None = None
    design: Path | None = None
    wait_for_start: bool = False
    blinded: bool = False
    self_check: Path | None = None
    keep_until: date | None = None
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    playback: PlaybackSettings = field(default_factory=PlaybackSettings)
    bus: BrokerSettings = field(default_factory=BrokerSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    outlets: OutletsSettings = field(default_factory=OutletsSettings)

    def __post_init__(self) -> None:
        if self.design is not None and (self.events is not None or self.wait_for_start):
            raise ConfigError("design is given together with events or wait_for_start: a designed run has its own "
                              "trials, and begins with the first volume; leave those out")
        if self.decoding.mode == "free_run" and (self.events is not None or self.design is not None):
            raise ConfigError("decoding.mode is 'free_run' together with events or a design: a free run finds its "
                              "segments by itself; leave those out, or set decoding.mode to \"trials\"")
        if self.wait_for_start and not self.bus.broker:
            raise ConfigError("wait_for_start is true, but bus.broker is '': the command \"start\" would never come; "
                              "name a broker, or leave wait_for_start out")


def load_settings(path: Path, kind: type[Settings], overrides: dict[str, Any] | None = None) -> Settings:
    """Read a TOML file into the frozen dataclass `kind`.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        A frozen dataclass, possibly nested.
    overrides : dict, optional
        Values of the command line; a dotted key ("playback.sink") reaches into a table. None
        values are left out.

    Raises
    ------
    ConfigError
        The file cannot be read, is not TOML, or has unknown keys, missing keys or wrong values;
        all of them are named.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"settings {path} cannot be read ({exc.strerror}); name an existing file") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"settings {path} are not TOML: {exc}; correct that line") from exc
    return make_settings(kind, document, overrides or {}, str(path))


def make_settings(kind: type[Settings], document: dict[str, Any], overrides: dict[str, Any], origin: str) -> Settings:
    """Settings from a document and the command line's overrides; parameters and errors as `load_settings`."""
    for key, value in overrides.items():
        if value is not None:
            _place(document, key.split("."), value)
    problems = _unknown_keys(kind, document, "")
    try:
        settings = TypeAdapter(kind).validate_python(document)
    except ValidationError as exc:
        problems += [f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}, got {_short(error['input'])}"
                     for error in exc.errors()]
    except ConfigError as exc:
        problems.append(str(exc))
    if problems:
        raise ConfigError(f"settings {origin}: " + "; ".join(problems))
    return settings


def _place(document: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        document = document.setdefault(key, {})
    document[keys[-1]] = value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_keys(kind: type, document: dict[str, Any], prefix: str) -> list[str]:
    known = {item.name for item in fields(kind)}
    hints = get_type_hints(kind)
    problems = []
    for key, value in document.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(sorted(known))}"
            problems.append(f"unknown key {prefix + key!r}{hint}")
        elif (table := _table_type(hints[key])) is not None and isinstance(value, dict):
            problems += _unknown_keys(table, value, f"{prefix}{key}.")
        elif (row := _row_type(hints[key])) is not None and isinstance(value, list):
            for number, each in enumerate(value):
                problems += _unknown_keys(row, each, f"{prefix}{key}.{number}.") if isinstance(each, dict) else []
    return problems


def _row_type(hint: Any) -> type | None:
    """The dataclass that every element of a key's array is a table for, if they are."""
    args = get_args(hint)
    row = args[0] if get_origin(hint) is tuple and args else None
    return row if is_dataclass(row) and isinstance(row, type) else None


def _table_type(hint: Any) -> type | None:
    """The dataclass a key's value is a table for, if it is."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((option for option in options if is_dataclass(option) and isinstance(option, type)), None)
