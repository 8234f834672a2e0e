"""The scanner's trigger pulses beside its volumes, compared by time. Pure: reads no clock.

A volume's number comes from its own header, and nothing here can change it: pulses that are lost,
doubled, late or too many are reported, and each is named by the volume it concerns.

1. Pulses lie on a grid of one repetition time, by this host's clock: that of the header up to 500 ppm, whichever
   makes them agree best. The grid's phase is where most of them agree, so that a stray pulse cannot move it.
2. Volume i is complete i + 1 repetition times after the first volume's pulse, and arrives some time
   after that. The volume that came with the least delay says which line of the grid volume 0 has: the
   latest that leaves it not early. This takes no pulse for the first, and no count of them.
3. The pulse nearest to its line is the volume's; others before the next line are extra.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scanner_bridge.volume import TriggerSummary

_ON_GRID = 0.25
"""A pulse further from its line than this part of a repetition time is nobody's."""

_EARLY = 0.1
"""A volume may seem complete by this part of a repetition time before it is: clocks and pulses jitter."""

_CLOCKS_DIFFER = np.linspace(-500e-6, 500e-6, 101)
_HINT_SHIFTS = 5


@dataclass(frozen=True)
class Reconciliation:
    """Pulses and volumes of one run.

    Attributes
    ----------
    pulse_s : dict of int to float
        Index of a volume, of those that came: monotonic time of its pulse.
    n_pulses, n_volumes : int
        How many came.
    missing : tuple of int
        Volumes that came and whose pulse did not.
    lost : tuple of int
        Volumes that did not come and whose pulse did.
    extra : tuple of int
        For every pulse beyond a volume's own: the volume it fell into; a volume may be named twice.
    n_before, n_after : int
        Pulses before the first volume (dummy scans) and after the last.
    offset_s, jitter_s : float or None
        Median time from a pulse to its volume, and half the range that holds its middle 68 %; None without a pair.
    late_by : int
        So many repetition times of further delay would leave no pulse and no volume over; 0 when nothing would.
    """

    pulse_s: Mapping[int, float]
    n_pulses: int
    n_volumes: int
    missing: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    n_before: int = 0
    n_after: int = 0
    offset_s: float | None = None
    jitter_s: float | None = None
    late_by: int = 0

    def summary(self) -> TriggerSummary:
        """What goes with the run's end."""
        return TriggerSummary(
            self.n_pulses,
            len(self.missing),
            len(self.extra),
            self.n_before,
            self.n_after,
            self.offset_s,
            self.jitter_s,
            self.sentence(),
        )

    def sentence(self) -> str:
        """All of it for people; numbers only."""
        said = [f"{self.n_pulses} pulses for {self.n_volumes} volumes"]
        if self.offset_s is not None and self.jitter_s is not None:
            said.append(f"a volume {self.offset_s:.3f} s after its pulse, ± {1000 * self.jitter_s:.1f} ms")
        said += [f"no pulse for volumes {_ranges(self.missing)}"] if self.missing else []
        said += [f"more than one pulse for volumes {_ranges(self.extra)}"] if self.extra else []
        said += [f"a pulse but no volume {_ranges(self.lost)}"] if self.lost else []
        said += [f"{self.n_before} pulses before the first volume"] if self.n_before else []
        said += [f"{self.n_after} pulses after the last volume"] if self.n_after else []
        if self.late_by:
            said.append(
                f"all would fit if volumes came {self.late_by} repetition times later: if so, say so by delay_s"
            )
        return "; ".join(said)


