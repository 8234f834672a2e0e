"""From decoded music to what is fed back: scores, grades and the threshold that follows the person. Pure.

A score says how much nearer to the target a decoded embedding points than to the rest of the music, in standard
deviations, so that it means the same for every target. A grade between 0 and 1 is what is made audible.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realtime.errors import ConfigError
from realtime.messages import PLAIN, Rendering
from realtime.ports import MusicIndex

Mode = Literal["off", "mirror", "target"]
When = Literal["between", "continuous"]
Render = Literal["morph", "loudness", "clarity"]
N_RIVALS = 200
"""Clips that a target is compared with: more do not make the score surer."""


@dataclass(frozen=True)
class ThresholdSettings:
    """How the threshold follows the person: a weighted up-down staircase (Kaernbach 1991).

    Attributes
    ----------
    start : float
        Score, in standard deviations.
    step : float
        Size; 0 keeps the threshold where it starts.
    success_share : float
        Of the trials, so many shall be successes.
    """

    start: float = 0.5
    step: float = 0.2
    success_share: float = 0.6

    def __post_init__(self) -> None:
        if not (self.step >= 0.0 and 0.0 < self.success_share < 1.0 and math.isfinite(self.start)):
            raise ConfigError(f"a threshold of step {self.step} and success_share {self.success_share} cannot be, "
                              "wanted 0 or more, and between 0 and 1")


@dataclass(frozen=True)
class FeedbackSettings:
    """What a person gets to hear of what was decoded.

    Attributes
    ----------
    mode : {"off", "mirror", "target"}
        off: nothing; mirror: the decoded music itself; target: how near it is to a target, as graded sound.
    target : str
        Of mode target: a clip id of the catalogue, or words such as "calm piano".
    when : {"between", "continuous"}
        between: in the feedback phases only, so that no sound falls into a measurement; continuous: while the trial
        is measured, too, which leaves the played sound in what is measured.
    render : {"morph", "loudness", "clarity"}
        morph: music from far from the target to the target itself, in `rungs` steps; loudness: the target, from
        `quietest_db` to full; clarity: the target, from dull as through a wall to clear.
    rungs : int
        Of morph.
    quietest_db : float
        Of loudness.
    spread : float
        Of a score, what changes the grade from 0.5 at the threshold to 0.73.
    threshold
        See there.
    """

    mode: Mode = "off"
    target: str = ""
    when: When = "between"
    render: Render = "morph"
    rungs: int = 6
    quietest_db: float = -30.0
    spread: float = 0.5
    threshold: ThresholdSettings = field(default_factory=ThresholdSettings)

    def __post_init__(self) -> None:
        checks = [
            ((self.mode == "target") == bool(self.target), f"feedback.mode is {self.mode!r} and feedback.target "
             f"{self.target!r}: a target is named for mode 'target', and for it alone"),
            (2 <= self.rungs <= 20, f"feedback.rungs is {self.rungs}, wanted 2 to 20"),
            (-60.0 <= self.quietest_db < 0.0, f"feedback.quietest_db is {self.quietest_db}, wanted -60 to below 0"),
            (0.0 < self.spread <= 10.0, f"feedback.spread is {self.spread}, wanted more than 0, to 10"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise ConfigError("; ".join(problems))


def rivals(index: MusicIndex, target: Sequence[str]) -> tuple[str, ...]:
    """Clips that a target is compared with: all others, or as many evenly spaced ones of a large catalogue."""
    others = [clip.clip_id for clip in index.clips if clip.clip_id not in target]
    step = max(1, len(others) // N_RIVALS)
    return tuple(others[::step][:N_RIVALS])


def target_score(embedding: NDArray[np.float32], index: MusicIndex, target: Sequence[str],
                 others: Sequence[str]) -> float:
    """How much nearer to the target's clips a decoded embedding points than to others, in their standard deviations.

    Parameters
    ----------
    embedding : float32 array of shape (dim,)
        Decoded, finite.
    index : MusicIndex
        Holds all of the clips.
    target : sequence of str
        Clip ids, at least one: several where the target was named in words.
    others : sequence of str
        Of `rivals`; at least two.

    Returns
    -------
    float
        0 for no nearer than to the average clip, and where all are equally near.
    """
    own = float(np.mean(index.similarities(embedding, target), dtype=np.float64))
    rest = np.asarray(index.similarities(embedding, others), np.float64)
    spread = float(rest.std())
    return (own - float(rest.mean())) / spread if spread > 1e-9 else 0.0


def grade(score: float, threshold: float, spread: float) -> float:
    """A score as 0 to 1: 0.5 at the threshold, and never quite at either end."""
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, (score - threshold) / spread))))


def next_threshold(threshold: float, success: bool, settings: ThresholdSettings) -> float:
    """The threshold after a trial: at rest where `success_share` of the trials succeed."""
    share = settings.success_share
    return threshold + settings.step * ((1.0 - share) if success else -share)


def ladder(index: MusicIndex, target: Sequence[str], n_rungs: int, embedding: NDArray[np.float32]) -> tuple[str, ...]:
    """Clips from far from the target to the target itself, evenly spaced by rank.

    Parameters
    ----------
    index : MusicIndex
        The music.
    target : sequence of str
        The first is the last rung.
    n_rungs : int
        At least 2.
    embedding : float32 array of shape (dim,)
        Of the target's first clip, not centred.
    """
    others = [match.clip.clip_id for match in index.search(embedding, len(index.clips))
              if match.clip.clip_id not in target][::-1]
    places = np.linspace(0, len(others) - 1, n_rungs - 1).round().astype(int)
    return (*(others[place] for place in places), target[0])


def rung_of(value: float, n_rungs: int) -> int:
    """The rung for a grade, each as wide as the others."""
    return min(n_rungs - 1, int(value * n_rungs))


def rendered(value: float, settings: FeedbackSettings) -> Rendering:
    """How a grade sounds: feedback never makes anything louder than the operator set it."""
    if settings.render == "loudness":
        return Rendering(level_db=settings.quietest_db * (1.0 - value))
    return Rendering(clarity=value) if settings.render == "clarity" else PLAIN
