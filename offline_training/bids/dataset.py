"""A recorded session or visit becomes a BIDS data set: whole or not at all, one volume in memory at a time.

The session is fed to a fresh core again on the way, and every step compared with the record: what is exported is what
happened, or the export says where it is not.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.bids import events
from offline_training.bids.attempts import Attempt, attempts_of, by_attempt
from offline_training.bids.clock import RunClock, run_clock, sample_clock, sounded_cues
from offline_training.bids.describe import (
    DERIVATIVES,
    EXCLUDED,
    decoder_facts,
    sidecar,
    write_descriptions,
)
from offline_training.bids.feedback import COLUMNS, feedback_row, vector_columns, vector_row
from offline_training.bids.images import RunImage
from offline_training.bids.late import write_late
from offline_training.bids.recordings import Source, find_source
from offline_training.bids.tables import Column, Table, write_table
from offline_training.errors import DatasetError
from offline_training.progress import Progress
from realtime.atomic import write_json
from realtime.errors import SessionError
from realtime.playback.monitor import read_ticks
from realtime.playback.recorder import read_last, repair_wav
from realtime.session.record import DocumentLog
from realtime.session.replay import RepeatedStep, repeat_session
from scanner_bridge.volume import RunHeader, Volume

_EXCLUDED_COLUMNS = (
    Column("session", "Folder of the session."), Column("attempt", "Number of the attempt, from 1."),
    Column("file", "The images; n/a without any."), Column("status", "How the attempt ended; late: of its images."),
    Column("reason", "Why."),
    Column("volumes", "How many there are."))


@dataclass(frozen=True)
class ExportSettings:
    """How a data set is named, and what may be told.

    Attributes
    ----------
    name : str
        Of the data set.
    task : str
        Of a session that is no visit's.
    session : str
        Label of the scanning session; "" for the folder's.
    allocation : Path or None
        Opened: the arm may be told.
    """

    name: str = "Music decoded live with Innerear"
    task: str = "music"
    session: str = ""
    allocation: Path | None = None


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    runs, excluded : int
        Complete runs, and rows of what belongs to none: attempts that were aborted, volumes that came late.
    blinded : bool
        Whether something was left out because it could tell the arm.
    """

    runs: int
    excluded: int
    blinded: bool


@dataclass
class _Kept:
    """What is learnt while an attempt's volumes go by."""

    header: RunHeader | None = None
    lost: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)


