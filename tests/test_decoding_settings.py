"""How sure a decision must be, and how much the head may move: chosen by the session, kept with it, told of it."""

import json
import subprocess
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realtime.config import LiveSettings, load_settings
from realtime.decoding.posterior import Posterior, posterior
from realtime.decoding.settings import DecodingSettings
from realtime.errors import ConfigError, SessionError
from realtime.messages import Clip
from realtime.reliability import ANY_SIZE, HEARD
from realtime.session.core import LiveCore
from realtime.session.folder import SessionFolder
from realtime.session.kept import about_session, check_same, keep_copies, read_parts
from realtime.session.record import read_documents
from realtime.session.steps import Step
from realtime.session.summary import score_trials
from tests import builders
from tests.loopback import free_endpoint
from tests.processes import World, command, finish, live_command, make_world, running

RUN = builders.run_of(builders.volumes(22))
LEAST = 0.5
"""Some of the phantom's trials are surer than this, some are not."""


def belief_in(shares: list[float], genres: str) -> Posterior:
    clips = [Clip(f"clip{n}", Path("none.wav"), genre.strip()) for n, genre in enumerate(genres)]
    return posterior(np.log(shares), np.zeros(len(shares)), clips)


def steps_with(decoding: DecodingSettings) -> list[Step]:
    core = LiveCore(builders.header(len(RUN)), replace(builders.parts(), decoding=decoding))
    return [core.decide(percept) for volume in RUN for percept in core.perceive(volume).percepts]


def documents(decoding: DecodingSettings) -> list[dict[str, Any]]:
    return [step.document for step in steps_with(decoding)]


def test_a_clip_or_its_genre_must_be_probable_enough() -> None:
    belief = belief_in([0.3, 0.3, 0.4], "aab")
    by_clip, by_genre = DecodingSettings(least_confidence=0.5), DecodingSettings(least_confidence=0.5, sure_of="genre")
    assert by_clip.abstains(belief)
    assert not by_genre.abstains(belief)
    assert not DecodingSettings(least_confidence=0.4).abstains(belief)
    assert DecodingSettings(least_confidence=0.65, sure_of="genre").abstains(belief)


def test_music_without_genres_is_judged_by_its_clip() -> None:
    assert DecodingSettings(least_confidence=0.5, sure_of="genre").abstains(belief_in([0.3, 0.3, 0.4], "   "))


