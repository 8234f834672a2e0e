"""A task with nobody in the scanner: emulated scanner, trigger and person, and everything between as it really is.

Broker, live program, bridge and outlets run as the processes they are; the task is started by its own interpreter.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from realtime.broker import LOOPBACK, free_port
from realtime.bundle import read_bundle
from realtime.bus import BusSettings
from realtime.console.dry_run import ReferenceScanner
from realtime.errors import SessionError
from realtime.experiment.run_design import write_run_design
from realtime.rehearsal import Rehearsal, Show, program, rehearse
from realtime.session.summary import Figures
from realtime.visit.designs import make_run_design, read_means
from realtime.visit.plan import PlanSettings
from scanner_bridge.export import export_run

_TASK_GRACE_S = 10.0
_TRIAL_S = 15.0


@dataclass(frozen=True)
class TaskRehearsal:
    """What to rehearse.

    Attributes
    ----------
    task : Path
        A script; it is given `--door ADDRESS`.
    python : str
        Its interpreter, such as PsychoPy's.
    bundle, catalogue : Path
        As in `LiveSettings`.
    session : Path
        For what is recorded.
    source : Path or None
        A recorded run; None simulates a scanner that sees the bundle's reference, and noise.
    n_volumes : int
        Of the simulated scanner.
    speed : float
        Times the scanner's pace.
    design : Path or None
        Of a designed run (`write_run_design`).
    """

    task: Path
    python: str
    bundle: Path
    catalogue: Path
    session: Path
    source: Path | None = None
    n_volumes: int = 60
    speed: float = 1.0
    design: Path | None = None


async def rehearse_task(plan: TaskRehearsal, show: Show) -> Figures:
    """Run the task through a whole session and return the session's figures.

    Raises
    ------
    SessionError
        A program of the chain refused, or the task ended with an error; its own last sentence is passed on.
    """
    if not plan.task.is_file():
        raise SessionError(f"there is no task {plan.task}; `innerear client FOLDER` puts an example there")
    with tempfile.TemporaryDirectory(prefix="innerear-rehearsal-") as scratch:
        folder = Path(scratch)
        source = plan.source or _scan(plan, folder)
        config = folder / "live.toml"
        door = f"tcp://{LOOPBACK}:{free_port()}"
        events = _trials(plan, folder) if plan.design is None else None
        rehearsal = Rehearsal(source, plan.bundle, plan.catalogue, plan.session, events, plan.speed, "wav", config,
                              _trigger(plan))

        @contextlib.asynccontextmanager
        async def beside(bus: BusSettings) -> AsyncIterator[None]:
            _write_config(config, plan, bus, door)
            async with _outlets_and_task(plan, config, door):
                yield

        _write_config(config, plan, None, door)
        return await rehearse(rehearsal, show, beside)


def _scan(plan: TaskRehearsal, folder: Path) -> Path:
    source = folder / "run_bold.nii"
    export_run(ReferenceScanner(read_bundle(plan.bundle), plan.n_volumes), source)
    return source


def _trigger(plan: TaskRehearsal) -> str:
    """Pulses for the bridge to compare with volumes; none at another pace, or for a run whose pulses nobody knows."""
    if plan.speed != 1.0 or plan.source is not None:
        return ""
    tr_s = read_bundle(plan.bundle).manifest.preprocessing.tr_s
    return f"simulated?tr_s={tr_s:g}&pulses={plan.n_volumes}"


def _trials(plan: TaskRehearsal, folder: Path) -> Path:
    """Trials of fifteen seconds from the first volume to the last."""
    run_s = plan.n_volumes * read_bundle(plan.bundle).manifest.preprocessing.tr_s
    onsets = [number * _TRIAL_S for number in range(max(int(run_s / _TRIAL_S), 1))]
    path = folder / "events.tsv"
    path.write_text("onset\tduration\ttrial_type\n" + "".join(f"{onset_s:g}\t{_TRIAL_S:g}\trehearsal\n"
                                                              for onset_s in onsets))
    return path


def _write_config(path: Path, plan: TaskRehearsal, bus: BusSettings | None, door: str) -> None:
    """The live program's settings, and the same for the outlets, which know the broker by now."""
    paths = {"bundle": plan.bundle, "catalogue": plan.catalogue, "session": plan.session, "design": plan.design}
    lines = [f'{name} = "{value.resolve().as_posix()}"' for name, value in paths.items() if value is not None]
    lines += [] if bus is None else ["[bus]", f'broker = "mqtt://{bus.host}:{bus.port}"']
    path.write_text("\n".join([*lines, "[outlets]", f'door = "{door}"', "emulators = true"]) + "\n", encoding="utf-8")


@contextlib.asynccontextmanager
async def _outlets_and_task(plan: TaskRehearsal, config: Path, door: str) -> AsyncIterator[None]:
    async with program("outlets", "--config", str(config)) as outlets:
        assert outlets.stderr is not None
        opened = (await outlets.stderr.readline()).decode(errors="replace").strip()
        if door not in opened:
            raise SessionError(opened or "the outlets ended without a word")
        task = await asyncio.create_subprocess_exec(
            plan.python, str(plan.task), "--door", door, stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE)
        try:
            yield
            if outlets.returncode is not None:
                raise SessionError((await outlets.stderr.read()).decode(errors="replace").strip())
            await _ended(task, plan)
        finally:
            if task.returncode is None:
                task.kill()
                await task.wait()


async def _ended(task: asyncio.subprocess.Process, plan: TaskRehearsal) -> None:
    """The task has some seconds to see that the session is over."""
    try:
        _, complaint = await asyncio.wait_for(task.communicate(), _TASK_GRACE_S)
    except TimeoutError:
        raise SessionError(f"{plan.task} still ran {_TASK_GRACE_S:g} s after the session: let it end when "
                           "`feed.state` is \"ended\"") from None
    if task.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines() or [f"status {task.returncode}"]
        raise SessionError(f"{plan.task} ended with an error: {lines[-1]}")


def write_design(plan: PlanSettings, name: str, path: Path) -> int:
    """Write the design of one of a visit's runs; returns its number of volumes.

    Raises
    ------
    SessionError
        The plan has no such run, or it has no design.
    """
    place = next((place for place, run in enumerate(plan.runs) if run.name == name), None)
    if place is None or plan.runs[place].design is None:
        designed = ", ".join(run.name for run in plan.runs if run.design is not None)
        raise SessionError(f"the plan has no designed run {name!r}; it has {designed or 'none'}")
    write_run_design(path, make_run_design(read_means(plan), plan.runs[place], place))
    return plan.runs[place].n_volumes
