"""What the bridge costs, beside what labs use in its place. One function per bar; each adds its keys to the report.

Run with `innerear bench bridge --json FILE`. Needs the recorded scanner data, and dcm2niix for the ratios.
"""

import os
import platform
import queue
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from rich.console import Console
from rich.table import Table

from scanner_bridge.sources import open_source
from scanner_bridge.sources.folder_watch import Watching
from scanner_bridge.sources.object_files import read_content
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.settings import SourceSettings
from tests.recorded_series import DATA, series_folder

KINDS = {
    "mosaic": "siemens_ve11_mosaic", "xa": "siemens_xa30_enhanced", "ge": "ge_dv24_slices",
    "philips": "philips_classic_phantom", "uih": "uih_grid_dti",
}  # fmt: skip
"""Kind of image to a recorded series of it."""


@dataclass(frozen=True)
class Cost:
    """What one volume took: time on the wall, and of the processor (what other load on the machine leaves alone)."""

    wall_ms: float
    cpu_ms: float


@dataclass(eq=False)
class Times:
    """What each volume cost."""

    ours: list[Cost] = field(default_factory=list)
    first: list[Cost] = field(default_factory=list)
    dcm2niix: list[Cost] = field(default_factory=list)


def parse_cost(rounds: int = 40) -> dict[str, Any]:
    """From a volume's files on disk to its voxels and place, and one dcm2niix call for the same files, in turns.

    Parameters
    ----------
    rounds : int
        How often a series is read from its first volume on; dcm2niix converts one volume per round.

    Returns
    -------
    figures : dict
        ``parse_<kind>_ms`` with median, p99, least, n, processor time and the first volume's median (it
        makes the geometry); ``dcm2niix_<kind>_ms``; ``ratio_to_dcm2niix`` by kind, of the medians on the
        wall, and its minimum; ``cpu_ratio_to_dcm2niix`` of the processor's.
    """
    program = shutil.which("dcm2niix")
    figures: dict[str, Any] = {"missing": [] if program else ["dcm2niix"]}
    ratios: dict[str, dict[str, float]] = {"ratio_to_dcm2niix": {}, "cpu_ratio_to_dcm2niix": {}}
    for kind, name in KINDS.items():
        with tempfile.TemporaryDirectory() as scratch:
            times = _times(_volumes(series_folder(name, Path(scratch)), Path(scratch)), program, rounds)
        ours = figures[f"parse_{kind}_ms"] = {**_spread(times.ours), "first": _spread(times.first)["median"]}
        if times.dcm2niix:
            theirs = figures[f"dcm2niix_{kind}_ms"] = _spread(times.dcm2niix)
            ratios["ratio_to_dcm2niix"][kind] = theirs["median"] / ours["median"]
            ratios["cpu_ratio_to_dcm2niix"][kind] = theirs["cpu"] / ours["cpu"]
    for name, by_kind in ratios.items():
        if by_kind:
            figures[name] = {**by_kind, "least": min(by_kind.values())}
    return figures


def publishing_delay(runs: int = 4) -> dict[str, Any]:
    """From a file that is complete on disk to the volume handed over, by events and by polling.

    Parameters
    ----------
    runs : int
        Of 60 mosaic files, each renamed into the folder when the one before was handed over.

    Returns
    -------
    figures : dict
        ``file_to_volume_events_ms`` and ``file_to_volume_polling_ms`` with median, p99, least and n;
        ``poll_interval_ms``: what polling may add.
    """
    poll_s = 0.05
    figures: dict[str, Any] = {"poll_interval_ms": 1e3 * poll_s}
    for watching, name in (("events", "file_to_volume_events_ms"), ("poll", "file_to_volume_polling_ms")):
        delays_ms = [delay_ms for _ in range(runs) for delay_ms in _delays_ms(watching, poll_s)]
        figures[name] = {"median": float(np.median(delays_ms)), "p99": float(np.percentile(delays_ms, 99)),
                         "least": min(delays_ms), "n": len(delays_ms)}
    return figures


BARS: tuple[Callable[[], dict[str, Any]], ...] = (parse_cost, publishing_delay)
"""Every bar that is measured; each function returns keys of its own."""


