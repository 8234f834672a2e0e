"""What a session made of the music heard: decoded, retrieved and played, each held against it and against chance.

The live score of a session is in its own embedding space, which chose the music: circular. Here what was retrieved and
what really sounded, cut from the recording, are embedded again by a second embedder that chose nothing.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.table import Table

from offline_training.errors import DatasetError
from offline_training.generator.fidelity import fidelity
from offline_training.kernel_distance import kernel_distance
from realtime.errors import EmbedderError
from realtime.music.catalogue import Catalogue
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.playback.monitor import Tick, read_ticks
from realtime.playback.recorder import Recording, read_played
from realtime.scoring import identification_accuracy, permutation_band
from realtime.session.attempts import last_attempt, last_attempt_timing
from realtime.session.folder import SessionFolder
from realtime.session.record import Document, decode_vector, read_documents

HEARD_S = 10.0
SHORTEST_S = 4.0
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class JudgedTrial:
    """A trial's last word.

    Attributes
    ----------
    clip_id : str
        What was heard.
    embedding : str
        Decoded, as the record has it.
    retrieved : str
        The most probable clip.
    decided_s : float
        When, by the monotonic clock of the session; NaN where no time is kept.
    """

    clip_id: str
    embedding: str
    retrieved: str
    decided_s: float


def judge(session: Path, catalogue: Catalogue, scorer: OnnxEmbedder) -> dict[str, Any]:
    """Figures of a recorded session.

    Parameters
    ----------
    session : Path
        Its folder.
    catalogue : Catalogue
        With the audio of what was heard and played.
    scorer : OnnxEmbedder
        The second embedder, with read-outs.

    Returns
    -------
    figures : dict
        "decoded" in the session's own space; "retrieved" and "played" by the scorer: identification, agreement of
        genre, instrument and mood, each with the same for permuted targets, and the kernel distance to what was heard.
        A part that cannot be had is left out.

    Raises
    ------
    DatasetError
        No trial of the session names a clip of the catalogue and was decoded.
    """
    folder = SessionFolder(session)
    trials = judged_trials(folder, catalogue)
    if len({trial.clip_id for trial in trials}) < 2:
        raise DatasetError(f"{len(trials)} trials of {session} were decoded and name a clip of the catalogue, wanted "
                           "two different clips at least; give the catalogue of the session, and one with trials")
    own = np.stack([decode_vector(trial.embedding) for trial in trials]).astype(np.float64)
    targets = np.stack([catalogue.embedding(trial.clip_id) for trial in trials]).astype(np.float64)
    names = [trial.clip_id for trial in trials]
    band = permutation_band(own, targets, names)
    clips = {name: _embed_file(catalogue, name, scorer) for name in {*names, *(trial.retrieved for trial in trials)}}
    heard = np.stack([clips[name] for name in names])
    figures: dict[str, Any] = {
        "scorer": scorer.space.name, "n_trials": len(trials),
        "decoded": {"identification": identification_accuracy(own, targets, names).mean, "permuted_p50": band.p50,
                    "permuted_p95": band.p95, "p_value": band.p_value, "space": catalogue.space.name},
        "retrieved": compare(np.stack([clips[trial.retrieved] for trial in trials]), heard, scorer, names)}
    sounds = [_embed(sound, rate_hz, scorer) for sound, rate_hz in played_stretches(folder, trials)]
    there = [k for k, row in enumerate(sounds) if row is not None]
    if len({names[k] for k in there}) >= 2:
        played = np.stack([row for row in sounds if row is not None])
        figures["played"] = compare(played, heard[there], scorer, [names[k] for k in there])
    return figures


def compare(got: Rows, heard: Rows, scorer: OnnxEmbedder, names: list[str]) -> dict[str, Any]:
    """Music against what was heard, both (n, dim) in the scorer's space."""
    return {**fidelity(got, heard, scorer, names=names), "kernel_distance": asdict(kernel_distance(heard, got))}


