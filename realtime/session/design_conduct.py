"""What sounds in a designed run: the design's cues and stimuli, and feedback where it allows some. Pure.

Stimuli follow the volumes, not a clock of their own: what a phase plays begins when the volume before it has ended.
So a replay plays the same, and a lost volume moves a stimulus by the time until the next.

Every arm does the same work on every volume, and says the same fields of it; they differ in one value alone.
"""

from dataclasses import dataclass

from realtime.decoding.evidence import TrialEvidence
from realtime.decoding.posterior import Posterior
from realtime.experiment.arms import ArmDecoder
from realtime.experiment.feedback import grade, next_threshold, rendered, rivals, rung_of, target_score
from realtime.experiment.phases import MEASURED, Phase, phase_after
from realtime.experiment.run_design import RunDesign
from realtime.messages import PLAIN, Evidence, Rendering
from realtime.music.selection import Decision, SelectionState
from realtime.session.conduct import Said
from realtime.session.parts import Parts
from realtime.session.record import Document
from realtime.session.steps import Percept


@dataclass(frozen=True)
class _Shown:
    """What one volume has to feed back: how near the target, or which clip; None and "" for nothing."""

    score: float | None = None
    clip_id: str = ""


class DesignConductor:
    """Follows a design in one attempt at its run; implements `Conductor`.

    Parameters
    ----------
    design : RunDesign
        What shall happen.
    parts : Parts
        Who decodes.
    """

    def __init__(self, design: RunDesign, parts: Parts) -> None:
        self._design, self._parts, self._arm = design, parts, design.arm
        self._fed = TrialEvidence(design.trials(), ArmDecoder(parts.decoder, self._arm, design.seed))
        self._masked = design.masked()
        self._rivals = rivals(parts.index, design.target) if design.target else ()
        self._barred: set[str] = set()
        self._state = SelectionState()
        self._threshold = design.feedback.threshold.start
        self._last = _Shown()
        self._open_trial = -1
        self._grade: float | None = None

    @property
    def playing(self) -> str:
        """Clip id of what plays by its decision; "" for silence."""
        return self._state.playing

    def counts(self, volume_index: int) -> bool:
        """Whether the volume may be evidence: imagery measured in sound is not."""
        return volume_index not in self._masked

    def begin(self) -> str:
        """What sounds before the first volume."""
        phase = phase_after(self._design.phases, -1)
        self._state = SelectionState(self._sound(phase), 0)
        return self.playing

    def decide(self, percept: Percept, belief: Posterior | None, hold: str) -> Said:
        """Go where the design is after this volume."""
        phase = phase_after(self._design.phases, percept.volume_index)
        shown, remarks = self._look(percept)
        self._enter(phase)
        if shown.score is not None or shown.clip_id:
            self._last = shown
            self._grade = self._graded(shown)
        sound = "" if hold else self._sound(phase)
        changes = sound != self.playing
        if changes:
            self._state = SelectionState(sound, percept.volume_index)
        why = hold or ("the design is over" if phase is None else phase.kind)
        rendering = self._rendering(phase)
        remarks |= {"phase": "" if phase is None else phase.kind, "grade": self._grade, "threshold": self._threshold,
                    "level_db": rendering.level_db}
        if self._design.feedback.render == "clarity":
            remarks["clarity"] = rendering.clarity
        return Said(Decision("hold" if hold else "switch" if changes else "keep", self._state, why), remarks,
                    rendering)

    def bar(self, clip_id: str) -> None:
        """Play silence where this clip would sound."""
        self._barred.add(clip_id)
        if self.playing == clip_id:
            self._state = SelectionState("", self._state.since_volume)

    def silence(self, volume_index: int) -> None:
        """Nothing plays until the design's next volume."""
        self._state = SelectionState("", volume_index)

    def _look(self, percept: Percept) -> tuple[_Shown, Document]:
        """What this volume has to feed back, and the same by the person's own decoder, for the record."""
        volume, result = percept.volume_index, percept.preprocessed
        usable = percept.status == "OK" and self.counts(volume)
        fed = self._fed.push(volume, None if result is None else result.features, usable)
        own, shown = self._judged(percept.evidence), self._judged(fed)
        if self._arm == "yoked":
            shown = self._taped(volume)
        return shown, {"masked": not self.counts(volume), "score": own.score, "shown": shown.score,
                       "mirrored": shown.clip_id}

    def _judged(self, evidence: Evidence | None) -> _Shown:
        feedback, parts = self._design.feedback, self._parts
        if evidence is None or feedback.mode == "off":
            return _Shown()
        if feedback.mode == "target":
            return _Shown(target_score(evidence.embedding, parts.index, self._design.target, self._rivals))
        belief = parts.believe(evidence)
        wanted = self._design.windows.of(self._design.measured[evidence.trial].kind).times_chance
        sure = belief.confidence * len(belief.clips) >= wanted and not parts.decoding.abstains(belief)
        return _Shown(None, belief.top(1)[0].clip.clip_id if sure else "")

    def _taped(self, volume: int) -> _Shown:
        tape = self._design.tape
        return _Shown(tape.scores[volume] if volume < len(tape.scores) else None,
                      tape.clips[volume] if volume < len(tape.clips) else "")

    def _graded(self, shown: _Shown) -> float | None:
        return None if shown.score is None else grade(shown.score, self._threshold, self._design.feedback.spread)

    def _enter(self, phase: Phase | None) -> None:
        """A new trial forgets the last one's feedback, and the threshold learns from that once."""
        if phase is None or phase.kind not in MEASURED or phase.trial == self._open_trial:
            return
        if self._last.score is not None:
            feedback = self._design.feedback
            self._threshold = next_threshold(self._threshold, self._last.score >= self._threshold, feedback.threshold)
        self._open_trial, self._last, self._grade = phase.trial, _Shown(), None

    def _sound(self, phase: Phase | None) -> str:
        sound = "" if phase is None else phase.sound or self._feedback(phase)
        return "" if sound in self._barred else sound

    def _feedback(self, phase: Phase) -> str:
        feedback, design = self._design.feedback, self._design
        if not design.feeds_back(phase):
            return ""
        if feedback.mode == "mirror":
            return self._last.clip_id
        if self._grade is None:
            return ""
        return design.rungs[rung_of(self._grade, len(design.rungs))] if feedback.render == "morph" else design.target[0]

    def _rendering(self, phase: Phase | None) -> Rendering:
        feedback = self._design.feedback
        if phase is None or self._grade is None or not self._design.feeds_back(phase):
            return PLAIN
        return rendered(self._grade, feedback)
