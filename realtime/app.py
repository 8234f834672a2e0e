"""The composition root: settings in, a running session out. The only place that chooses implementations."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from realtime.atomic import write_json
from realtime.broker import LOOPBACK, embedded_broker
from realtime.bundle import Bundle, read_bundle
from realtime.bus import BusSettings, MqttBus, NullBus
from realtime.config import BridgeSettings, LiveSettings, split_url
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import RealtimeError, SessionError, SpaceMismatchError
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.playback.client import PlayerClient, PlayerSummary
from realtime.ports import MessageBus
from realtime.preprocessing import Preprocessor
from realtime.session.core import Parts
from realtime.session.entries import next_expected
from realtime.session.events import read_events
from realtime.session.fold import SessionFold
from realtime.session.folder import SessionFolder, topic_name
from realtime.session.journal import Journal
from realtime.session.kept import about_session, keep_copies, read_parts
from realtime.session.record import Document, DocumentLog, Record, read_documents
from realtime.session.shell import LiveSession, Wires
from realtime.session.summary import Figures, summarise
from scanner_bridge.keys import ServerKeys, load_server_keys
from scanner_bridge.sources.pacing import clock_id
from scanner_bridge.transport import VolumeServer

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything a session needs, checked.

    Attributes
    ----------
    parts : Parts
        For the core.
    catalogue : Catalogue
        For the player and the score.
    folder : SessionFolder
        Where the session is kept; holds copies of all that decisions depend on.
    about : dict
        What the record's first document says besides the run.
    """

    parts: Parts
    catalogue: Catalogue
    folder: SessionFolder
    about: Document


def problems(settings: LiveSettings) -> list[str]:
    """Everything that would stop a session with these settings, a sentence each; the preflight."""
    found: list[str] = []
    bundle = _attempt(found, lambda: read_bundle(settings.bundle))
    catalogue = _attempt(found, lambda: read_catalogue(settings.catalogue))
    if settings.events is not None:
        path = settings.events
        _attempt(found, lambda: read_events(path))
    if bundle is not None:
        _attempt(found, lambda: OnnxDecoder(bundle))
    if bundle is not None and catalogue is not None:
        _attempt(found, lambda: check_spaces(bundle, catalogue, settings))
    _attempt(found, lambda: _check_folder(SessionFolder(settings.session)))
    return found


def _attempt(found: list[str], action: Callable[[], T]) -> T | None:
    try:
        return action()
    except RealtimeError as exc:
        found.append(str(exc))
        return None


def check_spaces(bundle: Bundle, catalogue: Catalogue, settings: LiveSettings) -> None:
    """Refuse to compare vectors of different embedding spaces.

    Raises
    ------
    SpaceMismatchError
        Name, dimension or sha256 differ.
    """
    if bundle.manifest.space != catalogue.space:
        raise SpaceMismatchError(
            f"bundle {settings.bundle} predicts space {bundle.manifest.space}, catalogue {settings.catalogue} holds "
            f"space {catalogue.space}; index the catalogue in the bundle's space, or train the bundle in this one")


def _check_folder(folder: SessionFolder) -> None:
    if any(document["doc"] == "stop" for document in read_documents(folder.record)):
        raise SessionError(f"session {folder.path} is finished; choose another folder for a new one "
                           f"(--session), or look at it with: innerear report {folder.path}")


def prepare(settings: LiveSettings) -> Prepared:
    """Check everything, and put into the session folder what its decisions will depend on.

    Raises
    ------
    SessionError
        All that `problems` found, in one message.
    """
    found = problems(settings)
    if found:
        raise SessionError("\n".join(found))
    folder = SessionFolder(settings.session)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        keep_copies(folder, settings)
    except OSError as exc:
        raise SessionError(f"session folder {folder.path} cannot be written ({exc.strerror or exc}); choose another "
                           "with --session, or make room") from exc
    catalogue = read_catalogue(settings.catalogue)
    parts = read_parts(folder, catalogue)
    return Prepared(parts, catalogue, folder, about_session(parts))


