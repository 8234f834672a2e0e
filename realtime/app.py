"""The composition root: settings in, a running session out. The only place that chooses implementations."""

import asyncio
import contextlib
import gc
import logging
import signal
from dataclasses import dataclass
from pathlib import Path

from realtime.atomic import write_json
from realtime.broker import LOOPBACK, embedded_broker
from realtime.broker_address import BrokerAddress
from realtime.bus import BusSettings, MqttBus, NullBus
from realtime.config import BridgeSettings, BrokerSettings, LiveSettings
from realtime.errors import RealtimeError, SessionError
from realtime.generators.client import GeneratorClient, HostFiles
from realtime.playback.client import PlayerSummary
from realtime.playback.lasting import LastingPlayer
from realtime.playback.settings import RATE_HZ, is_volume
from realtime.ports import MessageBus
from realtime.preparation import Prepared, prepare
from realtime.preprocessing import compiled_signatures
from realtime.session.entries import SoundState, last_sound, next_expected
from realtime.session.fold import Outcome, SessionFold
from realtime.session.folder import SessionFolder, topic_name
from realtime.session.journal import Journal
from realtime.session.parts import Parts
from realtime.session.pictures import Pictures
from realtime.session.record import Document, DocumentLog, Record
from realtime.session.self_check import SelfCheck
from realtime.session.shell import LiveSession, Wires
from realtime.session.sounding import Sounding
from realtime.session.summary import Figures, summarise
from realtime.session.telling import Telling
from scanner_bridge.errors import BridgeError
from scanner_bridge.keys import ServerKeys, load_server_keys
from scanner_bridge.server import VolumeServer
from scanner_bridge.sources.pacing import clock_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pauses:
    """What makes a program stand still without being asked.

    Attributes
    ----------
    compiled : int
        Kernels compiled.
    full : int
        Garbage collections of everything.
    """

    compiled: int
    full: int

    @staticmethod
    def so_far() -> "Pauses":
        """Since the process began."""
        return Pauses(compiled_signatures(), gc.get_stats()[2]["collections"])

    def since(self) -> "Pauses":
        """Those that came after this one."""
        now = Pauses.so_far()
        return Pauses(now.compiled - self.compiled, now.full - self.full)


async def run_live(settings: LiveSettings, bus: MessageBus | None = None) -> Figures:
    """Run one session to its end and return its figures; resumes a session that was cut off.

    With a bus it is told there, as one of several runs; otherwise the settings say where.

    Raises
    ------
    SessionError, BundleError, EventsError, JournalError, PlaybackError, BridgeError
        Something that stops it before the run's first volume. During a run nothing does.
    """
    async with contextlib.AsyncExitStack() as stack:
        prepared = prepare(settings, stack)
        folder = prepared.folder
        record, timing = Record(folder.record), DocumentLog(folder.timing)
        journal = Journal(folder.journal)
        for file in (record, timing, journal):
            stack.callback(file.close)
        fold = SessionFold(prepared.parts, prepared.about, record.append)
        last = Outcome((), None)
        for entry in journal.recovered.records:
            last = fold.feed(entry).after(last)
        if record.ended:  # killed between its last document and its summary
            return _finish(fold, record, prepared, None, None)
        warm_up(prepared.parts)
        bus = bus or await open_bus(stack, settings.bus, folder.path)
        player = await LastingPlayer.start(settings.playback.to_player(folder.played), prepared.sounds)
        server = await stack.enter_async_context(VolumeServer(
            settings.bridge.endpoint, stored=next_expected(journal.recovered.records),
            keys=bridge_keys(settings.bridge)))
        blinded = settings.blinded or fold.blinded
        pictures = Pictures(prepared.parts.bundle, blinded)
        telling = Telling(bus, timing, clock_id(), pictures, blinded)
        telling.about(_about(prepared, settings))
        sounding = Sounding(player, telling, await _open_generator(stack, settings, folder, player))
        _go_on(player, last_sound(journal.recovered.records))
        sounding.sound_again(last, len(fold.attempts))
        wires = Wires(server, sounding, bus, journal, telling)
        before = Pauses.so_far()
        if settings.self_check is not None:
            check = SelfCheck(settings.self_check, prepared.catalogue, sounding, lambda: len(fold.attempts))
            listening = asyncio.create_task(check.run(), name="self-check")
            stack.push_async_callback(_cancelled, listening)
        session = LiveSession(fold, wires, settings.bridge.stale_after_volumes, settings.bridge.retry_wait_s)
        try:
            await _run_until_signalled(session, settings.playback.tail_s)
        except (RealtimeError, BridgeError) as exc:
            telling.alarm(str(exc))  # the console shows why; the terminal says it when all is closed
            raise
        finally:
            sound = await player.close()
        figures = _finish(fold, record, prepared, sound, before.since())
        telling.state("ended", **{key: figures[key] for key in ("status", "gaps", "verdict")})
        return figures


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _about(prepared: Prepared, settings: LiveSettings) -> Document:
    """What a console should know of the session before anything happens."""
    about, manifest = prepared.about, prepared.parts.bundle.manifest
    onsets = [round(event.onset_s / manifest.preprocessing.tr_s) for event in prepared.parts.events]
    return {"subject": about["bundle"]["subject"], "bundle": about["bundle"]["name"],
            "session": str(prepared.folder.path.resolve()), "n_voxels": about["bundle"]["n_voxels"],
            "n_clips": about["n_clips"], "space": manifest.space.name, "dim": manifest.space.dim,
            "lag_volumes": manifest.lag_volumes,
            "window_volumes": about["window_volumes"], "onset_volumes": onsets,
            "wait_for_start": settings.wait_for_start,
            "stale_after_volumes": settings.bridge.stale_after_volumes, "software": about["software"]}


