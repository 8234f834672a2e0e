"""Composer and synthesiser together: the generators that write notes."""

from typing import Protocol

import numpy as np

from realtime.generators.performer import Moment, Performer
from realtime.generators.state import Memory, pack_state, unpack_state
from realtime.messages import Chunk, Condition, EmbeddingSpace

STEPS_PER_BEAT = 4
SLOWEST_BPM = 50.0
_PAUSE_S = 0.04  # of silence at a time, before the first condition


class Composer(Protocol):
    """Writes music one sixteenth after the other. What it draws depends on its seed alone."""

    @property
    def name(self) -> str:
        """Names what it is and what it knows; states of another name are refused."""
        ...

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions."""
        ...

    @property
    def step(self) -> int:
        """Which sixteenth of the bar comes next, 0 to 15."""
        ...

    def condition(self, condition: Condition) -> None:
        """Write like this from the next moment on."""
        ...

    def moment(self) -> Moment:
        """The next sixteenth; not before the first condition."""
        ...

    def memory(self) -> Memory:
        """All that it will write depends on."""
        ...

    def remember(self, memory: Memory) -> None:
        """Go on from what `memory` gave."""
        ...


class ScoreGenerator:
    """A composer whose score is played as it is written; implements `realtime.ports.Generator`.

    A chunk is a sixteenth. The music begins with the first condition.
    """

    def __init__(self, composer: Composer, rate_hz: int) -> None:
        self._composer = composer
        self._rate_hz = rate_hz
        self._performer = Performer(rate_hz)
        self._condition = -1
        self._asked: Condition | None = None

    @property
    def space(self) -> EmbeddingSpace:
        """The space its conditions live in."""
        return self._composer.space

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return self._rate_hz

    @property
    def longest_chunk(self) -> int:
        """Frames that no chunk exceeds."""
        return round(60.0 / SLOWEST_BPM / STEPS_PER_BEAT * self._rate_hz)

    def condition(self, condition: Condition) -> None:
        """Compose like this from the next sixteenth on."""
        self._asked = condition

    def chunk(self) -> Chunk:
        """The next sixteenth."""
        if self._asked is not None:
            self._composer.condition(self._asked)
            self._condition, self._asked = self._asked.number, None
        if self._condition < 0:
            return Chunk(np.zeros((round(_PAUSE_S * self._rate_hz), 2), np.float32), -1)
        to_beat = -self._composer.step % STEPS_PER_BEAT
        moment = self._composer.moment()
        per_step = moment.frames_per_step(self._rate_hz)
        return Chunk(self._performer.perform(moment), self._condition, STEPS_PER_BEAT * per_step,
                     round(to_beat * per_step))

    def state(self) -> bytes:
        """All that the coming chunks depend on, besides coming conditions."""
        return pack_state(self._kind, {
            "condition": self._condition, "asked": None if self._asked is None else vars(self._asked),
            "composer": self._composer.memory(), "performer": self._performer.memory()})

    def restore(self, state: bytes) -> None:
        """Go on exactly where `state` was taken; GeneratorError for bytes of another generator."""
        memory = unpack_state(self._kind, state)
        self._composer.remember(memory["composer"])
        self._performer.remember(memory["performer"])
        self._condition = memory["condition"]
        self._asked = memory["asked"] and Condition(**memory["asked"])

    @property
    def _kind(self) -> str:
        return f"{self._composer.name} at {self._rate_hz} Hz in space {self.space.sha256}"