def export_bids(path: Path, out: Path, settings: ExportSettings, progress: Progress | None = None) -> Exported:
    """Write a data set.

    Parameters
    ----------
    path : Path
        A session, or a visit, all of whose runs become one scanning session.
    out : Path
        Folder to make; it appears only when it is complete.
    settings : ExportSettings
    progress : Progress, optional
        Told of every volume.

    Raises
    ------
    DatasetError
        The target holds something, or there is nothing to export yet.
    RealtimeError
        The session does not repeat, or the allocation is not as it should be.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists and is not empty; name a new folder for the data set")
    source = find_source(path, settings.task, settings.session, settings.allocation)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as exc:
        raise DatasetError(f"{out} cannot be made ({exc.strerror}); name another folder") from exc
    try:
        exported = _write(scratch, source, settings.name, progress)
        scratch.chmod(0o755)
        scratch.rename(out)
    except OSError as exc:
        raise DatasetError(f"{out} cannot be written ({exc.strerror}): nothing was exported; make room, or name "
                           "another folder") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _remember(source, out)
    return exported


def _remember(source: Source, out: Path) -> None:
    """Each session knows its exports, so that none is purged without one; one on a read-only disk does not."""
    for recording in source.recordings:
        with contextlib.suppress(SessionError):
            log = DocumentLog(recording.folder.exports)
            log.append({"at": datetime.now(UTC).isoformat(timespec="seconds"), "to": str(out.resolve())})
            log.close()


def _write(root: Path, source: Source, name: str, progress: Progress | None) -> Exported:
    excluded: list[dict[str, Any]] = []
    n_runs = 0
    (root / DERIVATIVES).mkdir(parents=True)
    for recording in source.recordings:
        attempts = attempts_of(recording)
        excluded += [_row_of(attempt, "") for attempt in attempts if not attempt.steps]
        for number, steps in by_attempt(repeat_session(recording.folder.path)):
            attempt = attempts[number - 1]
            if attempt.status == "complete":
                kept = _run(root, attempt, steps, progress)
                n_runs += 1
            else:
                excluded.append(_excluded(root, attempt, steps, kept := _Kept()))
            excluded += _late(root, attempt, kept)
    if excluded:
        (root / EXCLUDED).mkdir(parents=True, exist_ok=True)
        write_table(root / EXCLUDED / "excluded.tsv", _EXCLUDED_COLUMNS, excluded)
    write_descriptions(root, source, name)
    return Exported(n_runs, len(excluded), any(recording.hidden for recording in source.recordings))


def _run(root: Path, attempt: Attempt, steps: Iterator[RepeatedStep], progress: Progress | None) -> _Kept:
    """A complete run: image, sidecar, events, and its derivatives."""
    recording, documents = attempt.recording, attempt.documents
    name, hidden, acquisition = recording.name, recording.hidden, attempt.acquisition
    n_volumes = len(attempt.steps)
    for folder in (root, root / DERIVATIVES):
        (folder / name.folder).mkdir(parents=True, exist_ok=True)
    derived, kept = root / DERIVATIVES, _Kept()
    watched = _counted(_feedback(derived, attempt, steps), name.stem, n_volumes, progress)
    _image(root / name.path("bold.nii.gz"), attempt, watched, kept)
    slice_times_s = kept.header.slice_times_s if kept.header else None
    write_json(root / name.path("bold.json"),
               sidecar(recording, attempt.start, slice_times_s, acquisition, kept.lost, n_volumes))
    clock = run_clock(attempt.timing, acquisition)
    cues = sounded_cues(attempt.timing, clock)
    genres = {trial["clip_id"]: trial["genre"] for trial in attempt.start.get("trials", ())}
    if recording.design is not None:
        rows = list(events.designed_trials(recording.design, cues, genres, hidden))
    else:
        rows = list(events.known_trials(attempt.start, documents, n_volumes, acquisition.tr_s))
    if rows:
        write_table(root / name.path("events.tsv"), events.TRIALS, rows)
    write_table(derived / name.path("desc-faults_timeline.tsv"), events.FAULTS,
                events.faults(documents, acquisition, hidden))
    if not hidden:
        write_table(derived / name.path("desc-played_timeline.tsv"), events.PLAYED,
                    events.played(cues, acquisition, n_volumes))
        _sound(derived, attempt, clock)
    return kept


def _counted(steps: Iterator[RepeatedStep], what: str, total: int, progress: Progress | None) -> Iterator[RepeatedStep]:
    for done, step in enumerate(steps, start=1):
        yield step
        if progress is not None:
            progress(what, done, total)


def _feedback(derived: Path, attempt: Attempt, steps: Iterator[RepeatedStep]) -> Iterator[RepeatedStep]:
    """Writes the tables of feedback while the steps go by."""
    name, hidden = attempt.recording.name, attempt.recording.hidden
    timing = {entry["volume"]: entry for entry in attempt.timing if "received_s" in entry}
    dim = int(attempt.start["space"]["dim"])
    facts = decoder_facts(attempt.start, hidden)
    with contextlib.ExitStack() as stack:
        told = stack.enter_context(Table(derived / name.path("desc-nfb_timeseries.tsv"), COLUMNS, facts))
        vectors = None if hidden else stack.enter_context(
            Table(derived / name.path("desc-embedding_timeseries.tsv"), vector_columns(dim), facts))
        for each in steps:
            told.write(feedback_row(each.step, attempt.acquisition, timing, hidden))
            row = vector_row(each.step, hidden)
            if vectors is not None and row is not None:
                vectors.write(row)
            yield each


def _image(path: Path, attempt: Attempt, steps: Iterator[RepeatedStep], kept: _Kept) -> None:
    """The images of an attempt, in the order of their indices."""
    with contextlib.ExitStack() as stack:
        image: RunImage | None = None
        for each in steps:
            if image is None:
                kept.header = each.header
                stored = attempt.stored(each.header)
                image = stack.enter_context(RunImage(path, each.header, len(attempt.steps), stored))
            percept = each.step.percept
            volume = percept.volume if percept.volume is not None and _fits(percept.volume, each.header) else None
            image.write(volume)
            if percept.status in ("GAP", "REJECTED"):
                kept.lost.append(percept.volume_index)
            if percept.status == "GAP":
                kept.given_up.append(percept.volume_index)


def _fits(volume: Volume, header: RunHeader) -> bool:
    """Whether a volume that was not used can stand among the others."""
    return volume.data.shape == header.shape and bool(np.allclose(volume.affine, header.affine, atol=1e-3))


def _excluded(root: Path, attempt: Attempt, steps: Iterator[RepeatedStep], kept: _Kept) -> dict[str, Any]:
    """The images of an attempt that was aborted."""
    file = _file_of(root, attempt, "bold")
    _image(file, attempt, steps, kept)
    return _row_of(attempt, file.name)


def _late(root: Path, attempt: Attempt, kept: _Kept) -> list[dict[str, Any]]:
    """The images of an attempt that came when they had been given up."""
    if kept.header is None or not kept.given_up:
        return []
    file = _file_of(root, attempt, "late")
    indices = write_late(file, attempt.recording.folder.journal, kept.header, attempt.stored(kept.header),
                         kept.given_up)
    if not indices:
        return []
    told = f"came when they had been given up: volumes {', '.join(map(str, indices))}"
    return [{**_row_of(attempt, file.name), "status": "late", "reason": told, "volumes": len(indices)}]


def _file_of(root: Path, attempt: Attempt, what: str) -> Path:
    folder = root / EXCLUDED
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{attempt.recording.folder.path.resolve().name}_attempt-{attempt.number:02}_{what}.nii.gz"


def _row_of(attempt: Attempt, file: str) -> dict[str, Any]:
    return {"session": attempt.recording.folder.path.resolve().name, "attempt": attempt.number, "file": file,
            "status": attempt.status, "reason": attempt.reason, "volumes": len(attempt.steps)}


def _sound(derived: Path, attempt: Attempt, clock: RunClock) -> None:
    """The recording of what was played, and its clock; a player that was started again recorded into another file."""
    played = attempt.recording.folder.played
    parts = [played, *sorted(played.parent.glob(f"{played.stem}-*{played.suffix}"))]
    for number, part in enumerate(part for part in parts if part.exists()):
        desc = "played" if number == 0 else f"played{number + 1}"
        target = derived / attempt.recording.name.path(f"desc-{desc}_audio.wav")
        shutil.copyfile(part, target)
        n_frames, rate_hz = repair_wav(target), read_last(target, 0.0).rate_hz
        heard = sample_clock(read_ticks(part), clock, rate_hz)
        write_json(target.with_suffix(".json"), {
            "Description": "Every sample that left the program, both channels, full scale 1. A sample sounded "
                           "StartTime + RateRatio * sample / SamplingFrequency seconds after the run's start.",
            "SamplingFrequency": rate_hz, "Samples": n_frames, "StartTime": heard.start_s,
            "RateRatio": heard.rate_ratio, "VolumesKnownBy": clock.known_by})
