"""The stretches of a run that was designed, and the windows in which its trials speak. Pure values.

A phase begins when a volume has ended, because that is when the live program acts: one clock, the scanner's, tells
when stimuli sound, when decisions fall and which volumes they rest on.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from realtime.errors import EventsError
from realtime.experiment.acquisition import Acquisition

PhaseKind = Literal["cue", "listen", "imagine", "catch", "wait", "feedback", "rate", "rest"]
MEASURED: tuple[PhaseKind, ...] = ("listen", "imagine", "catch")
"""Phases that open a trial of evidence."""
TASKS: tuple[PhaseKind, ...] = (*MEASURED, "cue", "wait", "feedback", "rate", "rest")


@dataclass(frozen=True)
class Phase:
    """One stretch of a run.

    Attributes
    ----------
    kind : str
        cue: a sound says what comes; listen: `clip_id` is played; imagine: it shall be imagined in silence; catch: as
        imagine, but nothing shall be imagined; wait: silence, the response comes late; feedback: what was decoded is
        fed back; rate: the person says how vivid it was; rest: silence.
    first_volume : int
        It begins when the volume before this one has ended.
    n_volumes : int
        How many it lasts.
    onset_s, duration_s : float
        The same in seconds, onset after the start of the run's first volume.
    trial : int
        Number of the trial in the run, from 0; -1 for what belongs to none.
    clip_id : str
        What the trial is about; "" outside trials.
    sound : str
        What the design plays: a clip, or a cue; "" for silence and for feedback.
    """

    kind: PhaseKind
    first_volume: int
    n_volumes: int
    onset_s: float
    duration_s: float
    trial: int = -1
    clip_id: str = ""
    sound: str = ""


@dataclass(frozen=True)
class Window:
    """When, after its onset, a phase speaks from the voxels, and how sure it must be.

    Attributes
    ----------
    lag_s : float
        The response comes late; imagery's comes later than hearing's.
    window_s : float
        For so long.
    times_chance : float
        The best clip's posterior must be this many times chance before it is fed back.
    """

    lag_s: float
    window_s: float
    times_chance: float = 2.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.lag_s <= 30.0 and 0.0 < self.window_s <= 120.0 and self.times_chance >= 0.0):
            raise EventsError(f"a window of lag_s {self.lag_s:g}, window_s {self.window_s:g} and times_chance "
                              f"{self.times_chance:g} cannot be, wanted 0 to 30, more than 0 to 120, and 0 or more")


@dataclass(frozen=True)
class WindowedTrials:
    """Which volumes are the evidence of which trial, each trial with a window of its own; implements `Trials`.

    Attributes
    ----------
    acquisition : Acquisition
        When volumes are acquired.
    onsets_s : tuple of float
        Of the trials, increasing.
    windows : tuple of Window
        One for each.
    """

    acquisition: Acquisition
    onsets_s: tuple[float, ...]
    windows: tuple[Window, ...]

    def trial_of(self, volume_index: int) -> int:
        """Trial whose evidence the volume is: the latest whose window holds the volume's middle; -1 for none."""
        middle_s = self.acquisition.start_s(volume_index) + self.acquisition.tr_s / 2
        for trial in range(bisect_right(self.onsets_s, middle_s) - 1, -1, -1):
            since_s = middle_s - self.onsets_s[trial] - self.windows[trial].lag_s
            if since_s >= 0.0:
                return trial if since_s < self.windows[trial].window_s else -1
        return -1

    def with_mark(self, volume_index: int) -> "WindowedTrials":
        """The trials and one more from `volume_index` on, with the last one's window.

        Raises
        ------
        EventsError
            A trial begins there or later, or there is none to take the window from.
        """
        onset_s = self.acquisition.start_s(volume_index)
        if not self.onsets_s or onset_s <= self.onsets_s[-1]:
            raise EventsError(f"a trial cannot be marked at volume {volume_index}: one begins there or later by the "
                              "design, or the design has none; designs need no marks")
        return replace(self, onsets_s=(*self.onsets_s, onset_s), windows=(*self.windows, self.windows[-1]))


def phase_after(phases: Sequence[Phase], volume: int) -> Phase | None:
    """The phase that runs once this volume has ended (-1: before the first); None after the last."""
    place = bisect_right([phase.first_volume for phase in phases], volume + 1) - 1
    if place < 0 or volume + 1 >= phases[place].first_volume + phases[place].n_volumes:
        return None
    return phases[place]
