"""Walks a visit through its plan: run after run on one bus, each a session of the live program in its own folder.

What the operator says comes over the bus between the runs as it does within them. The diary is written before anything
is done, so that a visit that was cut off, by a crash or on purpose, goes on where it was.
"""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realtime.app import open_bus, run_live
from realtime.errors import RealtimeError, SessionError
from realtime.experiment.run_design import write_run_design
from realtime.playback.latch import Latch
from realtime.ports import MessageBus
from realtime.reporting import make_report
from realtime.session.folder import SessionFolder
from realtime.session.lock import held
from realtime.session.record import DocumentLog, read_documents
from realtime.session.summary import Figures
from realtime.visit.designs import Means, make_run_design, plan_problems, read_means
from realtime.visit.diary import ACTIONS, Task, VisitState, after, stand
from realtime.visit.folder import VisitFolder
from realtime.visit.plan import PlanSettings

logger = logging.getLogger(__name__)

_HIDDEN = "the run does not fit what was prepared for it; the program's log says why"


@dataclass
class Visit:
    """A visit under way.

    Attributes
    ----------
    plan : PlanSettings
        What shall happen.
    means : Means
        What its runs are made from.
    diary : DocumentLog
        What happened.
    state : VisitState
        What follows from it.
    automatic : bool
        Runs begin without the operator's "go", until one is aborted; overlays still wait to be accepted.
    figures : dict
        Of the runs that ended, by folder.
    stopped : bool
        The program was told to end; started again, it goes on.
    reports : list of Task
        Pages of the runs that ended, being made.
    """

    plan: PlanSettings
    means: Means
    diary: DocumentLog
    state: VisitState
    automatic: bool = False
    figures: dict[str, Figures] = field(default_factory=dict)
    stopped: bool = False
    reports: list["asyncio.Task[None]"] = field(default_factory=list)

    def note(self, what: str, **more: Any) -> None:
        """Write an entry, and go where it leads; SessionError for what cannot be done now: nothing is written."""
        state = after(self.plan.runs, self.state, {"what": what, **more})
        self.diary.append({"what": what, "run": self.state.task.folder if self.state.task else "", **more,
                           "at": datetime.now(UTC).isoformat(timespec="milliseconds"), "monotonic_s": time.monotonic()})
        self.state = state


async def walk(plan: PlanSettings, automatic: bool = False) -> dict[str, Figures]:
    """Walk a visit to its end, or go on with one; returns the figures of every run that ended in this life.

    Raises
    ------
    SessionError
        All that would stop it, in one message, before anything begins; or the folder holds another plan's visit.
    """
    found = plan_problems(plan)
    if found:
        raise SessionError("\n".join(found))
    plan.folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(held(VisitFolder(plan.folder).home))
        visit = open_visit(plan, read_means(plan), automatic)
        stack.callback(visit.diary.close)
        bus = await open_bus(stack, plan.bus, plan.folder)
        commands = bus.commands()
        while visit.state.waiting != "over" and not visit.stopped:
            await _step(visit, bus, commands)
        tell(visit, bus)
        await asyncio.gather(*visit.reports)
        for run in visit.state.done:  # of an earlier life that was cut off
            if not (plan.folder / run / "report.html").exists():
                await _report(plan.folder / run)
        await _report(plan.folder)
    return visit.figures


def open_visit(plan: PlanSettings, means: Means, automatic: bool = False) -> Visit:
    """The visit of a folder, begun or gone on with; SessionError when it was begun with another plan."""
    path = VisitFolder(plan.folder).diary
    entries = list(read_documents(path))
    runs = [[run.name, run.kind, run.n_volumes, run.seed, asdict(run.feedback)] for run in plan.runs]
    kept = {"what": "plan", "subject": plan.subject, "bundle": means.bundle.sha256, "runs": _plain(runs)}
    if entries and {key: entries[0].get(key) for key in kept} != kept:
        raise SessionError(f"{plan.folder} holds a visit with another plan, subject or bundle; go on with that one, or "
                           "name another folder in the plan")
    diary = DocumentLog(path)
    if not entries:
        diary.append(kept)
    return Visit(plan, means, diary, stand(plan.runs, entries[1:]), automatic)


