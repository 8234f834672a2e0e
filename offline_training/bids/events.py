"""Events of a run: its trials, with what really sounded and when; what was played beside; what went wrong. Pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from offline_training.bids.clock import Sounded
from offline_training.bids.tables import Column, Row
from offline_training.disclosure import COMMANDS
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.phases import MEASURED, Phase
from realtime.experiment.run_design import RunDesign
from realtime.session.record import Document

TRIALS = (
    Column("onset", "Start after the run's first volume: the sound's first sample where one was played here and its "
                    "time is known, else the plan's.", "s"),
    Column("duration", "Until the end that was planned.", "s"),
    Column("trial_type", "What it was: a phase of the design, or the trial type of the events that were given."),
    Column("trial", "Number of the trial in the run, from 0."),
    Column("clip_id", "Music that was heard or imagined in it."),
    Column("genre", "Of that music."),
    Column("sound", "What was played here in it: a clip, or a cue's tone."),
    Column("planned_onset", "Start as it was planned.", "s"),
    Column("sample", "First sample of the sound in the recording, see the derivatives."),
)
PLAYED = (
    Column("onset", "First sample of the sound, after the start of the run's first volume.", "s"),
    Column("duration", "Until the next sound, silence, or the run's end.", "s"),
    Column("clip_id", "What sounded."),
    Column("volume", "Number of the volume that decided it, from 0."),
    Column("sample", "First sample in the recording."),
)
FAULTS = (
    Column("onset", "Start of the volume it concerns, or comes before, after the run's first volume.", "s"),
    Column("duration", "Of what is lost; 0 for what has no length.", "s"),
    Column("trial_type", "gap: a volume that never came; rejected: one that could not be used; censored: one that "
                         "moved too much; note: a remark of the program; command: of the operator or program."),
    Column("volume", "Number of that volume, from 0."),
    Column("text", "In words."),
    Column("value", "Of a command that has one: volume in dB, vividness."),
)


def designed_trials(design: RunDesign, cues: Sequence[Sounded], genres: dict[str, str],
                    blinded: bool) -> Iterator[Row]:
    """Every phase of a design; in a blinded session without what was fed back."""
    for phase in design.phases:
        cue = _cue_of(phase, cues) if phase.sound or not blinded else None
        heard = phase.kind in MEASURED and phase.kind != "catch" and (not phase.sound or cue is not None)
        end_s = phase.onset_s + phase.duration_s
        known = cue is not None and phase.onset_s < cue.onset_s < end_s
        onset_s = cue.onset_s if cue is not None and known else phase.onset_s
        clip_id = phase.clip_id if heard else ""
        yield {"onset": onset_s, "duration": end_s - onset_s, "trial_type": phase.kind,
               "trial": None if phase.trial < 0 else phase.trial, "clip_id": clip_id,
               "genre": genres.get(clip_id, ""), "sound": cue and cue.clip_id, "planned_onset": phase.onset_s,
               "sample": cue and cue.sample}


def _cue_of(phase: Phase, cues: Sequence[Sounded]) -> Sounded | None:
    """What began to sound in a phase: a cue follows from the volume before it."""
    decided = range(max(phase.first_volume - 1, 0), max(phase.first_volume + phase.n_volumes - 1, 1))
    return next((cue for cue in cues if cue.clip_id and cue.volume in decided
                 and phase.sound in ("", cue.clip_id)), None)


def known_trials(start: Document, documents: Sequence[Document], n_volumes: int, tr_s: float) -> Iterator[Row]:
    """Trials of events that were given beforehand, and those that were marked."""
    rows = [{"onset": trial["onset_s"], "duration": trial["duration_s"], "trial_type": trial.get("trial_type", ""),
             "trial": trial["trial"], "clip_id": trial["clip_id"], "genre": trial["genre"],
             "planned_onset": trial["onset_s"]} for trial in start.get("trials", ())]
    marks = [document["before_volume"] for document in documents
             if document["doc"] == "event" and document["name"] == "mark" and "(not opened" not in document["text"]]
    ends = pairwise([*marks, n_volumes])
    rows += [{"onset": begin * tr_s, "duration": (end - begin) * tr_s, "trial_type": "mark", "trial": len(rows) + place}
             for place, (begin, end) in enumerate(ends) if end > begin]
    yield from sorted(rows, key=lambda row: row["onset"])


def played(cues: Sequence[Sounded], acquisition: Acquisition, n_volumes: int) -> Iterator[Row]:
    """What sounded."""
    onsets = [cue.onset_s if np.isfinite(cue.onset_s) else acquisition.end_s(cue.volume) for cue in cues]
    ends = [*onsets[1:], max([acquisition.start_s(n_volumes), *onsets])]
    for cue, onset_s, until_s in zip(cues, onsets, ends, strict=False):
        if cue.clip_id:
            yield {"onset": onset_s, "duration": max(until_s - onset_s, 0.0), "clip_id": cue.clip_id,
                   "volume": cue.volume, "sample": cue.sample}


def faults(documents: Sequence[Document], acquisition: Acquisition, blinded: bool) -> Iterator[Row]:
    """Lost and censored volumes, remarks and commands of an attempt, in order."""
    for document in documents:
        row: dict[str, Any] | None = None
        if document["doc"] == "step" and document["status"] in ("GAP", "REJECTED", "CENSORED"):
            row = {"trial_type": document["status"].lower(), "volume": document["volume"], "text": document["reason"],
                   "duration": acquisition.tr_s}
        elif document["doc"] == "note":
            row = {"trial_type": "note", "volume": document["volume"], "text": document["text"], "duration": 0}
        elif document["doc"] == "event" and (not blinded or document["name"] in COMMANDS):
            words = f"{document['name']}: {document['text']}" if document["text"] else document["name"]
            row = {"trial_type": "command", "volume": document["before_volume"], "text": words, "duration": 0,
                   "value": document.get("value")}
        if row is not None:
            yield {"onset": acquisition.start_s(row["volume"]), **row}
