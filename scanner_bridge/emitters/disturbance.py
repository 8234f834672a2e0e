"""What goes wrong between a scanner and its receiver, decided by a seed and the number of each item alone."""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from scanner_bridge.errors import SourceError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Arrival(Generic[Item]):
    """Something that a receiver gets, so many seconds of scanner time after the start of the run."""

    at_s: float
    item: Item


@dataclass(frozen=True)
class Disturbance:
    """How often what goes wrong. Nothing, unless it is said.

    Attributes
    ----------
    drop, duplicate, delay : float
        Probability that an item never comes, comes twice, comes `delay_s` late.
    delay_s : float
        How late an item is that is delayed; the second copy of one comes up to so much later, too.
    shuffle_s : float
        Every item is late by up to this, evenly: items nearer together come in any order.
    seed : int
        The same seed disturbs the same items in the same way.

    Raises
    ------
    SourceError
        A value that cannot be.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_s: float = 0.0
    shuffle_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        rules = {
            f"{name} is a probability, got {value}": 0 <= value <= 1
            for name, value in (("drop", self.drop), ("duplicate", self.duplicate), ("delay", self.delay))
        } | {
            f"{name} is 0 or more seconds, got {value}": 0 <= value < math.inf
            for name, value in (("delay_s", self.delay_s), ("shuffle_s", self.shuffle_s))
        }
        broken = [
            rule
            for rule, holds in (rules | {f"seed is 0 or more, got {self.seed}": self.seed >= 0}).items()
            if not holds
        ]
        if broken:
            raise SourceError(f"disturbance: {'; '.join(broken)}: correct them")


def disturbed(arrivals: Iterable[Arrival[Item]], disturbance: Disturbance) -> Iterator[Arrival[Item]]:
    """The same arrivals as they come when things go wrong; memory grows with the longest delay only.

    Parameters
    ----------
    arrivals : iterable of Arrival
        In order of time; item n is disturbed in the same way whatever the others are.
    disturbance : Disturbance
        What goes wrong.
    """
    pending: list[tuple[float, int, Item]] = []
    counter = 0
    for number, arrival in enumerate(arrivals):
        while pending and pending[0][0] <= arrival.at_s:
            at_s, _, item = heapq.heappop(pending)
            yield Arrival(at_s, item)
        for late_s in _delays_s(disturbance, number):
            heapq.heappush(pending, (arrival.at_s + late_s, counter, arrival.item))
            counter += 1
    while pending:
        at_s, _, item = heapq.heappop(pending)
        yield Arrival(at_s, item)


def _delays_s(disturbance: Disturbance, number: int) -> list[float]:
    """How late each copy of an item comes; empty when it never does."""
    dropped, doubled, late, jitter, again = np.random.default_rng([disturbance.seed, number]).random(5)
    if dropped < disturbance.drop:
        return []
    first_s = jitter * disturbance.shuffle_s + (disturbance.delay_s if late < disturbance.delay else 0.0)
    second_s = first_s + again * max(disturbance.shuffle_s, disturbance.delay_s)
    return [first_s, second_s] if doubled < disturbance.duplicate else [first_s]
