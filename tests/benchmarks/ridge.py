"""Cross-validated ridge of ours against scikit-learn's grid search and himalaya's kernel ridge, same data, same folds.

Every contestant runs in a fresh process, so that its peak memory is its own; the data are made there
and count towards it. scikit-learn's grid search refits for every fold and α: at 60,000 voxels that
takes half an hour, so two of its fits are timed, with the scoring of the rows they left out, and the mean is
multiplied: the row says by how many (`extrapolated_from_fits`, `times`). himalaya is stopped after five minutes: its
ratio is then a lower bound, and the row says so.
"""

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ALPHAS = tuple(float(alpha) for alpha in np.logspace(1, 6, 15))
N_FOLDS = 6
_PEER_LIMIT_S = 300.0
_FITS_TIMED = 2
_BARS = {"6000x128": {"wall_s": 30.0, "ratio_to_sklearn_grid_search": 4.0},
         "60000x512": {"wall_s": 60.0, "ratio_to_sklearn_grid_search": 20.0, "peak_gb": 6.0}}


@dataclass(frozen=True)
class Size:
    """How much is fitted.

    Attributes
    ----------
    n_rows, n_voxels, n_targets : int
    """

    n_rows: int
    n_voxels: int
    n_targets: int


WHOLE = (Size(4800, 6000, 128), Size(4800, 60_000, 512))
QUICK = (Size(960, 2000, 64),)


def measure(sizes: tuple[Size, ...]) -> dict[str, Any]:
    """Figures of every size: seconds, processor seconds and peak memory of each contestant, and ratios of wall time."""
    report = {f"{size.n_voxels}x{size.n_targets}": _contest(size) for size in sizes}
    return {**report, "bars": _bars(report)}


def _bars(report: dict[str, Any]) -> dict[str, Any]:
    """What the project asks of itself, and whether it was reached: seconds and memory at most, ratios at least."""
    bars: dict[str, Any] = {}
    for size, wanted in _BARS.items():
        for name, bar in wanted.items() if size in report else ():
            ours = report[size]["ours"]
            known = {"wall_s": ours["wall_s"], "peak_gb": ours["peak_gib"] * 2**30 / 1e9}
            value = known[name] if name in known else report[size][name]
            bars[f"{size} {name}"] = {"value": value, "bar": bar,
                                      "held": value >= bar if name.startswith("ratio") else value <= bar}
    return bars


def show(report: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table("size", "method", "wall s", "cpu s", "peak GiB", "ours is faster by")
    for size, figures in report.items():
        for name, row in figures.items():
            if isinstance(row, dict) and "wall_s" in row:
                ratio = figures.get(f"ratio_to_{name}")
                values = [f"{row[key]:.1f}" if row[key] is not None else "-" for key in ("wall_s", "cpu_s", "peak_gib")]
                table.add_row(size, f"{name}{row.get('note', '')}", *values, f"{ratio:.1f}×" if ratio else "")
    Console().print(table)
    for name, bar in report["bars"].items():
        Console().print(f"{name}: {bar['value']:.3g}, bar {bar['bar']:g}: {'held' if bar['held'] else 'MISSED'}",
                        highlight=False)


def _contest(size: Size) -> dict[str, Any]:
    ours = _alone(_ours, size)
    figures: dict[str, Any] = {"n_rows": size.n_rows, "n_alphas": len(ALPHAS), "n_folds": N_FOLDS, "ours": ours}
    peers = {"sklearn_grid_search": _sklearn_grid if size.n_voxels <= 6000 else _sklearn_one_fit, "himalaya": _himalaya}
    for name, contestant in peers.items():
        row = figures[name] = _alone(contestant, size)
        figures[f"ratio_to_{name}"] = row["wall_s"] / ours["wall_s"]
    return figures


def _alone(contestant: Callable[[Size], dict[str, Any]], size: Size) -> dict[str, Any]:
    """Run in a process of its own with all cores; a peer that takes too long is stopped and its limit reported."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(os.cpu_count())
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        try:
            return executor.submit(contestant, size).result(_PEER_LIMIT_S)
        except TookTooLong:
            for process in list(executor._processes.values()):
                process.kill()
            return {"wall_s": _PEER_LIMIT_S, "cpu_s": None, "peak_gib": None, "note": " (stopped there, not finished)"}


def _data(size: Size) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((size.n_rows, size.n_targets), np.float32)
    features = rng.standard_normal((size.n_rows, size.n_voxels), np.float32)
    mixing = rng.standard_normal((size.n_targets, 500), np.float32) / np.float32(np.sqrt(size.n_targets))
    features[:, :500] += np.float32(0.3) * targets @ mixing
    return features, targets, np.arange(size.n_rows) * N_FOLDS // size.n_rows


def _timed(work: Callable[[], Any], times: float = 1, note: str = "") -> dict[str, Any]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    row = {"wall_s": (time.perf_counter() - wall_s) * times, "cpu_s": (time.process_time() - cpu_s) * times,
           "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    return row | ({"note": note} if note else {})


def _ours(size: Size) -> dict[str, Any]:
    from offline_training.ridge import fit_kernel_ridge

    features, targets, fold = _data(size)
    return _timed(lambda: fit_kernel_ridge(features, targets, fold, ALPHAS))


def _sklearn_grid(size: Size) -> dict[str, Any]:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    features, targets, fold = _data(size)
    search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=GroupKFold(N_FOLDS), scoring="neg_mean_squared_error")
    return _timed(lambda: search.fit(features, targets, groups=fold))


def _sklearn_one_fit(size: Size) -> dict[str, Any]:
    from sklearn.linear_model import Ridge

    features, targets, fold = _data(size)
    n_fits = N_FOLDS * len(ALPHAS) + 1

    def fit_and_score() -> None:
        for k in range(_FITS_TIMED):
            Ridge(alpha=1000.0).fit(features[fold != k], targets[fold != k]).score(features[fold == k],
                                                                                   targets[fold == k])

    times = n_fits / _FITS_TIMED
    return {**_timed(fit_and_score, times, f" ({_FITS_TIMED} fits × {times:g})"),
            "extrapolated_from_fits": _FITS_TIMED, "times": times}


def _himalaya(size: Size) -> dict[str, Any]:
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit

    features, targets, fold = _data(size)
    model = KernelRidgeCV(alphas=ALPHAS, cv=PredefinedSplit(fold))
    return _timed(lambda: model.fit(features, targets))
