"""The asyncio shell of a live session: it moves things, the core decides.

One rule carries the record's truth: an entry is journaled and folded under one lock, so that
what the core saw has the journal's order. Nothing here may end the session but the end of
the run or the operator; what fails is journaled, shown, and survived.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from realtime.errors import JournalError, PlaybackError
from realtime.messages import Cue
from realtime.playback import protocol
from realtime.playback.lasting import LastingPlayer
from realtime.ports import MessageBus
from realtime.session.entries import EventEntry, MessageEntry
from realtime.session.fold import Outcome, Perceived, SessionFold
from realtime.session.journal import Journal, JournalRecord, Kind
from realtime.session.record import DocumentLog
from scanner_bridge.server import Received, VolumeServer
from scanner_bridge.volume import RunHeader

logger = logging.getLogger(__name__)

_FRAME_SLACK = 4096
_UNANNOUNCED_VOLUMES = 1000
_RETRY_S = 1.0
_SHORTEST_WAIT_S = 0.05  # what came while this program was held up is taken before a stall is called
_COMMANDS = ("start", "stop", "pause", "resume", "mute", "unmute", "volume", "mark")


@dataclass
class Wires:
    """What the shell moves things between.

    Attributes
    ----------
    server : VolumeServer
        Volumes in.
    player : LastingPlayer
        Cues out.
    bus : MessageBus
        Commands in, status out.
    journal : Journal
        Before anything else.
    timing : DocumentLog
        When things happened.
    clock_id : str
        Of this host's monotonic clock.
    """

    server: VolumeServer
    player: LastingPlayer
    bus: MessageBus
    journal: Journal
    timing: DocumentLog
    clock_id: str


@dataclass(frozen=True)
class Stamps:
    """Monotonic times of one message: on disk, embedded, decided."""

    journaled_s: float
    embedded_s: float
    decided_s: float


@dataclass
class LiveSession:
    """One session, from the first volume to the run's end.

    Attributes
    ----------
    fold : SessionFold
        The pure part, already fed what an earlier life of this session journaled.
    wires : Wires
        Everything else.
    stale_after_volumes : int
        Silence of this many repetition times fades the music.
    """

    fold: SessionFold
    wires: Wires
    stale_after_volumes: int = 5
    _order: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _cues: dict[int, Cue] = field(default_factory=dict)
    _stale: bool = False
    _last_volume_s: float = 0.0
    _told: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Until the run ends, or the operator stops it."""
        tasks = (("volumes", self._volumes()), ("commands", self._commands()), ("player", self._player_events()))
        running: list[asyncio.Task[Any]] = [asyncio.create_task(work, name=f"session.{name}") for name, work in tasks]
        ended: asyncio.Task[Any] = asyncio.create_task(self._ended.wait(), name="session.ended")
        try:
            self.publish_state("resumed" if self.fold.core is not None else "armed")
            self._last_volume_s = self._now_s()
            if self.fold.waits_for_start:
                self._alarm('all decisions wait for the command "start"')
            if self.fold.end is not None:
                self._ended.set()
            await asyncio.wait([ended, *running], return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()  # a bug or a run that does not fit: let it be seen
        finally:
            for task in (ended, *running):
                task.cancel()
            await asyncio.gather(ended, *running, return_exceptions=True)

    async def linger(self, tail_s: float) -> None:
        """Let the last decision be heard, unless the session was stopped from this side.

        A bridge that did not get the last acknowledgement is answered meanwhile: receiving does that.
        """
        answering = asyncio.create_task(self._answer_repeats(), name="session.answering")
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), tail_s)
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def stop(self, reason: str) -> None:
        """End the run from this side; what came so far stays."""
        self._stopped.set()
        if self.fold.end is not None:
            return
        await self._event(EventEntry("aborted", reason, None, self._now_s()))
        self._ended.set()

    def publish_state(self, state: str, **more: Any) -> None:
        """Tell everyone who listens what the session is doing."""
        self.wires.bus.publish("state", {"state": state, **more}, retain=True)

    # volumes ------------------------------------------------------------------------------

    async def _volumes(self) -> None:
        while self.fold.end is None:
            received = await self._next()
            if received is None:
                await self._stall()
                continue
            # the bridge holds what is not acknowledged; this message waits here for room on the disk
            while not await self._take(received):  # noqa: ASYNC110 - nothing tells when a disk has room again
                await asyncio.sleep(_RETRY_S)
        self._ended.set()

    async def _answer_repeats(self) -> None:
        while True:
            await self.wires.server.receive()

    async def _next(self) -> Received | None:
        """The next message, or None when volumes of this run have been due for too long."""
        if self.fold.header is None or self._stale:
            return await self.wires.server.receive()
        due_s = self._last_volume_s + self.stale_after_volumes * self.fold.header.tr_s
        try:
            return await asyncio.wait_for(self.wires.server.receive(), max(due_s - self._now_s(), _SHORTEST_WAIT_S))
        except TimeoutError:
            return None

    async def _stall(self) -> None:
        self._stale = True
        logger.warning("no volume for %d repetition times: the music fades", self.stale_after_volumes)
        await self._event(EventEntry("stale", "", None, self._now_s()))
        self.publish_state("stale")

    async def _take(self, received: Received) -> bool:
        """Store, acknowledge, decode and decide; False when the disk refused and nothing happened."""
        entry = MessageEntry(received.nonce, received.seq, received.received_s, received.blob)
        kind = Kind.REJECTED if received.message is None else Kind.MESSAGE
        first_header = isinstance(received.message, RunHeader) and self.fold.header is None
        if isinstance(received.message, RunHeader) and first_header:
            self.fold.check(received.message)
            self.wires.journal.reserve(_run_bytes(received.message))
        async with self._order:
            try:
                record = self._store(kind, entry.to_payload())
            except JournalError as exc:
                if first_header:
                    raise  # before the run: refuse it now, not in its middle
                self._alarm(str(exc))
                return False
            journaled_s = self._now_s()
            await self.wires.server.acknowledge(received)
            perceived = self.fold.perceive(record)
            embedded_s = self._now_s()
            outcome = self.fold.decide(perceived)
            self._act(outcome.cue)
        if perceived.volume is not None or first_header:
            self._stale, self._last_volume_s = False, self._now_s()
        self._report(received, perceived, outcome, Stamps(journaled_s, embedded_s, self._now_s()))
        return True

    def _store(self, kind: Kind, payload: bytes) -> JournalRecord:
        return JournalRecord(self.wires.journal.append(kind, payload), kind, payload)

    def _report(self, received: Received, perceived: Perceived, outcome: Outcome, stamps: Stamps) -> None:
        header, volume = self.fold.header, perceived.volume
        for text in (*self.fold.take_notes(), self.wires.timing.trouble):
            self._alarm_once(text)
        if header is None:
            return
        due_s = None
        if volume is not None and outcome.steps:
            known = header.clock_id == self.wires.clock_id and np.isfinite(volume.due_s)
            due_s = float(volume.due_s) if known else None
            self.wires.timing.append({
                "volume": volume.index, "due_s": due_s, "received_s": received.received_s,
                "journaled_s": stamps.journaled_s, "embedded_s": stamps.embedded_s, "decided_s": stamps.decided_s,
                "embedded": outcome.steps[-1].posterior is not None})
        latency_s = stamps.decided_s - (received.received_s if due_s is None else due_s)
        for step in outcome.steps:
            shown = {key: value for key, value in step.document.items() if key not in ("doc", "motion", "embedding")}
            self.wires.bus.publish("step", {**shown, "latency_ms": round(1000 * latency_s, 2), **self._totals()})
        if isinstance(received.message, RunHeader):
            self.publish_state("running", source=header.source, n_volumes=header.n_volumes, tr_s=header.tr_s)

    def _totals(self) -> dict[str, Any]:
        core, header = self.fold.core, self.fold.header
        if core is None or header is None:
            return {}
        return {"n_volumes": header.n_volumes, "gaps": core.counts.gaps, "rejected": core.counts.rejected}

    # events -------------------------------------------------------------------------------

    async def _event(self, entry: EventEntry) -> None:
        async with self._order:
            self._fold_event(entry)

    def _fold_event(self, entry: EventEntry) -> None:
        try:
            record = self._store(Kind.EVENT, entry.to_payload())
        except JournalError as exc:
            self._alarm(str(exc))
            return
        self._act(self.fold.feed(record).cue)

    async def _commands(self) -> None:
        async for command in self.wires.bus.commands():
            name = str(command.get("name", ""))
            if name not in _COMMANDS:
                self._alarm(f"unknown command {name!r}; known are {', '.join(_COMMANDS)}")
                continue
            value = command.get("value")
            number = float(value) if isinstance(value, int | float) else None
            self._to_player(name, number)
            await self._event(EventEntry(name, str(command.get("text", "")), number, self._now_s()))
            if name == "stop":
                await self.stop("the operator stopped the session")
        await asyncio.Event().wait()  # a bus without commands ends nothing

    def _to_player(self, name: str, value: float | None) -> None:
        if name in ("mute", "unmute"):
            self.wires.player.mute(name == "mute")
        elif name == "volume" and value is not None:
            try:
                self.wires.player.set_volume(value)
            except PlaybackError as exc:
                self._alarm(str(exc))
        elif name == "stop":
            self.wires.player.stop()

    async def _player_events(self) -> None:
        player = self.wires.player
        async for event in player.events():
            match event:
                case protocol.Sounding():
                    cue = self._cues.get(event.cue)
                    self.wires.timing.append({"cue": event.cue, "volume": cue and cue.volume_index,
                                              "clip_id": event.clip_id, "sound_s": event.time_s,
                                              "position": event.position if player.records_as_asked else None})
                case protocol.Started() if player.n_starts > 1:
                    where = event.played_wav or "no file"
                    self._alarm(f"player: started again; sound goes on and is recorded in {where}")
                case protocol.Failed():
                    self._alarm(f"player: {event.reason}")
                case protocol.Rejected():
                    self._alarm(f"player: {event.reason}")
                    await self._bar(event)
                case protocol.Status():
                    self.wires.bus.publish("sound", msgspec.to_builtins(event))
        await asyncio.Event().wait()  # a player that is gone takes the sound, not the session

    async def _bar(self, rejected: protocol.Rejected) -> None:
        """Take a clip that the player could not read out of the choice."""
        cue = self._cues.get(rejected.cue)
        if cue is not None and cue.clip_id:
            await self._event(EventEntry("unplayable", cue.clip_id, None, self._now_s()))

    def _act(self, cue: Cue | None) -> None:
        if cue is not None:
            self._cues[cue.number] = cue
            self.wires.player.play(cue)

    def _alarm(self, text: str) -> None:
        logger.error("%s", text)
        self.wires.bus.publish("alarm", {"text": text})

    def _alarm_once(self, text: str) -> None:
        if text and text not in self._told:
            self._told.add(text)
            self._alarm(text)

    @staticmethod
    def _now_s() -> float:
        """The loop's monotonic clock; on one host it is the clock of the bridge's due times."""
        return asyncio.get_running_loop().time()


def _run_bytes(header: RunHeader) -> int:
    """Journal space for the whole run."""
    n_volumes = header.n_volumes or _UNANNOUNCED_VOLUMES
    return n_volumes * (int(np.prod(header.shape)) * np.dtype(header.dtype).itemsize + _FRAME_SLACK)
