"""A visit attended by somebody who scans each run as soon as it waits for volumes: a rehearsal without a scanner."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realtime.bus import watch_session
from realtime.console.post import bus_of
from realtime.errors import SessionError
from realtime.rehearsal import program
from realtime.session.folder import SessionFolder
from realtime.visit.folder import VisitFolder
from realtime.visit.plan import PlanSettings


async def attend(plan: PlanSettings, path: Path, scan: Callable[[SessionFolder], Path], speed: float,
                 say: Callable[[str], None]) -> None:
    """Serve the console of a visit and scan its runs, until the visit is over.

    Parameters
    ----------
    plan : PlanSettings
        Of the visit.
    path : Path
        Where it was read from.
    scan : callable
        Makes the volumes of the run that is recorded in a folder, as a file for the bridge; may take seconds.
    speed : float
        Times the scanner's pace.
    say : callable
        Told what happens, a sentence each.

    Raises
    ------
    SessionError
        The console or a bridge ended with a complaint, which is passed on.
    """
    async with program("console", "--plan", str(path)) as console:
        say(f"Open http://{plan.console.host}:{plan.console.port} and press F: all else is said there.")
        visiting = asyncio.create_task(_scan_runs(plan, scan, speed, say), name="attendance.scan")
        serving = asyncio.create_task(console.wait(), name="attendance.console")
        try:
            await asyncio.wait((visiting, serving), return_when=asyncio.FIRST_COMPLETED)
            if visiting.done():
                visiting.result()
            else:
                await _complain(console, "the console ended")
            say("The visit is over. Each run has its report: innerear report RUN. Ctrl-C ends the console.")
            await serving
        finally:
            visiting.cancel()
            serving.cancel()
            await asyncio.gather(visiting, serving, return_exceptions=True)


async def _scan_runs(plan: PlanSettings, scan: Callable[[SessionFolder], Path], speed: float,
                     say: Callable[[str], None]) -> None:
    folder, scanned = VisitFolder(plan.folder), set[str]()
    async with contextlib.aclosing(watch_session(bus_of(plan.bus, folder.home))) as updates:
        async for topic, payload in updates:
            if topic == "plan" and payload.get("waiting") == "over":
                return
            if topic != "state" or payload.get("state") not in ("armed", "resumed"):
                continue
            run = folder.begun_last()
            if run.path.name not in scanned or payload["state"] == "resumed":
                scanned.add(run.path.name)
                say(f"scanning {run.path.name}")
                await _serve(await asyncio.to_thread(scan, run), plan.bridge.endpoint, speed)


async def _serve(source: Path, endpoint: str, speed: float) -> None:
    async with program("bridge", "serve", str(source), "--connect", endpoint, "--speed", f"{speed:g}") as bridge:
        await bridge.wait()
        if bridge.returncode:
            await _complain(bridge, "the bridge ended")


async def _complain(process: Any, otherwise: str) -> None:
    complaint = (await process.stderr.read()).decode(errors="replace").strip().removeprefix("innerear: ")
    raise SessionError(complaint or otherwise)
