"""The session's side of the player: cues and levels to it, what it says back into the timing file and the alarms."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from realtime.errors import PlaybackError
from realtime.messages import Cue
from realtime.playback import protocol
from realtime.playback.lasting import LastingPlayer
from realtime.session.telling import Telling


@dataclass(frozen=True)
class _Asked:
    """A cue and the decision it came from; no volume where it only sounds again."""

    attempt: int
    clip_id: str
    volume_index: int | None


@dataclass
class Sounding:
    """Cues out, sound events in.

    Attributes
    ----------
    player : LastingPlayer
        Plays.
    telling : Telling
        Hears of it.
    """

    player: LastingPlayer
    telling: Telling
    _asked: dict[int, _Asked] = field(default_factory=dict)

    def act(self, cue: Cue | None, attempt: int) -> None:
        """Play what was decided in this attempt."""
        if cue is not None:
            self._asked[cue.number] = _Asked(attempt, cue.clip_id, cue.volume_index)
            self.player.play(cue)

    def sound_again(self, cue: Cue, attempt: int) -> None:
        """Go on with what played before this program was started again: no new decision, so no latency either."""
        self._asked[cue.number] = _Asked(attempt, cue.clip_id, None)
        self.player.play(cue)

    def command(self, name: str, value: float | None) -> None:
        """Do those of the operator's commands that are about sound."""
        if name in ("mute", "unmute"):
            self.player.mute(name == "mute")
        elif name == "volume" and value is not None:
            try:
                self.player.set_volume(value)
            except PlaybackError as exc:
                self.telling.alarm(str(exc))
        elif name == "stop":
            self.player.stop()

    async def events(self, unplayable: Callable[[str], Awaitable[None]]) -> None:
        """Pass on what the player says, for as long as the session lasts; `unplayable` gets what it cannot read."""
        async for event in self.player.events():
            match event:
                case protocol.Sounding():
                    self._sounds(event)
                case protocol.Started() if self.player.n_starts > 1:
                    where = event.played_wav or "no file"
                    self.telling.alarm(f"player: started again; sound goes on and is recorded in {where}")
                case protocol.Failed():
                    self.telling.alarm(f"player: {event.reason}")
                case protocol.Rejected():
                    self.telling.alarm(f"player: {event.reason}")
                    asked = self._asked.get(event.cue)
                    if asked is not None and asked.clip_id:
                        await unplayable(asked.clip_id)
                case protocol.Status():
                    self.telling.bus.publish("sound", msgspec.to_builtins(event))
        await asyncio.Event().wait()  # a player that is gone takes the sound, not the session

    def _sounds(self, event: protocol.Sounding) -> None:
        asked = self._asked[event.cue]
        self.telling.timing.append({
            "attempt": asked.attempt, "cue": event.cue, "volume": asked.volume_index, "clip_id": event.clip_id,
            "sound_s": event.time_s, "position": event.position if self.player.records_as_asked else None})
