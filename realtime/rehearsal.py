"""A recorded run through the whole loop: broker, live program and bridge as the processes they are."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.broker import LOOPBACK, embedded_broker, free_port
from realtime.bus import BusSettings, watch_session
from realtime.errors import SessionError
from realtime.session.folder import SessionFolder, topic_name
from realtime.session.summary import Figures

_ARM_TIMEOUT_S = 120.0  # a first start compiles every kernel
_BRIDGE_GRACE_S = 20.0


@dataclass(frozen=True)
class Rehearsal:
    """What to stream, into what.

    Attributes
    ----------
    source : Path
        Recorded run: NIfTI or a folder of DICOM.
    bundle, catalogue, session : Path
        As in `LiveSettings`.
    events : Path or None
        Trial onsets.
    speed : float or None
        Times the scanner's pace; None for as fast as it goes.
    sink : str
        Of the player.
    config : Path or None
        TOML of the live program, for what is not here.
    trigger : str
        Of the bridge, such as "simulated"; "" for none.
    """

    source: Path
    bundle: Path
    catalogue: Path
    session: Path
    events: Path | None = None
    speed: float | None = 1.0
    sink: str = "auto"
    config: Path | None = None
    trigger: str = ""


Show = Callable[[str, dict[str, Any]], None]
Beside = Callable[[BusSettings], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def nobody(_bus: BusSettings) -> AsyncIterator[None]:
    """Nothing runs beside the session."""
    yield


async def rehearse(plan: Rehearsal, show: Show, beside: Beside = nobody) -> Figures:
    """Stream the run and return the session's figures; `beside` is open from before its first volume to its end.

    Raises
    ------
    SessionError
        The live program or the bridge refused; its own sentence is passed on.
    """
    endpoint = f"tcp://{LOOPBACK}:{free_port()}"
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(embedded_broker(0))
        bus = BusSettings(topic_name(plan.session), LOOPBACK, port)
        command = _live_command(plan, endpoint, f"mqtt://{LOOPBACK}:{port}")
        live = await stack.enter_async_context(program(*command))
        armed = asyncio.Event()
        shown = asyncio.create_task(_show(bus, show, armed), name="rehearsal.show")
        stack.push_async_callback(_cancelled, shown)
        await _first(armed.wait(), live, _ARM_TIMEOUT_S)
        pace = ["--unpaced"] if plan.speed is None else ["--speed", f"{plan.speed:g}"]
        pace += ["--trigger", plan.trigger] if plan.trigger else []
        await stack.enter_async_context(beside(bus))
        bridge = await stack.enter_async_context(
            program("bridge", "serve", str(plan.source), "--connect", endpoint, *pace))
        await _both(live, bridge)
        return _figures(plan)


def _live_command(plan: Rehearsal, endpoint: str, broker: str) -> list[str]:
    more = ["--events", str(plan.events)] if plan.events else []
    more += ["--config", str(plan.config)] if plan.config else []
    return ["live", "--no-report", "--bundle", str(plan.bundle), "--catalogue", str(plan.catalogue),
            "--session", str(plan.session), "--endpoint", endpoint, "--broker", broker, "--sink", plan.sink,
            "--retry-wait", "0", "--quiet", *more]


async def _show(bus: BusSettings, show: Show, armed: asyncio.Event) -> None:
    async with contextlib.aclosing(watch_session(bus)) as updates:
        async for topic, payload in updates:
            show(topic, payload)
            state = payload.get("state") if topic == "state" else None
            if state in ("armed", "resumed", "running"):
                armed.set()
            elif state == "ended":
                return


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def program(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of our own programs, which does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "innerear", *command, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _BRIDGE_GRACE_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _first(event: Any, live: asyncio.subprocess.Process, timeout_s: float) -> None:
    """Until the event; an early end of the live program or the timeout is an error."""
    waiting, ended = asyncio.ensure_future(event), asyncio.ensure_future(live.wait())
    try:
        await asyncio.wait((waiting, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise SessionError(await _complaint(live, "the live program ended before the run"))
        if not waiting.done():
            raise SessionError(f"the live program was not ready within {timeout_s:g} s; try: innerear live --help")
    finally:
        waiting.cancel()
        ended.cancel()


async def _both(live: asyncio.subprocess.Process, bridge: asyncio.subprocess.Process) -> None:
    """Until both have ended; the first to fail is heard.

    A bridge that sent an incomplete run says so with its exit status; the session that recorded
    it ends well all the same, and its summary says it too.
    """
    complaints = {process: asyncio.create_task(_drain(process)) for process in (live, bridge)}
    ended = {asyncio.create_task(process.wait()): process for process in (live, bridge)}
    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    grace_s = _BRIDGE_GRACE_S if bridge.returncode else None
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(live.wait(), grace_s)
    if live.returncode != 0:
        failed = bridge if live.returncode is None else live
        raise SessionError(await complaints[failed] or "the live program ended without a word")
    await asyncio.wait_for(bridge.wait(), _BRIDGE_GRACE_S)


async def _drain(process: asyncio.subprocess.Process) -> str:
    """All that a process complains of; who passes it on says by whom."""
    assert process.stderr is not None
    return (await process.stderr.read()).decode(errors="replace").strip().removeprefix("innerear: ")


async def _complaint(process: asyncio.subprocess.Process, otherwise: str) -> str:
    return await _drain(process) or otherwise


def _figures(plan: Rehearsal) -> Figures:
    path = SessionFolder(plan.session).summary
    try:
        figures: Figures = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise SessionError(f"the session left no summary at {path} ({exc}); see the session's record") from exc
    return figures
