"""A visit walks through its plan: what comes next after what, and what is refused before the subject is in."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bundle import write_bundle
from realtime.config import PlaybackSettings, load_settings
from realtime.console.findings import first_broken
from realtime.console.preflight import preflight
from realtime.errors import ConfigError, SessionError
from realtime.experiment.allocation import Opening, allocate, read_allocation, write_allocation
from realtime.experiment.feedback import FeedbackSettings
from realtime.session.folder import SessionFolder
from realtime.session.record import to_line
from realtime.visit.designs import make_run_design, plan_problems, read_means
from realtime.visit.diary import ACTIONS, VisitState, after, stand
from realtime.visit.plan import PlanSettings, RunSettings
from realtime.visit.walk import open_visit, tell
from tests import builders

RUNS = (RunSettings("reference", "reference", 5), RunSettings("localizer", "localizer", 5),
        RunSettings("second-reference", "reference", 5), RunSettings("last", "localizer", 5))
DESIGN = '''clips = ["clip01", "clip02", "clip03"]
trial = ["cue", "imagine", "wait", "feedback", "rest"]
blocks = 1
lead_s = 3.0
tail_s = 2.0
[seconds]
cue = 1.0
imagine = 4.0
wait = 3.0
feedback = 2.0
rest = 1.0
'''
PLAN = '''subject = "sub-00"
bundle = "{root}/bundle"
catalogue = "{root}/corpus"
folder = "{root}/visit"
{more}
[acquisition]
tr_s = 1.0
[[runs]]
name = "reference"
kind = "reference"
n_volumes = 5
[[runs]]
name = "train"
kind = "feedback"
n_volumes = {n_volumes}
design = "{root}/design.toml"
[runs.feedback]
mode = "target"
target = "{target}"
'''


def walked(*words: str, ends: str = "complete") -> VisitState:
    return stand(RUNS, [{"what": word, "status": ends} for word in words])


def test_a_plan_is_walked_in_order_and_overlays_are_judged() -> None:
    assert walked().words.startswith("say go for run 01-reference")
    assert walked("go").waiting == "go"
    assert walked("go", "begun").waiting == "run"
    assert walked("go", "begun", "ended").waiting == "accept"
    state = walked("go", "begun", "ended", "accept")
    assert (state.waiting, state.task and state.task.folder) == ("go", "02-localizer")


def test_an_overlay_that_is_refused_brings_the_reference_again_in_a_folder_of_its_own() -> None:
    state = walked("go", "begun", "ended", "refuse")
    assert state.task is not None
    assert state.task.folder == "01-reference_2"


def test_an_aborted_run_comes_again() -> None:
    state = walked("go", "begun", "ended", "accept", "go", "begun")
    state = after(RUNS, state, {"what": "ended", "status": "aborted"})
    assert (state.waiting, state.task and state.task.folder) == ("go", "02-localizer_2")
    assert "02-localizer" not in state.done


def test_who_was_out_needs_a_new_reference_and_then_what_would_have_come() -> None:
    state = walked("go", "begun", "ended", "accept", "out")
    assert state.waiting == "in"
    state = after(RUNS, state, {"what": "in"})
    assert (state.positioning, state.task and state.task.folder) == (2, "01-reference_2")
    for word in ("go", "begun", "ended", "accept"):
        state = after(RUNS, state, {"what": word, "status": "complete"})
    assert state.task is not None
    assert state.task.folder == "02-localizer"


def test_out_before_an_overlay_is_judged_brings_that_reference_again_and_not_twice() -> None:
    state = walked("go", "begun", "ended", "out", "in")
    assert state.task is not None
    assert state.task.folder == "01-reference_2"
    for word in ("go", "begun", "ended", "accept"):
        state = after(RUNS, state, {"what": word, "status": "complete"})
    assert state.task is not None
    assert state.task.folder == "02-localizer"


def test_again_repeats_the_run_that_ended_last_and_goes_on() -> None:
    words = ("go", "begun", "ended", "accept", "go", "begun", "ended")
    state = after(RUNS, walked(*words), {"what": "again"})
    assert state.task is not None
    assert state.task.folder == "02-localizer_2"
    for word in ("go", "begun", "ended"):
        state = after(RUNS, state, {"what": word, "status": "complete"})
    assert state.task is not None
    assert state.task.folder == "03-second-reference"


def test_what_cannot_be_done_now_is_refused_with_what_can() -> None:
    with pytest.raises(SessionError, match="'accept' is not possible now: say go for run 01-reference"):
        walked("accept")
    with pytest.raises(SessionError, match="no run to do again"):
        walked("again")


@given(st.lists(st.sampled_from(["go", "begun", "ended", "aborted", "accept", "refuse", "again", "skip", "out", "in"]),
                max_size=60))
def test_no_folder_is_ever_used_twice_and_a_diary_read_again_stands_where_it_stood(words: list[str]) -> None:
    state, kept, begun = stand(RUNS, []), [], []
    for word in words:
        entry = {"what": "ended", "status": "aborted"} if word == "aborted" else {"what": word, "status": "complete"}
        possible = (*ACTIONS[state.waiting], *(("ended",) if state.waiting == "run" else ()),
                    *(("begun",) if state.waiting == "go" else ()))
        if entry["what"] not in possible:
            continue
        try:
            state = after(RUNS, state, entry)
        except SessionError:
            continue
        kept.append(entry)
        if entry["what"] == "begun":
            assert state.task is not None
            begun.append(state.task.folder)
    assert len(set(begun)) == len(begun)
    assert stand(RUNS, kept) == state


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", builders.bundle())
    builders.write_corpus(tmp_path / "corpus")
    (tmp_path / "design.toml").write_text(DESIGN)
    return tmp_path


def a_plan(root: Path, more: str = "", n_volumes: int = 60, target: str = "clip03") -> PlanSettings:
    path = root / "plan.toml"
    path.write_text(PLAN.format(root=root, more=more, n_volumes=n_volumes, target=target))
    return load_settings(path, PlanSettings)


def test_a_sound_plan_has_no_problems(world: Path) -> None:
    plan = a_plan(world)
    assert plan_problems(plan) == []
    design = make_run_design(read_means(plan), plan.runs[1], 1)
    assert design.rungs[-1] == "clip03"
    assert not design.blinded
    assert make_run_design(read_means(plan), plan.runs[0], 0).measured == ()


def test_everything_wrong_with_a_plan_is_told_before_the_subject_is_in(world: Path) -> None:
    plan = replace(a_plan(world, n_volumes=20, target="calm piano"), subject="sub-77")
    found = plan_problems(plan)
    assert any("trained on subject 'sub-00', the plan is for 'sub-77'" in each for each in found)
    assert any("'calm piano' is no clip of the catalogue, and words need the plan's embedder" in each for each in found)
    found = plan_problems(a_plan(world, n_volumes=20))
    assert len(found) == 1
    assert "the scan has 20; shorten the design" in found[0]


def test_the_preflight_of_a_plan_names_a_wrong_subject_before_anybody_is_in(world: Path) -> None:
    plan = replace(a_plan(world), subject="sub-77")
    settings = replace(plan.check_settings(), playback=PlaybackSettings(sink="null"))
    broken = first_broken(preflight(settings, whole=False, more=lambda: plan_problems(plan)))
    assert broken is not None
    assert broken.link == "decoder"
    assert "trained on subject 'sub-00', the plan is for 'sub-77'" in broken.sentence


def test_a_run_that_the_bundle_cannot_decode_is_refused(world: Path) -> None:
    plan = a_plan(world)
    slow = replace(plan, acquisition=replace(plan.acquisition, tr_s=2.0))
    assert any("it decodes runs of TR 1 s, the plan's have 2 s" in each for each in plan_problems(slow))
    (world / "design.toml").write_text(DESIGN.replace("clip02", "nowhere"))
    assert any("the catalogue lacks, nowhere" in each for each in plan_problems(plan))


def test_unknown_keys_are_named_with_their_place(world: Path) -> None:
    path = world / "plan.toml"
    a_plan(world)
    path.write_text(path.read_text().replace('kind = "reference"', 'kind = "reference"\nn_volume = 3'))
    with pytest.raises(ConfigError, match=r"plan.toml.*unknown key 'runs.0.n_volume'; did you mean 'n_volumes'"):
        load_settings(path, PlanSettings)


def test_feedback_belongs_to_feedback_runs_alone() -> None:
    with pytest.raises(ConfigError, match="feedback is for runs of kind 'feedback'"):
        RunSettings("x", "transfer", 10, Path("d.toml"), 0, FeedbackSettings("mirror"))
    with pytest.raises(ConfigError, match="design is given for every kind but"):
        RunSettings("x", "imagine", 10)


def test_an_opened_allocation_or_one_without_the_subject_is_refused(world: Path) -> None:
    path = world / "allocation.json"
    write_allocation(path, allocate(["sub-00", "sub-01"], ("real", "shuffled"), 1))
    plan = a_plan(world, f'allocation = "{path}"')
    assert plan_problems(plan) == []
    design = make_run_design(read_means(plan), plan.runs[1], 1)
    assert design.blinded
    assert design.arm == read_allocation(path).arm_of("sub-00")
    write_allocation(path, read_allocation(path).unblinded(Opening("2026-01-01", "N.N.", "end")))
    assert any("was opened at 2026-01-01 by N.N." in each for each in plan_problems(plan))
    write_allocation(path, allocate(["sub-05", "sub-06"], ("real", "shuffled"), 1))
    assert any("'sub-00' is not in the allocation" in each for each in plan_problems(plan))


def test_what_an_arm_would_need_is_asked_of_everybody(world: Path) -> None:
    path = world / "allocation.json"
    write_allocation(path, allocate(["sub-00", "sub-01"], ("yoked", "other region"), 1))
    assert any("has a yoked arm, and the plan names no donor" in each
               for each in plan_problems(a_plan(world, f'allocation = "{path}"')))
    write_bundle(world / "control", builders.bundle(seed=3, n_voxels=50))
    write_allocation(path, allocate(["sub-00", "sub-01"], ("real", "other region"), 1))
    more = f'allocation = "{path}"\ncontrol_bundle = "{world / "control"}"'
    assert any("has 50 voxels" in each for each in plan_problems(a_plan(world, more)))
    write_bundle(world / "control", builders.bundle(seed=3))
    assert plan_problems(a_plan(world, more)) == []


def test_a_yoked_run_takes_the_tape_of_the_donors_run(world: Path) -> None:
    path, plan = world / "allocation.json", a_plan(world)
    write_allocation(path, allocate(["sub-00", "sub-01"], ("real", "yoked"), 1))
    donor = SessionFolder(world / "donor" / "02-train")
    donor.path.mkdir(parents=True)
    steps = [{"doc": "step", "shown": float(n), "mirrored": ""} for n in range(60)]
    donor.record.write_bytes(b"".join(to_line(each) for each in [{"doc": "start"}, *steps]))
    from realtime.experiment.run_design import write_run_design

    write_run_design(donor.design, make_run_design(read_means(plan), plan.runs[1], 1))
    yoked = a_plan(world, f'allocation = "{path}"\ndonor = "{world / "donor"}"')
    assert plan_problems(yoked) == []
    design = make_run_design(read_means(yoked), yoked.runs[1], 1)
    assert design.tape.scores == tuple(float(n) for n in range(60))
    shutil.rmtree(donor.path)
    assert any("names a complete" in each or "name a complete" in each or "is not the design" in each
               for each in plan_problems(yoked))


def test_a_visit_is_gone_on_with_and_never_with_another_plan(world: Path) -> None:
    plan = a_plan(world)
    plan.folder.mkdir()
    means = read_means(plan)
    visit = open_visit(plan, means)
    for word in ("go", "begun"):
        visit.note(word)
    visit.note("ended", status="complete")
    visit.note("accept", text="fine")
    visit.diary.close()
    again = open_visit(plan, means)
    assert again.state == visit.state
    again.diary.close()
    entries = [json.loads(line) for line in (plan.folder / "diary.jsonl").read_text().splitlines()]
    assert entries[-1]["text"] == "fine"
    assert entries[-1]["run"] == "01-reference"
    with pytest.raises(SessionError, match="another plan"):
        open_visit(replace(plan, runs=plan.runs[:1]), means)


class Heard:
    """A bus that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def publish(self, topic: str, payload: dict[str, object], *, retain: bool = False) -> None:
        self.told.append((topic, payload))