def measure() -> dict[str, Any]:
    """The whole report, ready for JSON."""
    report: dict[str, Any] = {
        "benchmark": "bridge",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    for bar in BARS:
        report |= bar()
    return report | {"load_after": os.getloadavg()[0]}


def show(report: dict[str, Any]) -> None:
    """Print the report as a table."""
    load = f"load {report['load_before']:.1f} to {report['load_after']:.1f} on {report['cores']} cores"
    table = Table(title=f"the bridge ({load})")
    for heading in ("what", "n", "median ms", "p99 ms", "cpu ms", "x ours"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, row in report.items():
        if isinstance(row, dict) and "median" in row:
            kind = name.removeprefix("dcm2niix_").removesuffix("_ms")
            ratio = f"{report['ratio_to_dcm2niix'][kind]:.1f}" if name.startswith("dcm2niix_") else ""
            table.add_row(name, str(row["n"]), f"{row['median']:.2f}", f"{row['p99']:.2f}",
                          f"{row['cpu']:.2f}" if "cpu" in row else "", ratio)
    if report["missing"]:
        table.caption = f"not installed: {', '.join(report['missing'])}"
    Console().print(table)


def _volumes(folder: Path, scratch: Path) -> list[Path]:
    """A folder of its own for every volume's files, in order."""
    assembler, groups = Assembler(), dict[int, list[Path]]()
    for file in sorted(folder.iterdir()):
        verdict = assembler.take(file.name, read_content(file))
        groups.setdefault(max(verdict.indices), []).append(file)
    folders = []
    for index, files in sorted(groups.items()):
        folders.append(scratch / f"volume-{index}")
        folders[-1].mkdir()
        for file in files:
            shutil.copyfile(file, folders[-1] / file.name)
    return folders


def _times(volumes: list[Path], program: str | None, rounds: int) -> Times:
    times, turn = Times(), cycle(volumes)
    for _ in range(rounds):
        assembler = Assembler()
        for number, folder in enumerate(volumes):
            (times.first if number == 0 else times.ours).append(_read(assembler, folder))
        if program is not None:
            times.dcm2niix.append(_convert(program, next(turn)))
    return times


def _read(assembler: Assembler, folder: Path) -> Cost:
    """From the files of a volume to the volume."""
    files = sorted(folder.iterdir())
    begin_s, cpu_s = time.perf_counter(), time.process_time()
    for file in files:
        verdict = assembler.take(file.name, read_content(file))
    series = assembler.series[verdict.run_id]
    volumes = [series.pop(index) for index in series.ready]
    cost = Cost(1e3 * (time.perf_counter() - begin_s), 1e3 * (time.process_time() - cpu_s))
    assert len(volumes) == 1, verdict
    return cost


def _convert(program: str, folder: Path) -> Cost:
    """One dcm2niix call for the same files, without sidecar and compression."""
    with tempfile.TemporaryDirectory() as out:
        command = [program, "-b", "n", "-z", "n", "-f", "volume", "-o", out, str(folder)]
        begin_s, cpu_s = time.perf_counter(), _children_s()
        done = subprocess.run(command, capture_output=True, check=False)
        cost = Cost(1e3 * (time.perf_counter() - begin_s), 1e3 * (_children_s() - cpu_s))
        assert list(Path(out).glob("*.nii")), done.stdout
    return cost


def _children_s() -> float:
    """Processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _spread(costs: list[Cost]) -> dict[str, float]:
    wall_ms = [cost.wall_ms for cost in costs]
    return {
        "median": float(np.median(wall_ms)), "p99": float(np.percentile(wall_ms, 99)), "least": min(wall_ms),
        "cpu": float(np.median([cost.cpu_ms for cost in costs])), "n": len(costs),
    }  # fmt: skip


def _delays_ms(watching: Watching, poll_s: float) -> list[float]:
    """Mosaics of one run, as many as its header announces, written while a source follows the folder."""
    with tempfile.TemporaryDirectory() as name:
        scratch, folder = Path(name), Path(name) / "export"
        folder.mkdir()
        first = pydicom.dcmread(sorted(series_folder(KINDS["mosaic"], scratch).iterdir())[0])
        waiting = queue.Queue[None]()
        done_s: list[float] = []
        stop = threading.Event()

        def scan() -> None:
            for number in range(1, 61):
                first.InstanceNumber, first.SOPInstanceUID = number, f"1.2.3.{number}"
                first.save_as(scratch / "next")
                done_s.append(time.perf_counter())
                (scratch / "next").rename(folder / f"{number:06d}.dcm")
                waiting.get()
                stop.wait(0.02 + 0.01 * (number % 7))  # so that files come at any moment of a poll interval

        asked = SourceSettings(path=folder, kind="dicom_folder", follow_s=2.0, wait_s=30.0, poll_s=poll_s,
                               watching=watching)  # fmt: skip
        source = open_source(asked)
        writer = threading.Thread(target=scan, daemon=True)
        writer.start()
        delays_ms = []
        for volume in source:
            delays_ms.append(1e3 * (time.perf_counter() - done_s[volume.index]))
            waiting.put(None)
        source.close()
        writer.join()
    return delays_ms[1:]  # the first one makes the geometry


def available() -> bool:
    """Whether the recorded scanner data are here."""
    return (DATA / "dicom").is_dir()
