"""Where a visit stands, as its program tells it: runs that were done, the one that is on, what is waited for. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["done", "on", "next", "to come", "left out"]
LIKELY = 0.85
"""A person's reference run correlates more with their own training reference, and less with another's (ADR 0047)."""
MAX_RUNS = 40


@dataclass(frozen=True)
class PlannedRun:
    """One run of the plan.

    Attributes
    ----------
    name, kind : str
        As the plan has them.
    n_volumes : int
        Of its scan.
    state : {"done", "on", "next", "to come", "left out"}
        "on": it waits for volumes, is recorded, or its reference is judged.
    n_done, n_aborted : int
        How often.
    """

    name: str
    kind: str
    n_volumes: int
    state: State
    n_done: int
    n_aborted: int


@dataclass(frozen=True)
class Lie:
    """How a reference run lies on the training reference.

    Attributes
    ----------
    correlation : float
        Of the two images within the head.
    shift_mm, turn_deg : float
        How far the head lay from there.
    """

    correlation: float
    shift_mm: float
    turn_deg: float

    @property
    def likely(self) -> bool:
        """Whether it may well be the same person."""
        return self.correlation >= LIKELY


@dataclass(frozen=True)
class Visit:
    """Where a visit stands.

    Attributes
    ----------
    waiting : str
        "go", "accept", "in", "run" or "over".
    run : str
        Folder of the run that is on, judged or next; "" when it is over.
    place : int
        Of that run in the plan, from 0.
    runs : tuple of PlannedRun
        In order.
    actions : tuple of str
        What may be said now.
    positioning : int
        How often the subject was put in.
    lie : Lie or None
        Of the reference that is judged; None where it could not be drawn.
    subject : str
        Pseudonym.
    """

    waiting: str
    run: str
    place: int
    runs: tuple[PlannedRun, ...]
    actions: tuple[str, ...]
    positioning: int
    lie: Lie | None
    subject: str

    @property
    def between(self) -> bool:
        """Whether somebody has to say what comes next, or nothing does."""
        return self.waiting != "run"

    @property
    def place_label(self) -> str:
        """Which run of how many."""
        return f"run {min(self.place + 1, len(self.runs))} of {len(self.runs)}"

    @property
    def label(self) -> str:
        """And its name, for a headline."""
        return f"{self.place_label}, {self.run}"


def read_visit(payload: dict[str, Any]) -> Visit:
    """From a message on the topic `plan`; KeyError, TypeError or ValueError for one that is not ours."""
    waiting, place = str(payload["waiting"]), int(payload["place"])
    done, aborted = tuple(map(str, payload["done"])), tuple(map(str, payload["aborted"]))
    planned = list(zip(payload["runs"], payload["kinds"], payload["n_volumes"], strict=True))[:MAX_RUNS]
    runs = tuple(
        PlannedRun(str(name), str(kind), int(n_volumes), _state(number, place, waiting, _count(done, number)),
                   _count(done, number), _count(aborted, number))
        for number, (name, kind, n_volumes) in enumerate(planned))
    figures = payload["overlay"]
    lie = Lie(*(float(figures[name]) for name in ("correlation", "shift_mm", "turn_deg"))) if figures else None
    return Visit(waiting, str(payload["run"]), place, runs, tuple(map(str, payload["actions"][:9])),
                 int(payload["positioning"]), lie, str(payload["subject"]))


def _count(folders: tuple[str, ...], place: int) -> int:
    return sum(folder.startswith(f"{place + 1:02}-") for folder in folders)


def _state(number: int, place: int, waiting: str, n_done: int) -> State:
    if number == place and waiting != "over":
        return "next" if waiting in ("go", "in") else "on"
    if n_done:
        return "done"
    return "left out" if number < place else "to come"
