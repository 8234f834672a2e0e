"""Which of the volumes that come over a network belong to the run: decided from number and grid alone."""

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.grid import Grid


class Sequence:
    """Numbers of the volumes taken so far.

    Parameters
    ----------
    grid : Grid
        That of the run's first volume.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._last = -1

    def refusal(self, index: int, grid: Grid) -> str:
        """Why a volume is left alone; empty when it is taken, and counted from then on.

        Raises
        ------
        SourceError
            It is of another shape, type, place or TR: the protocol was changed.
        """
        difference = self._grid.difference(grid)
        if difference:
            raise SourceError(
                f"volume {index} is no longer of the run that began: {difference}; "
                "the protocol was changed: start a new run"
            )
        if index == self._last:
            return "it came before"
        if index < self._last:
            return f"volume {self._last} was handed over before it"
        self._last = index
        return ""
