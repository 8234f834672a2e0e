"""How long one volume takes to become features, beside what else could do the work, on one thread.

Run with `innerear bench preprocessing --json FILE`.
Every method gets the same volumes of a moving phantom, 64 x 64 x 36 voxels of 3 x 3 x 3.5 mm, int16
in the order nibabel delivers. Peers that estimate motion or resample are not asked for less than
they can do: they return whole volumes, we return the decoder's voxels and z-scores.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import scipy
import SimpleITK as sitk
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import affine_transform

from realtime.preprocessing import Preprocessor, PreprocessorSettings
from tests.preprocessing_phantom import Phantom, make_phantom, wandering

NOISE = 10.0  # tSNR 80


@dataclass(frozen=True)
class Row:
    """Times of one method, milliseconds per volume.

    Attributes
    ----------
    method : str
    n : int
        Volumes timed.
    median_ms, p99_ms, min_ms : float
        Wall clock.
    cpu_median_ms : float
        Processor time: what is left when other programs on the machine are taken out.
    error_mm : float or None
        RMS error of the motion over the head, mean over volumes; None where none is estimated.
    ratio : float
        Processor time over that of the first row.
    """

    method: str
    n: int
    median_ms: float
    p99_ms: float
    min_ms: float
    cpu_median_ms: float
    error_mm: float | None
    ratio: float


@dataclass(frozen=True, eq=False)
class Method:
    """One way to do the work: a volume in, its motion out."""

    name: str
    work: Callable[[NDArray[np.int16]], NDArray[np.float64]]
    n_volumes: int
    estimates: bool = True


@dataclass(frozen=True, eq=False)
class Run:
    """The volumes, and where the head truly was in each."""

    phantom: Phantom
    reference: NDArray[np.float32]
    volumes: list[NDArray[np.int16]]
    motions: list[NDArray[np.float64]]


def make_run(n_volumes: int) -> Run:
    """A head that wanders about 0.6 mm of framewise displacement per volume."""
    phantom = make_phantom()
    motions = wandering(n_volumes, step=0.1)
    volumes = [np.asfortranarray(phantom.volume(motion, NOISE, seed=t).astype(np.int16))
               for t, motion in enumerate(motions)]
    return Run(phantom, phantom.volume(noise=NOISE, seed=10_000).astype(np.float32), volumes, motions)


def ours(run: Run, n_voxels: int) -> Callable[[NDArray[np.int16]], NDArray[np.float64]]:
    """Volume to features; gives back the motion."""
    pre = Preprocessor(run.reference, run.phantom.affine, run.phantom.head_voxels(n_voxels),
                       PreprocessorSettings(tr_s=1.0))
    pre.warm_up()
    return lambda volume: pre.push(volume).motion


def itk(run: Run) -> Callable[[NDArray[np.int16]], NDArray[np.float64]]:
    """Rigid registration from the last volume's motion, and resampling by cubic B-spline."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fixed = _itk_image(run, run.reference)
    transform = sitk.Euler3DTransform()

    def register(volume: NDArray[np.int16]) -> NDArray[np.float64]:
        nonlocal transform
        moving = _itk_image(run, volume)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMeanSquares()
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.1, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(0.5, 1e-3, 60)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(fixed, moving)
        sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkBSpline))
        motion = np.eye(4)
        motion[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
        motion[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
        return motion

    return register


def whole_volume_resampling(run: Run) -> Callable[[NDArray[np.int16]], NDArray[np.float64]]:
    """SciPy's cubic spline resampling of a volume whose motion is already known; estimates nothing."""
    known = iter(run.motions)

    def resample(volume: NDArray[np.int16]) -> NDArray[np.float64]:
        motion = next(known)
        matrix = np.linalg.inv(run.phantom.affine) @ motion @ run.phantom.affine
        affine_transform(volume.astype(np.float32), matrix, order=3, mode="mirror")
        return motion

    return resample


def _itk_image(run: Run, volume: NDArray[Any]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T, np.float32))
    affine = run.phantom.affine
    image.SetSpacing(np.diag(affine)[:3].tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def timed(methods: list[Method], run: Run) -> list[Row]:
    """Time all methods on one volume after the other, so that other load on the machine hits all alike."""
    wall_ms: list[list[float]] = [[] for _ in methods]
    cpu_ms: list[list[float]] = [[] for _ in methods]
    errors_mm: list[list[float]] = [[] for _ in methods]
    for t, (volume, truth) in enumerate(zip(run.volumes, run.motions, strict=True)):
        for i, method in enumerate(methods):
            if t >= method.n_volumes:
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            motion = method.work(volume)
            wall_ms[i].append(1e3 * (time.perf_counter() - wall))
            cpu_ms[i].append(1e3 * (time.process_time() - cpu))
            if method.estimates:
                errors_mm[i].append(run.phantom.error_mm(motion, truth))
    first = float(np.median(cpu_ms[0]))
    return [Row(method.name, len(wall), float(np.median(wall)), float(np.percentile(wall, 99)), min(wall),
                float(np.median(cpu)), float(np.mean(errors)) if errors else None, float(np.median(cpu)) / first)
            for method, wall, cpu, errors in zip(methods, wall_ms, cpu_ms, errors_mm, strict=True)]


def measure(n_volumes: int = 100, n_peer_volumes: int = 20) -> dict[str, Any]:
    """All rows and what they were measured on, ready for JSON."""
    run = make_run(n_volumes)
    load_before = os.getloadavg()[0]
    rows = timed([
        Method("push(), 6,000 voxels", ours(run, 6000), n_volumes),
        Method("push(), 2,000 voxels", ours(run, 2000), n_volumes),
        Method("push(), 40,000 voxels", ours(run, 40000), n_volumes),
        Method("SimpleITK: register, resample all", itk(run), n_peer_volumes),
        Method("SciPy: resample all, motion known", whole_volume_resampling(run), n_peer_volumes, estimates=False),
    ], run)
    return {
        "benchmark": "preprocessing", "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(), "cores": os.cpu_count(), "load_before": load_before,
        "load_after": os.getloadavg()[0], "threads": 1, "python": platform.python_version(),
        "numpy": np.__version__, "scipy": scipy.__version__, "SimpleITK": sitk.Version.VersionString(),
        "shape": list(run.phantom.shape), "rows": [asdict(row) for row in rows],
    }


def show(report: dict[str, Any]) -> None:
    """Print the report as a table."""
    table = Table(title="One volume of 64 x 64 x 36 to features, one thread "
                        f"(load {report['load_before']:.1f} to {report['load_after']:.1f} on {report['cores']} cores)")
    for heading in ("method", "n", "median ms", "p99 ms", "min ms", "cpu ms", "error mm", "x ours"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in report["rows"]:
        error = "-" if row["error_mm"] is None else f"{row['error_mm']:.3f}"
        table.add_row(row["method"], str(row["n"]), f"{row['median_ms']:.2f}", f"{row['p99_ms']:.2f}",
                      f"{row['min_ms']:.2f}", f"{row['cpu_median_ms']:.2f}", error, f"{row['ratio']:.1f}")
    Console().print(table)
