"""Keeps watch over what leaves: levels, dose and clock, told twice a second and kept beside the recording."""

import time
from pathlib import Path

import msgspec

from realtime.playback import protocol
from realtime.playback.calibration import Calibration
from realtime.playback.drift import DriftMeter
from realtime.playback.loudness import DoseRule, Reading, level_dba
from realtime.playback.news import EventWriter
from realtime.playback.output import Output

QUIETEST_DB = -200.0  # JSON has no infinity


class Tick(msgspec.Struct, frozen=True):
    """A line of NAME.clock.jsonl: when a frame of the recording left, by two clocks, and the day's dose so far.

    Attributes
    ----------
    position : int
        Frame of the recording.
    time_s, unix_s : float
        When it left the ring, monotonic and by the calendar.
    latency_s : float
        From the ring to the card's output, by the card's own account; 0 without one.
    drift_ppm : float or None
        How much faster than the monotonic clock the sink's runs; None before that is known.
    dose : float or None
        Part of the day's dose, 1 for all of it; None without a calibration.
    """

    position: int
    time_s: float
    unix_s: float
    latency_s: float
    drift_ppm: float | None
    dose: float | None


def clock_file(recording: Path) -> Path:
    """Where the clock of a recording is kept."""
    return recording.with_suffix(".clock.jsonl")


def read_ticks(recording: Path) -> list[Tick]:
    """The clock of a recording, as far as it was written; a line cut off by a kill is left out."""
    path = clock_file(recording)
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [msgspec.json.decode(line, type=Tick) for line in lines if line.endswith(b"\n")]


def dose_before(played_wav: Path) -> float:
    """The dose with which the last player of this folder ended; each goes on where the one before it stopped."""
    recordings = played_wav.parent.glob(f"{played_wav.stem}*{played_wav.suffix}")
    return max((tick.dose for path in recordings for tick in read_ticks(path)[-1:] if tick.dose), default=0.0)


class Monitor:
    """Makes each status of the player.

    Parameters
    ----------
    output : Output
        What is watched.
    events : EventWriter
        Who is told.
    calibration : Calibration or None
        Without one, nothing is known of the ear.
    rule : DoseRule
        What a day's dose is.
    dose : float
        Of the day so far.
    """

    def __init__(
        self, output: Output, events: EventWriter, calibration: Calibration | None, rule: DoseRule, dose: float
    ) -> None:
        self._output = output
        self._events = events
        self._calibration = calibration
        self._rule = rule
        self._dose = dose
        self._drift = DriftMeter(output.outlet.rate_hz)
        self._drain = output.drain
        recorder = output.recorder
        self._ticks = EventWriter(clock_file(recorder.path).open("ab")) if recorder else None

    def watch(self, reading: Reading, bad_chunks: int, limited_chunks: int) -> bool:
        """Tell the status and keep the clock; returns whether this reading has used up the day's dose."""
        before = self._dose
        level = None
        if self._calibration is not None:
            level = level_dba(reading.a_weighted_dbfs, self._calibration.db_spl_at_0dbfs)
            if not self._output.outlet.gate.closed:  # what mute or STOP holds back reaches no ear
                self._dose += self._rule.dose(level, reading.metered_s)
        output, stats = self._output, self._output.outlet.stats()
        anchor = output.outlet.anchor
        if output.drain is not self._drain:  # another clock
            self._drain, self._drift = output.drain, DriftMeter(output.outlet.rate_hz)
        self._drift.add(anchor.played, anchor.time_s)
        self._events.put(
            protocol.Status(
                sink=output.kind,
                frames_played=stats.frames_played,
                underruns=stats.underruns,
                peak=stats.peak,
                peak_dbfs=max(reading.peak_dbfs, QUIETEST_DB),
                rms_dbfs=max(reading.rms_dbfs, QUIETEST_DB),
                momentary_lufs=max(reading.momentary_lufs, QUIETEST_DB),
                short_term_lufs=max(reading.short_term_lufs, QUIETEST_DB),
                level_dba=None if level is None else max(level, QUIETEST_DB),
                dose_percent=None if level is None else 100.0 * self._dose,
                drift_ppm=self._drift.ppm,
                bad_chunks=bad_chunks,
                limited_chunks=limited_chunks,
                device_underruns=output.drain.device_underruns,
                recording_lost_frames=output.recorder.lost_frames if output.recorder else 0,
                stopped=output.outlet.gate.stopped,
            )
        )
        self._keep(anchor.played, anchor.time_s)
        return before < 1.0 <= self._dose

    def close(self) -> None:
        """Write out the clock."""
        if self._ticks is not None:
            self._ticks.close()

    def _keep(self, position: int, time_s: float) -> None:
        if self._ticks is not None:
            unix_s = time.time() - (time.monotonic() - time_s)
            dose = self._dose if self._calibration is not None else None
            self._ticks.put(Tick(position, time_s, unix_s, self._output.drain.latency_s, self._drift.ppm, dose))
