"""One volume to the decoder's embedding, beside registering and reslicing it with other libraries, on one thread.

Run with `innerear bench preprocessing --json FILE`. Every method gets the same volumes, int16 in the
order nibabel delivers, one volume after the other, so that other load on the machine hits all alike.
Peers return whole volumes; ours does so in the row `ours_whole_volume`.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from realtime.preprocessing import Preprocessor, PreprocessorSettings
from realtime.preprocessing.reslicing import reslice
from tests.benchmarks.motion_series import FINE, STANDARD, Geometry, MovingHead, Series, make_series
from tests.benchmarks.preprocessing_peers import PEERS, Volume, Work

N_VOXELS, N_DIMENSIONS = 6000, 128


@dataclass(eq=False)
class Times:
    """What one method took and how far off it was, volume by volume."""

    work: Work
    n_volumes: int
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    errors_mm: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Medians and errors over the volumes, first none: it is the reference."""
        return {"n": len(self.wall_ms), "median_ms": float(np.median(self.wall_ms)),
                "p99_ms": float(np.percentile(self.wall_ms, 99)), "cpu_ms": float(np.median(self.cpu_ms)),
                "error_mm_mean": float(np.mean(self.errors_mm)), "error_mm_max": max(self.errors_mm)}


def features_to_embedding(head: MovingHead, reference: Volume) -> Work:
    """Volume in hand to an embedding of 128 dimensions from 6,000 voxels."""
    pre = Preprocessor(reference, head.affine, head.decoder_voxels(N_VOXELS), PreprocessorSettings(tr_s=1.0))
    pre.warm_up()
    weights = np.random.default_rng(0).normal(size=(N_DIMENSIONS, N_VOXELS)).astype(np.float32)

    def work(volume: Volume) -> NDArray[np.float64]:
        step = pre.push(volume)
        embedding = weights @ step.features
        embedding /= np.float32(max(float(np.linalg.norm(embedding)), 1e-12))
        return step.motion

    return work


def whole_volume(head: MovingHead, reference: Volume) -> Work:
    """Register, then reslice every voxel: what the peers do."""
    pre = Preprocessor(reference, head.affine, head.decoder_voxels(1), PreprocessorSettings(tr_s=1.0))
    pre.warm_up()
    reslice(reference, head.affine, np.eye(4), head.affine, reference.shape)

    def work(volume: Volume) -> NDArray[np.float64]:
        motion = pre.push(volume).motion
        reslice(volume, head.affine, motion, head.affine, reference.shape)
        return motion

    return work


def timed(series: Series, methods: dict[str, Times]) -> None:
    """Run all methods over the series, interleaved."""
    for t, (volume, truth) in enumerate(zip(series.volumes, series.motions, strict=True)):
        if t == 0:
            continue
        for times in methods.values():
            if t > times.n_volumes:
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            motion = times.work(volume)
            times.wall_ms.append(1e3 * (time.perf_counter() - wall))
            times.cpu_ms.append(1e3 * (time.process_time() - cpu))
            times.errors_mm.append(series.head.error_mm(motion, truth))


def measure_geometry(geometry: Geometry, n_peer_volumes: int, tick: Callable[[], None]) -> dict[str, Any]:
    """Figures of all methods at one geometry; `error_mm_same` is ours on the volumes the peers got."""
    series = make_series(geometry, tick=tick)
    head, reference = series.head, series.volumes[0]
    methods = {"ours": Times(features_to_embedding(head, reference), geometry.n_volumes),
               "ours_whole_volume": Times(whole_volume(head, reference), n_peer_volumes)}
    missing = [peer.name for peer in PEERS if not peer.installed]
    for peer in PEERS:
        if peer.installed:
            methods[peer.name] = Times(peer.prepare(head, reference), n_peer_volumes)
    timed(series, methods)
    report: dict[str, Any] = {name: times.figures() for name, times in methods.items()}
    report["ours"]["error_mm_same"] = float(np.mean(methods["ours"].errors_mm[:n_peer_volumes]))
    for peer in PEERS:
        if peer.installed:
            report[f"ratio_to_{peer.name}"] = report[peer.name]["cpu_ms"] / report["ours"]["cpu_ms"]
            report[f"ratio_whole_volume_to_{peer.name}"] = (report[peer.name]["cpu_ms"]
                                                            / report["ours_whole_volume"]["cpu_ms"])
    return report | {"missing": missing, "geometry": asdict(geometry)}


def measure(n_volumes: int = 200, n_peer_volumes: int = 20, tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """The whole report, ready for JSON; fine volumes are 2.5 times fewer."""
    load_before = os.getloadavg()[0]
    geometries = {geometry.name: measure_geometry(replace(geometry, n_volumes=n), min(n - 1, n_peer_volumes), tick)
                  for geometry, n in ((STANDARD, n_volumes), (FINE, max(2 * n_volumes // 5, 5)))}
    return {"benchmark": "preprocessing", "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.machine(), "cores": os.cpu_count(), "load_before": load_before,
            "load_after": os.getloadavg()[0], "threads": 1, "python": platform.python_version(),
            "numpy": np.__version__, "voxels": N_VOXELS, "dimensions": N_DIMENSIONS, **geometries}


def show(report: dict[str, Any]) -> None:
    """Print the report as a table per geometry."""
    for geometry in (STANDARD.name, FINE.name):
        rows = report[geometry]
        table = Table(title=f"{geometry}, one thread (load {report['load_before']:.1f} to {report['load_after']:.1f} "
                            f"on {report['cores']} cores)")
        for heading in ("method", "n", "median ms", "p99 ms", "cpu ms", "mean error mm", "max", "x ours"):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for name, row in rows.items():
            if isinstance(row, dict) and "median_ms" in row:
                table.add_row(name, str(row["n"]), f"{row['median_ms']:.2f}", f"{row['p99_ms']:.2f}",
                              f"{row['cpu_ms']:.2f}", f"{row['error_mm_mean']:.4f}", f"{row['error_mm_max']:.4f}",
                              f"{row['cpu_ms'] / rows['ours']['cpu_ms']:.1f}")
        if rows["missing"]:
            table.caption = f"not installed: {', '.join(rows['missing'])}"
        Console().print(table)
