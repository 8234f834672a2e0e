"""A player that comes back: when its process dies, another one takes its place where it stood."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from realtime.errors import PlaybackError
from realtime.messages import PLAIN, Clip, Cue, Rendering
from realtime.playback import protocol
from realtime.playback.client import PlayerClient, PlayerSummary
from realtime.playback.settings import PlayerSettings

logger = logging.getLogger(__name__)

MAX_STARTS = 4
"""A player that died this often is not started again: whatever kills it will kill the next one too."""


class LastingPlayer:
    """`PlayerClient` for a whole session. Made by `await LastingPlayer.start(settings, clips)`.

    A new process gets the last cue, volume, level and mute of the old one, and records to a file of its
    own (a numbered neighbour). After `stop` none is started: silence for good stays for good.
    Who reads `events` drives this; nobody reading means that a dead player stays dead.
    """

    def __init__(self, player: PlayerClient, settings: PlayerSettings, clips: Sequence[Clip]) -> None:
        self._player = player
        self._settings = settings
        self._clips = clips
        self._cue: Cue | None = None
        self._volume_db: float | None = None
        self._rendering = PLAIN
        self._muted = False
        self._over = False
        self._earlier: list[PlayerSummary] = []

    @classmethod
    async def start(cls, settings: PlayerSettings, clips: Sequence[Clip]) -> Self:
        """Start the first process; PlaybackError when there is no way to make sound."""
        return cls(await PlayerClient.start(settings, clips), settings, clips)

    @property
    def n_starts(self) -> int:
        """How many processes there were, this one included."""
        return len(self._earlier) + 1

    @property
    def records_as_asked(self) -> bool:
        """Whether the recording is the file that was asked for, and not a neighbour."""
        return self._player.started.played_wav == str(self._settings.played_wav)

    @property
    def recording(self) -> Path:
        """The recording that was asked for; the first process's."""
        return self._settings.played_wav

    @property
    def door(self) -> str:
        """The present player's own socket; "" when it has none."""
        return self._player.started.door

    @property
    def muted(self) -> bool:
        """Whether the operator has muted it."""
        return self._muted

    @property
    def volume_db(self) -> float:
        """The operator's volume."""
        return self._settings.volume_db if self._volume_db is None else self._volume_db

    def play(self, cue: Cue) -> None:
        """Change to the cue's clip at the next beat, or fade out for ""."""
        self._cue = cue
        self._player.play(cue)

    def play_stream(self, cue: Cue, stream: str) -> None:
        """Change to a stream at the next beat; to the cue's clip whenever the stream breaks off.

        A new process has no producers yet: it gets the cue's clip until the stream is asked for again.
        """
        self._cue = cue
        self._player.play_stream(cue, stream)

    def set_volume(self, volume_db: float) -> None:
        """Set the operator's volume, in dB; PlaybackError when it is not a number or above 12 dB."""
        self._player.set_volume(volume_db)
        self._volume_db = volume_db

    def render(self, rendering: Rendering) -> None:
        """Set how what plays is made to sound; never louder than the operator's volume."""
        self._rendering = rendering
        self._player.render(rendering)

    def mute(self, muted: bool) -> None:
        """Silence, or sound again; music goes on underneath."""
        self._muted = muted
        self._player.mute(muted)

    def stop(self) -> None:
        """Silence for good."""
        self._over = True
        self._player.stop()

    async def events(self) -> AsyncIterator[protocol.Event]:
        """News of every process, one after the other. For one reader.

        A death is a `Failed` with an empty sink; a `Started` follows when another took over, or a
        `Failed` that says why none did.
        """
        while True:
            async for event in self._player.events():
                yield event
            if self._over:
                return
            failure = await self._start_again()
            if failure:
                yield protocol.Failed(failure, "")
                return

    async def close(self) -> PlayerSummary:
        """Fade out, wait for the end, and say what all processes did; the recording is the first one's."""
        self._over = True
        lives = [*self._earlier, await self._player.close()]
        return replace(
            lives[-1],
            played_wav=lives[0].played_wav,
            frames_played=sum(life.frames_played for life in lives),
            underruns=sum(life.underruns for life in lives),
            peak=max(life.peak for life in lives),
        )

    async def _start_again(self) -> str:
        """Put another process in the place of the dead one; returns why it could not, or ""."""
        if self.n_starts >= MAX_STARTS:
            return f"it died {self.n_starts} times: no sound for the rest of the session"
        dead = await self._player.close()
        try:
            there = [clip for clip in self._clips if clip.path.is_file()]  # one that went may not take the sound along
            player = await PlayerClient.start(self._settings, there)
        except PlaybackError as exc:
            return f"it died and cannot be started again: no sound for the rest of the session. {exc}"
        self._earlier.append(dead)
        self._player = player
        player.mute(self._muted)
        if self._volume_db is not None:
            player.set_volume(self._volume_db)
        player.render(self._rendering)
        if self._cue is not None:
            player.play(self._cue)
        if self._over:  # stopped meanwhile
            player.stop()
        logger.warning("the player was started again (%d of %d)", self.n_starts, MAX_STARTS)
        return ""