async def run_live(settings: LiveSettings) -> Figures:
    """Run one session to its end and return its figures; resumes a session that was cut off.

    Raises
    ------
    SessionError, BundleError, EventsError, JournalError, PlaybackError, BridgeError
        Something that stops it before the run's first volume. During a run nothing does.
    """
    prepared = prepare(settings)
    folder = prepared.folder
    async with contextlib.AsyncExitStack() as stack:
        record, timing = Record(folder.record), DocumentLog(folder.timing)
        journal = Journal(folder.journal)
        for file in (record, timing, journal):
            stack.callback(file.close)
        fold = SessionFold(prepared.parts, prepared.about, record.append)
        last_cue = None
        for entry in journal.recovered.records:
            last_cue = fold.feed(entry).cue or last_cue
        warm_up(prepared.parts)
        bus = await _open_bus(stack, settings, folder)
        player = await PlayerClient.start(settings.playback.to_player(folder.played), prepared.catalogue.clips)
        server = await stack.enter_async_context(VolumeServer(
            settings.bridge.endpoint, stored=next_expected(journal.recovered.records), keys=_keys(settings.bridge)))
        if last_cue is not None:
            player.play(last_cue)
        wires = Wires(server, player, bus, journal, timing, clock_id())
        session = LiveSession(fold, wires, settings.bridge.stale_after_volumes)
        try:
            await _run_until_signalled(session)
            if fold.core is not None and not session.stopped_here:
                await asyncio.sleep(settings.playback.tail_s)  # the last decision is to be heard, too
        finally:
            sound = await player.close()
        figures = _finish(fold, record, prepared, sound)
        session.publish_state("ended", **{key: figures[key] for key in ("status", "gaps", "verdict")})
        return figures


def warm_up(parts: Parts) -> None:
    """Compile and load everything before the first volume: a first call costs more than a TR."""
    manifest, bundle = parts.bundle.manifest, parts.bundle
    preprocessor = Preprocessor(bundle.reference, bundle.affine, bundle.voxels, manifest.preprocessing,
                                bundle.feature_scale)
    preprocessor.warm_up()
    features = preprocessor.push(bundle.reference).features
    parts.index.similarities(parts.decoder.decode(features))
    gc.collect()
    gc.freeze()  # what lives now lives for the run: later collections need not look at it


def _keys(settings: BridgeSettings) -> ServerKeys | None:
    if settings.server_key is None or settings.client_keys is None:
        return None
    return load_server_keys(settings.server_key, sorted(settings.client_keys.glob("*.key")))


async def _open_bus(stack: contextlib.AsyncExitStack, settings: LiveSettings, folder: SessionFolder) -> MessageBus:
    broker = settings.bus.broker
    if not broker:
        return await stack.enter_async_context(NullBus())
    host, port = LOOPBACK, 0
    if broker == "embedded":
        port = await stack.enter_async_context(embedded_broker())
    else:
        host, port = split_url(broker)
    return await stack.enter_async_context(MqttBus(BusSettings(topic_name(folder.path), host, port)))


async def _run_until_signalled(session: LiveSession) -> None:
    running = asyncio.create_task(session.run(), name="session")
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop(name: str) -> None:
        stopping.append(asyncio.create_task(session.stop(f"the program was stopped ({name})")))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    try:
        await running
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await asyncio.gather(*stopping)


def _finish(fold: SessionFold, record: Record, prepared: Prepared, sound: PlayerSummary) -> Figures:
    if fold.core is not None:
        record.append(fold.stop_document())
    counted = {"underruns": sound.underruns, "sink": sound.sink, "peak": sound.peak,
               "played_s": sound.frames_played / 48000, "player": sound.reason}
    figures = summarise(prepared.folder, prepared.catalogue, counted)
    write_json(prepared.folder.summary, figures)
    return figures
