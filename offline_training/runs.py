"""Recorded runs: a folder of images with events, BIDS or plain pairs, as values.

BIDS: `sub-*/[ses-*/]func/*_bold.nii[.gz]` with `*_events.tsv` and a JSON sidecar beside it or
higher up. Plain: `NAME.nii[.gz]` with `NAME_events.tsv` in one folder. A run whose task has
"test" in its name is held out from training; everything else is trained on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.regions import find_atlas, find_region
from offline_training.scan_order import entity, scan_of, scan_order
from offline_training.segmentation import find_segmentations
from realtime.errors import EventsError
from realtime.session.events import Event, check_events_fit, read_events
from scanner_bridge.errors import SourceError
from scanner_bridge.sources.replay import ReplaySource
from scanner_bridge.sources.sidecar import read_sidecars, run_name
from scanner_bridge.volume import Volume

_NIFTI_HEADER_BYTES = 348


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """One run on disk.

    Attributes
    ----------
    run_id : str
        File name without `_bold` and endings.
    subject, task : str
        BIDS entities; "" when the name has none.
    bold, events_path : Path
        4-D NIfTI and its events.
    events : tuple of Event
        What was heard, the dummy marked.
    tr_s : float
        Repetition time: the sidecar's, else the image header's.
    n_volumes : int
    shape : tuple of int
        (nx, ny, nz).
    affine : float64 array of shape (4, 4)
        Voxel to mm.
    slice_times_s : tuple of float or None
        When each slice was acquired after the start of its volume, where the sidecar says it.
    session : int
        Scanning session, from 0, as far as the data set tells (`scan_order`).
    """

    run_id: str
    subject: str
    task: str
    bold: Path
    events_path: Path
    events: tuple[Event, ...]
    tr_s: float
    n_volumes: int
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    slice_times_s: tuple[float, ...] | None = None
    session: int = 0


@dataclass(frozen=True)
class Dataset:
    """Runs of one person.

    Attributes
    ----------
    subject : str
    training, test : tuple of RecordedRun
        In order of acquisition, of name where that is unknown; test runs are never trained on.
    region : Path or None
        Mask of where the decoder may look, when the data set has one.
    segmentations : tuple of Path
        Images that may say where white matter and fluid are, of any space.
    atlas : Path or None
        Label image of its regions, when the data set has one.
    """

    subject: str
    training: tuple[RecordedRun, ...]
    test: tuple[RecordedRun, ...]
    region: Path | None = None
    segmentations: tuple[Path, ...] = ()
    atlas: Path | None = None

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        """Training runs, then test runs."""
        return (*self.training, *self.test)

    @property
    def n_sessions(self) -> int:
        """Scanning sessions, as far as the data set tells."""
        return len({run.session for run in self.runs})


def read_dataset(folder: Path, subject: str | None = None) -> Dataset:
    """Runs of one subject of a data set; images are not read, only their headers.

    Parameters
    ----------
    folder : Path
    subject : str, optional
        With or without "sub-"; may be left out when the data set has one.

    Raises
    ------
    DatasetError
        No runs, runs that cannot be read (all named at once), several subjects and none chosen, or
        runs of different grid, voxel size or repetition time.
    """
    if not folder.is_dir():
        raise DatasetError(f"no data set in {folder}: it is not a folder; give the folder that holds sub-*/ or the "
                           "images with their events")
    images = sorted(path for path in folder.rglob("*.nii*") if _events_path(path) is not None)
    subjects = sorted({entity(path.name, "sub") for path in images})
    if not images:
        n_events = sum(1 for _ in folder.rglob("*_events.tsv"))
        raise DatasetError(f"no run in {folder}: no *_bold.nii[.gz] with *_events.tsv beside it, nor NAME.nii[.gz] "
                           f"with NAME_events.tsv, and {n_events} events files without an image; give the data set's "
                           "top folder, and fetch its images, in a git-annex clone with: datalad get")
    wanted = subject.removeprefix("sub-") if subject else subjects[0]
    if wanted not in subjects or (subject is None and len(subjects) > 1):
        raise DatasetError(f"{folder} holds subjects {', '.join(subjects)}; choose one of them, got {subject!r}")
    runs, problems = [], []
    for path in images:
        if entity(path.name, "sub") == wanted:
            try:
                runs.append(read_run(path))
            except (DatasetError, EventsError) as exc:
                problems.append(str(exc))
    problems = problems or _grid_problems(runs)
    if problems:
        raise DatasetError(f"{len(problems)} problems in {folder}: {'; '.join(problems[:3])}")
    runs = _in_order(_with_dummies(runs))
    test = tuple(run for run in runs if "test" in run.task.lower())
    return Dataset(wanted, tuple(run for run in runs if run not in test), test, find_region(folder, wanted),
                   find_segmentations(folder, wanted), find_atlas(folder, wanted))


def read_run(bold: Path) -> RecordedRun:
    """One run from its image's header, its sidecar and its events.

    Raises
    ------
    DatasetError
        The image or sidecar cannot be read, is no run, or gives no repetition time.
    EventsError
        The events cannot be read or do not fit the run.
    """
    events_path = _events_path(bold)
    if events_path is None:
        raise DatasetError(f"{bold} has no events beside it; wanted {_run_id(bold)}_events.tsv")
    header = _open(bold).header
    events = read_events(events_path)
    check_events_fit(events, header.n_volumes, header.tr_s, str(events_path))
    return RecordedRun(
        run_id=_run_id(bold), subject=entity(bold.name, "sub"), task=entity(bold.name, "task"),
        bold=bold, events_path=events_path, events=events, tr_s=header.tr_s, n_volumes=header.n_volumes or 0,
        shape=header.shape, affine=header.affine, slice_times_s=header.slice_times_s)


def read_volumes(run: RecordedRun) -> Iterator[Volume]:
    """Volumes of a run, in order, as the bridge would replay them to the live program.

    Raises
    ------
    DatasetError
        The file ends early or is damaged.
    """
    try:
        yield from _open(run.bold)
    except SourceError as exc:
        raise DatasetError(f"{run.bold}: {exc}") from exc


def _events_path(bold: Path) -> Path | None:
    path = bold.with_name(f"{_run_id(bold)}_events.tsv")
    return path if path.is_file() else None


def _run_id(bold: Path) -> str:
    return run_name(bold).removesuffix("_bold")


def _open(bold: Path) -> ReplaySource:
    if bold.is_file() and bold.stat().st_size < _NIFTI_HEADER_BYTES:
        raise DatasetError(f"{bold} has {bold.stat().st_size} bytes: it is a pointer, not an image; fetch the data "
                           "with: datalad get")
    try:
        return ReplaySource(bold)
    except SourceError as exc:
        raise DatasetError(f"{bold}: {exc}; if the data set is a git-annex clone, fetch its images with: "
                           "datalad get") from exc


def _in_order(runs: list[RecordedRun]) -> list[RecordedRun]:
    """Runs with their sessions, in the order they were scanned."""
    order = scan_order([scan_of(run.run_id, read_sidecars(run.bold)[0]) for run in runs])
    by_id = {run.run_id: run for run in runs}
    return [replace(by_id[run_id], session=session)
            for run_id, session in zip(order.run_ids, order.sessions, strict=True)]


def _grid_problems(runs: list[RecordedRun]) -> list[str]:
    names = [run.run_id for run in runs]
    first, problems = runs[0], [f"{name} is there twice; keep one" for name in sorted(set(names))
                                if names.count(name) > 1]
    for run in runs[1:]:
        sizes = [np.linalg.norm(one.affine[:3, :3], axis=0) for one in (first, run)]
        same_voxels = run.shape == first.shape and np.allclose(sizes[0], sizes[1], atol=0.01)
        if not same_voxels or abs(run.tr_s - first.tr_s) > 1e-3:
            problems.append(f"{run.run_id} has shape {run.shape}, voxels {np.round(sizes[1], 3).tolist()} mm and TR "
                            f"{run.tr_s:g} s, {first.run_id} has {first.shape}, {np.round(sizes[0], 3).tolist()} mm "
                            f"and {first.tr_s:g} s; train on runs of one protocol")
    return problems


def _with_dummies(runs: list[RecordedRun]) -> list[RecordedRun]:
    """Mark a first clip that repeats another run's last one, as in ds003720: it would leak between folds."""
    last = {run.run_id: run.events[-1].clip_id for run in runs}
    marked = []
    for run in runs:
        first = run.events[0]
        repeats = any(clip and clip == first.clip_id for other, clip in last.items() if other != run.run_id)
        events = (replace(first, is_dummy=first.is_dummy or repeats), *run.events[1:])
        marked.append(replace(run, events=events))
    return marked