def test_a_blinded_visit_tells_the_same_of_its_plan_in_every_arm(world: Path) -> None:
    path, told = world / "allocation.json", {}
    for arm in ("real", "shuffled"):
        write_allocation(path, allocate(["sub-00", "sub-01"], ("real", "shuffled"), 1))
        plan = replace(a_plan(world, f'allocation = "{path}"'), folder=world / arm)
        plan.folder.mkdir()
        bus, visit = Heard(), open_visit(plan, replace(read_means(plan), arm=arm))
        for word in ("go", "begun", "ended", "accept", "go", "begun"):
            visit.note(word, status="complete")
            tell(visit, bus)  # type: ignore[arg-type]
        visit.diary.close()
        told[arm] = bus.told
    assert told["real"] == told["shuffled"]
    assert [payload["waiting"] for _, payload in told["real"]] == ["go", "run", "accept", "go", "go", "run"]


def test_the_overlay_shows_where_the_session_lies(world: Path, tmp_path: Path) -> None:
    from offline_training.overlay import overlay_of
    from realtime.session.entries import MessageEntry
    from realtime.session.fold import SessionFold
    from realtime.session.journal import Journal, JournalRecord, Kind
    from scanner_bridge.wire import encode, pack

    folder = SessionFolder(tmp_path / "run")
    folder.path.mkdir()
    documents: list[dict[str, object]] = []
    fold = SessionFold(builders.parts(0), {}, documents.append)
    journal = Journal(folder.journal)
    moved = [np.roll(volume, 1, axis=0) for volume in builders.volumes(6)]
    for number, message in enumerate([builders.header(6), *builders.run_of(moved)]):
        payload = MessageEntry("0" * 32, number, 0.0, pack(encode(message))).to_payload()
        fold.feed(JournalRecord(journal.append(Kind.MESSAGE, payload), Kind.MESSAGE, payload))
    journal.close()
    folder.record.write_bytes(b"".join(to_line(document) for document in documents))
    overlay = overlay_of(folder, builders.bundle())
    assert overlay.n_volumes == 6
    assert overlay.shift_mm == pytest.approx(4.0, abs=0.4)
    assert overlay.correlation > 0.97
