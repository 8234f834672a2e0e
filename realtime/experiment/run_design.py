"""All that a designed run depends on, as one value that its session folder keeps: phases, windows, feedback, arm.

With it the run resumes after a crash and replays by itself, whatever became of the plan, the design and the
allocation since. The arm is in an envelope, as in the allocation.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from realtime.atomic import write_json
from realtime.errors import EventsError
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.arms import ARMS, Arm, Tape
from realtime.experiment.contamination import is_contaminated, sounded
from realtime.experiment.design import Windows
from realtime.experiment.feedback import FeedbackSettings
from realtime.experiment.phases import MEASURED, Phase, WindowedTrials

FORMAT = 1


@dataclass(frozen=True)
class RunDesign:
    """One run of an experiment.

    Attributes
    ----------
    name : str
        Of the run, in the plan.
    phases : tuple of Phase
        Without gaps.
    acquisition : Acquisition
        When volumes come.
    windows : Windows
        When trials speak.
    washout_s : float
        A volume so soon after a sound does not count for imagery.
    feedback : FeedbackSettings
        What is fed back.
    target : tuple of str
        Clips of the target, the best one first; empty without.
    rungs : tuple of str
        Clips of `feedback.render` "morph", the target last.
    tape : Tape
        Of a donor, in every arm that could be yoked.
    sealed_arm : str
        See `seal_arm`.
    blinded : bool
        An allocation decides the arm: what is told must not.
    seed : int
        Of the shuffled decoder.
    """

    name: str
    phases: tuple[Phase, ...]
    acquisition: Acquisition
    windows: Windows = field(default_factory=Windows)
    washout_s: float = 4.0
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    target: tuple[str, ...] = ()
    rungs: tuple[str, ...] = ()
    tape: Tape = field(default_factory=Tape)
    sealed_arm: str = ""
    blinded: bool = False
    seed: int = 0

    @property
    def arm(self) -> Arm:
        """Whose feedback is heard; "real" where nothing was allocated."""
        return open_arm(self.sealed_arm) if self.sealed_arm else "real"

    @property
    def n_volumes(self) -> int:
        """That the run needs."""
        return self.phases[-1].first_volume + self.phases[-1].n_volumes

    @property
    def measured(self) -> tuple[Phase, ...]:
        """The phases that are trials of evidence, in order."""
        return tuple(phase for phase in self.phases if phase.kind in MEASURED)

    def trials(self) -> WindowedTrials:
        """Which volumes speak of which measured phase."""
        return WindowedTrials(self.acquisition, tuple(phase.onset_s for phase in self.measured),
                              tuple(self.windows.of(phase.kind) for phase in self.measured))

    def feeds_back(self, phase: Phase) -> bool:
        """Whether feedback may sound in this phase."""
        if self.feedback.mode == "off":
            return False
        return phase.kind == "feedback" or (self.feedback.when == "continuous" and phase.kind in ("imagine", "catch"))

    def masked(self) -> frozenset[int]:
        """Volumes in which imagery would be measured while sound, by the design, is on or has just been.

        Feedback between measurements counts as sound throughout its phases; continuous feedback is not masked, since
        nothing would be left: its sound is in the record.
        """
        cues = [(phase.onset_s, phase.sound or ("feedback" if self.feeds_back(phase) else "")) for phase in self.phases
                if self.feedback.when == "between" or phase.kind not in ("imagine", "catch")]
        stretches = sounded(cues, self.phases[-1].onset_s + self.phases[-1].duration_s)
        trials, kinds = self.trials(), [phase.kind for phase in self.measured]
        return frozenset(volume for volume in range(self.n_volumes)
                         if (trial := trials.trial_of(volume)) >= 0 and kinds[trial] != "listen"
                         and is_contaminated(volume, self.acquisition, stretches, self.washout_s))

    def sounds(self) -> Iterator[str]:
        """Every clip and cue that the run is about or may play, besides what mirroring chooses."""
        yield from (phase.sound for phase in self.phases if phase.sound)
        yield from (phase.clip_id for phase in self.measured)
        yield from self.target
        yield from self.rungs


def seal_arm(arm: Arm, seed: int) -> str:
    """An arm as its run's file keeps it: not to be read in passing; no secret."""
    return base64.b85encode(json.dumps([seed, arm.ljust(max(map(len, ARMS)))]).encode()[::-1]).decode()


def open_arm(sealed: str) -> Arm:
    """What `seal_arm` sealed; EventsError for anything else."""
    try:
        arm = str(json.loads(base64.b85decode(sealed)[::-1])[1]).strip()
    except (ValueError, IndexError, TypeError) as exc:
        raise EventsError(f"the run's sealed arm cannot be read ({exc}); make the run's design again") from exc
    if arm not in ARMS:
        raise EventsError(f"the run's arm is none of {', '.join(ARMS)}; make the run's design again")
    return arm


def write_run_design(path: Path, design: RunDesign) -> None:
    """Write it, atomically."""
    write_json(path, {"format": FORMAT, **asdict(design)})


def read_run_design(path: Path) -> RunDesign:
    """Read it.

    Raises
    ------
    EventsError
        No such file, of another format, or without a phase.
    """
    try:
        document = json.loads(path.read_bytes())
        found = document.pop("format", None)
        design = TypeAdapter(RunDesign).validate_python(document)
    except (OSError, ValueError, AttributeError, ValidationError) as exc:
        raise EventsError(f"{path} is not the design of a run ({exc}); `innerear session` makes one for each run of a "
                          "plan") from exc
    if found != FORMAT or not design.phases:
        raise EventsError(f"{path} is of format {found}, wanted {FORMAT}, or has no phases; make it again with "
                          "`innerear session`")
    return design
