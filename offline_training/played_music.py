"""What a session made of the music heard: decoded, retrieved and played, each held against it and against chance.

The live score of a session is in its own embedding space, which chose the music: circular. Here what was retrieved and
what really sounded, cut from the recording, are embedded again by a second embedder that chose nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from offline_training.errors import DatasetError
from offline_training.evaluation.music import music_card
from offline_training.evaluation.scorecard import Draws, Judged
from offline_training.heard_again import HEARD_S, check_second, embed_clips, embed_sound, read_clip
from realtime.music.attributes import CLASSES, AttributeProbes
from realtime.music.catalogue import Catalogue
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.playback.monitor import Tick, read_ticks
from realtime.playback.recorder import Recording, read_played
from realtime.session.attempts import last_attempt, last_attempt_timing
from realtime.session.folder import SessionFolder
from realtime.session.record import Document, decode_vector, read_documents

MOST_TRIALS = 60
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class JudgedTrial:
    """A trial's last word.

    Attributes
    ----------
    number : int
        In the run, from 0.
    clip_id : str
        What was heard.
    embedding : str
        Decoded, as the record has it.
    retrieved : str
        The most probable clip.
    volume : int
        That the last decision was made at.
    decided_s : float
        When, by the monotonic clock of the session; NaN where no time is kept.
    """

    number: int
    clip_id: str
    embedding: str
    retrieved: str
    volume: int
    decided_s: float


@dataclass(frozen=True, eq=False)
class Stretch:
    """What was playing at a trial's last decision.

    Attributes
    ----------
    frames : float32 array of shape (n, 2)
        Empty where nothing is recorded.
    rate_hz : int
    """

    frames: Rows
    rate_hz: int

    @property
    def mono(self) -> Rows:
        """Both ears' mean, shape (n,)."""
        return np.ascontiguousarray(self.frames.mean(axis=1), np.float32)


@dataclass(frozen=True, eq=False)
class Example:
    """A trial to listen to: what was heard, and what was playing at its last decision, mono and of shape (n,)."""

    trial: JudgedTrial
    heard: Rows
    heard_hz: int
    played: Rows
    played_hz: int


def judge(session: Path, catalogue: Catalogue, scorer: OnnxEmbedder, probes: AttributeProbes | None = None,
          draws: Draws | None = None) -> dict[str, Any]:
    """Figures of a recorded session.

    Parameters
    ----------
    session : Path
        Its folder.
    catalogue : Catalogue
        With the audio of what was heard and played.
    scorer : OnnxEmbedder
        The second embedder, with read-outs.
    probes : AttributeProbes, optional
        Read-outs of the catalogue's own space.
    draws : Draws, optional

    Returns
    -------
    figures : dict
        `scorer`; `n_trials` of `n_there` (of more than 60, so many are drawn); `generator`, "retrieval" or what made
        the music; and in `sources` a `music_card` with its `space` for "decoded", in the session's own space, and for
        "retrieved" and "played", by the scorer. What cannot be had is left out.

    Raises
    ------
    DatasetError
        No trial of the session names a clip of the catalogue and was decoded, or a clip cannot be heard again.
    """
    folder, draws = SessionFolder(session), draws or Draws()
    check_second(scorer, catalogue.space)
    every = judged_trials(folder, catalogue)
    if len({trial.clip_id for trial in every}) < 2:
        raise DatasetError(f"{len(every)} trials of {session} were decoded and name a clip of the catalogue, wanted "
                           "two different clips at least; give the catalogue of the session, and one with trials")
    stretches = played_stretches(folder, every)
    rows = np.sort(np.random.default_rng(draws.seed).permutation(len(every))[:MOST_TRIALS])
    trials = [every[row] for row in rows]
    clips = embed_clips(catalogue, [name for trial in trials for name in (trial.clip_id, trial.retrieved)], scorer)
    names = tuple(trial.clip_id for trial in trials)
    genres, runs = tuple(catalogue.clip(name).genre for name in names), ("",) * len(names)
    own = Judged(np.stack([decode_vector(trial.embedding) for trial in trials]).astype(np.float64),
                 catalogue.embeddings(names).astype(np.float64), names, genres, runs)
    heard = Judged(np.stack([clips[trial.retrieved] for trial in trials]).astype(np.float64),
                   np.stack([clips[name] for name in names]).astype(np.float64), names, genres, runs)
    sources = {"decoded": {"space": catalogue.space.name} | music_card(own, probes, draws),
               "retrieved": {"space": scorer.space.name} | music_card(heard, scorer.probes, draws)}
    sounds = _vectors([stretches[row] for row in rows], scorer)
    if len({name for name, row in zip(names, sounds, strict=True) if np.isfinite(row).all()}) >= 2:
        sources["played"] = {"space": scorer.space.name} | music_card(heard.with_predictions(sounds), scorer.probes,
                                                                      draws)
    return {"scorer": scorer.space.name, "n_trials": len(trials), "n_there": len(every),
            "generator": generator_of(folder), "sources": sources}