def _plain(value: Any) -> Any:
    """Lists in place of tuples, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


async def _step(visit: Visit, bus: MessageBus, commands: AsyncIterator[dict[str, Any]]) -> None:
    """One run, or one word of the operator."""
    tell(visit, bus)
    if visit.state.waiting == "run" or (visit.automatic and visit.state.waiting == "go"):
        await _run(visit, bus)
        return
    command = await anext(commands)
    name = str(command.get("name", ""))
    if name not in ACTIONS[visit.state.waiting]:
        bus.publish("alarm", {"text": f"{name!r} is not possible now: {visit.state.words}"})
        return
    try:
        visit.note(name, text=str(command.get("text", "")))
    except SessionError as exc:
        bus.publish("alarm", {"text": str(exc)})
        return
    if name == "go":
        await _run(visit, bus)


async def _run(visit: Visit, bus: MessageBus) -> None:
    """Do the run that comes next, or that was cut off."""
    task = visit.state.task
    assert task is not None
    folder = VisitFolder(visit.plan.folder).run(task.folder)
    _hold_on(Latch(VisitFolder(visit.plan.folder).begun_last().played), Latch(folder.played))
    if visit.state.waiting != "run":
        visit.note("begun")
    if not folder.design.exists():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_run_design(folder.design, make_run_design(visit.means, task.run, task.place))
    settings = visit.plan.live_settings(folder.path, visit.means.bundle_path(task.run), folder.design)
    tell(visit, bus)
    try:
        figures = await run_live(settings, bus)
    except RealtimeError as exc:  # a run that does not fit: the visit goes on with another attempt at it
        bus.publish("alarm", {"text": _HIDDEN if visit.means.blinded else str(exc)})
        logger.error("%s", exc)
        figures = {"status": "aborted", "reason": str(exc), "gaps": 0}
    visit.figures[task.folder] = figures
    visit.stopped = str(figures["reason"]).startswith("the program was stopped")
    complete = figures["status"] == "complete"
    visit.automatic = visit.automatic and complete
    overlay = await _overlay(visit, folder, task) if complete else {}
    visit.note("ended", status="complete" if complete else "aborted", reason=figures["reason"], gaps=figures["gaps"],
               **overlay)
    if folder.record.exists():
        visit.reports.append(asyncio.create_task(_report(folder.path), name=f"report of {task.folder}"))


async def _report(folder: Path) -> None:
    """The page of a run or of the visit; the visit goes on without one."""
    complaint = await make_report(folder)
    if complaint:
        logger.warning("%s", complaint)


def _hold_on(before: Latch, coming: Latch) -> None:
    """A STOP that nobody took back holds in the next run, too: its player begins silent."""
    if before.held and not coming.held:
        coming.hold("STOP held in the run before")


async def _overlay(visit: Visit, folder: SessionFolder, task: Task) -> dict[str, Any]:
    """After a reference run: the session's mean image on the training reference, as a picture and in figures."""
    if task.run.kind != "reference":
        return {}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "innerear", "overlay", str(folder.path), str(folder.overlay),
        "--json", str(folder.overlay_figures), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    _, complaint = await process.communicate()
    if process.returncode:
        logger.error("the overlay of %s cannot be made: %s", folder.path, complaint.decode(errors="replace").strip())
        return {"overlay": "", "positioning": visit.state.positioning}
    return {"overlay": str(Path(task.folder) / folder.overlay.name), "positioning": visit.state.positioning}


def tell(visit: Visit, bus: MessageBus) -> None:
    """Say on the bus where the visit stands: the same in every arm."""
    state, runs = visit.state, visit.plan.runs
    bus.publish("plan", {
        "waiting": state.waiting, "words": state.words, "actions": list(ACTIONS[state.waiting]),
        "run": state.task.folder if state.task else "", "place": state.task.place if state.task else len(runs),
        "runs": [run.name for run in runs], "kinds": [run.kind for run in runs],
        "n_volumes": [run.n_volumes for run in runs], "done": list(state.done), "aborted": list(state.aborted),
        "positioning": state.positioning, "overlay": _figures(visit), "subject": visit.plan.subject}, retain=True)
    logger.info("%s", state.words)


def _figures(visit: Visit) -> dict[str, Any]:
    """How the reference that waits to be judged lies; empty where there is none, or it could not be drawn."""
    task = visit.state.task
    if visit.state.waiting != "accept" or task is None:
        return {}
    try:
        figures: dict[str, Any] = json.loads(
            VisitFolder(visit.plan.folder).run(task.folder).overlay_figures.read_bytes())
    except (OSError, ValueError):
        return {}
    return figures
