"""Ready-made response arrays of ds003720, as published on Zenodo (record 8275363), with the events of the data set.

`sub-001_Resp_Training.npy` holds the preprocessed cortical responses to the training clips, run after run, ten
volumes a clip, the repeated first clip of each run dropped: (n_voxels, 4800) as published, or (4800, n_voxels) or
(480, 10, n_voxels) as others keep them. `sub-001_Resp_Test.npy` holds the test runs likewise (2400 volumes), or
`sub-001_Resp_Test_Mean.npy` their mean over the four repeats (600). The arrays say nothing of order or time: both
come from the events files, which have to lie in the same folder or below it, as those of ds003720 do. Arrays stay on
disk: what is used is mapped, not read.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.responses import ResponseRun, Responses
from offline_training.scan_order import entity, scan_of, scan_order
from realtime.session.events import Event, read_events
from scanner_bridge.errors import SourceError
from scanner_bridge.sources.sidecar import read_sidecars

VOLUMES_PER_CLIP = 10
_TRAINING, _TEST, _TEST_MEAN = "_Resp_Training.npy", "_Resp_Test.npy", "_Resp_Test_Mean.npy"
_VOXELS_AT_ONCE = 2048

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ResponseArrays:
    """A person's arrays, and what is to be known of them.

    Attributes
    ----------
    responses : Responses
        Float32 arrays are mapped from disk as long as no voxel has to be left out.
    notes : tuple of str
        Sentences for people: voxels left out, sessions unknown.
    """

    responses: Responses
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _RunEvents:
    """Events of a run without the dropped first clip, onsets from the first volume kept; its place in the scanning."""

    path: Path
    run_id: str
    is_test: bool
    session: int
    place: int
    events: tuple[Event, ...]


def array_subjects(folder: Path) -> tuple[str, ...]:
    """Subjects whose training array lies in a folder or below it; empty where there is none."""
    return tuple(sorted({entity(path.name, "sub") for path in folder.rglob(f"sub-*{_TRAINING}")}))


def read_arrays(folder: Path, subject: str | None = None) -> ResponseArrays:
    """Responses of one subject from arrays and events.

    Parameters
    ----------
    folder : Path
        Holds the arrays, the events files and, optionally, `sub-001_regions.tsv` with a column `region` and a
        row per voxel; in any depth.
    subject : str, optional
        With or without "sub-"; may be left out when there is one.

    Raises
    ------
    DatasetError
        Arrays or events missing, shapes that do not fit the events or each other, or no usable voxel.
    EventsError
        Events that cannot be used.
    """
    subjects = array_subjects(folder)
    wanted = subject.removeprefix("sub-") if subject else (subjects[0] if len(subjects) == 1 else "")
    if wanted not in subjects:
        raise DatasetError(f"{folder} holds response arrays of subjects {', '.join(subjects) or 'nobody'}; choose one "
                           f"of them, got {subject!r}")
    runs = _run_events(folder, wanted)
    training = _one(folder, f"sub-{wanted}{_TRAINING}")
    made = _cut(training, [run for run in runs if not run.is_test])
    tests, means = (_found(folder, f"sub-{wanted}{ending}") for ending in (_TEST, _TEST_MEAN))
    held = [run for run in runs if run.is_test]
    if tests is not None:
        made += _cut(tests, held)
    elif means is not None:
        made += _cut(means, [_first_cycle(run) for run in held])
    sizes = [made[0].responses.shape[1], made[-1].responses.shape[1]]
    if sizes[0] != sizes[1]:
        raise DatasetError(f"the test array of sub-{wanted} has {sizes[1]} voxels, {training.name} {sizes[0]}: they "
                           "are not of one mask; give arrays of the same person and version")
    made, kept, note = _usable_voxels(made, training)
    regions, names = _regions(_found(folder, f"sub-{wanted}_regions.tsv"), len(kept))
    clip, place = runs[0].events[0], {run.run_id: run.place for run in runs}
    notes = [note] if note else []
    if len({run.session for run in runs}) == 1:
        notes.append(f"all {len(runs)} runs of sub-{wanted} count as one session: no sidecar tells them apart")
    made.sort(key=lambda run: place[run.run_id])
    responses = Responses(wanted, clip.duration_s / VOLUMES_PER_CLIP, tuple(made), regions[kept], names)
    return ResponseArrays(responses, tuple(notes))


def _run_events(folder: Path, subject: str) -> list[_RunEvents]:
    """Runs with events in the order of the arrays, which is that of their names."""
    paths = {path.name.removesuffix("_events.tsv"): path
             for path in sorted(folder.rglob(f"sub-{subject}_*task-*_events.tsv"))}
    if not paths:
        raise DatasetError(f"no sub-{subject}_task-*_events.tsv in {folder}: the arrays do not say what was heard; "
                           "copy the events of ds003720 there")
    scans = scan_order([scan_of(run_id, _sidecar(path.with_name(f"{run_id}_bold.nii.gz")))
                        for run_id, path in paths.items()])
    place = {run_id: number for number, run_id in enumerate(scans.run_ids)}
    runs = []
    for run_id, path in paths.items():
        first, *others = read_events(path)
        shifted = tuple(replace(event, onset_s=event.onset_s - first.duration_s - first.onset_s, is_dummy=False)
                        for event in others)
        lengths = {event.duration_s for event in (first, *others)}
        if not others or len(lengths) > 1 or any(not event.clip_id for event in others):
            raise DatasetError(f"{path} has {len(others) + 1} events of {len(lengths)} lengths: the arrays hold "
                               f"{VOLUMES_PER_CLIP} volumes of every clip but a run's first, so clips must be equally "
                               "long and named; give the events as ds003720 ships them")
        runs.append(_RunEvents(path, run_id, "test" in entity(run_id, "task").lower(), scans.sessions[place[run_id]],
                               place[run_id], shifted))
    return runs


def _sidecar(image: Path) -> dict[str, object]:
    try:
        return read_sidecars(image)[0]
    except SourceError as exc:
        raise DatasetError(str(exc)) from exc


def _first_cycle(run: _RunEvents) -> _RunEvents:
    """What a mean over repeats holds: every clip once, in the order of its first presentation."""
    n_clips = len({event.clip_id for event in run.events})
    names = [event.clip_id for event in run.events]
    if len(names) % n_clips or names != names[:n_clips] * (len(names) // n_clips):
        raise DatasetError(f"{run.path} does not repeat its {n_clips} clips in one order: a mean over repeats cannot "
                           f"be told apart; give sub-*{_TEST} in place of {_TEST_MEAN}")
    return replace(run, events=run.events[:n_clips])


def _cut(path: Path, runs: Sequence[_RunEvents]) -> list[ResponseRun]:
    """An array's runs, views of the file."""
    n_clips = sum(len(run.events) for run in runs)
    volumes, made, at = _by_volume(path, n_clips), [], 0
    for run in runs:
        n_volumes = VOLUMES_PER_CLIP * len(run.events)
        made.append(ResponseRun(run.run_id, run.session, run.is_test, volumes[at : at + n_volumes],
                                np.ones(n_volumes, bool), run.events, np.zeros(n_volumes)))
        at += n_volumes
    return made


