"""From a design and a seed to the phases of a run. Pure: the same settings and seed give the same run.

Trials come in blocks, each with every clip once, so that counts are balanced at any block's end. Jitter is a balanced
set of values in random order, so that every seed gives a run of the same length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

import numpy as np

from realtime.errors import ConfigError
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.phases import TASKS, Phase, PhaseKind, Window

CUE_PREFIX = "cue:"
"""Of the sounds that say what comes: "cue:listen", "cue:imagine", "cue:catch"."""


def is_cue(sound: str) -> bool:
    """Whether it is one of the tones, and no clip."""
    return sound in {CUE_PREFIX + task for task in ("listen", "imagine", "catch")}


@dataclass(frozen=True)
class Seconds:
    """How long each kind of phase lasts; rounded to whole volumes."""

    cue: float = 2.0
    listen: float = 10.0
    imagine: float = 12.0
    wait: float = 8.0
    feedback: float = 8.0
    rate: float = 4.0
    rest: float = 8.0


@dataclass(frozen=True)
class Windows:
    """When each kind of trial speaks; imagery answers later and more weakly than hearing."""

    listen: Window = field(default_factory=lambda: Window(4.5, 10.0))
    imagine: Window = field(default_factory=lambda: Window(6.0, 14.0, 1.5))

    def of(self, kind: PhaseKind) -> Window:
        """The window of a phase that opens a trial; a catch trial is measured as imagery is."""
        return self.listen if kind == "listen" else self.imagine


@dataclass(frozen=True)
class DesignSettings:
    """A design, as `configs/imagery.toml` has it.

    Attributes
    ----------
    clips : tuple of str
        What is heard or imagined; at least two.
    trial : tuple of str
        Kinds of the phases of a trial, in order; one of listen and imagine at least.
    blocks : int
        How often each clip comes.
    min_distance : int
        Between two trials of a clip lie at least so many others; at most half the number of clips, or 1.
    catch_share : float
        Of the trials, this share asks for no imagery: below 0.5. Spread evenly over the run.
    jitter_s : float
        The last phase of a trial is longer by 0 to this.
    lead_s, tail_s : float
        Rest before the first trial and after the last one.
    washout_s : float
        A volume within so long after a sound does not count for imagery.
    seconds, windows
        See there.
    """

    clips: tuple[str, ...]
    trial: tuple[PhaseKind, ...] = ("cue", "imagine", "wait", "feedback", "rest")
    blocks: int = 2
    min_distance: int = 1
    catch_share: float = 0.0
    jitter_s: float = 0.0
    lead_s: float = 8.0
    tail_s: float = 12.0
    washout_s: float = 4.0
    seconds: Seconds = field(default_factory=Seconds)
    windows: Windows = field(default_factory=Windows)

    def __post_init__(self) -> None:
        n_clips = len(self.clips)
        checks = [
            (n_clips >= 2 and len(set(self.clips)) == n_clips, "clips must name two clips or more, each once"),
            ({"listen", "imagine"} & set(self.trial), "trial holds neither 'listen' nor 'imagine': nothing is decoded"),
            (self.trial.count("listen") <= 1 and self.trial.count("imagine") <= 1,
             "trial holds 'listen' or 'imagine' twice"),
            (not set(self.trial) - (set(TASKS) - {"catch"}), f"trial holds {sorted(set(self.trial) - set(TASKS))}, "
             "wanted cue, listen, imagine, wait, feedback, rate, rest; catch trials come by catch_share"),
            (1 <= self.blocks <= 1000, f"blocks is {self.blocks}, wanted 1 to 1000"),
            (1 <= self.min_distance <= max(1, n_clips // 2), f"min_distance is {self.min_distance}, wanted 1 to "
             f"{max(1, n_clips // 2)} with {n_clips} clips"),
            (0.0 <= self.catch_share < 0.5, f"catch_share is {self.catch_share}, wanted 0 to less than 0.5"),
            (self.catch_share == 0.0 or "imagine" in self.trial, "catch_share is not 0, but no trial asks for imagery"),
            (0.0 <= self.jitter_s <= 60.0, f"jitter_s is {self.jitter_s}, wanted 0 to 60"),
            (self.lead_s >= 0.0 and self.tail_s >= 0.0 and self.washout_s >= 0.0,
             "lead_s, tail_s and washout_s are 0 or more"),
            (all(0.0 < getattr(self.seconds, item.name) <= 600.0 for item in fields(Seconds)),
             "seconds are more than 0, to 600"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def n_trials(self) -> int:
        """In a run."""
        return self.blocks * len(self.clips)


def generate(settings: DesignSettings, acquisition: Acquisition, seed: int) -> tuple[Phase, ...]:
    """The phases of a run, without a gap between them.

    Parameters
    ----------
    settings : DesignSettings
        The design.
    acquisition : Acquisition
        Phases begin where its volumes end.
    seed : int
        Of the order of the clips, the catch trials and the jitter; the run's length does not depend on it.
    """
    rng = np.random.default_rng([seed, 0xD5])
    clips = clip_order(settings, rng)
    catches = catch_trials(settings, rng)
    extra = jitter_volumes(settings, acquisition, rng)
    made = _Run(acquisition, [])
    made.add("rest", settings.lead_s)
    for trial, clip_id in enumerate(clips):
        for place, planned in enumerate(settings.trial):
            kind: PhaseKind = "catch" if planned == "imagine" and trial in catches else planned
            longer = extra[trial] if place == len(settings.trial) - 1 else 0
            sound = _sound(kind, clip_id, _task(settings, trial in catches))
            made.add(kind, getattr(settings.seconds, planned), longer, trial, clip_id, sound)
    made.add("rest", settings.tail_s)
    return tuple(made.phases)


def clip_order(settings: DesignSettings, rng: np.random.Generator) -> list[str]:
    """Clips of the trials: block after block, each a permutation, `min_distance` trials between a clip's own."""
    order: list[str] = []
    for _ in range(settings.blocks):
        order += _next_block(settings.clips, order, settings.min_distance, rng)
    return order


