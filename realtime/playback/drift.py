"""How fast the sink's clock runs beside the machine's."""

SETTLED_S = 10.0


class DriftMeter:
    """Least-squares line through (frames played, monotonic time), updated point by point.

    Parameters
    ----------
    rate_hz : int
        What the sink says its rate is.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._n = 0
        self._first = (0, 0.0)
        self._last_s = 0.0
        self._mean_x = self._mean_y = self._xx = self._xy = 0.0

    def add(self, position: int, time_s: float) -> None:
        """Say that this frame left at this time."""
        if self._n == 0:
            self._first = (position, time_s)
        x = time_s - self._first[1]
        y = (position - self._first[0]) / self._rate_hz
        self._n += 1
        before = x - self._mean_x
        self._mean_x += before / self._n
        self._mean_y += (y - self._mean_y) / self._n
        self._xx += before * (x - self._mean_x)
        self._xy += before * (y - self._mean_y)
        self._last_s = x

    @property
    def ppm(self) -> float | None:
        """How much faster than the machine's clock it runs, in millionths; None in the first ten seconds."""
        return (self._xy / self._xx - 1.0) * 1e6 if self._last_s >= SETTLED_S and self._xx > 0.0 else None