def _by_volume(path: Path, n_clips: int) -> Floats:
    """The array as (n_volumes, n_voxels), mapped; float64 stays float64 until it is used."""
    n_volumes = n_clips * VOLUMES_PER_CLIP
    wanted = (f"wanted (n_voxels, {n_volumes}), ({n_volumes}, n_voxels) or ({n_clips}, {VOLUMES_PER_CLIP}, n_voxels): "
              f"{n_clips} clips of the events, {VOLUMES_PER_CLIP} volumes each")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{path} cannot be read ({exc}); copy it again, {wanted}") from exc
    if array.dtype.kind != "f":
        raise DatasetError(f"{path} holds {array.dtype}, wanted floating-point responses")
    if array.shape == (n_volumes, n_volumes):
        raise DatasetError(f"{path} has as many voxels as volumes, {n_volumes}: its shape does not tell which is "
                           f"which; save it as ({n_clips}, {VOLUMES_PER_CLIP}, n_voxels)")
    if array.ndim == 2 and array.shape[1] == n_volumes:
        volumes = array.T
    elif array.ndim == 2 and array.shape[0] == n_volumes:
        volumes = array
    elif array.ndim == 3 and array.shape[:2] == (n_clips, VOLUMES_PER_CLIP):
        volumes = array.reshape(n_volumes, -1)
    else:
        raise DatasetError(f"{path} has shape {array.shape}, {wanted}; are these the events of this array?")
    return cast(Floats, volumes)


def _usable_voxels(runs: list[ResponseRun], path: Path) -> tuple[list[ResponseRun], NDArray[np.bool_], str]:
    """Runs over the voxels that vary in every training run and are finite everywhere; what was left out, in words."""
    n_voxels = runs[0].responses.shape[1]
    kept = np.ones(n_voxels, bool)
    for start in range(0, n_voxels, _VOXELS_AT_ONCE):
        columns = slice(start, start + _VOXELS_AT_ONCE)
        for run in runs:
            block = np.asarray(run.responses[:, columns])
            kept[columns] &= np.isfinite(block).all(axis=0) & (run.is_test | (np.ptp(block, axis=0) > 0))
    if not kept.any():
        raise DatasetError(f"none of the {n_voxels} voxels of {path} varies in every training run and is finite; these "
                           "are no responses: copy the array again")
    if kept.all() and runs[0].responses.dtype == np.float32:
        return runs, kept, ""
    made = [replace(run, responses=np.asarray(run.responses[:, kept], np.float32)) for run in runs]
    n_left, first = n_voxels - int(kept.sum()), int(np.argmin(kept))
    note = (f"{n_left} of {n_voxels} voxels are constant in a training run or hold NaN, the first is voxel {first}: "
            "they are left out") if n_left else ""
    return made, kept, note


def _regions(path: Path | None, n_voxels: int) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Region of each voxel of the file, and their names in order of appearance."""
    if path is None:
        return np.full(n_voxels, -1, np.intp), ()
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    if len(rows) != n_voxels or any("region" not in row for row in rows):
        raise DatasetError(f"{path} has {len(rows)} rows, wanted a column 'region' and a row for each of the "
                           f"{n_voxels} voxels of the arrays")
    given = [(row["region"] or "").strip() for row in rows]
    names = tuple(dict.fromkeys(name for name in given if name not in ("", "n/a")))
    return np.array([names.index(name) if name in names else -1 for name in given], np.intp), names


def _found(folder: Path, name: str) -> Path | None:
    found = sorted(folder.rglob(name))
    if len(found) > 1:
        raise DatasetError(f"{name} lies in {folder} {len(found)} times, first in {found[0].parent} and "
                           f"{found[1].parent}; keep one")
    return found[0] if found else None


def _one(folder: Path, name: str) -> Path:
    found = _found(folder, name)
    assert found is not None, name
    return found
