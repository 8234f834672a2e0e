"""The session's side of the sound: cues and levels to the player, conditions to what generates; what they say back."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.generators.client import GeneratorClient
from realtime.generators.host_protocol import STREAM, Broken, Feeding, StandIn
from realtime.messages import Cue
from realtime.playback import protocol
from realtime.playback.lasting import LastingPlayer
from realtime.playback.settings import RATE_HZ
from realtime.session.fold import Outcome
from realtime.session.telling import Telling

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    """A cue and the decision it came from; no volume where it only sounds again."""

    attempt: int
    clip_id: str
    volume_index: int | None


@dataclass
class Sounding:
    """Cues and conditions out, sound events in.

    With a generator every cue for a clip asks for the generated stream, the clip being what the player
    falls back to; without one, or while it feeds nobody, the clip itself is played.

    Attributes
    ----------
    player : LastingPlayer
        Plays.
    telling : Telling
        Hears of it.
    generator : GeneratorClient or None
        Feeds the player's stream.
    decoded : float32 array of shape (dim,) or None
        The last embedding decoded.
    """

    player: LastingPlayer
    telling: Telling
    generator: GeneratorClient | None = None
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _conditions: dict[int, _Asked] = field(default_factory=dict)
    _cue: Cue | None = None
    _feeding: bool = False
    _streamed: set[int] = field(default_factory=set)
    _sounding: str = ""
    _since_s: float = 0.0
    decoded: NDArray[np.float32] | None = None

    @property
    def sounding(self) -> str:
        """Clip id of what sounds now, or stands behind the stream that does; "" for silence."""
        return self._sounding

    @property
    def sounding_for_s(self) -> float:
        """How long by now."""
        return time.monotonic() - self._since_s

    def act(self, outcome: Outcome, attempt: int) -> None:
        """Let what was decided in this attempt be heard; the condition first, so that a stream begins under it."""
        cue, condition = outcome.cue, outcome.condition
        for step in outcome.steps:
            if step.percept.evidence is not None:
                self.decoded = step.percept.evidence.embedding
        if outcome.rendering is not None:
            self.player.render(outcome.rendering)
        if condition is not None and self.generator is not None:
            self._conditions[condition.number] = _Asked(attempt, condition.clip_id, condition.volume_index)
            self.generator.condition(condition)
        if cue is not None:
            self._asked[cue.number] = _Asked(attempt, cue.clip_id, cue.volume_index)
            self._cue = cue
            self._play()

    def sound_again(self, outcome: Outcome, attempt: int) -> None:
        """Go on with what played before this program was started again: no new decision, so no latency either."""
        self.act(outcome, attempt)
        if outcome.cue is not None:
            self._asked[outcome.cue.number] = _Asked(attempt, outcome.cue.clip_id, None)

    def _play(self) -> None:
        """Ask for the last cue's music, by the stream when there is one."""
        if self._cue is None:
            return
        if self._feeding and self._cue.clip_id:
            self._streamed.add(self._cue.number)
            self.player.play_stream(self._cue, STREAM)
        else:
            self._streamed.discard(self._cue.number)
            self.player.play(self._cue)

    async def generated(self) -> None:
        """Pass on what the generator says, for as long as the session lasts."""
        if self.generator is not None:
            async for news in self.generator.events():
                match news:
                    case Feeding():
                        self._feeding = True
                        self._play()
                    case Broken():
                        self._feeding = False
                        self.telling.alarm(f"generator: {news.reason}", "note", of_arm=True)
                    case StandIn():
                        self.telling.alarm(f"generator: {news.reason or 'the worker plays again'}", "note",
                                           of_arm=True)
        await asyncio.Event().wait()  # without a generator the clips play

    def command(self, name: str, value: float | None) -> None:
        """Do those of the operator's commands that are about sound."""
        if name in ("mute", "unmute"):
            self.player.mute(name == "mute")
        elif name == "volume" and value is not None:
            try:
                self.player.set_volume(value)
            except PlaybackError as exc:
                self.telling.alarm(str(exc), "person")
        elif name == "stop":
            self.player.stop()

    async def events(self, unplayable: Callable[[str], Awaitable[None]]) -> None:
        """Pass on what the player says, for as long as the session lasts; `unplayable` gets what it cannot read."""
        async for event in self.player.events():
            match event:
                case protocol.Sounding():
                    self._sounds(event)
                case protocol.Started():
                    self._started(event)
                case protocol.Conditioned():
                    self._conditioned(event)
                case protocol.Stalled():
                    instead = event.fallback_clip_id or "silence"
                    self.telling.alarm(f"the generated music broke off; {instead} until it is back", "note",
                                       of_arm=True)
                    self._play()
                case protocol.Failed():
                    self.telling.alarm(f"player: {event.reason}", "person")
                case protocol.Rejected():
                    self.telling.alarm(f"player: {event.reason}", "note", of_arm=True)
                    await self._rejected(event.cue, unplayable)
                case protocol.Status():
                    self.telling.sound({**msgspec.to_builtins(event), "sounding": self._sounding,
                                        "muted": self.player.muted, "volume_db": self.player.volume_db})
        await asyncio.Event().wait()  # a player that is gone takes the sound, not the session

    async def _rejected(self, cue: int, unplayable: Callable[[str], Awaitable[None]]) -> None:
        asked = self._asked.get(cue)
        if cue in self._streamed:  # says nothing against the clip: the stream's producer is gone
            self._feeding = False
            self._play()
        elif asked is not None and asked.clip_id:
            await unplayable(asked.clip_id)

    def _started(self, event: protocol.Started) -> None:
        if event.converted:
            logger.info("player: %s", event.converted)
        if event.rate_hz != RATE_HZ:
            logger.info("player: the sound card does not take %d Hz; all sound is converted to its %d Hz", RATE_HZ,
                        event.rate_hz)
        if self.player.n_starts == 1:
            return
        where = event.played_wav or "no file"
        self.telling.alarm(f"player: started again; sound goes on and is recorded in {where}", "person")
        self._feeding = False
        if self.generator is not None:
            self.generator.feed(Path(event.door))

    def _conditioned(self, event: protocol.Conditioned) -> None:
        asked = self._conditions.get(event.condition)
        self.telling.timing.append({
            "attempt": asked and asked.attempt, "condition": event.condition, "volume": asked and asked.volume_index,
            "sound_s": event.time_s, "position": event.position if self.player.records_as_asked else None})

    def _sounds(self, event: protocol.Sounding) -> None:
        asked = self._asked[event.cue]
        self._sounding, self._since_s = asked.clip_id if event.clip_id else "", event.time_s
        self.telling.timing.append({
            "attempt": asked.attempt, "cue": event.cue, "volume": asked.volume_index, "clip_id": event.clip_id,
            "sound_s": event.time_s, "position": event.position if self.player.records_as_asked else None})
