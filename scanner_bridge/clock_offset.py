"""How far another host's monotonic clock lies from ours, from messages sent to and fro. Pure: no clock.

Each exchange gives NTP's four times (RFC 5905): sent here, received there, sent there, received here.
Half of the round trip bounds the error whatever the two ways took, so that the exchange with the
shortest round trip says most; it ages by what two clocks may drift apart.
"""

import math
from dataclasses import dataclass

import numpy as np

MAX_DRIFT = 100e-6
"""Two free-running quartz clocks differ by less; between exchanges the bound of the offset grows by it."""

_SPAN_S = 10.0
_N_SPANS = 120
_FEWEST_SPANS = 4


@dataclass(frozen=True)
class Exchange:
    """One message there and back: `sent_s`, `received_s` by our clock, the peer's two by its own."""

    sent_s: float
    peer_received_s: float
    peer_sent_s: float
    received_s: float

    @property
    def delay_s(self) -> float:
        """Time on the way, there and back."""
        return (self.received_s - self.sent_s) - (self.peer_sent_s - self.peer_received_s)

    @property
    def offset_s(self) -> float:
        """The peer's clock minus ours, if both ways took the same time."""
        return ((self.peer_received_s - self.sent_s) + (self.peer_sent_s - self.received_s)) / 2


@dataclass(frozen=True)
class ClockOffset:
    """What is known of the peer's clock.

    Attributes
    ----------
    offset_s : float
        The peer's clock minus ours.
    uncertainty_s : float
        The true offset lies within this of it.
    drift_ppm : float or None
        By how much the peer's clock gains on ours; None before enough time has passed.
    n_exchanges : int
        That it rests on.
    """

    offset_s: float
    uncertainty_s: float
    drift_ppm: float | None = None
    n_exchanges: int = 0


SAME_CLOCK = ClockOffset(0.0, 0.0)


class OffsetEstimator:
    """Keeps the best exchange of every ten seconds of the last twenty minutes."""

    def __init__(self) -> None:
        self._best: dict[int, Exchange] = {}
        self._n = 0

    def add(self, exchange: Exchange) -> None:
        """Take in an exchange; one whose times cannot be is left out."""
        times = (exchange.sent_s, exchange.peer_received_s, exchange.peer_sent_s, exchange.received_s)
        if not all(map(math.isfinite, times)) or exchange.delay_s < 0:
            return
        self._n += 1
        span = int(exchange.received_s // _SPAN_S)
        best = self._best.get(span)
        if best is None or exchange.delay_s < best.delay_s:
            self._best[span] = exchange
        while len(self._best) > _N_SPANS:
            del self._best[min(self._best)]

    def estimate(self, now_s: float) -> ClockOffset | None:
        """What is known at a time of our clock; None before any exchange."""
        if not self._best:
            return None

        def bound_s(exchange: Exchange) -> float:
            return exchange.delay_s / 2 + MAX_DRIFT * abs(now_s - exchange.received_s)

        best = min(self._best.values(), key=bound_s)
        return ClockOffset(best.offset_s, bound_s(best), self._drift_ppm(), self._n)

    def _drift_ppm(self) -> float | None:
        if len(self._best) < _FEWEST_SPANS:
            return None
        at_s = np.array([exchange.received_s for exchange in self._best.values()])
        offsets_s = np.array([exchange.offset_s for exchange in self._best.values()])
        weights = 1 / np.array([max(exchange.delay_s, 1e-6) for exchange in self._best.values()])
        return float(1e6 * np.polyfit(at_s - at_s.mean(), offsets_s - offsets_s.mean(), 1, w=weights)[0])
