"""The asyncio shell of a live session: it moves things, the core decides.

One rule carries the record's truth: an entry is journaled and folded under one lock, so that
what the core saw has the journal's order. Nothing here may end the session but the end of
the run or the operator; what fails is journaled, shown, and survived.
"""

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtime.errors import JournalError, RealtimeError
from realtime.ports import MessageBus
from realtime.session.entries import EventEntry, MessageEntry
from realtime.session.fold import SessionFold
from realtime.session.journal import Journal, JournalRecord, Kind
from realtime.session.sounding import Sounding
from realtime.session.telling import Stamps, Telling
from scanner_bridge.server import Received, VolumeServer
from scanner_bridge.volume import RunEnd, RunHeader

logger = logging.getLogger(__name__)

_FRAME_SLACK = 4096
_UNANNOUNCED_VOLUMES = 1000
_RETRY_S = 1.0
_SHORTEST_WAIT_S = 0.05  # what came while this program was held up is taken before a stall is called
_LOOK_S = 1.0
_COMMANDS = ("start", "stop", "abort", "pause", "resume", "mute", "unmute", "volume", "mark", "note", "rate")


@dataclass
class Wires:
    """What the shell moves things between.

    Attributes
    ----------
    server : VolumeServer
        Volumes in.
    sounding : Sounding
        Cues out.
    bus : MessageBus
        Commands in.
    journal : Journal
        Before anything else.
    telling : Telling
        Everything that people and files are told.
    """

    server: VolumeServer
    sounding: Sounding
    bus: MessageBus
    journal: Journal
    telling: Telling


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
    retry_wait_s : float
        After an attempt that was aborted, how long to wait for another.
    """

    fold: SessionFold
    wires: Wires
    stale_after_volumes: int = 5
    retry_wait_s: float = 0.0
    _order: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _stale: bool = False
    _last_volume_s: float = 0.0
    _last_step_s: float = 0.0

    async def run(self) -> None:
        """Until the run ends, or the operator stops it."""
        tasks = (("volumes", self._volumes()), ("commands", self._commands()), ("link", self._link()),
                 ("player", self.wires.sounding.events(self._unplayable)),
                 ("generator", self.wires.sounding.generated()))
        running: list[asyncio.Task[Any]] = [asyncio.create_task(work, name=f"session.{name}") for name, work in tasks]
        ended: asyncio.Task[Any] = asyncio.create_task(self._ended.wait(), name="session.ended")
        try:
            self._say_state()
            self._last_volume_s = self._now_s()
            if self.fold.waits_for_start:
                self.wires.telling.alarm('all decisions wait for the command "start"', "note")
            if self._over:
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
        if self._over:
            return
        await self._event(EventEntry("aborted", reason, None, self._now_s()))
        self._ended.set()

    @property
    def _over(self) -> bool:
        """Whether nothing more is to come."""
        return self.fold.over or (self.fold.end is not None and self.retry_wait_s == 0.0)

    def _say_state(self) -> None:
        end = self.fold.end
        if self.fold.core is None:
            self.wires.telling.state("armed")
        elif end is None:
            self.wires.telling.state("resumed", attempt=len(self.fold.attempts))
        else:
            self.wires.telling.state("aborted", attempt=len(self.fold.attempts), reason=end.reason)

    # volumes ------------------------------------------------------------------------------

    async def _volumes(self) -> None:
        while not self._over:
            received = await self._next()
            if received is None and self.fold.end is not None:
                logger.warning("nobody tried the run again for %g s: the session ends", self.retry_wait_s)
                break
            if received is None and self.fold.waits_for_volume:
                await self._event(EventEntry("overdue", "", None, self._now_s()))
                continue
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
        """The next message, or None when volumes of this run, or another attempt at it, have been due for too long."""
        while True:
            due_s = self._due_s()
            wait_s = min(max(due_s - self._now_s(), _SHORTEST_WAIT_S), _LOOK_S)
            try:
                return await asyncio.wait_for(self.wires.server.receive(), wait_s)
            except TimeoutError:
                if self._now_s() >= due_s == self._due_s():  # a command may have changed what is waited for
                    return None

    def _due_s(self) -> float:
        """When to stop waiting for what should come."""
        header = self.fold.header
        if header is not None and self.fold.waits_for_volume:  # due one interval after the last one that was used
            return self._last_step_s + 2 * self.fold.longest_interval_s
        if header is None or (self._stale and self.fold.end is None):
            return math.inf
        if self.fold.end is not None:
            return self._last_volume_s + self.retry_wait_s
        return self._last_volume_s + self.stale_after_volumes * self.fold.longest_interval_s

    async def _stall(self) -> None:
        self._stale = True
        logger.warning("no volume for %d repetition times: the music fades", self.stale_after_volumes)
        await self._event(EventEntry("stale", "", None, self._now_s()))
        self.wires.telling.state("stale")

    async def _take(self, received: Received) -> bool:
        """Store, acknowledge, decode and decide; False when the disk refused and nothing happened."""
        entry = MessageEntry(received.nonce, received.seq, received.received_s, received.blob)
        kind = Kind.REJECTED if received.message is None else Kind.MESSAGE
        is_first = self.fold.header is None
        begins = isinstance(received.message, RunHeader) and self.fold.begins_attempt(received.message)
        if isinstance(received.message, RunHeader) and begins:
            self._prepare(received.message, is_first)
        async with self._order:
            try:
                record = self._store(kind, entry.to_payload())
            except JournalError as exc:
                if begins and is_first:
                    raise  # before the run: refuse it now, not in its middle
                self.wires.telling.alarm(str(exc))
                return False
            journaled_s = self._now_s()
            await self.wires.server.acknowledge(received)
            perceived = self.fold.perceive(record)
            embedded_s = self._now_s()
            outcome = self.fold.decide(perceived)
            self.wires.sounding.act(outcome, len(self.fold.attempts))
        again = self._stale and perceived.volume is not None
        if perceived.volume is not None or begins or isinstance(received.message, RunEnd):
            self._stale, self._last_volume_s = False, self._now_s()
        if outcome.steps or begins:
            self._last_step_s = self._now_s()
        stamps = Stamps(journaled_s, embedded_s, self._now_s())
        self.wires.telling.message(received, self.fold, perceived, outcome, stamps)
        if again:
            self.wires.telling.running(self.fold)
        if isinstance(received.message, RunEnd) and self.fold.end is not None and not self._over:
            self._say_state()
        return True

    def _prepare(self, header: RunHeader, is_first: bool) -> None:
        """Before a run is acknowledged: it fits, and its volumes have room. Only the first may still be refused."""
        try:
            self.fold.check(header)
            self.wires.journal.reserve(_run_bytes(header))
        except RealtimeError as exc:
            if is_first:
                raise
            self.wires.telling.alarm(str(exc))

    def _store(self, kind: Kind, payload: bytes) -> JournalRecord:
        return JournalRecord(self.wires.journal.append(kind, payload), kind, payload)

    # events -------------------------------------------------------------------------------

    async def _event(self, entry: EventEntry) -> None:
        async with self._order:
            self._fold_event(entry)

    def _fold_event(self, entry: EventEntry) -> None:
        try:
            record = self._store(Kind.EVENT, entry.to_payload())
        except JournalError as exc:
            self.wires.telling.alarm(str(exc))
            return
        journaled_s = self._now_s()
        outcome = self.fold.feed(record)
        self.wires.sounding.act(outcome, len(self.fold.attempts))
        now_s = self._now_s()
        self.wires.telling.steps(self.fold, outcome, Stamps(journaled_s, now_s, now_s))

    async def _link(self) -> None:
        async for status in self.wires.server.link_changes():
            self.wires.telling.link(status)

    async def _commands(self) -> None:
        async for command in self.wires.bus.commands():
            name = str(command.get("name", ""))
            if name not in _COMMANDS:
                self.wires.telling.alarm(f"unknown command {name!r}; known are {', '.join(_COMMANDS)}")
                continue
            value = command.get("value")
            number = float(value) if isinstance(value, int | float) else None
            self.wires.sounding.command(name, number)
            await self._event(EventEntry(name, str(command.get("text", "")), number, self._now_s()))
            if name == "abort":
                await self._aborted()
            if name == "stop":
                await self.stop("the operator stopped the session")
        await asyncio.Event().wait()  # a bus without commands ends nothing

    async def _unplayable(self, clip_id: str) -> None:
        """Take a clip that the player could not read out of the choice."""
        await self._event(EventEntry("unplayable", clip_id, None, self._now_s()))

    async def _aborted(self) -> None:
        """The operator gave this attempt up: silence now, and wait for the next."""
        if self._over:
            self._ended.set()
        self._last_volume_s = self._now_s()
        self._say_state()

    @staticmethod
    def _now_s() -> float:
        """The loop's monotonic clock; on one host it is the clock of the bridge's due times."""
        return asyncio.get_running_loop().time()


def _run_bytes(header: RunHeader) -> int:
    """Journal space for the whole run."""
    n_volumes = header.n_volumes or _UNANNOUNCED_VOLUMES
    return n_volumes * (int(np.prod(header.shape)) * np.dtype(header.dtype).itemsize + _FRAME_SLACK)