def show(figures: dict[str, Any]) -> Table:
    """The figures as a table, each beside what shuffled clips give."""
    table = Table(title=f"{figures['n_trials']} of {figures['n_there']} trials, judged by {figures['scorer']} "
                        "(decoded: in its own space)")
    for heading in ("music", "measure", "value", "95 %", "shuffled, 95 % below", "p", "n"):
        table.add_column(heading, justify="left" if heading in ("music", "measure") else "right")
    for name, card in figures["sources"].items():
        for measure in ("identification", *CLASSES):
            if (one := card.get(measure)) and one["value"] is not None:
                table.add_row(name, measure, f"{one['value']:.2f}", f"{one['low']:.2f} to {one['high']:.2f}",
                              f"{one['null']['p95']:.2f}", f"{one['null']['p_value']:.4f}", str(one["n_trials"]))
        if far := card["kernel_distance"]:
            table.add_row(name, "kernel distance", f"{far['value']:.2f}", "", f"{far['permuted_p95']:.2f}",
                          f"{far['p_value']:.4f}", str(far["n"]))
    return table


def examples(session: Path, catalogue: Catalogue, most: int = 10) -> tuple[Example, ...]:
    """Trials to listen to, in order: those whose music was recorded, the first `most`.

    Raises
    ------
    DatasetError
        A clip's audio cannot be read.
    """
    folder, found = SessionFolder(session), list[Example]()
    trials = judged_trials(folder, catalogue)
    for trial, stretch in zip(trials, played_stretches(folder, trials), strict=True):
        if len(stretch.frames) and len(found) < most:
            found.append(Example(trial, *read_clip(catalogue, trial.clip_id), stretch.mono, stretch.rate_hz))
    return tuple(found)


def generator_of(folder: SessionFolder) -> str:
    """What made a session's music: "retrieval", or the kind of its generator."""
    return str(kept_settings(folder).get("generator", {}).get("kind", "retrieval"))


def kept_settings(folder: SessionFolder) -> dict[str, Any]:
    """What a session was started with; empty where that is not kept."""
    try:
        kept = json.loads(folder.settings.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


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
    return [JudgedTrial(number, trial["clip_id"], last[number]["embedding"], last[number]["top"][0]["clip_id"],
                        int(last[number]["volume"]), float(decided.get(last[number]["volume"], float("nan"))))
            for number, trial in sorted(wanted.items())
            if number in last and not trial["is_dummy"] and trial["clip_id"] in catalogue]


def played_stretches(folder: SessionFolder, trials: list[JudgedTrial]) -> list[Stretch]:
    """What each trial came to sound like: what was playing at its last decision, ten seconds at most.

    A clip counts from its first sample to the next one's. Music that is made changes with every volume: it counts
    from five seconds before the trial's last condition was heard until the next trial's first was.
    """
    ticks = read_ticks(folder.played) if folder.played.exists() else []
    if not ticks:
        return [Stretch(np.zeros((0, 2), np.float32), 1)] * len(trials)
    recording, entries = read_played(folder.played), last_attempt_timing(read_documents(folder.timing))
    kind = "condition" if any("condition" in entry for entry in entries) else "cue"
    before = round(HEARD_S / 2 * recording.rate_hz) if kind == "condition" else 0
    changes = sorted((entry["volume"], entry["position"]) for entry in entries
                     if kind in entry and None not in (entry["volume"], entry["position"]))
    return [_stretch(recording, ticks, trial, changes, before) for trial in trials]


def _stretch(recording: Recording, ticks: list[Tick], trial: JudgedTrial, changes: list[tuple[int, int]],
             before: int) -> Stretch:
    """The recording around a trial's last decision, by changes (volume that caused it, its first frame)."""
    begun = [position for volume, position in changes if volume <= trial.volume]
    if not begun or not np.isfinite(trial.decided_s):
        return Stretch(np.zeros((0, 2), np.float32), recording.rate_hz)
    tick = min(ticks, key=lambda tick: abs(tick.time_s - trial.decided_s))
    decided = round(tick.position + (trial.decided_s - tick.time_s) * recording.rate_hz)
    longest = round(HEARD_S * recording.rate_hz)
    end = min([decided + longest, len(recording.frames),
               *(position for volume, position in changes if volume > trial.volume)])
    begin = max(begun[-1] - before, end - longest, 0)
    return Stretch(recording.frames[begin:max(end, begin)], recording.rate_hz)


def _vectors(stretches: list[Stretch], scorer: OnnxEmbedder) -> NDArray[np.float64]:
    """Of each, shape (n, dim); NaN rows where nothing sounded long enough."""
    nothing = np.full(scorer.space.dim, np.nan, np.float32)
    rows = [embed_sound(stretch.mono, stretch.rate_hz, scorer) if len(stretch.frames) else None
            for stretch in stretches]
    return np.array([nothing if row is None else row for row in rows], np.float64)
