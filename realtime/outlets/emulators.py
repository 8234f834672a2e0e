"""In rehearsals: who presses the keys. A trigger box pulses for every volume, a person answers when the task asks.

The scanner's emulator is the bridge's own (`innerear bridge replay`, `innerear rehearse-task`). Keys go to tasks by
the bus and the door; with a real scanner they come from the box beside the task.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec
import numpy as np

from realtime.errors import SessionError
from realtime.outlets.door import Tell
from realtime.topics import Key, State, Step

TRIGGER_KEY = "5"
RATING_KEYS = ("1", "2", "3", "4")
REACTION_S = (0.3, 0.9)


@dataclass
class Emulators:
    """Trigger box and person; an outlet.

    The person presses one of `RATING_KEYS` when a designed run comes to a rating; without a design, the first of them
    when another trial begins.

    Attributes
    ----------
    tell : callable
        On the bus.
    seed : int
        Of reaction times and ratings.
    """

    tell: Tell
    seed: int = 0
    _presses: asyncio.Queue[tuple[float, Key]] = field(default_factory=asyncio.Queue)
    _phase: str = ""
    _trial: int = -1

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def hear(self, message: msgspec.Struct) -> None:
        """Press what is due."""
        match message:
            case State(state="running"):
                self._pulse()
            case Step():
                if message.n_volumes is None or message.volume + 1 < message.n_volumes:
                    self._pulse()
                if message.phase == "rate" and self._phase != "rate":
                    self._press(str(self._rng.choice(RATING_KEYS)))
                elif not message.phase and message.trial > self._trial:
                    self._press(RATING_KEYS[0])
                self._phase, self._trial = message.phase, message.trial

    def _pulse(self) -> None:
        self._presses.put_nowait((0.0, Key(TRIGGER_KEY, "trigger")))

    def _press(self, key: str) -> None:
        self._presses.put_nowait((float(self._rng.uniform(*REACTION_S)), Key(key, "person")))

    async def open(self) -> None:
        """Nothing is listened for."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as hands:
            while True:
                after_s, key = await self._presses.get()
                hands.create_task(self._do(after_s, key))

    async def _do(self, after_s: float, key: Key) -> None:
        await asyncio.sleep(after_s)
        try:
            await self.tell("key", key)
        except SessionError:
            return  # the broker is away: nobody hears the key
