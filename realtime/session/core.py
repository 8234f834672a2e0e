"""The pure core of a live session: volumes and events in, documents and cues out.

It reads no clock, does no I/O and draws no random number, so that feeding it the journal again
gives the same documents, byte for byte: that is resuming after a crash, and that is replay.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from realtime.decoding.posterior import Posterior
from realtime.errors import EventsError, VolumeError
from realtime.generators.conditioning import Conditioner
from realtime.messages import PLAIN, Condition, Cue, Evidence
from realtime.music.selection import Decision
from realtime.session.conduct import Conductor, FreeConductor
from realtime.session.design_conduct import DesignConductor
from realtime.session.ordering import Missing, Ordered, Ordering
from realtime.session.parts import Parts
from realtime.session.record import Document, encode_vector
from realtime.session.steps import Counts, Intake, Percept, Reaction, Status, Step
from scanner_bridge.volume import RunHeader, Volume, has_signal, scanner_units

N_SHOWN = 5
MAX_UNANNOUNCED = 1000
"""A run whose length was not announced ends with at most so many volumes that never came: more is a damaged end."""


class LiveCore:
    """Folds volumes and events of one attempt into decisions, in the order they are given; cues count from a number."""

    def __init__(self, header: RunHeader, parts: Parts, first_cue: int = 0) -> None:
        self._header, self._parts, self._first_cue = header, parts, first_cue
        self._preprocessor = parts.preprocessor()
        self._evidence = parts.evidence()
        self._conductor = _conductor(parts, header)
        self._conditioner = Conditioner(parts.conditioning) if parts.conditioning else None
        self._waiting = parts.wait_for_start
        self._paused = False
        self._rendering = PLAIN
        self._ordering = Ordering(header)
        self.counts = Counts()

    @property
    def next_index(self) -> int:
        """The volume index that should come next."""
        return self._ordering.next_index

    @property
    def waits_for_volume(self) -> bool:
        """Whether volumes are held for one that should have come before them."""
        return self._ordering.waits

    @property
    def next_cue(self) -> int:
        """Number of the cue that would come next."""
        return self._first_cue + self.counts.cues

    @property
    def waits_for_start(self) -> bool:
        """Whether decisions are held until the operator's `start`."""
        return self._waiting

    @property
    def playing(self) -> str:
        """Clip id of what plays by the core's decision; "" for silence."""
        return self._conductor.playing

    def perceive(self, volume: Volume) -> Intake:
        """Preprocess and decode a volume that arrived, and those that waited for it; what is given up becomes gaps.

        A volume that cannot be used never raises: it becomes a REJECTED percept. One whose index was
        passed already, or cannot be, is noted and not fed (`realtime.session.ordering`).
        """
        return self._taken(self._ordering.arrived(volume))

    def reject(self, reason: str) -> Intake:
        """The next volume came, but its bytes could not be read."""
        percept = self._rejected(self.next_index, reason)
        intake = self._taken(self._ordering.unreadable())
        return Intake((percept, *intake.percepts), intake.documents, intake.alarms)

    def give_up_waiting(self) -> Intake:
        """What should have come before the volumes that are held is a gap from now on."""
        return self._taken(self._ordering.give_up())

    def finish(self, n_volumes: int) -> Intake:
        """The run is over: gaps for volumes that the bridge sent or skipped and that never came."""
        longest = self._header.n_volumes or self.next_index + MAX_UNANNOUNCED
        return self._taken(self._ordering.finish(n_volumes if n_volumes <= longest else 0))

    def _taken(self, ordered: Ordered) -> Intake:
        percepts = tuple(self._missing(item.index) if isinstance(item, Missing) else self._use(item)
                         for item in ordered.turn)
        for remark in ordered.remarks:
            self.counts.duplicates += remark.kind == "repeated"
            self.counts.late += remark.kind == "late"
            self.counts.rejected += remark.kind in ("conflicting", "impossible")
        documents: tuple[Document, ...] = tuple({"doc": "note", "volume": remark.index, "text": remark.text}
                                                for remark in ordered.remarks)
        alarms = tuple(remark.text for remark in ordered.remarks if remark.kind in ("conflicting", "impossible"))
        return Intake(percepts, documents, alarms)

    def _missing(self, index: int) -> Percept:
        self.counts.gaps += 1
        self._preprocessor.skip()
        evidence = self._evidence.push(index, None, usable=False)
        return Percept(index, "GAP", f"volume {index} never came", None, evidence)

    def _rejected(self, index: int, reason: str, volume: Volume | None = None) -> Percept:
        self.counts.rejected += 1
        self._preprocessor.skip()
        return Percept(index, "REJECTED", reason, None, self._evidence.push(index, None, usable=False), volume)

    def _use(self, volume: Volume) -> Percept:
        try:
            check_volume(volume, self._header)
            result = self._preprocessor.push(scanner_units(volume), affine=volume.affine)
        except VolumeError as exc:
            return self._rejected(volume.index, f"volume {volume.index}: {exc}", volume)
        self.counts.volumes += 1
        usable = result.ready and not result.censored
        self.counts.censored += int(result.censored)
        status: Status = "SETTLING" if not result.ready else "CENSORED" if result.censored else "OK"
        counted = usable and self._conductor.counts(volume.index)
        evidence = self._evidence.push(volume.index, result.features, counted)
        return Percept(volume.index, status, "", result, evidence, volume)

    def decide(self, percept: Percept) -> Step:
        """Choose what plays, given what was perceived."""
        belief = None
        if percept.evidence is not None and percept.evidence.n_volumes:
            belief = self._parts.believe(percept.evidence)
        abstained = belief is not None and self._parts.decoding.abstains(belief)
        before = self.playing
        said = self._conductor.decide(percept, belief, self._hold)
        cue = self._cue(percept.volume_index) if self.playing != before else None
        condition = self._condition(percept, said.decision)
        document = {**self._step_document(percept, belief, said.decision), "abstained": abstained, **said.remarks}
        if condition is not None:
            document["condition"] = {"number": condition.number, "clip_id": condition.clip_id,
                                     "embedding": encode_vector(condition.embedding)}
        rendering = None if said.rendering == self._rendering else said.rendering
        self._rendering = said.rendering
        return Step(percept, belief, said.decision, cue, document, condition, rendering)

    def begin(self) -> Cue | None:
        """What sounds before the first volume, in a designed run."""
        return self._cue(0) if not self._waiting and self._conductor.begin() else None

    @property
    def _hold(self) -> str:
        """Why nothing may be decided now; "" when it may."""
        return "waiting for start" if self._waiting else "paused" if self._paused else ""

    def _condition(self, percept: Percept, decision: Decision) -> Condition | None:
        """What generated music shall sound like; None where nothing is decided, or nothing new."""
        if self._conditioner is None or decision.kind == "hold" or percept.evidence is None or not self.playing:
            return None
        return self._conditioner.condition(percept.volume_index, percept.evidence.embedding, self.playing)

    def event(self, name: str, text: str = "", value: float | None = None) -> Reaction:
        """Something happened between volumes: an operator's command, a mark, a stall.

        `start` ends the wait of `Parts.wait_for_start`. `mark` opens a trial at the next volume.
        `pause` silences the music and holds all decisions until `resume`; `stale` silences it until
        a volume comes again. `unplayable` takes the clip its text names out of the choice: the player could not
        read it, and plays on what it played. Every event is documented.
        """
        document: Document = {"doc": "event", "before_volume": self.next_index, "name": name, "text": text}
        if value is not None:
            document["value"] = value
        cue = None
        if name == "mark":
            document["text"] = self._mark(text)
        elif name == "start":
            self._waiting = False
        elif name in ("pause", "stale"):
            self._paused = self._paused or name == "pause"
            cue = self.silence()
        elif name == "resume":
            self._paused = False
        elif name == "unplayable":
            self._conductor.bar(text)
        return Reaction((document,), cue)

    def _mark(self, text: str) -> str:
        try:
            self._evidence.mark(self.next_index)
        except EventsError as exc:
            return f"{text} (not opened: {exc})"
        return text

    def silence(self) -> Cue | None:
        """Stop the music until the next decision for some; None when nothing plays."""
        if not self.playing:
            return None
        self._conductor.silence(self.next_index)
        return self._cue(self.next_index)

    def _cue(self, volume_index: int) -> Cue:
        cue = Cue(self.next_cue, volume_index, self.playing)
        self.counts.cues += 1
        return cue

    def _step_document(self, percept: Percept, belief: Posterior | None, decision: Decision) -> Document:
        result, evidence = percept.preprocessed, percept.evidence
        return {
            "doc": "step", "volume": percept.volume_index, "status": percept.status, "reason": percept.reason,
            "fd_mm": None if result is None else float(result.framewise_displacement_mm),
            "motion": None if result is None else [float(value) for value in result.motion.ravel()],
            "dvars_percent": None if result is None else result.dvars_percent,
            "tsnr": None if result is None else result.tsnr,
            "trial": self._evidence.trial_of(percept.volume_index),
            **self._segment_field(evidence),
            "n": 0 if evidence is None else evidence.n_volumes,
            "embedding": None if belief is None or evidence is None else encode_vector(evidence.embedding),
            **self._belief_fields(belief),
            **self._response_field(belief, evidence),
            "playing": decision.state.playing,
            "decision": decision.kind, "why": decision.why,
        }

    def _segment_field(self, evidence: Evidence | None) -> Document:
        """In a free run, and there alone, the segment in place of a trial."""
        if self._parts.decoding.mode != "free_run":
            return {}
        return {"segment": None if evidence is None or evidence.segment is None else asdict(evidence.segment)}

    def _response_field(self, belief: Posterior | None, evidence: Evidence | None) -> Document:
        """Of what the posterior is, in every step of a run in which something may be imagined; else nothing."""
        if not self._parts.may_be_imagined:
            return {}
        return {"response": "" if belief is None or evidence is None else self._parts.response(evidence.trial)}

    @staticmethod
    def _belief_fields(belief: Posterior | None) -> Document:
        if belief is None:
            return {"top": [], "confidence": None, "genre": "", "genre_confidence": None}
        top: list[dict[str, Any]] = [
            {"clip_id": ranked.clip.clip_id, "genre": ranked.clip.genre, "posterior": ranked.posterior,
             "similarity": ranked.similarity} for ranked in belief.top(N_SHOWN)]
        return {"top": top, "confidence": belief.confidence, "genre": belief.genres[0].genre,
                "genre_confidence": belief.genres[0].posterior}


def _conductor(parts: Parts, header: RunHeader) -> Conductor:
    if parts.design is not None:
        return DesignConductor(parts.design, parts)
    return FreeConductor(parts.index, parts.selection, header.tr_s, parts.decoding)


def check_volume(volume: Volume, header: RunHeader) -> None:
    """Refuse a volume that does not belong to its run; voxels without a value are the preprocessor's to judge.

    Raises
    ------
    VolumeError
        Another shape or place than the run's header announced, or no signal at all.
    """
    if tuple(volume.data.shape) != tuple(header.shape):
        raise VolumeError(f"shape is {tuple(volume.data.shape)}, the run's header says {tuple(header.shape)}; "
                          "it is not used")
    if not np.allclose(volume.affine, header.affine, atol=1e-3):
        raise VolumeError("it lies elsewhere than the run's header says (affine differs by up to "
                          f"{np.abs(volume.affine - header.affine).max():.3g}); it is not used")
    if not has_signal(volume):
        raise VolumeError(f"every voxel is {volume.data.flat[0]}: no signal; it is not used")
