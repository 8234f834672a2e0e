"""What should play now: a pure policy that does not flicker.

The raw best match changes with every volume (10 to 35 times a minute on a noisy decoder). A trial's evidence
already gathers over its volumes, and its posterior says how sure one may be of it; so the policy remembers nothing
but what plays, and changes only for music that is so many times as probable: another genre for `genre_odds`, another
clip of the same genre for `clip_odds`. Whether a genre fits is known earlier than which of its clips does (ADR 0031).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from realtime.decoding.posterior import Posterior
from realtime.errors import ConfigError
from realtime.messages import Clip

_BEATS_PER_BAR = 4


@dataclass(frozen=True)
class SelectionSettings:
    """How eagerly the music follows the decoder; `innerear corpus calibrate` chooses the odds from a rest run.

    Attributes
    ----------
    genre_odds : float
        A clip of another genre plays when its genre is so many times as probable as the one that plays; at least 1.
    clip_odds : float
        A clip of the same genre, or of music without genres, plays when it is so many times as probable; at least 1.
    dwell_s : float
        Shortest time a clip plays; one of known tempo plays at least a bar, too.
    times_chance : float
        The best clip's posterior must be this many times what each candidate has by chance before anything changes.
    excluded : tuple of str
        Clip ids that must never play.
    """

    genre_odds: float = 1.5
    clip_odds: float = 20.0
    dwell_s: float = 2.0
    times_chance: float = 2.0
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low = [f"{name} is {odds}" for name, odds in (("genre_odds", self.genre_odds), ("clip_odds", self.clip_odds))
               if not odds >= 1.0]
        if low:
            raise ConfigError(f"the selection cannot be set up so: {', '.join(low)}, wanted at least 1: music that is "
                              "less probable than what plays must never replace it; correct the selection settings")


@dataclass(frozen=True)
class SelectionState:
    """What the policy remembers from one volume to the next.

    Attributes
    ----------
    playing : str
        Id of the clip that plays; "" for none.
    since_volume : int
        Volume at which it began.
    """

    playing: str = ""
    since_volume: int = 0


@dataclass(frozen=True)
class Outlook:
    """What the posterior says about a change.

    Attributes
    ----------
    best : str
        The most probable clip of the most probable genre, of those that may play; "" when none may.
    odds : float
        How many times as probable it is as what plays: its genre against the playing genre, or, within one genre,
        clip against clip; infinite when nothing plays.
    same_genre : bool
        Whether it is of the genre that plays.
    bar_s : float
        A bar of the clip that plays; 0 when there is none or its tempo is unknown.
    """

    best: str
    odds: float
    same_genre: bool = False
    bar_s: float = 0.0


@dataclass(frozen=True)
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


def look(belief: Posterior, playing: Clip | None, barred: Collection[str]) -> Outlook:
    """What a posterior says of the clip that plays (None for none) and the one that should, those barred left out."""
    bar_s = _BEATS_PER_BAR * 60.0 / playing.bpm if playing is not None and playing.bpm > 0 else 0.0
    shares: dict[str, float] = {}
    best: dict[str, int] = {}
    own = 0.0
    for row, clip in enumerate(belief.clips):
        probability = float(belief.probabilities[row])
        if playing is not None and clip.clip_id == playing.clip_id:
            own = probability
        shares[clip.genre] = shares.get(clip.genre, 0.0) + probability
        if clip.clip_id not in barred and probability > (
                belief.probabilities[best[clip.genre]] if clip.genre in best else -1.0):
            best[clip.genre] = row
    if not best:
        return Outlook("", 0.0, False, bar_s)
    genre = min(best, key=lambda name: (-shares[name], name))
    clip_id, probability = belief.clips[best[genre]].clip_id, float(belief.probabilities[best[genre]])
    if playing is None:
        return Outlook(clip_id, float("inf"))
    if genre == playing.genre:
        return Outlook(clip_id, _ratio(probability, own), True, bar_s)
    return Outlook(clip_id, _ratio(shares[genre], shares.get(playing.genre, 0.0)), False, bar_s)


def _ratio(new: float, old: float) -> float:
    return new / old if old > 0.0 else float("inf") if new > 0.0 else 1.0


def select(state: SelectionState, outlook: Outlook, times_chance: float, volume_index: int, tr_s: float,
           settings: SelectionSettings) -> Decision:
    """Keep, switch or hold.

    Parameters
    ----------
    state : SelectionState
        Before this volume.
    outlook : Outlook
        For the clip that it says plays.
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
        if outlook.odds < (settings.clip_odds if outlook.same_genre else settings.genre_odds):
            return Decision("keep", state, "another clip is not enough more probable")
    return Decision("switch", replace(state, playing=outlook.best, since_volume=volume_index), "a better match")