def test_values_that_cannot_be_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "live.toml").write_text('bundle = "b"\ncatalogue = "c"\nsession = "s"\n[decoding]\n'
                                        "least_confidence = 1.0\nmotion_limit_mm = 0\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "live.toml", LiveSettings)
    assert "least_confidence is 1.0" in str(caught.value)
    assert "motion_limit_mm is 0" in str(caught.value)


def test_a_trials_type_says_whether_it_was_imagined_else_the_settings_do() -> None:
    heard, imagined = DecodingSettings(), DecodingSettings(response="imagined")
    for settings, otherwise in ((heard, "heard"), (imagined, "imagined")):
        types = {"listen": "heard", "imagine": "imagined", "catch": "imagined", "": otherwise, "rest": otherwise}
        assert {name: settings.response_of(name) for name in types} == types
        assert {name: settings.sizes(name) == HEARD for name in types} == {
            name: response == "heard" for name, response in types.items()}
    assert DecodingSettings("free_run").sizes("") == ANY_SIZE
    steps, same = documents(imagined), documents(heard)
    assert [step["embedding"] for step in steps] == [step["embedding"] for step in same]
    assert {step.get("response") for step in steps if step["top"]} == {"imagined"}
    assert all("response" not in step for step in same)
    assert any(step["confidence"] != other["confidence"] for step, other in zip(steps, same, strict=True))


def test_the_head_of_a_session_that_was_heard_is_as_before_there_was_a_choice() -> None:
    """Another key there, and no session recorded earlier would replay or be exported."""
    def head(settings: DecodingSettings) -> set[str]:
        return set(about_session(replace(builders.parts(), decoding=settings))["decoding"])

    before = {"mode", "least_confidence", "sure_of", "motion_limit_mm", "free_run"}
    assert head(DecodingSettings()) == before
    assert head(DecodingSettings(response="imagined")) == {*before, "response"}


def test_who_abstains_decides_nothing_and_goes_on_decoding() -> None:
    free, never = documents(DecodingSettings()), documents(DecodingSettings(least_confidence=0.999999))
    assert any(step["playing"] for step in free)
    assert not any(step["playing"] for step in never)
    assert [step["embedding"] for step in never] == [step["embedding"] for step in free]
    decoded = [step for step in never if step["top"] and step["confidence"] < 0.999999]
    assert decoded
    assert {(step["decision"], step["abstained"]) for step in decoded} == {("hold", True)}
    assert {step["why"] for step in decoded} == {"abstained: the clip is not sure enough"}
    assert not any(step["abstained"] for step in free)


def test_what_plays_goes_on_while_the_program_abstains() -> None:
    some = documents(DecodingSettings(least_confidence=LEAST))
    playing = [step["playing"] for step in some]
    changed = [now for before, now in pairwise(playing) if before != now]
    assert changed, "the threshold lets some decisions through"
    for before, step in pairwise(some):
        if step["abstained"]:
            assert step["playing"] == before["playing"]


def test_above_the_limit_of_motion_a_volume_adds_nothing_and_its_trial_is_known() -> None:
    usual, still = documents(DecodingSettings()), documents(DecodingSettings(motion_limit_mm=0.1))
    assert {step["status"] for step in usual} == {"SETTLING", "OK"}  # it moves by 0.05 to 0.25 mm
    moved = [step for step in still if step["status"] == "CENSORED"]
    assert len(moved) > 5
    assert all(step["fd_mm"] > 0.1 for step in moved)
    assert all(step["fd_mm"] <= 0.1 for step in still if step["status"] == "OK")
    assert [step["trial"] for step in still] == [step["trial"] for step in usual]


def test_a_wider_limit_than_the_bundles_lets_more_volumes_count() -> None:
    parts = builders.parts()
    strict = replace(parts.bundle, manifest=replace(parts.bundle.manifest, preprocessing=replace(
        parts.bundle.manifest.preprocessing, censor_fd_mm=0.1)))
    kept, wide = replace(parts, bundle=strict), replace(parts, bundle=strict, decoding=DecodingSettings(
        motion_limit_mm=0.5))
    assert (kept.motion_limit_mm, wide.motion_limit_mm) == (0.1, 0.5)
    core = LiveCore(builders.header(len(RUN)), wide)
    found = {core.decide(percept).document["status"] for volume in RUN for percept in core.perceive(volume).percepts}
    assert "CENSORED" not in found
    assert about_session(wide)["decoding"]["motion_limit_mm"] == 0.5


def test_the_summary_says_how_many_trials_abstained_and_how_right_the_others_were() -> None:
    chosen = DecodingSettings(least_confidence=LEAST)
    start = {"doc": "start", **about_session(replace(builders.parts(), decoding=chosen))}
    steps = documents(chosen)
    figures = score_trials([start, *steps], builders.catalogue())
    last = {step["trial"]: step for step in steps if step["embedding"] is not None}
    kept = [trial for trial, step in last.items() if step["confidence"] >= LEAST]
    cover = figures["coverage"]
    assert 0 < len(kept) < len(last), "the threshold divides the trials"
    assert (cover["trials"], cover["abstained"]) == (len(last), len(last) - len(kept))
    assert cover["coverage"] == len(kept) / len(last)
    assert cover["abstained_trials"] == sorted(set(last) - set(kept))
    scores = figures["identification_per_trial"]
    assert cover["identification_accuracy"] == pytest.approx(np.mean([scores[trial] for trial in kept]))
    heard = {trial: f"clip{trial:02}" for trial in last}
    assert cover["top1"] == np.mean([last[trial]["top"][0]["clip_id"] == heard[trial] for trial in kept])


def test_volumes_left_out_for_motion_are_counted_by_trial() -> None:
    chosen = DecodingSettings(motion_limit_mm=0.1)
    start = {"doc": "start", **about_session(replace(builders.parts(), decoding=chosen))}
    steps = documents(chosen)
    moved = score_trials([start, *steps], builders.catalogue())["moved_volumes"]
    for trial in {step["trial"] for step in steps} - {-1}:
        expected = sum(step["trial"] == trial and step["status"] == "CENSORED" for step in steps)
        assert moved.get(str(trial), 0) == expected
    assert sum(moved.values()) > 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), 24)


def test_a_replay_judges_by_what_the_session_chose(world: World) -> None:
    session, endpoint, file = world.folder / "chosen", free_endpoint(), world.folder / "live.toml"
    file.write_text(f"[decoding]\nleast_confidence = {LEAST}\nmotion_limit_mm = 0.3\n")
    with running(live_command(world, session, endpoint, "--config", file)) as live, running(
            command("bridge", "serve", world.run, "--connect", endpoint, "--unpaced")) as bridge:
        finish(bridge)
        finish(live)
    written = list(read_documents(SessionFolder(session).record))
    chosen = {"least_confidence": LEAST, "sure_of": "clip", "motion_limit_mm": 0.3}
    assert {key: written[0]["decoding"][key] for key in chosen} == chosen
    decoded = [step for step in written if step["doc"] == "step" and step["top"]]
    assert decoded
    assert all(step["abstained"] == (step["confidence"] < LEAST) for step in decoded)
    assert json.loads(SessionFolder(session).summary.read_text())["coverage"]["least_confidence"] == LEAST
    done = subprocess.run(command("replay", session), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_session_is_not_resumed_with_other_choices(world: World, tmp_path: Path) -> None:
    settings = LiveSettings(world.bundle, world.catalogue, tmp_path / "session",
                            decoding=DecodingSettings(least_confidence=0.3))
    folder = SessionFolder(settings.session)
    folder.path.mkdir()
    keep_copies(folder, settings)
    check_same(folder, settings)
    assert asdict(read_parts(folder).decoding) == asdict(settings.decoding)
    with pytest.raises(SessionError, match="other inputs: decoding"):
        check_same(folder, replace(settings, decoding=DecodingSettings(least_confidence=0.4)))
