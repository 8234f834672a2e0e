"""Music of a worker with a large model; the corpus stands in whenever it is late, wrong or gone."""

import numpy as np
from numpy.typing import NDArray

from realtime.errors import GeneratorError
from realtime.generators.bank import Bank
from realtime.generators.state import pack_state, unpack_state
from realtime.generators.worker_link import WorkerLink
from realtime.generators.worker_protocol import (
    Answer,
    Begin,
    Done,
    Failed,
    Hello,
    Made,
    Make,
    Restore,
    State,
    Welcome,
    samples_of,
)
from realtime.messages import Chunk, Condition, EmbeddingSpace

LONGEST_CHUNK_S = 0.25
SHORTEST_CHUNK_S = 0.03
SEAM_S = 0.01  # kept back of every chunk, so that whatever comes next can be cross-faded to
PATIENCE_S = 5.0  # with a worker that is asked for its state, or begins
KNOCK_EVERY = 10  # chunks of the stand-in, a second


class WorkerGenerator:
    """Asks a worker for every chunk, and waits until a deadline; implements `realtime.ports.Generator`.

    A chunk that is late, is no sound or does not come is made by the corpus's own clips, with a cross-fade
    of 10 ms; the worker is knocked at every second, and gets the music back with its first good answer.

    Parameters
    ----------
    link : WorkerLink
        To the worker.
    stand_in : Bank
        Plays meanwhile; says which space and rate are wanted.
    seed : int
        Of the worker's music.
    deadline_s : float
        For a chunk.
    """

    def __init__(self, link: WorkerLink, stand_in: Bank, seed: int, deadline_s: float) -> None:
        self._link, self._bank = link, stand_in
        self._seed, self._deadline_s = seed, deadline_s
        self._seam = round(SEAM_S * stand_in.rate_hz)
        self._number = 0
        self._chunk_frames = 0
        self._reason = "the worker has not been met yet"
        self._waited = KNOCK_EVERY
        self._asked: Condition | None = None
        self._current: Condition | None = None
        self._told: Condition | None = None
        self._tail = np.zeros((0, 2), np.float32)
        self._source = ""
        self._meet()

    @property
    def space(self) -> EmbeddingSpace:
        """The space its conditions live in."""
        return self._bank.space

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return self._bank.rate_hz

    @property
    def longest_chunk(self) -> int:
        """Frames that no chunk exceeds."""
        return round(LONGEST_CHUNK_S * self.rate_hz)

    @property
    def stands_in(self) -> str:
        """Why the corpus plays and not the worker; "" while the worker does."""
        return self._reason

    def condition(self, condition: Condition) -> None:
        """Sound like this from the next chunk on."""
        self._asked = condition

    def chunk(self) -> Chunk:
        """The next piece: the worker's, or the corpus's. Takes the deadline at most."""
        if self._asked is not None:
            self._current, self._asked = self._asked, None
            self._bank.condition(self._current)
        if self._current is None:
            return Chunk(np.zeros((round(0.04 * self.rate_hz), 2), np.float32), -1)
        if self._reason:
            self._knock()
        frames = None if self._reason else self._make(self._current)
        if frames is None:
            return Chunk(self._join("bank", self._bank.chunk().frames), self._current.number)
        return Chunk(self._join("worker", frames), self._current.number)

    def state(self) -> bytes:
        """All that the coming chunks depend on; asks the worker for its own.

        Raises
        ------
        GeneratorError
            The worker plays, and does not tell.
        """
        own = b"" if self._reason else self._insist(State(self._next()))
        return pack_state(self._kind, {
            "bank": self._bank.state(), "worker": own, "reason": self._reason,
            "told": self._told is not None and self._told is self._current,
            "asked": None if self._asked is None else vars(self._asked),
            "current": None if self._current is None else vars(self._current),
            "tail": self._tail, "source": self._source})

    def restore(self, state: bytes) -> None:
        """Go on exactly where `state` was taken; GeneratorError for foreign bytes, or a worker that does not."""
        memory = unpack_state(self._kind, state)
        if not memory["reason"]:
            self._insist(Restore(self._next()), memory["worker"])
        self._bank.restore(memory["bank"])
        self._reason = memory["reason"]
        self._asked = memory["asked"] and Condition(**memory["asked"])
        self._current = memory["current"] and Condition(**memory["current"])
        self._told = self._current if memory["told"] else None
        self._tail, self._source = memory["tail"], memory["source"]

    def close(self) -> None:
        """Leave the worker; may be called twice."""
        self._link.close()

    @property
    def _kind(self) -> str:
        return f"worker at {self.rate_hz} Hz in space {self.space.sha256}"

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _meet(self) -> None:
        """Wait for the worker a while; it may come later, too."""
        if self._link.ask(Hello(), within_s=PATIENCE_S) and (got := self._link.answer(PATIENCE_S)) is not None:
            self._reason = self._refusal(got[0])
            if not self._reason:
                self._insist(Begin(self._next(), self._seed))

    def _refusal(self, answer: Answer) -> str:
        """Why a worker that introduced itself so cannot be used, in words; "" when it can."""
        if not isinstance(answer, Welcome):
            return f"the worker at {self._link.endpoint} said {answer} to a hello"
        space = EmbeddingSpace(answer.space_name, answer.space_dim, answer.space_sha256)
        seconds = answer.chunk_frames / max(1, answer.rate_hz)
        if (space, answer.rate_hz) != (self.space, self.rate_hz):
            return (f"worker {answer.name!r} takes conditions of space {space} and plays at {answer.rate_hz} Hz, "
                    f"wanted {self.space} and {self.rate_hz} Hz")
        if not SHORTEST_CHUNK_S <= seconds <= LONGEST_CHUNK_S:
            return (f"worker {answer.name!r} makes chunks of {seconds:g} s, wanted {SHORTEST_CHUNK_S} to "
                    f"{LONGEST_CHUNK_S}")
        self._chunk_frames, self._told = answer.chunk_frames, None
        return ""

    def _make(self, condition: Condition) -> NDArray[np.float32] | None:
        """The worker's next chunk; None, and a reason, when there is none in time."""
        number, new = self._next(), self._told is not condition
        payload = condition.embedding.astype("<f4").tobytes() if new else b""
        try:
            frames = self._ask_for(Make(number, condition.number if new else -1), payload)
        except (GeneratorError, ValueError) as exc:
            self._reason, self._waited = str(exc), 0
            return None
        self._told = condition
        return frames

    def _ask_for(self, request: Make, payload: bytes) -> NDArray[np.float32]:
        """A chunk; GeneratorError or ValueError when there is none in time."""
        if not self._link.ask(request, payload):
            raise GeneratorError(f"the worker at {self._link.endpoint} is gone")
        got = self._link.answer_to(request.number, self._deadline_s)
        if got is None:
            raise GeneratorError(f"the worker had no chunk within {self._deadline_s:g} s")
        if not isinstance(got[0], Made):
            raise GeneratorError(f"the worker had no chunk: {got[0].reason if isinstance(got[0], Failed) else got[0]}")
        return samples_of(got[1], self._chunk_frames)

    def _knock(self) -> None:
        """Without waiting: ask who is there every second, and let whoever answers rightly begin again."""
        try:
            while (got := self._link.answer(0.0)) is not None:
                if isinstance(got[0], Welcome) and not (refusal := self._refusal(got[0])):
                    self._link.ask(Begin(self._next(), self._seed))
                elif isinstance(got[0], Welcome):
                    self._reason = refusal
                elif isinstance(got[0], Done) and got[0].number == self._number and self._chunk_frames:
                    self._reason = ""
                    return
        except GeneratorError as exc:
            self._reason = str(exc)
        self._waited += 1
        if self._waited >= KNOCK_EVERY:
            self._waited = 0
            self._link.ask(Hello())

    def _insist(self, request: Begin | State | Restore, payload: bytes = b"") -> bytes:
        """What the worker gives; GeneratorError when it does not."""
        got = self._link.answer_to(request.number, PATIENCE_S) if self._link.ask(request, payload, PATIENCE_S) else None
        if got is None or not isinstance(got[0], Done):
            said = "did not answer" if got is None else f"answered {got[0]}"
            raise GeneratorError(f"the worker at {self._link.endpoint} {said} to {type(request).__name__.lower()}; "
                                 "look at its log, or start it again")
        return got[1]

    def _join(self, source: str, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """What may leave now of these frames after those kept back; a change of source is cross-faded."""
        kept, self._tail = self._tail, frames[len(frames) - self._seam:]
        leaving = frames[: len(frames) - self._seam]
        changed, self._source = source != self._source, source
        if not len(kept):
            return leaving
        if not changed:
            return np.concatenate([kept, leaving])
        angle = ((np.arange(self._seam, dtype=np.float32) + 0.5) / self._seam * (np.pi / 2))[:, None]
        joint: NDArray[np.float32] = kept * np.cos(angle) + leaving[: self._seam] * np.sin(angle)
        joined: NDArray[np.float32] = np.clip(np.concatenate([joint, leaving[self._seam:]]), -1.0, 1.0)
        return joined
