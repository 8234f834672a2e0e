"""The preflight: every link from the scanner to the broker, and the whole way once with a simulated scanner."""

import asyncio
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from realtime.app import bridge_keys
from realtime.broker import LOOPBACK, free_port
from realtime.bundle import read_bundle
from realtime.bus_remote import Remote
from realtime.config import LiveSettings
from realtime.console.dry_run import dry_run
from realtime.console.findings import LINKS, Check, Finding, walk
from realtime.console.post import bus_of
from realtime.errors import ConfigError, RealtimeError, SessionError
from realtime.music.catalogue import read_catalogue
from realtime.playback.client import PlayerClient
from realtime.playback.latch import Latch
from realtime.playback.protocol import Started
from realtime.preparation import bus_problems, decoder_problems, problems, sound_problems
from realtime.session.folder import SessionFolder
from realtime.session.lock import recorded_by
from scanner_bridge.errors import BridgeError
from scanner_bridge.sources.settings import NETWORK_KINDS, settings_for
from scanner_bridge.spool import default_folder

ERRORS = (RealtimeError, BridgeError, OSError)
LEAST_FREE_BYTES = 2_000_000_000
_MANY_FILES = 20_000


def preflight(settings: LiveSettings, whole: bool = True,
              more: Callable[[], list[str]] = list) -> Iterator[Finding]:
    """Findings link by link, in the order in which a volume passes them.

    Parameters
    ----------
    settings : LiveSettings
        Of the session.
    whole : bool
        With the dry run, where nothing before it is broken: some ten seconds.
    more : callable
        Returns what else is wrong with what shall be decoded, a sentence each: of a visit's plan.
    """
    names = iter(LINKS)
    looks: tuple[Callable[[LiveSettings], str | Finding], ...] = (
        _scanner, _share, _bridge, partial(_decoder, more=more), _audio, _broker)
    broken = False
    for finding in walk([Check(next(names), partial(look, settings)) for look in looks], ERRORS):
        broken = broken or finding.mark == "bad"
        yield finding
    link = next(names)
    if broken or not whole:
        yield Finding(link, "open", "not tried: mend what is broken first" if broken else "not tried: --quick")
        return
    yield from walk([Check(link, partial(dry_run, settings))], ERRORS)


def _scanner(settings: LiveSettings) -> str | Finding:
    source = settings.console.source
    if not source:
        return Finding(LINKS[0], "open", "seen from its own host: innerear bridge inspect EXPORT_FOLDER (name the "
                                         "folder as console.source where this machine sees it)")
    if _listens(source):
        return Finding(LINKS[0], "open", f"{source} hears it when it scans")
    newest = _newest(Path(source)) if Path(source).is_dir() else None
    if newest is None:
        return Finding(LINKS[0], "open", f"nothing in {source} yet: scan the localizer, and look that it arrives here")
    return f"its newest file came {_ago(time.time() - newest)} ago"


def _share(settings: LiveSettings) -> str:
    source, endpoint = settings.console.source, settings.bridge.endpoint
    if source and not _listens(source):
        path = Path(source)
        if not path.exists():
            raise SessionError(f"{path} does not exist: mount the scanner's share, or correct console.source")
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise SessionError(f"{path} cannot be read by this user: give it the right to, or mount the share as it")
    where = urlsplit(endpoint)
    if recorded_by(SessionFolder(settings.session)):
        return f"{endpoint} is this session's own"
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("" if where.hostname in (None, "*") else where.hostname, where.port or 0))
    except (OSError, ValueError) as exc:
        raise SessionError(f"the bridge's port {endpoint} cannot be had ({exc}): stop the program that holds it "
                           "(`ss -ltnp` names it), or choose another as bridge.endpoint") from exc
    return f"{source or 'the bridge'} → {endpoint} is free"


def _bridge(settings: LiveSettings) -> str:
    keys = bridge_keys(settings.bridge)
    spool = default_folder(settings.bridge.endpoint)
    place = next(folder for folder in (spool, *spool.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        raise SessionError(f"the bridge cannot keep volumes in {spool}: make {place} writable, or give it --spool")
    return ("encrypted; " if keys else "this machine only; ") + f"keeps what waits in {spool}"


def _decoder(settings: LiveSettings, more: Callable[[], list[str]]) -> str:
    found = list(dict.fromkeys([*more(), *decoder_problems(settings)]))
    if not found and not recorded_by(SessionFolder(settings.session)):
        ours = {*sound_problems(settings), *bus_problems(settings)}
        found = [problem for problem in problems(settings) if problem not in ours]
    if found:
        raise SessionError("; ".join(found))
    bundle, music = read_bundle(settings.bundle), read_catalogue(settings.catalogue, check_audio=False)
    place = next(folder for folder in (settings.session, *settings.session.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise SessionError(f"the disk of {place} has {free / 1e6:.0f} MB left, wanted {LEAST_FREE_BYTES / 1e6:.0f}: "
                           "make room, or choose another session folder")
    return (f"{bundle.manifest.name} of {bundle.manifest.subject}: {len(bundle.voxels)} voxels, {len(music.clips)} "
            f"clips; {free / 1e9:.0f} GB for {settings.session}")


def _audio(settings: LiveSettings) -> str | Finding:
    folder = SessionFolder(settings.session)
    if folder.path.exists() and Latch(folder.played).held:
        raise SessionError(f"STOP holds in {folder.path}: let it sound again with L on the console, or: innerear sound "
                           f"rearm {folder.path}")
    if found := sound_problems(settings):
        raise ConfigError("; ".join(found))
    if recorded_by(folder):
        return Finding(LINKS[4], "open", "the running session has it")
    with tempfile.TemporaryDirectory() as scratch:
        started = asyncio.run(_open_silently(settings, Path(scratch)))
    if started.sink == "device":
        return f"{started.device} opens, and is silent"
    if settings.playback.mode == "scanner":
        raise SessionError(f"no sound card ({started.reason or settings.playback.sink}): the person would hear "
                           "nothing; connect it, or choose it as the system's default")
    return f"no sound card is used ({started.reason or settings.playback.sink}): what would be heard is recorded"


async def _open_silently(settings: LiveSettings, scratch: Path) -> Started:
    async with await PlayerClient.start(settings.playback.to_player(scratch / "played.wav"), []) as player:
        return player.started


def _broker(settings: LiveSettings) -> str | Finding:
    if not settings.bus.broker:
        return Finding(LINKS[5], "open", "none is set: no console, no commands; bus.broker = 'embedded' makes one")
    if found := bus_problems(settings):
        raise ConfigError("; ".join(found))
    if settings.bus.broker == "embedded" and not recorded_by(SessionFolder(settings.session)):
        free_port(1883)
        return f"the live program will run one on {LOOPBACK}:1883"
    bus = bus_of(settings.bus, SessionFolder(settings.session))
    round_trip_s = asyncio.run(Remote(bus, lambda _topic, _payload: None).round_trip_s())
    return f"passes messages on in {1000 * round_trip_s:.0f} ms"


def _listens(source: str) -> bool:
    return settings_for(source).kind in NETWORK_KINDS or source == "simulated"


def _newest(folder: Path) -> float | None:
    newest = None
    for number, path in enumerate(folder.rglob("*")):
        if number > _MANY_FILES:
            break
        if path.is_file():
            newest = max(newest or 0.0, path.stat().st_mtime)
    return newest


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
