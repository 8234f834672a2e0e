"""A designed run: what sounds when, what counts as evidence, what each arm feeds back; pure, volume by volume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realtime.config import LiveSettings
from realtime.decoding.posterior import believe
from realtime.errors import EventsError
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.arms import Arm, Tape
from realtime.experiment.design import DesignSettings, Seconds, Windows, generate
from realtime.experiment.feedback import FeedbackSettings, Mode, When, ladder
from realtime.experiment.phases import Window, phase_after
from realtime.experiment.run_design import RunDesign, read_run_design, seal_arm, write_run_design
from realtime.generators.settings import GeneratorSettings, Kind
from realtime.preparation import problems
from realtime.reliability import ANY_SIZE, HEARD
from realtime.session.core import LiveCore
from realtime.session.events import check_design_fits, check_sounds, events_of
from realtime.session.parts import Parts
from realtime.session.steps import Step
from tests import builders

CLIPS = ("clip01", "clip02", "clip03", "clip04")
SECONDS = Seconds(cue=1, listen=4, imagine=4, wait=4, feedback=3, rate=1, rest=2)
SETTINGS = DesignSettings(CLIPS, ("cue", "imagine", "wait", "feedback", "rest"), 1, lead_s=3, tail_s=3, washout_s=1,
                          seconds=SECONDS, windows=Windows(Window(2.0, 4.0), Window(3.0, 4.0, 0.0)))
TARGET = "clip07"


def a_design(mode: Mode = "mirror", arm: Arm = "real", when: When = "between", settings: DesignSettings = SETTINGS,
             tape: Tape | None = None, render: str = "morph") -> RunDesign:
    acquisition = Acquisition(builders.TR_S)
    target = (TARGET,) if mode == "target" else ()
    feedback = FeedbackSettings(mode, TARGET if target else "", when, render)  # type: ignore[arg-type]
    music = builders.catalogue()
    rungs = ladder(music, target, feedback.rungs, music.embedding(TARGET)) if target else ()
    return RunDesign("imagine-1", generate(settings, acquisition, 3), acquisition, settings.windows, settings.washout_s,
                     feedback, target, rungs, tape or Tape(), seal_arm(arm, 3), True, 3)


def parts_of(design: RunDesign) -> Parts:
    return replace(builders.parts(), events=events_of(design), design=design)


def walk(design: RunDesign) -> tuple[list[Step], LiveCore, str]:
    core = LiveCore(builders.header(design.n_volumes), parts_of(design))
    first = core.begin()
    data = builders.volumes(design.n_volumes)
    steps = [core.decide(percept) for volume in builders.run_of(data) for percept in core.perceive(volume).percepts]
    return steps, core, "" if first is None else first.clip_id


def test_cues_and_stimuli_sound_when_their_phase_begins_and_silence_reigns_while_imagining() -> None:
    listening = replace(SETTINGS, trial=("cue", "listen", "wait", "imagine", "rest"))
    design = a_design("off", settings=listening)
    steps, _, first = walk(design)
    sounding = first
    assert first == ""
    for step in steps:
        sounding = step.cue.clip_id if step.cue is not None else sounding
        phase = phase_after(design.phases, step.percept.volume_index)
        assert sounding == ("" if phase is None else phase.sound)


def test_feedback_sounds_in_its_own_phases_alone() -> None:
    steps, _, _ = walk(a_design("mirror"))
    playing = {step.document["phase"]: set() for step in steps}  # type: ignore[var-annotated]
    for step in steps:
        playing[step.document["phase"]].add(step.document["playing"])
    assert playing["imagine"] == playing["wait"] == playing["rest"] == {""}
    assert playing["feedback"] - {""}
    assert playing["feedback"] <= {clip.clip_id for clip in builders.catalogue().clips} | {""}


def test_imagery_is_judged_as_imagined_and_hearing_as_heard() -> None:
    both = replace(SETTINGS, trial=("cue", "listen", "wait", "imagine", "rest"))
    design = a_design("off", settings=both)
    parts = parts_of(design)
    steps, _, _ = walk(design)
    judged = {"listen": 0, "imagine": 0}
    for step in steps:
        evidence = step.percept.evidence
        if step.posterior is None or evidence is None:
            assert step.document["response"] == ""
            continue
        kind = design.measured[evidence.trial].kind
        sizes = HEARD if kind == "listen" else ANY_SIZE
        wanted = believe(parts.index, evidence.embedding, parts.bundle.reliability, evidence.n_volumes, sizes)
        np.testing.assert_array_equal(step.posterior.probabilities, wanted.probabilities)
        assert step.document["response"] == ("heard" if kind == "listen" else "imagined")
        judged[kind] += 1
    assert min(judged.values()) > 4


def test_what_is_mirrored_is_the_best_clip_of_the_trial() -> None:
    steps, _, _ = walk(a_design("mirror"))
    last: dict[int, str] = {}
    for step in steps:
        if step.document["n"] and step.document["top"]:
            last[0] = step.document["top"][0]["clip_id"]
        if step.document["phase"] == "feedback" and step.document["playing"]:
            assert step.document["playing"] == last[0]


def test_the_target_scores_move_the_music_along_the_ladder() -> None:
    design = a_design("target")
    steps, _, _ = walk(design)
    heard = [step.document for step in steps if step.document["playing"]]
    assert heard
    for document in heard:
        if document["phase"] == "feedback":
            assert document["playing"] in design.rungs
            assert 0.0 < document["grade"] < 1.0
    thresholds = {step.document["threshold"] for step in steps}
    assert len(thresholds) > 1  # it follows the person


def test_loudness_feedback_plays_the_target_never_louder_than_the_operator_set_it() -> None:
    steps, _, _ = walk(a_design("target", render="loudness"))
    heard = {step.document["playing"] for step in steps if step.document["phase"] == "feedback"}
    levels = [step.rendering.level_db for step in steps if step.rendering is not None]
    assert heard <= {TARGET, ""}
    assert levels
    assert max(levels) <= 0.0


def test_clarity_feedback_plays_the_target_as_clear_as_it_is_near_and_all_else_as_it_is() -> None:
    steps, _, _ = walk(a_design("target", render="clarity"))
    clear, sounding = 1.0, ""
    for step in steps:
        clear = clear if step.rendering is None else step.rendering.clarity
        document = step.document
        sounding = document["playing"]
        if document["phase"] == "feedback" and document["grade"] is not None:
            assert (clear, sounding) == (document["grade"], TARGET)
        elif document["phase"] != "feedback":
            assert clear == document["clarity"] == 1.0
        assert document["level_db"] == 0.0
    assert any(0.0 < step.document["clarity"] < 1.0 for step in steps)


@pytest.mark.parametrize("mode", ["mirror", "target"])
def test_arms_differ_in_what_is_shown_and_in_no_field(mode: Mode) -> None:
    real, _, _ = walk(a_design(mode, "real"))
    donor, _, _ = walk(a_design(mode, "shuffled"))
    tape = Tape.from_steps([step.document for step in donor])
    arms = {arm: walk(a_design(mode, arm, tape=tape))[0] for arm in ("real", "yoked", "shuffled")}  # type: ignore[arg-type]
    field = "shown" if mode == "target" else "mirrored"
    shown = {arm: [step.document[field] for step in steps] for arm, steps in arms.items()}
    assert shown["real"] == [step.document[field] for step in real]
    assert shown["yoked"] == shown["shuffled"] != shown["real"]
    assert len({tuple(step.document) for steps in arms.values() for step in steps}) == 1
    for steps in arms.values():  # what is decoded of the person is the same in every arm
        assert [step.document["embedding"] for step in steps] == [step.document["embedding"] for step in real]
        assert [step.document["score"] for step in steps] == [step.document["score"] for step in real]


def test_imagery_measured_in_sound_does_not_count() -> None:
    near = replace(SETTINGS, trial=("cue", "listen", "imagine", "feedback", "rest"), washout_s=4.0,
                   windows=Windows(Window(2.0, 4.0), Window(1.0, 8.0, 0.0)))
    design = a_design("mirror", settings=near)
    assert design.masked()
    steps, _, _ = walk(design)
    masked = [step for step in steps if step.document["masked"]]
    assert {step.document["volume"] for step in masked} == design.masked()
    counted: dict[int, int] = {}
    for step in steps:
        if step.document["trial"] >= 0:
            grew = step.document["n"] > counted.get(step.document["trial"], 0)
            assert not (grew and step.document["masked"])
            counted[step.document["trial"]] = step.document["n"]


def test_a_lost_volume_keeps_the_design_going() -> None:
    design = a_design("off", settings=replace(SETTINGS, trial=("listen", "rest")))
    core = LiveCore(builders.header(design.n_volumes), parts_of(design))
    core.begin()
    run = builders.run_of(builders.volumes(design.n_volumes))
    lost = next(phase.first_volume for phase in design.phases if phase.kind == "listen") - 1
    steps = [core.decide(percept) for volume in run if volume.index != lost
             for percept in core.perceive(volume).percepts]
    assert steps[lost].document["status"] == "GAP"
    assert steps[lost].cue is not None
    assert steps[lost].cue.clip_id in CLIPS


def test_pause_silences_a_designed_run_and_resume_goes_on_where_the_design_is() -> None:
    design = a_design("off", settings=replace(SETTINGS, trial=("listen", "rest")))
    core = LiveCore(builders.header(design.n_volumes), parts_of(design))
    core.begin()
    run = builders.run_of(builders.volumes(design.n_volumes))
    for volume in run[:4]:
        for percept in core.perceive(volume).percepts:
            core.decide(percept)
    assert core.playing
    core.event("pause")
    assert core.playing == ""
    held = [core.decide(percept) for percept in core.perceive(run[4]).percepts]
    assert held[0].document["decision"] == "hold"
    core.event("resume")
    for percept in core.perceive(run[5]).percepts:
        core.decide(percept)
    phase = phase_after(design.phases, 5)
    assert phase is not None
    assert core.playing == phase.sound


def test_a_run_design_goes_to_disk_and_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    design = a_design("target", "yoked", tape=Tape((None, 0.5), ("", "clip01")))
    write_run_design(tmp_path / "design.json", design)
    assert read_run_design(tmp_path / "design.json") == design
    assert "yoked" not in (tmp_path / "design.json").read_text()


def test_a_design_that_does_not_fit_its_run_is_refused() -> None:
    design = a_design()
    with pytest.raises(EventsError, match=f"takes {design.n_volumes} volumes, the scan has 10"):
        check_design_fits(design, 10, builders.TR_S)
    with pytest.raises(EventsError, match="TR of 1 s, the run's is 2 s"):
        check_design_fits(design, None, 2.0)
    with pytest.raises(EventsError, match="the catalogue lacks, "):
        check_sounds(a_design("target"), {"clip01", *a_design("target").rungs} - {TARGET})


@pytest.mark.parametrize(("kind", "is_refused"), [("bank", True), ("retrieval", False)])
def test_no_generator_sounds_in_place_of_stimuli_or_follows_the_evidence_of_a_blinded_arm(
        kind: Kind, is_refused: bool, tmp_path: Path) -> None:
    write_run_design(tmp_path / "design.json", a_design("mirror", "shuffled"))
    settings = LiveSettings(tmp_path / "bundle", builders.write_corpus(tmp_path / "corpus"), tmp_path / "session",
                            design=tmp_path / "design.json", generator=GeneratorSettings(kind=kind))
    refusals = [each for each in problems(settings) if "cannot be played by a generator" in each]
    assert len(refusals) == is_refused
