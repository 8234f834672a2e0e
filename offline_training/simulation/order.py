"""Which clip is heard when: the structure of ds003720, at any length.

Clips follow each other without a pause. The first clip of a run is a dummy, a repeat of its last one:
it must not be used, or the same clip is in two parts of the data. Every ten clips after it hold all ten
genres, and no two neighbours share one. Training clips are heard once; a test run repeats its own ten.
"""

from dataclasses import dataclass

import numpy as np

from offline_training.corpus import Corpus, CorpusClip
from offline_training.errors import SimulationError
from offline_training.simulation.settings import SimulationSettings
from realtime.music.synth_styles import GENRES


@dataclass(frozen=True)
class RunPlan:
    """One run: task ("Training" or "Test"), number from 1, and clips as rows of the corpus, dummy first."""

    task: str
    number: int
    clips: tuple[int, ...]


def plan_runs(corpus: Corpus, settings: SimulationSettings) -> tuple[RunPlan, ...]:
    """The runs of a session, training first.

    Raises
    ------
    SimulationError
        The corpus has too few clips of a genre.
    """
    rng = np.random.default_rng([settings.seed, 1])
    n_blocks = settings.n_training_runs * settings.blocks_per_training_run
    training = _shuffled(rng, corpus.clips, "training", n_blocks)
    test = _shuffled(rng, corpus.clips, "test", settings.n_test_runs)
    plans, block = [], 0
    for number in range(1, settings.n_training_runs + 1):
        orders = _genre_orders(rng, settings.blocks_per_training_run)
        rows = [training[genre][block + i] for i, order in enumerate(orders) for genre in order]
        block += settings.blocks_per_training_run
        plans.append(RunPlan("Training", number, (rows[-1], *rows)))
    for number in range(1, settings.n_test_runs + 1):
        order = _genre_orders(rng, 1)[0]
        rows = [test[genre][number - 1] for genre in order] * settings.cycles_per_test_run
        plans.append(RunPlan("Test", number, (rows[-1], *rows)))
    return tuple(plans)


def _shuffled(
    rng: np.random.Generator, clips: tuple[CorpusClip, ...], split: str, wanted: int
) -> dict[str, list[int]]:
    """Rows of each genre in random order."""
    rows = {genre: [row for row, clip in enumerate(clips) if clip.genre == genre and clip.split == split]
            for genre in GENRES}
    short = [f"{genre} has {len(found)}" for genre, found in rows.items() if len(found) < wanted]
    if short:
        raise SimulationError(f"the session needs {wanted} {split} clips of each genre, but {', '.join(short)}; make a "
                              "larger corpus or ask for fewer runs")
    return {genre: [found[i] for i in rng.permutation(len(found))] for genre, found in rows.items()}


def _genre_orders(rng: np.random.Generator, n_blocks: int) -> list[list[str]]:
    """Genres of a run's blocks. First and last differ too: the dummy, a copy of the last, comes before the first."""
    orders: list[list[str]] = []
    while len(orders) < n_blocks:
        order = [GENRES[i] for i in rng.permutation(len(GENRES))]
        if orders and order[0] == orders[-1][-1]:
            continue
        if len(orders) == n_blocks - 1 and orders and order[-1] == orders[0][0]:
            continue
        orders.append(order)
    return orders