def _go_on(player: LastingPlayer, sound: SoundState) -> None:
    """Set the player's levels as the session's earlier life left them."""
    player.mute(sound.muted)
    if sound.volume_db is not None and is_volume(sound.volume_db):
        player.set_volume(sound.volume_db)


async def _open_generator(stack: contextlib.AsyncExitStack, settings: LiveSettings, folder: SessionFolder,
                          player: LastingPlayer) -> GeneratorClient | None:
    """The process that generates, if the settings ask for one; it feeds this player."""
    if settings.generator.kind == "retrieval":
        return None
    generator = await GeneratorClient.start(settings.generator, HostFiles(settings.catalogue, folder.diary),
                                            Path(player.door))
    stack.push_async_callback(generator.close)
    return generator


def warm_up(parts: Parts) -> None:
    """Compile and load everything before the first volume: a first call costs more than a TR."""
    preprocessor = parts.bundle.preprocessor()
    preprocessor.warm_up()
    features = preprocessor.push(parts.bundle.reference).features
    parts.index.search(parts.decoder.decode(features), 1)
    gc.collect()
    gc.freeze()  # what lives now lives for the run: later collections need not look at it
    gc.set_threshold(700, 10, 1 << 30)  # and a run is too short for a full collection to pay


def bridge_keys(settings: BridgeSettings) -> ServerKeys | None:
    """Keys of an encrypted line to the bridge; None without, BridgeError where they cannot be used."""
    if settings.server_key is None or settings.client_keys is None:
        return None
    return load_server_keys(settings.server_key, sorted(settings.client_keys.glob("*.key")))


async def open_bus(stack: contextlib.AsyncExitStack, settings: BrokerSettings, path: Path) -> MessageBus:
    """The bus of a session or a visit in this folder, whose name is in every topic."""
    broker = settings.broker
    if not broker:
        return await stack.enter_async_context(NullBus())
    if broker == "embedded":
        address = BrokerAddress(LOOPBACK, await stack.enter_async_context(embedded_broker()))
    else:
        address = settings.address
    bus = BusSettings(topic_name(path), address.host, address.port, address.tls)
    return await stack.enter_async_context(MqttBus(bus))


async def _run_until_signalled(session: LiveSession, tail_s: float) -> None:
    """Until the run has ended and its last decision was heard for `tail_s`, or a signal ends it."""
    running = asyncio.create_task(session.run(), name="session")
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop(name: str) -> None:
        stopping.append(asyncio.create_task(session.stop(f"the program was stopped ({name})")))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    try:
        await running
        if session.fold.core is not None:
            await session.linger(tail_s)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await asyncio.gather(*stopping)


def _finish(fold: SessionFold, record: Record, prepared: Prepared, sound: PlayerSummary | None,
            pauses: Pauses | None) -> Figures:
    if fold.core is not None:
        record.append(fold.stop_document())
    if record.trouble:
        raise SessionError(f"{record.trouble}. Its journal is whole: start this session again to finish its record")
    sound = sound or PlayerSummary("not known: the program was killed", "", None, 0, 0, 0.0, RATE_HZ)
    counted = {"underruns": sound.underruns, "sink": sound.sink, "peak": sound.peak,
               "played_s": sound.frames_played / sound.rate_hz, "player": sound.reason}
    figures = {**summarise(prepared.folder, prepared.catalogue, counted),
               "compiled_during_run": pauses and pauses.compiled, "full_collections_during_run": pauses and pauses.full}
    if pauses is not None and (pauses.compiled or pauses.full):
        logger.warning("%d kernels were compiled and %d full garbage collections ran during the run: each is a pause "
                       "that warming up should have spared it", pauses.compiled, pauses.full)
    try:
        write_json(prepared.folder.summary, figures)
    except OSError as exc:
        raise SessionError(f"{prepared.folder.summary} cannot be written ({exc.strerror}); the session is whole: free "
                           "space on that disk and start this session again to finish it") from exc
    return figures
