"""The player process: `python -m realtime.playback.player`, started by `realtime.playback.client`.

It keeps playing while the live program stalls, and falls silent within a second of its death.
One thread mixes ahead into the ring; others read commands, read clips, receive streams, write
events, drain the ring and write the recording. STOP and mute act where frames leave the ring, and
come in by the pipe or by the player's own door.
"""

import contextlib
import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError, RealtimeError
from realtime.playback import protocol
from realtime.playback.address import door_of
from realtime.playback.calibration import Calibration, read_calibration
from realtime.playback.clips import ClipLibrary, Loop
from realtime.playback.device_sink import rate_of_card
from realtime.playback.door import Door
from realtime.playback.gate import Gate
from realtime.playback.latch import Latch, LatchKeeper
from realtime.playback.loudness import DoseRule
from realtime.playback.mixer import Mixer
from realtime.playback.monitor import Monitor, dose_before
from realtime.playback.news import EventWriter, Hearing
from realtime.playback.output import Output
from realtime.playback.resampling import warm_up as warm_up_resampling
from realtime.playback.safety import ChainSettings, SafetyChain, warm_up
from realtime.playback.settings import PlayerSettings, is_volume
from realtime.playback.streaming import Streaming

STATUS_PERIOD_S = 0.5
TAIL_BLOCKS = 5  # of silence at the end of every recording
REALTIME_PRIORITY = 30
ORPHAN_FADE_S = 0.5  # with a ring of up to as much, silence comes within a second of the parent's death
ORPHANED = "the live program is gone"
SWITCH_INTERVAL_S = 0.0005  # after so long a thread of ours lets the one that drains the ring have the interpreter


@dataclass(frozen=True)
class _ReadyCue:
    """A cue whose clip is read: to the clip, or to a stream with the clip to fall back on."""

    number: int
    loop: Loop | None
    stream: str = ""


@dataclass(frozen=True)
class _End:
    reason: str


_Order = _ReadyCue | protocol.Volume | protocol.Level | protocol.Clarity | _End


