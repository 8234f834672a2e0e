"""The live program's hand on the player process. Nothing here waits for sound."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

import realtime
from realtime.errors import PlaybackError
from realtime.messages import Clip, Cue, Rendering
from realtime.playback import protocol
from realtime.playback.recorder import repair_wav
from realtime.playback.settings import LOUDEST_DB, PlayerSettings, is_volume

START_TIMEOUT_S = 30.0
CLOSE_MARGIN_S = 10.0
BACKLOG_BYTES = 1 << 20  # of commands that a hung player did not take
EVENTS_KEPT = 10_000
LONGEST_LINE = 1 << 20
WATCH_PERIOD_S = 0.5
HUNG_AFTER_S = 2.0  # a player tells its status four times in this time
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class PlayerSummary:
    """What a player did.

    Attributes
    ----------
    reason : str
        "closed" after `close`, else why it ended.
    sink : str
        "device", "wav" or "null": what it was last.
    played_wav : Path or None
        The recording.
    frames_played, underruns : int
        As the player last told.
    rate_hz : int
        Frames per second.
    peak : float
        Largest sample that left, full scale 1.
    """

    reason: str
    sink: str
    played_wav: Path | None
    frames_played: int
    underruns: int
    peak: float
    rate_hz: int


class PlayerClient:
    """A running player process. Made by `await PlayerClient.start(settings, clips)`.

    `play`, `set_volume`, `mute` and `stop` write to a pipe and return at once. When the player
    has died they do nothing, and `events` says so: a `Failed` with an empty sink is the last one.
    """

    def __init__(self, process: asyncio.subprocess.Process, settings: PlayerSettings) -> None:
        self._process = process
        self._settings = settings
        self._events: asyncio.Queue[protocol.Event | None] = asyncio.Queue()
        self._first: asyncio.Future[protocol.Event] = asyncio.get_running_loop().create_future()
        self._started: protocol.Started | None = None
        self._status: protocol.Status | None = None
        self._ended: protocol.Ended | None = None
        self._sink: str = settings.sink
        self._reason = ""
        self._heard = False
        self._closing = False
        self._reader = asyncio.create_task(self._read(), name="player-events")
        self._watcher = asyncio.create_task(self._watch(), name="player-watch")

    @classmethod
    async def start(cls, settings: PlayerSettings, clips: Sequence[Clip]) -> Self:
        """Start a player process; returns when its sink is open.

        Raises
        ------
        PlaybackError
            Clips that cannot be played, a sink that cannot be opened, or a process that does not start.
        """
        client = cls(await _spawn(settings), settings)
        client._send(protocol.Configure(settings, list(clips), os.getpid()))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                first = await asyncio.shield(client._first)
        except BaseException as exc:
            await client._kill()
            if not isinstance(exc, TimeoutError):
                raise
            message = f"The player did not start within {START_TIMEOUT_S:g} s. See {_log_of(settings)}."
            raise PlaybackError(message) from exc
        if not isinstance(first, protocol.Started):
            await client._kill()
            message = first.reason if isinstance(first, protocol.Failed) else f"The player began with {first}."
            raise PlaybackError(message)
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        """Of the player process."""
        return self._process.pid

    @property
    def started(self) -> protocol.Started:
        """Which sink was opened, where it records, and when its time began; PlaybackError before it has."""
        if self._started is None:
            message = "The player has not started: got no first event. Use `await PlayerClient.start(…)`."
            raise PlaybackError(message)
        return self._started

    @property
    def status(self) -> protocol.Status | None:
        """The latest counters; None in the first half second."""
        return self._status

    @property
    def alive(self) -> bool:
        """Whether the player still plays."""
        return not self._reader.done()

    def play(self, cue: Cue) -> None:
        """Change to the cue's clip at the next beat, or fade out for ""."""
        self._send(protocol.Play(cue.number, cue.clip_id))

    def play_stream(self, cue: Cue, stream: str) -> None:
        """Change to a stream at the next beat; to the cue's clip whenever the stream breaks off."""
        self._send(protocol.PlayStream(cue.number, stream, cue.clip_id))

    def set_volume(self, volume_db: float) -> None:
        """Set the operator's volume, in dB.

        Raises
        ------
        PlaybackError
            Not a number, or above 12 dB.
        """
        if not is_volume(volume_db):
            message = f"The volume cannot be {volume_db} dB: wanted a number up to {LOUDEST_DB:g}. Give a lower one."
            raise PlaybackError(message)
        self._send(protocol.Volume(max(volume_db, -200.0)))

    def render(self, rendering: Rendering) -> None:
        """Set how what plays is made to sound; never louder than the operator's volume."""
        self._send(protocol.Level(min(max(rendering.level_db, -200.0), 0.0)))
        self._send(protocol.Clarity(min(max(rendering.clarity, 0.0), 1.0)))

    def mute(self, muted: bool) -> None:
        """Silence, or sound again, within some 20 ms; music goes on underneath."""
        self._send(protocol.Mute(muted))

    def stop(self) -> None:
        """Silence within some 20 ms, until `rearm`."""
        self._send(protocol.Stop())

    def rearm(self) -> None:
        """Take `stop` back."""
        self._send(protocol.Rearm())

    async def events(self) -> AsyncIterator[protocol.Event]:
        """News of the player as it comes, from `Started` on; ends with the player. For one reader."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> PlayerSummary:
        """Fade out, wait for the process to end, and say what it did; may be called twice."""
        self._closing = True
        self._send(protocol.Close())
        limit_s = self._settings.fade_s + self._settings.lookahead_s + CLOSE_MARGIN_S
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(self._reader)
                await self._process.wait()
        except TimeoutError:
            self._reason = f"did not end within {limit_s:g} s and was killed"
        finally:
            await self._kill()
        if self._ended is None and self._started is not None and self._started.played_wav:
            with suppress(PlaybackError, OSError):  # what a killed player wrote last is not in its header
                repair_wav(Path(self._started.played_wav))
        return self._summary()

    def _summary(self) -> PlayerSummary:
        counters = self._ended or self._status
        path = self._started.played_wav if self._started else ""
        return PlayerSummary(
            reason=self._ended.reason if self._ended else self._reason,
            sink=self._sink,
            played_wav=Path(path) if path else None,
            frames_played=counters.frames_played if counters else 0,
            underruns=counters.underruns if counters else 0,
            peak=counters.peak if counters else 0.0,
            rate_hz=self._started.rate_hz if self._started else self._settings.rate_hz,
        )

    def _send(self, command: protocol.Command) -> None:
        pipe = self._process.stdin
        if pipe is None or pipe.is_closing() or not self.alive:
            return
        if pipe.transport.get_write_buffer_size() > BACKLOG_BYTES and not isinstance(command, protocol.Stop):
            return  # the player hangs; the missing status says so
        pipe.write(protocol.encode_line(command))

    async def _read(self) -> None:
        """Take events until the player closes its end."""
        pipe = self._process.stdout
        while pipe is not None:
            try:
                line = await pipe.readline()
            except ValueError:  # a line beyond the limit: not one of ours
                continue
            if not line:
                break
            with suppress(msgspec.MsgspecError):
                self._note(protocol.decode_event(line))
        if self._ended is None:
            code = await self._process.wait()
            self._reason = self._reason or f"The player process died with status {code}. See {_log_of(self._settings)}."
            self._note(protocol.Failed(self._reason, ""))
        self._events.put_nowait(None)

    async def _watch(self) -> None:
        """Kill a player that hangs: its end is then told like any other.

        Silence is counted in periods in which this loop ran, not in time: what stood still together
        with the player, a suspended machine or a stopped live program, is not the player's fault.
        """
        silent_periods = 0
        while self.alive and not self._closing:
            await asyncio.sleep(WATCH_PERIOD_S)
            silent_periods = 0 if self._heard or self._started is None else silent_periods + 1
            self._heard = False
            if silent_periods * WATCH_PERIOD_S >= HUNG_AFTER_S + self._settings.lookahead_s and not self._closing:
                self._reason = f"The player hung: it said nothing for {silent_periods * WATCH_PERIOD_S:g} s; killed."
                with suppress(ProcessLookupError):
                    self._process.kill()
                return

    def _note(self, event: protocol.Event) -> None:
        self._heard = True
        match event:
            case protocol.Started():
                self._started, self._sink = event, event.sink
            case protocol.Status():
                self._status = event
            case protocol.Failed():
                self._sink = event.sink or self._sink
                self._reason = self._reason if event.sink else event.reason
            case protocol.Ended():
                self._ended = event
        if not self._first.done():
            self._first.set_result(event)
        if self._events.qsize() >= EVENTS_KEPT:
            self._events.get_nowait()
        self._events.put_nowait(event)

    async def _kill(self) -> None:
        """End the process whatever it does, and everything that belongs to it here."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reader
        self._watcher.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(OSError):
                await self._process.stdin.wait_closed()


def _log_of(settings: PlayerSettings) -> Path:
    return settings.played_wav.with_suffix(".log")


async def _spawn(settings: PlayerSettings) -> asyncio.subprocess.Process:
    """The player's process, running this very code, with its complaints in a log beside the recording."""
    root = str(Path(realtime.__path__[0]).parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    log = _log_of(settings)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "realtime.playback.player",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
                limit=LONGEST_LINE,
            )
    except OSError as exc:
        message = f"The player cannot be started: {exc}. Choose a played_wav in a folder you may write to."
        raise PlaybackError(message) from exc
