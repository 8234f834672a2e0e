"""A recorded session as arrays and values, for the report. Reads the session's files; changes none."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.disclosure import COMMANDS, is_hidden, told
from offline_training.errors import DatasetError
from realtime.bundle import Bundle, read_bundle
from realtime.errors import BundleError
from realtime.session.attempts import last_attempt, last_attempt_timing
from realtime.session.folder import SessionFolder
from realtime.session.record import Document, read_documents
from realtime.session.trial_coverage import segments

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeardTrial:
    """One trial as the events had it."""

    number: int
    onset_s: float
    duration_s: float
    clip_id: str
    genre: str
    is_dummy: bool


@dataclass(frozen=True)
class Segment:
    """A segment of a free run, and what it was taken for at its end.

    Attributes
    ----------
    number : int
        Counted from 0, as in the record.
    first_volume, told_volume : int
        Where it begins, and the volume at which the program said so.
    n : int
        Volumes of its evidence.
    clip_id, genre : str
        The most probable ones.
    posterior, genre_posterior : float
        Of these.
    abstained : bool
        Not sure enough to decide.
    """

    number: int
    first_volume: int
    told_volume: int
    n: int
    clip_id: str
    genre: str
    posterior: float
    genre_posterior: float
    abstained: bool


@dataclass(frozen=True)
class SoundingCue:
    """A cue with the frame of played.wav that was its first."""

    clip_id: str
    frame: int


@dataclass(frozen=True, eq=False)
class Steps:
    """The session's steps as columns, one row per volume index, in order.

    Attributes
    ----------
    volume, trial, n : int arrays of shape (n_steps,)
    status, genre, playing, best_clip : tuples of str
        `genre` is the decoded one, "" without evidence.
    confidence, genre_confidence, displacement_mm, dvars_percent, tsnr : float64 arrays of shape (n_steps,)
        NaN where there was none.
    motion : float64 array of shape (n_steps, 4, 4)
        Reference world to volume world; NaN for lost volumes.
    """

    volume: NDArray[np.intp]
    trial: NDArray[np.intp]
    n: NDArray[np.intp]
    status: tuple[str, ...]
    genre: tuple[str, ...]
    playing: tuple[str, ...]
    best_clip: tuple[str, ...]
    confidence: Floats
    genre_confidence: Floats
    displacement_mm: Floats
    dvars_percent: Floats
    tsnr: Floats
    motion: Floats

    @property
    def n_lost(self) -> int:
        """Volumes that never came or could not be used."""
        return self.status.count("GAP") + self.status.count("REJECTED")


@dataclass(frozen=True, eq=False)
class Latency:
    """Times from a volume's scheduled end, in milliseconds, one row per volume that came.

    `interval_ms` is the time between two volumes as they were due: shorter than the repetition
    time in a rehearsal that runs faster than a scanner; NaN with fewer than two volumes.
    """

    volume: NDArray[np.intp]
    embedding_ms: Floats
    decision_ms: Floats
    sound_ms: Floats
    interval_ms: float


@dataclass(frozen=True, eq=False)
class SessionView:
    """Everything the report shows.

    Attributes
    ----------
    folder : Path
    start, stop, summary : dict
        Documents; empty when the session was cut off before they were written.
    tr_s : float
    trials : tuple of HeardTrial
    steps : Steps
    notes : tuple of str
        Notes and operator's events of the record, in words.
    latency : Latency
    cues : tuple of SoundingCue
    clip_genres : dict of str to str
        Genre of each clip that was heard or ranked.
    bundle : Bundle or None
        The session's copy.
    missing : tuple of str
        What could not be read, in words.
    hidden : bool
        The session is blinded: nothing is in here by which its arm could be known.
    """

    folder: Path
    start: Document
    stop: Document
    summary: Document
    tr_s: float
    trials: tuple[HeardTrial, ...]
    steps: Steps
    notes: tuple[str, ...]
    latency: Latency
    cues: tuple[SoundingCue, ...]
    clip_genres: dict[str, str]
    bundle: Bundle | None
    missing: tuple[str, ...]
    segments: tuple[Segment, ...] = ()
    hidden: bool = False

    @property
    def is_free_run(self) -> bool:
        """Whether the run had segments in place of trials."""
        return str(self.start.get("decoding", {}).get("mode")) == "free_run"

    @property
    def motion_limit_mm(self) -> float | None:
        """Framewise displacement above which a volume was no evidence: the session's, or else its bundle's."""
        limit_mm: float | None = self.start.get("decoding", {}).get("motion_limit_mm")
        return limit_mm


_KNOWN = ("volumes_sent", "volumes_journaled", "gaps", "rejected", "censored", "duplicates", "late", "status", "reason",
          "trigger", "attempts", "clock", "underruns", "sink", "player")
"""Figures of a summary that are the same in every arm."""


def read_session(folder: Path, allocation: Path | None = None) -> SessionView:
    """Read what a session left behind; a session that was cut off gives what there is.

    Parameters
    ----------
    folder : Path
    allocation : Path, optional
        Opened: without it a blinded session is read as it may be shown.

    Raises
    ------
    DatasetError
        No record in the folder, or one without a start.
    SessionError
        The allocation is sealed, or another study's.
    """
    files = SessionFolder(folder)
    documents = last_attempt(read_documents(files.record))
    start = next((document for document in documents if document["doc"] == "start"), None)
    if start is None:
        raise DatasetError(f"no session to report in {folder}: {files.record.name} is missing or has no start; give "
                           "the folder of a session that saw at least its run header")
    hidden = is_hidden(files, str(start.get("bundle", {}).get("subject", "")), allocation)
    stop = next((document for document in documents if document["doc"] == "stop"), {})
    rows = [told(document, hidden) for document in documents if document["doc"] == "step"]
    trials = tuple(_trial(trial) for trial in start.get("trials", ()))
    timing, missing = last_attempt_timing(read_documents(files.timing)), []
    summary = _json(files.summary)
    if hidden:
        summary = {key: value for key, value in summary.items() if key in _KNOWN}
    for name, there in ((files.summary.name, summary), (files.timing.name, timing), ("the end of the record", stop)):
        missing += [] if there else [name]
    bundle = None
    try:
        bundle = read_bundle(files.bundle)
    except BundleError as exc:
        missing.append(f"the bundle ({exc})")
    cues = tuple(SoundingCue(entry.get("clip_id", ""), int(entry["position"])) for entry in timing
                 if "cue" in entry and entry.get("position") is not None)
    notes = tuple(_note(document) for document in documents if document["doc"] == "note" or (
        document["doc"] == "event" and (not hidden or document["name"] in COMMANDS)))
    return SessionView(folder, start, stop, summary, float(start["run"]["tr_s"]), trials, _steps(rows), notes,
                       _latency(timing), () if hidden else cues, _clip_genres(trials, rows), bundle, tuple(missing),
                       _segments(rows), hidden)


def _json(path: Path) -> Document:
    document: Document = json.loads(path.read_bytes()) if path.exists() else {}
    return document


def _trial(trial: Document) -> HeardTrial:
    return HeardTrial(int(trial["trial"]), float(trial["onset_s"]), float(trial.get("duration_s") or 0.0),
                      trial.get("clip_id", ""), trial.get("genre", ""), bool(trial.get("is_dummy", False)))


def _clip_genres(trials: tuple[HeardTrial, ...], rows: list[Document]) -> dict[str, str]:
    genres = {trial.clip_id: trial.genre for trial in trials}
    for row in rows:
        genres |= {ranked["clip_id"]: ranked["genre"] for ranked in row.get("top", ())}
    return genres


def _segments(rows: list[Document]) -> tuple[Segment, ...]:
    told = {row["segment"]["number"]: row["volume"] for row in reversed(rows) if row.get("segment")}
    return tuple(Segment(found["number"], found["first_volume"], told[found["number"]], found["n"], found["clip_id"],
                         found["genre"] or "", found["posterior"], found["genre_posterior"] or float("nan"),
                         bool(found["abstained"]))
                 for found in segments(rows))


def _note(document: Document) -> str:
    if document["doc"] == "note":
        return str(document.get("text", ""))
    text = f": {document['text']}" if document.get("text") else ""
    return f"before volume {document.get('before_volume')}: {document.get('name')}{text}"


def _steps(rows: list[Document]) -> Steps:
    def numbers(name: str) -> Floats:
        return np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float64)

    nowhere = [float("nan")] * 16
    return Steps(
        volume=np.array([row["volume"] for row in rows], np.intp),
        trial=np.array([row.get("trial", -1) for row in rows], np.intp),
        n=np.array([row.get("n", 0) for row in rows], np.intp),
        status=tuple(row["status"] for row in rows), genre=tuple(row.get("genre") or "" for row in rows),
        playing=tuple(row.get("playing") or "" for row in rows),
        best_clip=tuple(row["top"][0]["clip_id"] if row.get("top") else "" for row in rows),
        confidence=numbers("confidence"), genre_confidence=numbers("genre_confidence"),
        displacement_mm=numbers("fd_mm"), dvars_percent=numbers("dvars_percent"), tsnr=numbers("tsnr"),
        motion=np.array([row.get("motion") or nowhere for row in rows], np.float64).reshape(-1, 4, 4))


def _latency(timing: list[Document]) -> Latency:
    rows = [entry for entry in timing if "cue" not in entry and entry.get("due_s") is not None]
    due = {entry["volume"]: entry["due_s"] for entry in rows}

    def after_due(name: str) -> Floats:
        return np.array([1e3 * (row[name] - row["due_s"]) if row.get(name) is not None else np.nan for row in rows])

    embedded = after_due("embedded_s")
    embedded[[not row.get("embedded", True) for row in rows]] = np.nan
    sound = [1e3 * (entry["sound_s"] - due[entry["volume"]]) for entry in timing
             if "cue" in entry and entry.get("volume") in due]
    volumes = np.array([row["volume"] for row in rows], np.intp)
    steps_s = np.diff([row["due_s"] for row in rows]) / np.diff(volumes)
    interval_ms = 1e3 * float(np.median(steps_s)) if len(steps_s) else float("nan")
    return Latency(volumes, embedded, after_due("decided_s"), np.array(sound), interval_ms)
