"""Who decides what sounds: after every volume, between them, and when something is in the way. Pure.

`FreeConductor` lets the music follow the decoder all the time; `realtime.session.design_conduct` follows an
experiment's design.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

from realtime.decoding.posterior import Posterior
from realtime.decoding.settings import DecodingSettings
from realtime.messages import PLAIN, Rendering
from realtime.music.selection import Decision, SelectionSettings, SelectionState, look, select
from realtime.ports import MusicIndex
from realtime.session.record import Document
from realtime.session.steps import Percept


@dataclass(frozen=True, eq=False)
class Said:
    """What a conductor says about one volume.

    Attributes
    ----------
    decision : Decision
        What plays, and why.
    remarks : dict
        More for the record: what a design adds.
    rendering : Rendering
        How what plays sounds: feedback can be softer or duller.
    """

    decision: Decision
    remarks: Document = field(default_factory=dict)
    rendering: Rendering = PLAIN


class Conductor(Protocol):
    """Decides what sounds in one attempt at a run. Pure: reads no clock."""

    @property
    def playing(self) -> str:
        """Clip id of what plays by its decision; "" for silence."""
        ...

    def decide(self, percept: Percept, belief: Posterior | None, hold: str) -> Said:
        """After a volume; `hold` is why nothing may be decided now, or ""."""
        ...

    def begin(self) -> str:
        """Clip id of what sounds before the first volume; "" for silence."""
        ...

    def counts(self, volume_index: int) -> bool:
        """Whether the volume may be evidence, as far as the design goes."""
        ...

    def bar(self, clip_id: str) -> None:
        """Never choose this clip again; if it was chosen, what played before it plays on."""
        ...

    def silence(self, volume_index: int) -> None:
        """Nothing plays from now on, until the next decision for some."""
        ...


@dataclass
class FreeConductor:
    """The music follows the decoder.

    Attributes
    ----------
    index : MusicIndex
        What can play.
    settings : SelectionSettings
        How eagerly it follows.
    tr_s : float
        Repetition time.
    decoding : DecodingSettings
        How sure it must be.
    """

    index: MusicIndex
    settings: SelectionSettings
    tr_s: float
    decoding: DecodingSettings = field(default_factory=DecodingSettings)
    _state: SelectionState = field(default_factory=SelectionState)
    _barred: set[str] = field(default_factory=set)
    _before: str = ""  # what played before the present clip was chosen

    def __post_init__(self) -> None:
        self._barred |= set(self.settings.excluded)

    @property
    def playing(self) -> str:
        """Clip id of what plays by its decision; "" for silence."""
        return self._state.playing

    def begin(self) -> str:
        """Silence: nothing is decoded yet."""
        return ""

    def counts(self, volume_index: int) -> bool:
        """All may: there is no design."""
        return True

    def decide(self, percept: Percept, belief: Posterior | None, hold: str) -> Said:
        """Keep, switch or hold, by what was decoded."""
        decision = self._choose(percept, belief, hold)
        if decision.state.playing != self._state.playing:
            self._before = self._state.playing
        self._state = decision.state
        return Said(decision)

    def _choose(self, percept: Percept, belief: Posterior | None, hold: str) -> Decision:
        if hold:
            return Decision("hold", self._state, hold)
        if belief is None:
            return Decision("hold", self._state, "no evidence yet")
        if percept.status != "OK":
            return Decision("hold", self._state, f"volume is {percept.status}")
        if self.decoding.abstains(belief):
            return Decision("hold", self._state, f"abstained: the {self.decoding.sure_of} is not sure enough")
        playing = self.index.clip(self.playing) if self.playing else None
        return select(self._state, look(belief, playing, self._barred), belief.confidence * len(belief.clips),
                      percept.volume_index, self.tr_s, self.settings)

    def bar(self, clip_id: str) -> None:
        """Never choose this clip again; if it was chosen, what played before it plays on."""
        self._barred.add(clip_id)
        if self._state.playing == clip_id:
            self._state = replace(self._state, playing="" if self._before in self._barred else self._before)

    def silence(self, volume_index: int) -> None:
        """Nothing plays from now on, until the next decision for some."""
        self._state = SelectionState("", volume_index)
