"""What should play now: a pure policy that does not flicker.

The raw best match changes with every volume (24-35 switches a minute on a noisy decoder);
smoothing, a margin over the clip that already plays and a short dwell bring that to 4-6
without losing accuracy. The margin does most of the work.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SelectionSettings:
    """How eagerly the music follows the decoder.

    Attributes
    ----------
    smoothing : float
        Weight of the past in the running similarities, 0 (none) to just under 1.
    margin : float
        Centred cosine by which another clip must beat the one that plays.
    dwell_s : float
        Shortest time a clip plays.
    times_chance : float
        The best clip's posterior must be this many times 1/n_clips before anything changes.
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
    similarities : float64 array of shape (n_clips,) or None
        Smoothed similarities; None before the first evidence.
    playing : int
        Row of the clip that plays; -1 for none.
    since_volume : int
        Volume at which it began.
    """

    similarities: NDArray[np.float64] | None = None
    playing: int = -1
    since_volume: int = 0


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


def select(state: SelectionState, similarities: NDArray[np.float32], confidence: float, volume_index: int,
           tr_s: float, settings: SelectionSettings, allowed: NDArray[np.bool_]) -> Decision:
    """Keep, switch or hold, given the similarities of this volume.

    Parameters
    ----------
    state : SelectionState
        From the previous volume.
    similarities : float32 array of shape (n_clips,)
        Centred cosines, finite.
    confidence : float
        Posterior of the best clip.
    volume_index : int
        Of this volume.
    tr_s : float
        Repetition time, for the dwell.
    settings : SelectionSettings
        The policy.
    allowed : bool array of shape (n_clips,)
        False for clips that must never play.

    Returns
    -------
    Decision
        With the state for the next volume. Ties go to the earlier row.
    """
    now = similarities.astype(np.float64)
    smoothed = now if state.similarities is None else (
        settings.smoothing * state.similarities + (1.0 - settings.smoothing) * now)
    remembered = SelectionState(smoothed, state.playing, state.since_volume)
    if not allowed.any():
        return Decision("hold", remembered, "every clip is excluded")
    best = int(np.argmax(np.where(allowed, smoothed, -np.inf)))
    if confidence < settings.times_chance / len(similarities):
        return Decision("hold", remembered, "not confident enough")
    if best == state.playing:
        return Decision("keep", remembered, "still the best match")
    if state.playing >= 0:
        if (volume_index - state.since_volume) * tr_s < settings.dwell_s:
            return Decision("keep", remembered, "too soon to change")
        if smoothed[best] - smoothed[state.playing] < settings.margin:
            return Decision("keep", remembered, "another clip is not enough better")
    return Decision("switch", SelectionState(smoothed, best, volume_index), "a better match")