def show(figures: dict[str, Any]) -> Table:
    """The figures as a table, each beside what permuted targets give."""
    table = Table(title=f"{figures['n_trials']} trials, judged by {figures['scorer']} (decoded: in its own space)")
    for heading in ("music", "measure", "value", "permuted", "n"):
        table.add_column(heading, justify="left" if heading in ("music", "measure") else "right")
    decoded = figures["decoded"]
    table.add_row("decoded", "identification", f"{decoded['identification']:.2f}",
                  f"{decoded['permuted_p50']:.2f}, 95 % below {decoded['permuted_p95']:.2f}", str(figures["n_trials"]))
    for name in ("retrieved", "played"):
        for measure, row in figures.get(name, {}).items():
            permuted = f"95 % below {row['permuted_p95']:.2f}" if "permuted_p95" in row else f"{row['permuted']:.2f}"
            table.add_row(name, measure.replace("_", " "), f"{row['value']:.2f}", permuted, str(row["n"]))
    return table


def judged_trials(folder: SessionFolder, catalogue: Catalogue) -> list[JudgedTrial]:
    """The trials of the last attempt that were decoded and name a clip of the catalogue, in order; no dummies."""
    decided = {entry["volume"]: entry["decided_s"] for entry in last_attempt_timing(read_documents(folder.timing))
               if entry.get("decided_s") is not None}
    wanted: dict[int, Document] = {}
    last: dict[int, Document] = {}
    for document in last_attempt(read_documents(folder.record)):
        if document["doc"] == "start":
            wanted = {trial["trial"]: trial for trial in document.get("trials", ())}
        elif document["doc"] == "step" and document.get("embedding") and document.get("top"):
            last[document["trial"]] = document
    return [JudgedTrial(trial["clip_id"], last[number]["embedding"], last[number]["top"][0]["clip_id"],
                        float(decided.get(last[number]["volume"], float("nan"))))
            for number, trial in sorted(wanted.items())
            if number in last and not trial["is_dummy"] and trial["clip_id"] in catalogue]


def played_stretches(folder: SessionFolder, trials: list[JudgedTrial]) -> list[tuple[Rows, int]]:
    """What sounded from each trial's last decision on, ten seconds or up to the next trial's, shape (n, 2); empty
    where nothing is recorded.
    """
    if not folder.played.exists() or not (ticks := read_ticks(folder.played)):
        return [(np.zeros((0, 2), np.float32), 1)] * len(trials)
    recording = read_played(folder.played)
    ends = [trial.decided_s for trial in trials[1:]] + [float("inf")]
    return [_stretch(recording, ticks, trial.decided_s, min(trial.decided_s + HEARD_S, end))
            for trial, end in zip(trials, ends, strict=True)]


def _stretch(recording: Recording, ticks: list[Tick], begin_s: float, end_s: float) -> tuple[Rows, int]:
    if not (np.isfinite(begin_s) and np.isfinite(end_s)):
        return np.zeros((0, 2), np.float32), recording.rate_hz
    tick = min(ticks, key=lambda tick: abs(tick.time_s - begin_s))
    begin, end = (round(tick.position + (time_s - tick.time_s) * recording.rate_hz) for time_s in (begin_s, end_s))
    return recording.frames[max(begin, 0) : max(end, 0)], recording.rate_hz


def _embed(sound: Rows, rate_hz: int, scorer: OnnxEmbedder) -> Rows | None:
    """A vector of sound of shape (n, 2); None where it is too short or silent."""
    if len(sound) < SHORTEST_S * rate_hz or not sound.any():
        return None
    repeated = np.resize(sound.mean(axis=1), round(HEARD_S * rate_hz))  # a window is ten seconds
    try:
        return scorer.embed(repeated.astype(np.float32), rate_hz)
    except EmbedderError:
        return None


def _embed_file(catalogue: Catalogue, clip_id: str, scorer: OnnxEmbedder) -> Rows:
    path = catalogue.clip(clip_id).path
    try:
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as exc:
        raise DatasetError(f"clip {clip_id!r} cannot be heard again: {exc}; restore {path}") from exc
    mono = np.ascontiguousarray(sound[: round(HEARD_S * rate_hz)].mean(axis=1))
    return scorer.embed(np.resize(mono, round(HEARD_S * rate_hz)), rate_hz)
