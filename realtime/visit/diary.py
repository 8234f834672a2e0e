"""What happened on a visit, and what comes next: a fold of its diary. Pure.

The diary is the visit's record of truth: an entry for every run that was begun and ended and for every word of the
operator. A visit that was cut off goes on from it. A run that was aborted comes again, in a folder of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from realtime.errors import SessionError
from realtime.visit.plan import RunSettings

Entry = Mapping[str, Any]
Waiting = Literal["go", "accept", "in", "run", "over"]
ACTIONS: dict[Waiting, tuple[str, ...]] = {
    "go": ("go", "again", "skip", "out", "end"), "accept": ("accept", "refuse", "out", "end"), "in": ("in", "end"),
    "run": (), "over": ()}
WORDS = {"go": "say go for run {run}; or again, skip, out, end",
         "accept": "look at the overlay of {run}, and say accept or refuse",
         "in": "the subject is out; say in when they are back: a new reference comes first",
         "run": "run {run} waits for volumes, or goes on", "over": "the visit is over"}


@dataclass(frozen=True)
class Task:
    """A run to do, or to do again.

    Attributes
    ----------
    run : RunSettings
        Of the plan.
    place : int
        In the plan, from 0.
    repeat : int
        0 the first time.
    """

    run: RunSettings
    place: int
    repeat: int = 0

    @property
    def folder(self) -> str:
        """Name of its session folder."""
        return f"{self.place + 1:02}-{self.run.name}" + (f"_{self.repeat + 1}" if self.repeat else "")


@dataclass(frozen=True)
class VisitState:
    """Where a visit stands.

    Attributes
    ----------
    waiting : str
        For what: "go" for the next run, "accept" for an overlay, "in" for the subject, "run" for the scanner; "over".
    task : Task or None
        What is done, judged, or comes next.
    done : tuple of str
        Folders of the runs that ended, in order.
    aborted : tuple of str
        Folders of those that were given up.
    positioning : int
        How often the subject was put in, from 1.
    """

    waiting: Waiting
    task: Task | None
    done: tuple[str, ...] = ()
    aborted: tuple[str, ...] = ()
    positioning: int = 1
    resume_place: int = 0
    repeats: tuple[tuple[int, int], ...] = ()

    @property
    def words(self) -> str:
        """What the operator should do, in a sentence."""
        return WORDS[self.waiting].format(run=self.task.folder if self.task is not None else "")


def stand(runs: Sequence[RunSettings], entries: Sequence[Entry]) -> VisitState:
    """Where a visit of these runs stands after these entries."""
    state = _next(runs, VisitState("go", None), 0)
    for entry in entries:
        state = after(runs, state, entry)
    return state


def after(runs: Sequence[RunSettings], state: VisitState, entry: Entry) -> VisitState:
    """The state after one more entry.

    Raises
    ------
    SessionError
        The entry is nothing that can be done now.
    """
    what = str(entry["what"])
    if what not in (*ACTIONS[state.waiting], "begun", "ended"):
        raise SessionError(f"{what!r} is not possible now: {state.words}")
    task = state.task
    if what == "begun":
        return replace(state, waiting="run")
    if what == "ended" and task is not None and entry.get("status") == "aborted":
        repeats = {**dict(state.repeats), task.place: task.repeat + 1}
        state = replace(state, aborted=(*state.aborted, task.folder), repeats=tuple(repeats.items()))
        return replace(state, waiting="go", task=_task(runs, state, task.place))
    if what == "ended" and task is not None:
        done = (*state.done, task.folder)
        repeats = {**dict(state.repeats), task.place: task.repeat + 1}
        state = replace(state, done=done, repeats=tuple(repeats.items()))
        if task.run.kind == "reference":
            return replace(state, waiting="accept")
        return _next(runs, state, max(task.place + 1, state.resume_place))
    if what == "accept" and task is not None:
        return _next(runs, state, max(task.place + 1, state.resume_place))
    if what == "skip" and task is not None:
        return _next(runs, state, task.place + 1)
    if what == "refuse" and task is not None:
        return replace(state, waiting="go", task=_task(runs, state, task.place))
    if what == "again":
        return _again(runs, state)
    if what == "out":
        return replace(state, waiting="in")
    if what == "in":
        return _positioned(runs, replace(state, positioning=state.positioning + 1))
    return replace(state, waiting="over", task=None) if what == "end" else replace(state, waiting="go")


def _next(runs: Sequence[RunSettings], state: VisitState, place: int) -> VisitState:
    if place >= len(runs):
        return replace(state, waiting="over", task=None)
    return replace(state, waiting="go", task=_task(runs, state, place))


def _task(runs: Sequence[RunSettings], state: VisitState, place: int) -> Task:
    return Task(runs[place], place, dict(state.repeats).get(place, 0))


def _again(runs: Sequence[RunSettings], state: VisitState) -> VisitState:
    """The run that ended last comes next, and then what would have come."""
    if not state.done:
        raise SessionError("there is no run to do again: none has ended yet")
    place = int(state.done[-1].split("-", 1)[0]) - 1
    coming = state.task.place if state.task is not None else len(runs)
    return replace(state, waiting="go", task=_task(runs, state, place), resume_place=max(coming, place + 1))


def _positioned(runs: Sequence[RunSettings], state: VisitState) -> VisitState:
    """After the subject came back in: the plan's last reference before here comes again, then what would have come."""
    coming = state.task.place if state.task is not None else len(runs)
    if state.task is not None and state.task.folder in state.done:  # an overlay that was not judged yet
        coming += 1
    references = [place for place, run in enumerate(runs) if run.kind == "reference" and place <= coming]
    if not references:
        return _next(runs, state, coming)
    return replace(state, waiting="go", task=_task(runs, state, references[-1]), resume_place=coming)
