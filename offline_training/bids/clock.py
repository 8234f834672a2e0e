"""The run's own time, from its first volume's start, and what happened by the host's clock put into it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.experiment.acquisition import Acquisition
from realtime.playback.monitor import Tick

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunClock:
    """Volumes by both clocks; between them, time passes evenly.

    A run that was streamed faster than a scanner makes it is stretched to the scanner's time.

    Attributes
    ----------
    host_s, run_s : float64 arrays of shape (n,)
        End of a volume by the host's monotonic clock, and after the run's start; increasing.
    known_by : {"due", "received", "nothing"}
        Whether the scanner's end of each volume was known, or only when it came, or neither.
    """

    host_s: Floats
    run_s: Floats
    known_by: str

    def at(self, host_s: float) -> float:
        """Seconds after the run's start; NaN where nothing is known."""
        if not len(self.host_s):
            return float("nan")
        span_s = float(self.host_s[-1] - self.host_s[0])
        rate = float(self.run_s[-1] - self.run_s[0]) / span_s if span_s > 0 else 1.0
        if host_s < self.host_s[0]:
            return float(self.run_s[0] - rate * (self.host_s[0] - host_s))
        if host_s > self.host_s[-1]:
            return float(self.run_s[-1] + rate * (host_s - self.host_s[-1]))
        return float(np.interp(host_s, self.host_s, self.run_s))


def run_clock(timing: Sequence[dict[str, Any]], acquisition: Acquisition) -> RunClock:
    """The clock of an attempt, from its entries in the timing file."""
    volumes = [entry for entry in timing if entry.get("received_s") is not None]
    for name, known_by in (("due_s", "due"), ("received_s", "received")):
        known = sorted((entry["volume"], entry[name]) for entry in volumes if entry.get(name) is not None)
        if known:
            host = np.maximum.accumulate(np.array([at_s for _, at_s in known], np.float64))
            ends = [acquisition.start_s(volume) + acquisition.tr_s for volume, _ in known]
            return RunClock(host, np.array(ends, np.float64), known_by)
    return RunClock(np.zeros(0), np.zeros(0), "nothing")


@dataclass(frozen=True)
class Sounded:
    """A clip that began to sound, or silence.

    Attributes
    ----------
    clip_id : str
        "" for silence.
    volume : int
        The volume that decided it; 0 also for what sounds before the first.
    onset_s : float
        Of its first sample, after the run's start; NaN where no clock is known.
    sample : int or None
        Of the recording, which that was.
    """

    clip_id: str
    volume: int
    onset_s: float
    sample: int | None


def sounded_cues(timing: Sequence[dict[str, Any]], clock: RunClock) -> tuple[Sounded, ...]:
    """Everything that began to sound in an attempt, in order."""
    return tuple(Sounded(str(entry.get("clip_id", "")), int(entry["volume"]), clock.at(float(entry["sound_s"])),
                         entry.get("position")) for entry in timing if "cue" in entry)


@dataclass(frozen=True)
class SampleClock:
    """When the samples of a recording sounded.

    Attributes
    ----------
    start_s : float
        The first one, after the run's start; NaN where not known.
    rate_ratio : float
        Seconds of the run for each second of the recording; NaN where not known.
    """

    start_s: float = float("nan")
    rate_ratio: float = float("nan")


def sample_clock(ticks: Sequence[Tick], clock: RunClock, rate_hz: int) -> SampleClock:
    """A line through when frames of the recording left; what the card itself delays is added."""
    place = np.array([tick.position / rate_hz for tick in ticks], np.float64)
    onset = np.array([clock.at(tick.time_s + tick.latency_s) for tick in ticks], np.float64)
    if len(place) < 2 or not np.isfinite(onset).all() or np.ptp(place) <= 0:
        return SampleClock()
    ratio = float(np.polyfit(place, onset, 1)[0])
    return SampleClock(float(np.mean(onset - ratio * place)), ratio)
