"""One command, nobody in the scanner: the example task through a designed run, every process as it really is."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.config import load_settings
from realtime.errors import SessionError
from realtime.outlets.task_rehearsal import TaskRehearsal, rehearse_task, write_design
from realtime.session.record import read_documents
from realtime.session.replay import replay_session
from realtime.topics import Step
from realtime.visit.plan import PlanSettings
from tests.outlet_room import KIT
from tests.processes import World, command, make_world

N_VOLUMES = 21
DESIGN = '''clips = ["clip01", "clip02"]
trial = ["cue", "imagine", "feedback", "rate"]
blocks = 1
lead_s = 2.0
tail_s = 1.0
washout_s = 0.0
[seconds]
cue = 1.0
imagine = 3.0
feedback = 2.0
rate = 3.0
[windows.imagine]
lag_s = 1.0
window_s = 4.0
'''


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("rehearsal"), 12)


def write_plan(world: World) -> Path:
    (world.folder / "design.toml").write_text(DESIGN)
    path = world.folder / "plan.toml"
    path.write_text(f'''subject = "sub-00"
bundle = "{world.bundle}"
catalogue = "{world.catalogue}"
folder = "{world.folder / "visit"}"
[acquisition]
tr_s = 1.0
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


def test_the_example_task_is_rehearsed_without_scanner_trigger_or_person(world: World, tmp_path: Path) -> None:
    session = tmp_path / "rehearsal"
    done = subprocess.run(
        command("rehearse-task", KIT / "example_task.py", "--plan", write_plan(world), "--run", "train", "--session",
                session), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = [document for document in read_documents(session / "record.jsonl") if document["doc"] == "step"]
    assert len(steps) == N_VOLUMES
    assert all(set(step) - {"doc", "motion"} <= set(Step.__struct_fields__) for step in steps), "the schema has them"
    shown = list(read_documents(session / "shown.jsonl"))
    assert len({line["sequence"] for line in shown}) > N_VOLUMES // 2  # those of the first seconds found no task yet
    assert f"{N_VOLUMES} volumes, {len({line['sequence'] for line in shown})} of them shown" in done.stdout
    assert "trigger pulses" in done.stdout
    ratings = [document for document in read_documents(session / "record.jsonl")
               if document["doc"] == "event" and document["name"] == "rate"]
    assert {document["value"] for document in ratings} <= {1.0, 2.0, 3.0, 4.0}
    assert len(ratings) == 2, "one for each trial, by the emulated person through the task"
    grades = [step["grade"] for step in steps if step["grade"] is not None]
    assert grades
    timing = {line["volume"]: line["decided_s"] for line in read_documents(session / "timing.jsonl") if "volume" in line
              and "decided_s" in line}
    assert all(line["shown_s"] > timing[steps[line["sequence"]]["volume"]] for line in shown)
    stop = [json.loads(line) for line in (session / "record.jsonl").read_text().splitlines()][-1]
    assert stop["trigger"]["n_missing"] == 0
    assert replay_session(session)["identical"]


def test_what_cannot_be_rehearsed_is_one_sentence(world: World, tmp_path: Path) -> None:
    done = subprocess.run(command("rehearse-task", KIT / "example_task.py"), capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1
    assert "needs --bundle and --catalogue, or --plan and --run" in done.stderr
    assert "Traceback" not in done.stderr
    plan = load_settings(write_plan(world), PlanSettings)
    with pytest.raises(SessionError, match="the plan has no designed run 'rest'; it has train"):
        write_design(plan, "rest", tmp_path / "design.json")
    nothing = TaskRehearsal(tmp_path / "nothing.py", sys.executable, world.bundle, world.catalogue, tmp_path / "s")
    with pytest.raises(SessionError, match=r"there is no task .*nothing\.py; `innerear client FOLDER`"):
        asyncio.run(rehearse_task(nothing, lambda _topic, _payload: None))
