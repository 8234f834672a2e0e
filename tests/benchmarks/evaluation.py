"""What judging costs: the permutation test of a test set, and an encoding model of a whole cortex.

The shuffles are compared with a loop that draws and scores them one by one, as public notebooks do. Each case runs
in a fresh process, so that its peak memory is its own.
"""

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from offline_training.encoding.model import Answers, EncodingSettings, encode
from offline_training.scores.estimates import null_means
from offline_training.scores.shuffling import Design, genre_blocks, shuffles
from offline_training.scores.standings import identification, standings

GENRES = tuple("abcdefghij")
N_PERMUTATIONS = 1000


def measure(n_voxels: int) -> dict[str, Any]:
    """Seconds and peak memory of each case: 240 trials of 60 clips, and `n_voxels` voxels of 480 + 240 trials."""
    cases: dict[str, Callable[[int], dict[str, float]]] = {
        "null of identification, ours": _null, "null of identification, one shuffle after another": _null_by_loop,
        "encoding model": _encoding}
    report = {}
    for name, case in cases.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            report[name] = pool.submit(case, n_voxels).result()
    return {"n_voxels": n_voxels, "n_permutations": N_PERMUTATIONS, **report}


def show(report: dict[str, Any]) -> None:
    """The figures as a table."""
    title = f"{report['n_permutations']} shuffles, {report['n_voxels']} voxels"
    table = Table("case", "seconds", "peak GiB", title=title)
    for name, one in report.items():
        if isinstance(one, dict):
            table.add_row(name, f"{one['wall_s']:.2f}", f"{one['peak_gib']:.2f}")
    Console().print(table)


def _test_set() -> tuple[Design, np.ndarray[Any, np.dtype[np.float64]]]:
    own = np.concatenate([np.tile(np.arange(10 * run, 10 * run + 10), 4) for run in range(6)])
    runs, genres = np.repeat(np.arange(6), 40), GENRES * 6
    blocks = genre_blocks([genres[clip] for clip in own], [str(run) for run in runs])
    return Design(own, runs, blocks, genres), np.random.default_rng(0).normal(size=(240, 60))


def _null(_: int) -> dict[str, float]:
    design, similarity = _test_set()
    began_s = time.perf_counter()
    null_means(identification(standings(similarity)), shuffles(design, N_PERMUTATIONS, 0))
    return _figures(began_s)


def _null_by_loop(_: int) -> dict[str, float]:
    design, similarity = _test_set()
    rng, began_s = np.random.default_rng(0), time.perf_counter()
    for _shuffle in range(N_PERMUTATIONS):
        assigned = design.own.copy()
        for run in range(6):
            inside = design.runs == run
            clips = np.unique(design.own[inside])
            assigned[inside] = rng.permutation(clips)[np.searchsorted(clips, design.own[inside])]
        np.mean([(similarity[t, clip] > np.delete(similarity[t], clip)).mean() for t, clip in enumerate(assigned)])
    return _figures(began_s)


def _encoding(n_voxels: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    names = [f"clip-{i:03d}" for i in range(540)]
    vectors = {name: rng.normal(size=128) for name in names}
    held = [names[480 + 10 * run + i] for run in range(6) for _ in range(4) for i in range(10)]

    def answers(clips: list[str], per_run: int) -> Answers:
        rows = rng.standard_normal((len(clips), n_voxels), np.float32)
        genres = tuple(GENRES[int(clip[-1])] for clip in clips)
        runs = tuple(f"run-{i // per_run}" for i in range(len(clips)))
        return Answers(tuple(clips), genres, runs, tuple(clips), rows)

    training, test = answers(names[:480], 40), answers(held, 40)
    began_s = time.perf_counter()
    encode(training, test, vectors, EncodingSettings(n_permutations=N_PERMUTATIONS))
    return _figures(began_s)


def _figures(began_s: float) -> dict[str, float]:
    return {"wall_s": time.perf_counter() - began_s,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