def reconcile(
    pulses_s: Sequence[float], volumes_s: Mapping[int, float], period_s: float, delay_s: float = 0.0
) -> Reconciliation:
    """Compare a run's pulses with its volumes.

    Parameters
    ----------
    pulses_s : sequence of float
        Monotonic times of all pulses that were heard, in any order.
    volumes_s : mapping of int to float
        Index of each volume that came: monotonic time, of the same clock, at which it was complete or came.
    period_s : float
        Time between volumes.
    delay_s : float
        Shortest time from a volume's completion until it came. Wrong by nine tenths of `period_s` or more, the
        named volumes are wrong by as many periods; their indices are what they are.

    Returns
    -------
    reconciliation : Reconciliation
    """
    n_pulses, n_volumes = len(pulses_s), len(volumes_s)
    if not n_pulses or not n_volumes:
        return Reconciliation({}, n_pulses, n_volumes, missing=tuple(sorted(volumes_s)), n_before=n_pulses)
    period_s = _agreed_period_s(pulses_s, period_s)
    grid = _Grid(sorted(pulses_s), period_s)
    complete_s = min(time_s - (index + 1) * period_s for index, time_s in volumes_s.items()) - delay_s
    zero = grid.line_at(complete_s + _EARLY * period_s)
    first, last = min(0, *volumes_s), max(volumes_s)
    own = {line - zero: time_s for line, time_s in grid.own_s.items()}
    paired = {index: own[index] for index in sorted(volumes_s) if index in own}
    waits_s = [volumes_s[index] - time_s for index, time_s in paired.items()]
    low_s, median_s, high_s = np.percentile(waits_s, [16, 50, 84]) if waits_s else (math.nan,) * 3
    slots = [line - zero for line in grid.extra]
    return Reconciliation(
        pulse_s=paired,
        n_pulses=n_pulses,
        n_volumes=n_volumes,
        missing=tuple(index for index in sorted(volumes_s) if index not in own),
        lost=tuple(index for index in sorted(own) if first <= index <= last and index not in volumes_s),
        extra=tuple(slot for slot in slots if first <= slot <= last),
        n_before=sum(index < first for index in [*own, *slots]),
        n_after=sum(index > last for index in [*own, *slots]),
        offset_s=float(median_s) if waits_s else None,
        jitter_s=float(high_s - low_s) / 2 if waits_s else None,
        late_by=_explaining_shift(own, volumes_s),
    )


@dataclass
class _Grid:
    """Pulses on lines one period apart: `own_s` is the pulse of a line, `extra` the lines before all others."""

    pulses_s: Sequence[float]
    period_s: float
    own_s: dict[int, float] = field(default_factory=dict)
    extra: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._origin_s = _commonest_phase_s(self.pulses_s, self.period_s)
        nearest_s: dict[int, float] = {}
        for time_s in self.pulses_s:
            line = self.line_at(time_s + _ON_GRID * self.period_s)
            off_s = abs(time_s - self._origin_s - line * self.period_s)
            if off_s <= _ON_GRID * self.period_s and off_s < nearest_s.get(line, math.inf):
                self.extra += [line] if line in self.own_s else []
                self.own_s[line], nearest_s[line] = time_s, off_s
            else:
                self.extra.append(line)

    def line_at(self, time_s: float) -> int:
        """The last line not after a time."""
        return math.floor((time_s - self._origin_s) / self.period_s)


def _agreed_period_s(pulses_s: Sequence[float], period_s: float) -> float:
    """The period, near the one that is given, at which the pulses' phases agree best."""
    since_s = np.asarray(pulses_s) - pulses_s[0]
    periods_s = period_s * (1 + _CLOCKS_DIFFER)
    agreement = [abs(np.exp(2j * np.pi * since_s / candidate_s).sum()) for candidate_s in periods_s]
    return float(periods_s[np.argmax(agreement)]) if len(pulses_s) > 2 else period_s


def _commonest_phase_s(pulses_s: Sequence[float], period_s: float) -> float:
    """The time of a pulse with which most others agree, within half of `_ON_GRID`, on where lines are."""
    phases = np.sort(np.mod(np.asarray(pulses_s) - pulses_s[0], period_s))
    around = np.concatenate([phases - period_s, phases, phases + period_s])
    reach_s = _ON_GRID / 2 * period_s
    votes = np.searchsorted(around, phases + reach_s, "right") - np.searchsorted(around, phases - reach_s, "left")
    best = phases[votes == votes.max()]
    return float(pulses_s[0] + best[len(best) // 2])


def _explaining_shift(own: Mapping[int, float], volumes_s: Mapping[int, float]) -> int:
    """By how many periods later volumes had to come for every pulse to have its volume, and every volume its pulse."""
    lines, indices = set(own), set(volumes_s)
    if lines == indices:
        return 0
    return next((by for by in range(1, _HINT_SHIFTS + 1) if {line + by for line in lines} == indices), 0)


def _ranges(numbers: Sequence[int], most: int = 20) -> str:
    """Sorted numbers like ``3, 7-9``."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    named = [str(low) if low == high else f"{low}-{high}" for low, high in ranges[:most]]
    return ", ".join(named) + (" and more" if len(ranges) > most else "")
