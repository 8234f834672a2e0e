"""What should play now: a pure policy that does not flicker.

The raw best match changes with every volume (24-35 switches a minute on a noisy decoder);
smoothing, a margin over the clip that already plays and a dwell of a bar bring that to 2-6
without losing accuracy. The margin does most of the work.

What is smoothed is the direction in which the decoder points, not the similarity of every clip:
a cosine is linear in it, so both are the same, and this one has the size of an embedding however
large the corpus is.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realtime.ports import MusicIndex

_BEATS_PER_BAR = 4


@dataclass(frozen=True)
class SelectionSettings:
    """How eagerly the music follows the decoder; `innerear corpus calibrate` chooses the first two.

    Attributes
    ----------
    smoothing : float
        Weight of the past in the running direction, 0 (none) to just under 1.
    margin : float
        Centred cosine by which another clip must beat the one that plays.
    dwell_s : float
        Shortest time a clip plays; one of known tempo plays at least a bar, too.
    times_chance : float
        The best clip's posterior must be this many times what each candidate has by chance before anything changes.
    excluded : tuple of str
        Clip ids that must never play.
    """

    smoothing: float = 0.5
    margin: float = 0.05
    dwell_s: float = 2.0
    times_chance: float = 2.0
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SelectionState:
    """What the policy remembers from one volume to the next.

    Attributes
    ----------
    heading : float32 array of shape (dim,) or None
        Running mean of the directions decoded, at most of length 1; None before the first evidence.
    playing : str
        Id of the clip that plays; "" for none.
    since_volume : int
        Volume at which it began.
    """

    heading: NDArray[np.float32] | None = None
    playing: str = ""
    since_volume: int = 0


@dataclass(frozen=True)
class Outlook:
    """What the running direction says about the clips.

    Attributes
    ----------
    best : str
        Id of the best clip that may play; "" when none may.
    lead : float
        By how much it beats the clip that plays, in centred cosine; infinite when nothing plays.
    bar_s : float
        A bar of the clip that plays; 0 when there is none or its tempo is unknown.
    """

    best: str
    lead: float
    bar_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Decision:
    """The policy's answer for one volume.

    Attributes
    ----------
    kind : {"keep", "switch", "hold"}
        keep: the playing clip is still right; switch: play `state.playing` from the next beat;
        hold: nothing may be decided now (see `why`), what plays goes on.
    state : SelectionState
        For the next volume.
    why : str
        A short reason for the record and the operator.
    """

    kind: Literal["keep", "switch", "hold"]
    state: SelectionState
    why: str


def steer(state: SelectionState, towards: NDArray[np.float32], smoothing: float) -> SelectionState:
    """The state with the direction of this volume, shape (dim,), taken into its heading."""
    if state.heading is None:
        return replace(state, heading=towards)
    blended = smoothing * state.heading.astype(np.float64) + (1.0 - smoothing) * towards
    return replace(state, heading=blended.astype(np.float32))


def look(state: SelectionState, index: MusicIndex, barred: Collection[str]) -> Outlook:
    """What a steered state says about the clips of an index, those barred left out.

    A state without a heading looks nowhere: its best clip is "".
    """
    playing = index.clip(state.playing) if state.playing else None
    bar_s = _BEATS_PER_BAR * 60.0 / playing.bpm if playing is not None and playing.bpm > 0 else 0.0
    if state.heading is None:
        return Outlook("", 0.0, bar_s)
    point = index.centre + state.heading
    best = next((match for match in index.search(point, 1 + len(barred)) if match.clip.clip_id not in barred), None)
    if best is None:
        return Outlook("", 0.0, bar_s)
    if playing is None:
        return Outlook(best.clip.clip_id, float("inf"))
    reach = float(np.linalg.norm(state.heading))  # an index takes directions of length 1
    own = float(index.similarities(point, [state.playing])[0])
    return Outlook(best.clip.clip_id, reach * (best.score - own), bar_s)


def select(state: SelectionState, outlook: Outlook, times_chance: float, volume_index: int, tr_s: float,
           settings: SelectionSettings) -> Decision:
    """Keep, switch or hold.

    Parameters
    ----------
    state : SelectionState
        Steered with this volume.
    outlook : Outlook
        Of that state.
    times_chance : float
        Posterior of the best candidate times the number of candidates.
    volume_index : int
        Of this volume.
    tr_s : float
        Repetition time, for the dwell.
    settings : SelectionSettings
        The policy.

    Returns
    -------
    Decision
        With the state for the next volume.
    """
    if not outlook.best:
        return Decision("hold", state, "no clip may play")
    if times_chance < settings.times_chance:
        return Decision("hold", state, "not confident enough")
    if outlook.best == state.playing:
        return Decision("keep", state, "still the best match")
    if state.playing:
        if (volume_index - state.since_volume) * tr_s < max(settings.dwell_s, outlook.bar_s):
            return Decision("keep", state, "too soon to change")
        if outlook.lead < settings.margin:
            return Decision("keep", state, "another clip is not enough better")
    return Decision("switch", replace(state, playing=outlook.best, since_volume=volume_index), "a better match")
