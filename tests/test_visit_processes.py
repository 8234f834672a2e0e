"""A visit as operator and scanner live it: real processes and broker, a recorded run for a scanner; killed midway."""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline_training.bids.dataset import ExportSettings, export_bids
from realtime.broker import LOOPBACK, embedded_broker, free_port
from realtime.bus import BusSettings, say
from realtime.session.record import read_documents
from realtime.session.replay import replay_session
from tests.bids_room import PAGE_TIMEOUT_S, VALIDATOR, validate
from tests.loopback import free_endpoint
from tests.processes import World, command, finish, make_world, running, until

N_VOLUMES = 40
pytestmark = pytest.mark.timeout(400)
DESIGN = '''clips = ["clip01", "clip02"]
trial = ["cue", "listen", "wait", "imagine", "wait", "feedback", "rest"]
blocks = 1
lead_s = 3.0
tail_s = 2.0
[seconds]
cue = 1.0
listen = 3.0
imagine = 3.0
wait = 2.0
feedback = 2.0
rest = 1.0
'''


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("visit"), N_VOLUMES)


def write_plan(world: World, endpoint: str, broker: str) -> Path:
    (world.folder / "design.toml").write_text(DESIGN)
    path = world.folder / "plan.toml"
    path.write_text(f'''subject = "sub-00"
bundle = "{world.bundle}"
catalogue = "{world.catalogue}"
folder = "{world.folder / "visit"}"
[acquisition]
tr_s = 1.0
[bridge]
endpoint = "{endpoint}"
[bus]
broker = "{broker}"
[playback]
sink = "wav"
tail_s = 0.0
[[runs]]
name = "reference"
kind = "reference"
n_volumes = {N_VOLUMES}
[[runs]]
name = "train"
kind = "feedback"
n_volumes = {N_VOLUMES}
design = "{world.folder / "design.toml"}"
[runs.feedback]
mode = "target"
target = "clip03"
''')
    return path


@contextmanager
def running_broker(port: int) -> Iterator[None]:
    """A broker in a thread of the test, which outlives the program that is killed."""
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with embedded_broker(port):
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30.0)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def diary(visit: Path) -> list[str]:
    return [str(entry["what"]) for entry in read_documents(visit / "diary.jsonl")]


def test_a_visit_goes_from_reference_to_feedback_over_a_crash_and_every_run_repeats(world: World) -> None:
    endpoint, port = free_endpoint(), free_port()
    plan, visit = write_plan(world, endpoint, f"mqtt://{LOOPBACK}:{port}"), world.folder / "visit"

    def scan() -> None:
        with running(command("bridge", "serve", world.run, "--connect", endpoint, "--unpaced")) as bridge:
            finish(bridge)

    def speak(word: str) -> None:
        asyncio.run(say(BusSettings("visit", LOOPBACK, port), word))

    with running_broker(port):
        with running(command("session", plan)) as session:
            until(lambda: diary(visit) == ["plan"], "the visit begun")
            until(lambda: _tried(speak, "go", visit, "begun"), "the reference begun")
            scan()
            until(lambda: diary(visit)[-1] == "ended", "the reference ended")
            assert (visit / "01-reference" / "overlay.png").stat().st_size > 10_000
            assert json.loads((visit / "01-reference" / "overlay.json").read_text())["correlation"] > 0.95
            until(lambda: _tried(speak, "accept", visit, "accept"), "the overlay accepted")
            until(lambda: _tried(speak, "go", visit, "begun", 2), "the feedback run begun")
            session.send_signal(signal.SIGKILL)
            session.wait()
        with running(command("session", plan)) as session:  # goes on with the run that was begun
            scan()
            finish(session, PAGE_TIMEOUT_S)
    assert diary(visit)[-1] == "ended"
    steps = [each for each in read_documents(visit / "02-train" / "record.jsonl") if each["doc"] == "step"]
    assert len(steps) == N_VOLUMES
    assert {each["phase"] for each in steps} >= {"listen", "imagine", "feedback", "rest"}
    assert any(each["shown"] is not None for each in steps)
    for run in ("01-reference", "02-train"):
        assert replay_session(visit / run)["identical"]
    assert (visit / "02-train" / "report.html").stat().st_size > 10_000
    assert 'href="02-train/report.html"' in (visit / "report.html").read_text(encoding="utf-8")
    export_bids(visit, world.folder / "dataset", ExportSettings())
    func = world.folder / "dataset" / "sub-00" / "ses-visit" / "func"
    assert [path.name.split("_")[2] for path in sorted(func.glob("*_bold.nii.gz"))] == ["task-feedback",
                                                                                       "task-reference"]
    if VALIDATOR:
        assert not [name for severity, name in validate(world.folder / "dataset") if severity == "error"]


def _tried(speak: object, word: str, visit: Path, wanted: str, times: int = 1) -> bool:
    """Say it once more unless it was heard: the program may not have subscribed yet."""
    if diary(visit).count(wanted) >= times:
        return True
    if diary(visit)[-1] != word:
        speak(word)  # type: ignore[operator]
    return diary(visit).count(wanted) >= times
