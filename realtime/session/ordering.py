"""Volumes into the order of their indices: what to use next, what is missing, what cannot be. Pure: reads no clock.

A volume whose turn it is is used at once. One that comes early is held, because the one before it may
still come: until `ENOUGH_LATER` later ones are there, or the caller says that time is up (`give_up`).
Then what is missing is a gap, for good: the filters only ever move forward.

An index that leaps further than that is believed at once only if the scanner has had the time to make so
many volumes since the run began. Otherwise it is set aside: a second volume next to it proves it right (a
run streamed faster than a scanner lost many), one whose turn it is proves that its header is damaged.
"""

import math
from dataclasses import dataclass, field

import google_crc32c
import numpy as np

from scanner_bridge.volume import RunHeader, Volume

ENOUGH_LATER = 2
SLACK_VOLUMES = 2.0
"""By so many repetition times a volume may come before its own end: clocks are read after headers are."""


@dataclass(frozen=True)
class Missing:
    """An index that never came."""

    index: int


@dataclass(frozen=True)
class Remark:
    """Something about a volume that is not used.

    Attributes
    ----------
    index : int
        As its header has it.
    kind : {"repeated", "late", "conflicting", "impossible"}
        repeated: with the same voxels; conflicting: with others; impossible: an index that cannot be yet.
    text : str
        For people.
    """

    index: int
    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Ordered:
    """What an arrival leads to: volumes to use and indices to count as missing, in order; remarks about others."""

    turn: tuple[Volume | Missing, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass
class Ordering:
    """Of one attempt.

    Attributes
    ----------
    header : RunHeader
        Of the run: when it began, and its repetition time.
    next_index : int
        Whose turn it is.
    """

    header: RunHeader
    next_index: int = 0
    _early: dict[int, Volume] = field(default_factory=dict)
    _aside: dict[int, Volume] = field(default_factory=dict)
    _checksums: dict[int, int] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether volumes are held for one that should have come."""
        return bool(self._early)

    def arrived(self, volume: Volume) -> Ordered:
        """A volume came."""
        index, checksum = volume.index, _checksum(volume)
        if index < self.next_index or index in self._early or index in self._aside:
            return Ordered(remarks=(self._again(index, checksum),))
        self._checksums[index] = checksum
        if index == self.next_index:
            remarks = self._disproved()
            self._early[index] = volume
            return Ordered(self._released(), remarks)
        neighbours = [other for other in self._aside if abs(other - index) <= ENOUGH_LATER]
        if index - self.next_index <= ENOUGH_LATER or self._had_time(volume) or neighbours:
            self._early |= {index: volume, **{other: self._aside.pop(other) for other in neighbours}}
        else:
            self._aside[index] = volume
        return Ordered(self._released(give_up=len(self._early) >= ENOUGH_LATER))

    def unreadable(self) -> Ordered:
        """The volume whose turn it was came, and nothing of it can be read; what was held behind it is free."""
        self.next_index += 1
        return Ordered(self._released())

    def give_up(self) -> Ordered:
        """Time is up for what is missing before the volumes that are held."""
        return Ordered(self._released(give_up=True))

    def finish(self, n_volumes: int) -> Ordered:
        """The run is over with so many volumes: what is held counts, what is missing up to there is missing."""
        self._early |= {index: volume for index, volume in self._aside.items() if index < n_volumes}
        self._aside = {index: volume for index, volume in self._aside.items() if index >= n_volumes}
        held = self._released(give_up=True)
        missing = tuple(Missing(index) for index in range(self.next_index, n_volumes))
        self.next_index = max(self.next_index, n_volumes)
        return Ordered((*held, *missing), self._disproved())

    def _released(self, give_up: bool = False) -> tuple[Volume | Missing, ...]:
        turn: list[Volume | Missing] = []
        while self._early:
            if self.next_index in self._early:
                turn.append(self._early.pop(self.next_index))
            elif give_up:
                turn.append(Missing(self.next_index))
            else:
                break
            self.next_index += 1
        return tuple(turn)

    def _had_time(self, volume: Volume) -> bool:
        """Whether a scanner can have made this volume by the time it was due."""
        elapsed_s = volume.due_s - self.header.start_s
        return math.isfinite(elapsed_s) and volume.index <= elapsed_s / self.header.tr_s + SLACK_VOLUMES

    def _disproved(self) -> tuple[Remark, ...]:
        """Those set aside, now that a volume came which shows where the run really is."""
        remarks = tuple(
            Remark(index, "impossible", f"volume {index} came when it was volume {self.next_index}'s turn, sooner than "
                   "a scanner can have made it: its header is damaged; it is kept in the journal, not used")
            for index in self._aside)
        for index in self._aside:
            del self._checksums[index]
        self._aside = {}
        return remarks

    def _again(self, index: int, checksum: int) -> Remark:
        known = self._checksums.get(index)
        if known == checksum:
            return Remark(index, "repeated", f"volume {index} came twice; the second was dropped")
        if known is None:
            return Remark(index, "late", f"volume {index} came after later ones; kept in the journal, not used")
        return Remark(index, "conflicting", f"volume {index} came twice with different voxels; both are in the "
                      "journal, the first was used")


def _checksum(volume: Volume) -> int:
    return int(google_crc32c.value(np.ascontiguousarray(volume.data.T).tobytes()))