class Player:
    """Carries out commands until it is told to end or its parent is gone.

    Parameters
    ----------
    configuration : Configure
        Settings and clips.
    events : EventWriter
        Where news goes.
    """

    def __init__(self, configuration: protocol.Configure, events: EventWriter) -> None:
        settings = configuration.settings
        if settings.sink in ("device", "auto"):
            settings = replace(settings, rate_hz=rate_of_card(settings.rate_hz))
        self._settings = settings
        self._parent_pid = configuration.parent_pid
        self._events = events
        self._library = ClipLibrary(configuration.clips, settings.rate_hz)
        self._mixer = Mixer(settings.rate_hz, settings.fade_s)
        calibration = None
        if settings.calibration is not None:
            calibration = read_calibration(settings.calibration)
        self._chain = SafetyChain(_chain_settings(settings, calibration))
        self._block_frames = 2 * self._chain.chunk_frames
        latch = Latch(settings.played_wav)
        self._latch = LatchKeeper(latch, self._tell_no_latch)
        self._gate = Gate(settings.rate_hz)
        if latch.held:
            self._gate.stop()
        self._wanted: queue.SimpleQueue[protocol.Play | protocol.PlayStream] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._volume_db, self._level_db = settings.volume_db, 0.0
        self._ending = ""
        self._bad_told = 0
        n_ahead = int(settings.lookahead_s * settings.rate_hz) // self._block_frames
        lead_in = self._chain.process(self._mixer.mix(n_ahead * self._block_frames))
        self._output = Output(settings, self._gate, lead_in)
        if problem := _wrong_card(settings, calibration, self._output.drain.device):
            self._output.close()
            raise PlaybackError(problem)
        rule, dose = DoseRule(settings.dose_criterion_dba), dose_before(settings.played_wav)
        self._monitor = Monitor(self._output, events, calibration, rule, dose)
        self._hearing = Hearing(self._output.outlet, events, self._chain.delay_frames)
        self._streaming = Streaming(self._mixer, self._output.outlet.ring, self._hearing, events)
        self._streaming.door = _open_door(settings, self.obey_guest, self._streaming.fed.set)

    def end(self, reason: str) -> None:
        """Fade out and end; from any thread."""
        self._orders.put(_End(reason))

    def read_commands(self, pipe: BinaryIO) -> None:
        """Take commands until the pipe ends; for a thread of its own."""
        for line in pipe:
            try:
                self._obey(protocol.decode_command(line))
            except msgspec.MsgspecError as exc:
                self._events.put(protocol.Rejected(-1, f"Not a command: {exc}"))
        self.end(ORPHANED)

    def _obey(self, command: protocol.Command) -> None:
        match command:
            case protocol.Stop():
                self._stop("the operator")
            case protocol.Rearm():
                self._latch.release()
                self._gate.rearm()
            case protocol.Mute():
                self._gate.mute(command.muted)
            case protocol.Play() | protocol.PlayStream():
                self._wanted.put(command)
            case protocol.Volume() if is_volume(command.volume_db):
                self._orders.put(command)
            case protocol.Level() if is_volume(command.level_db):
                self._orders.put(command)
            case protocol.Clarity() if 0.0 <= command.clarity <= 1.0:
                self._orders.put(command)
            case protocol.Close():
                self.end("closed")
            case _:
                self._events.put(protocol.Rejected(-1, f"Cannot do {command} now."))

    def _stop(self, why: str) -> None:
        self._output.stop()
        self._latch.hold(why)

    def _tell_no_latch(self, reason: str) -> None:
        self._events.put(protocol.Failed(reason, self._output.kind))

    def obey_guest(self, command: protocol.Command) -> protocol.Event:
        """Carry out what came by the door; what is played stays the live program's to say."""
        if not isinstance(command, protocol.Stop | protocol.Rearm | protocol.Mute | protocol.Volume):
            return protocol.Rejected(-1, "By the door come only stop, rearm, mute and volume.")
        self._obey(command)
        return protocol.Obeyed(self._gate.stopped, self._output.outlet.silent_s)

    def read_clips(self) -> None:
        """Turn wanted clips into loops, in order; for a thread of its own."""
        while True:
            wanted = self._wanted.get()
            stream = wanted.stream if isinstance(wanted, protocol.PlayStream) else ""
            clip_id = wanted.fallback_clip_id if isinstance(wanted, protocol.PlayStream) else wanted.clip_id
            loop = None
            try:
                loop = self._library.load(clip_id) if clip_id else None
            except Exception as exc:  # no clip may end the thread that serves the others
                self._events.put(protocol.Rejected(wanted.cue, str(exc)))
                if not stream:
                    continue
            self._orders.put(_ReadyCue(wanted.cue, loop, stream))

    def run(self, priority: str) -> None:
        """Play until the end."""
        self._report_started(priority)
        blocks_per_status = max(1, round(STATUS_PERIOD_S * self._settings.rate_hz / self._block_frames))
        n_blocks = 0
        while not self._chain.faded_out:
            if os.getppid() != self._parent_pid:  # the pipe's end says so too, unless a child of the parent holds it
                self.end(ORPHANED)
            self._take_orders()
            self._streaming.ask_for_chunks()
            if not self._ending and self._streaming.wait_for_chunk(self._block_frames):
                self._hearing.tell()
                continue
            self._play_block(self._mixer.mix(self._block_frames))
            n_blocks += 1
            if n_blocks % blocks_per_status == 0:
                self._report_status()
        for _ in range(TAIL_BLOCKS):
            self._play_block(self._mixer.mix(self._block_frames))
        self._output.close()
        self._hearing.tell()
        self._report_status()
        self._monitor.close()
        self._latch.close()
        stats = self._output.outlet.stats()
        self._events.put(protocol.Ended(self._ending, stats.frames_played, stats.underruns, stats.peak))

    def _report_started(self, priority: str) -> None:
        output = self._output
        self._events.put(
            protocol.Started(
                sink=output.kind,
                reason=output.no_device,
                played_wav=str(output.recorder.path) if output.recorder else "",
                time_s=output.outlet.time_of(0),
                device_latency_s=output.drain.latency_s,
                priority=priority,
                device=output.drain.device,
                door=str(door_of(self._settings.played_wav)) if self._streaming.door else "",
                rate_hz=self._settings.rate_hz,
                converted=self._library.converted,
            )
        )

    def _take_orders(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                match order := self._orders.get_nowait():
                    case _ReadyCue() if order.stream:
                        self._streaming.cue(order.number, order.stream, order.loop)
                    case _ReadyCue():
                        self._mixer.cue(order.number, order.loop)
                    case protocol.Volume():
                        self._volume_db = order.volume_db
                        self._chain.set_volume_db(self._volume_db + self._level_db)
                    case protocol.Level():
                        self._level_db = min(order.level_db, 0.0)
                        self._chain.set_volume_db(self._volume_db + self._level_db)
                    case protocol.Clarity():
                        self._chain.set_clarity(order.clarity)
                    case _End() if not self._ending:
                        self._begin_end(order.reason)

    def _begin_end(self, reason: str) -> None:
        self._ending = reason
        orphaned = reason == ORPHANED
        self._chain.fade_out(min(self._settings.fade_s, ORPHAN_FADE_S) if orphaned else self._settings.fade_s)
        if orphaned and self._settings.lookahead_s > ORPHAN_FADE_S:
            self._gate.stop()

    def _play_block(self, mixed: NDArray[np.float32]) -> None:
        self._output.write(self._chain.process(mixed))
        for start in self._mixer.take_news():
            self._hearing.expect(start)
        self._streaming.follow()
        self._hearing.tell()
        for reason in self._output.take_failures():
            self._events.put(protocol.Failed(reason, self._output.kind))
        if device := self._output.take_recovered():
            self._events.put(protocol.Recovered(device))

    def _report_status(self) -> None:
        chain = self._chain
        if n_bad := chain.bad_chunks - self._bad_told:
            self._bad_told = chain.bad_chunks
            reason = f"{n_bad} pieces (5 ms) of music were not finite and were silenced. Look at what makes the music."
            self._events.put(protocol.Failed(reason, self._output.kind))
        if self._monitor.watch(chain.read_level(), chain.bad_chunks, chain.limited_chunks):
            self._stop("the dose meter: a day's dose is used up")
            reason = "The sound is stopped: a day's dose at the ear is used up. Re-arm only if you answer for more."
            self._events.put(protocol.Failed(reason, self._output.kind))


def _wrong_card(settings: PlayerSettings, calibration: Calibration | None, device: str) -> str:
    """Why this card must not play to a person in the scanner; "" when it may."""
    if settings.mode != "scanner" or calibration is None or device in ("", calibration.device):
        return ""
    return (
        f"The sound card is {device!r}, and calibration {settings.calibration} was measured with "
        f"{calibration.device!r}: levels at the ear would be wrong. Connect that card, or calibrate this one."
    )


def _chain_settings(settings: PlayerSettings, calibration: Calibration | None) -> ChainSettings:
    ceiling_dbfs, taps = settings.ceiling_dbfs, None
    if calibration is not None:
        ceiling_dbfs = min(ceiling_dbfs, settings.loudest_db_spl - calibration.db_spl_at_0dbfs)
        taps = calibration.taps_at(settings.rate_hz)
    return ChainSettings(settings.rate_hz, settings.volume_db, ceiling_dbfs, settings.gain_db, taps)


def _open_door(settings: PlayerSettings, obey: Callable[[protocol.Command], protocol.Event],
               fed: Callable[[], None]) -> Door | None:
    try:
        return Door(door_of(settings.played_wav), settings.rate_hz, obey, fed)
    except OSError:  # a folder on a file system without sockets: the pipe is still there
        return None


def _ask_for_priority() -> str:
    """Real-time scheduling where the system grants it; its threads inherit it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except (AttributeError, OSError):
        return "normal"
    return "realtime"


def _take_stdout() -> BinaryIO:
    """Standard output for events alone: whatever a library prints goes to standard error."""
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return events


def main() -> int:
    """Play; the exit status is 0 after an orderly end."""
    events = EventWriter(_take_stdout())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the live program, which closes its player in order
    try:
        first = protocol.decode_command(sys.stdin.buffer.readline())
        if not isinstance(first, protocol.Configure):
            events.put(protocol.Failed(f"The first command was {first}, wanted configure.", ""))
            return 1
        warm_up_resampling()
        warm_up()  # before it has priority: compiling takes seconds, once on a machine
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        priority = _ask_for_priority()
        player = Player(first, events)
        signal.signal(signal.SIGTERM, lambda _signum, _frame: player.end("terminated"))
        threading.Thread(target=player.read_commands, args=(sys.stdin.buffer,), name="commands", daemon=True).start()
        threading.Thread(target=player.read_clips, name="clips", daemon=True).start()
        gc.freeze()
        gc.disable()
        player.run(priority)
    except (RealtimeError, msgspec.MsgspecError) as exc:
        events.put(protocol.Failed(str(exc), ""))
        return 1
    except Exception as exc:  # the parent must hear of a bug too; its trace goes to the log
        events.put(protocol.Failed(f"The player broke: {exc!r}. See its log.", ""))
        raise
    finally:
        events.close()
    return 0


if __name__ == "__main__":
    # The thread that reads commands may hold the lock of standard input: a usual exit would wait for it.
    status = main()
    sys.stderr.flush()
    os._exit(status)
