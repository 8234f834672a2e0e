"""Which clip is heard when: the structure of ds003720, at any length.

Clips follow each other without a pause. The first clip of a run is a dummy: in a training run the last one of the
training run before (the first run takes it from the last), in a test run its own last. It must not be used, or the
same clip is in two parts of the data. Every ten clips after it hold all ten genres, and no two neighbours share
one. Training clips are heard once; a test run repeats its own ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import SimulationError
from offline_training.simulation.settings import SimulationSettings
from realtime.music.synth_styles import GENRES

_PUBLISHED = ("Tr01 Tr02 Te01 Tr03 Tr04 Te02", "Tr05 Te03 Tr06 Tr07 Te04 Tr08", "Te05 Tr09 Tr10 Te06 Tr11 Tr12")
_TASKS = {"Tr": "Training", "Te": "Test"}


@dataclass(frozen=True)
class RunPlan:
    """One run.

    Attributes
    ----------
    task : str
        "Training" or "Test".
    number : int
        From 1 within its task.
    clips : tuple of int
        Rows of the clips in order, the dummy first.
    session : int
        Scanning session, from 0.
    place : int
        Position among all runs in order of acquisition, from 0.
    """

    task: str
    number: int
    clips: tuple[int, ...]
    session: int
    place: int

    @property
    def run_id(self) -> str:
        """As BIDS writes it."""
        return f"task-{self.task}_run-{self.number:02d}"


def plan_runs(genres: Sequence[str], training: NDArray[np.bool_], settings: SimulationSettings) -> tuple[RunPlan, ...]:
    """The runs of a session, training first.

    Parameters
    ----------
    genres : sequence of str
        Of every clip that there is.
    training : bool array of shape (n_clips,)
        Clips that may be trained on; the others are for test runs.
    settings : SimulationSettings
        How many runs, and how long.

    Raises
    ------
    SimulationError
        There are too few clips of a genre.
    """
    rng = np.random.default_rng([settings.seed, 1])
    per_run = settings.blocks_per_training_run
    n_blocks = settings.n_training_runs * per_run
    for_training = _shuffled(rng, genres, training, "training", n_blocks)
    for_test = _shuffled(rng, genres, ~training, "test", settings.n_test_runs)
    orders = _genre_orders(rng, n_blocks)
    rows = [for_training[genre][block] for block, order in enumerate(orders) for genre in order]
    heard = []
    for run in range(settings.n_training_runs):
        start = 10 * per_run * run
        heard.append((rows[start - 1], *rows[start : start + 10 * per_run]))
    for number in range(settings.n_test_runs):
        ten = [for_test[genre][number] for genre in _genre_orders(rng, 1)[0]]
        heard.append((ten[-1], *(ten * settings.cycles_per_test_run)))
    places = {(task, number): (session, place) for place, (task, number, session) in enumerate(
        acquisition_order(settings.n_training_runs, settings.n_test_runs, settings.n_sessions))}
    names = [("Training", n + 1) for n in range(settings.n_training_runs)]
    names += [("Test", n + 1) for n in range(settings.n_test_runs)]
    return tuple(RunPlan(*name, clips, *places[name]) for name, clips in zip(names, heard, strict=True))


def acquisition_order(n_training: int, n_test: int, n_sessions: int) -> list[tuple[str, int, int]]:
    """Task, number and session of every run in order of acquisition; test runs are spread evenly among the others."""
    if (n_training, n_test, n_sessions) == (12, 6, 3):
        return [(_TASKS[name[:2]], int(name[2:]), session)
                for session, names in enumerate(_PUBLISHED) for name in names.split()]
    runs = [((number - 0.5) / n_training, "Training", number) for number in range(1, n_training + 1)]
    runs += [(number / n_test, "Test", number) for number in range(1, n_test + 1)]
    ordered = sorted(runs)
    return [(task, number, place * n_sessions // len(ordered)) for place, (_, task, number) in enumerate(ordered)]


def _shuffled(rng: np.random.Generator, genres: Sequence[str], chosen: NDArray[np.bool_], split: str,
              wanted: int) -> dict[str, list[int]]:
    """Rows of each genre in random order."""
    rows = {genre: [row for row, other in enumerate(genres) if other == genre and chosen[row]] for genre in GENRES}
    short = [f"{genre} has {len(found)}" for genre, found in rows.items() if len(found) < wanted]
    if short:
        raise SimulationError(f"the session needs {wanted} {split} clips of each genre, but {', '.join(short)}; make a "
                              "larger corpus or ask for fewer runs")
    return {genre: [found[i] for i in rng.permutation(len(found))] for genre, found in rows.items()}


def _genre_orders(rng: np.random.Generator, n_blocks: int) -> list[list[str]]:
    """Genres of blocks in a row. First and last differ too: a dummy, a copy of the last, comes before the first."""
    orders: list[list[str]] = []
    while len(orders) < n_blocks:
        order = [GENRES[i] for i in rng.permutation(len(GENRES))]
        if orders and order[0] == orders[-1][-1]:
            continue
        if len(orders) == n_blocks - 1 and orders and order[-1] == orders[0][0]:
            continue
        orders.append(order)
    return orders
