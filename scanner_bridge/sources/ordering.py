"""In which order whole volumes are let go, and when a missing one is given up: pure, time is passed in."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Step:
    """What to do next.

    Attributes
    ----------
    kind : {"volume", "gap", "wait", "end"}
        volume: let `index` go. gap: `index` up to `last` will not come any more. wait: nothing yet.
        end: the run is over.
    index, last : int
        Volumes concerned.
    """

    kind: Literal["volume", "gap", "wait", "end"]
    index: int = -1
    last: int = -1


class Ordering:
    """Volumes in order of their index; one that has not come a TR after a later one was whole is a gap.

    Parameters
    ----------
    tr_s : float
        How long a missing volume is waited for once a later one is there.
    n_volumes : int or None
        Length of the run, where it is announced: the run ends with its last volume.
    """

    def __init__(self, tr_s: float, n_volumes: int | None) -> None:
        self._tr_s = tr_s
        self._n_volumes = n_volumes
        self._whole_s: dict[int, float] = {}
        self.next_index = 0

    def step(self, ready: Collection[int], now_s: float, *, over: bool = False) -> Step:
        """Decide; call again until it says wait or end.

        Parameters
        ----------
        ready : collection of int
            Volumes that are whole and not let go yet. Those before `next_index` came too late: drop them.
        now_s : float
            Monotonic time.
        over : bool
            Whether nothing more will come.
        """
        if self._n_volumes is not None and self.next_index >= self._n_volumes:
            return Step("end")
        for index in ready:
            self._whole_s.setdefault(index, now_s)
        if self.next_index in ready:
            self._whole_s.pop(self.next_index)
            self.next_index += 1
            return Step("volume", self.next_index - 1)
        later = [index for index in ready if index > self.next_index]
        if not later:
            return Step("end") if over else Step("wait")
        # counted from the first later volume, not from the last gap: after a burst with holes nothing waits twice
        if not over and now_s - min(self._whole_s[index] for index in later) < self._tr_s:
            return Step("wait")
        first, self.next_index = self.next_index, min(later)
        return Step("gap", first, self.next_index - 1)