def _next_block(clips: Sequence[str], before: list[str], distance: int, rng: np.random.Generator) -> list[str]:
    """A permutation that keeps the distance to the block before: each place takes one of the clips that are far enough.

    With a distance of at most half the clips a place always has one: no more than half of what is left is too near.
    """
    block: list[str] = []
    left = list(clips)
    while left:
        near = (before + block)[-distance:] if distance else []
        far = [clip for clip in left if clip not in near]
        block.append(str(rng.choice(far)))
        left.remove(block[-1])
    return block


def catch_trials(settings: DesignSettings, rng: np.random.Generator) -> frozenset[int]:
    """Which trials ask for no imagery: one at random from each of as many equal stretches of the run."""
    n_catches = round(settings.catch_share * settings.n_trials)
    edges = np.linspace(0, settings.n_trials, n_catches + 1).astype(int)
    return frozenset(int(rng.integers(low, high)) for low, high in pairwise(edges))


def jitter_volumes(settings: DesignSettings, acquisition: Acquisition, rng: np.random.Generator) -> list[int]:
    """By how many volumes each trial is longer: every value equally often, as far as the trials go."""
    most = int(settings.jitter_s / acquisition.mean_interval_s + 1e-9)
    return [int(value) for value in rng.permutation(np.arange(settings.n_trials) % (most + 1))]


def _task(settings: DesignSettings, is_catch: bool) -> str:
    return "catch" if is_catch else "imagine" if "imagine" in settings.trial else "listen"


def _sound(kind: PhaseKind, clip_id: str, task: str) -> str:
    return clip_id if kind == "listen" else CUE_PREFIX + task if kind == "cue" else ""


@dataclass
class _Run:
    acquisition: Acquisition
    phases: list[Phase]

    def add(self, kind: PhaseKind, seconds: float, longer: int = 0, trial: int = -1, clip_id: str = "",
            sound: str = "") -> None:
        if seconds <= 0.0:
            return
        last = self.phases[-1] if self.phases else None
        first = last.first_volume + last.n_volumes if last else 0
        n_volumes = self.acquisition.n_volumes(seconds) + longer
        onset_s, end_s = self.acquisition.end_s(first - 1), self.acquisition.end_s(first + n_volumes - 1)
        self.phases.append(Phase(kind, first, n_volumes, onset_s, end_s - onset_s, trial, clip_id, sound))


def length_volumes(phases: Sequence[Phase]) -> int:
    """Volumes that a run of these phases needs."""
    return phases[-1].first_volume + phases[-1].n_volumes if phases else 0
