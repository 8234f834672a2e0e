"""The console's pure part: messages folded into a story, looked at, drawn; and what a blinded session tells."""

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.bundle import Bundle
from realtime.console import panels, slices, visit_panel
from realtime.console.alarms import Alarm, alarms
from realtime.console.chance import chance_band
from realtime.console.findings import LINKS, Check, Finding, first_broken, nothing_checked, walk
from realtime.console.story import N_POINTS, Story, hear
from realtime.console.view import ChanceBand, View, look
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import SessionError
from realtime.session.blinding import RELEASE_S, blinded, release_s
from realtime.session.pictures import Pictures
from tests import builders

TR_S = 1.0
ABOUT = {"subject": "sub-00", "bundle": "b", "session": "/s", "n_voxels": 60, "n_clips": 12, "lag_volumes": 1,
         "window_volumes": 4, "onset_volumes": [0, 5, 10], "wait_for_start": False, "stale_after_volumes": 5,
         "software": "innerear", "blinded": False}
SOUND = {"sounding": "clip01", "level_dba": None, "momentary_lufs": -23.0, "peak_dbfs": -9.0, "dose_percent": 3.0,
         "volume_db": -12.0, "muted": False, "stopped": False, "sink": "wav", "underruns": 0}


def step(volume: int, status: str = "OK", **more: Any) -> dict[str, Any]:
    return {"volume": volume, "status": status, "reason": "", "fd_mm": 0.1, "dvars_percent": 1.0, "tsnr": 80.0,
            "six_motions": [0.1, 0, 0, 0, 0.2, 0], "received_ms": 2.0, "journaled_ms": 3.0, "embedded_ms": 5.0,
            "latency_ms": 6.0, "trial": volume // 5, "n": volume % 5, "window_volumes": 4, "n_volumes": 25, "gaps": 0,
            "rejected": 0, "censored": 0, "tr_s": TR_S, "attempt": 1, "playing": "clip01", "decision": "keep",
            "why": "dwells", "genre": "a", "genre_confidence": 0.3, "confidence": 0.4,
            "top": [{"clip_id": f"clip{n:02}", "genre": "a", "posterior": 0.4 / (n + 1), "similarity": 0.5}
                    for n in range(5)], **more}


RUNNING = {"state": "running", "source": "", "n_volumes": 25, "tr_s": TR_S, "attempt": 1}


def story_of(*messages: tuple[str, dict[str, Any], float]) -> Story:
    story = Story()
    for topic, payload, at_s in messages:
        story = hear(story, topic, payload, at_s)
    return story


def running(n: int, *more: tuple[str, dict[str, Any], float]) -> Story:
    steps = [("step", step(volume), float(volume + 1)) for volume in range(n)]
    line = {"text": "a bridge is connected", "bridges": 1, "let_in": 1}
    return story_of(("connection", {"up": True}, 0.0), ("about", ABOUT, 0.0), ("link", line, 0.0),
                    ("state", RUNNING, 0.0), *steps,
                    ("sound", SOUND, float(n)), *more)


def everything(view: View) -> str:
    findings = (Finding(LINKS[0], "bad", "<b>mend it</b>"), *nothing_checked()[1:])
    return "".join((panels.head(view), panels.alarm_list(view.alarms), panels.slices(view), panels.motion(view),
                    panels.evidence(view, ChanceBand((0.3, 0.4), (0.2, 0.3))), panels.sound(view), panels.quality(view),
                    panels.waterfall(view), panels.timeline(view), panels.controls(view),
                    panels.preflight(view, findings, False), visit_panel.visit(view)))


PLAN = {"waiting": "go", "words": "", "actions": ["go", "again", "skip", "out", "end"], "run": "02-train", "place": 1,
        "runs": ["reference", "train", "transfer"], "kinds": ["reference", "feedback", "transfer"],
        "n_volumes": [8, 20, 20], "done": ["01-reference"], "aborted": ["02-train"], "positioning": 1, "overlay": {},
        "subject": "sub-00"}
HERE = {"stopped": False, "free_bytes": 10**12, "recorded_by": 7, "embedded": True}


def visiting(**told: Any) -> Story:
    """A visit whose program runs, between two runs unless told otherwise."""
    return running(3, ("here", HERE, 3.0), ("state", {"state": "ended"}, 3.0), ("plan", {**PLAN, **told}, 3.0))


def texts(story: Story, now_s: float) -> str:
    return "\n".join(alarm.text for alarm in alarms(story, now_s))


def test_four_hours_leave_no_more_behind_than_ten_minutes() -> None:
    sizes = {}
    story = running(1)
    for volume in range(1, 4 * 3600):
        status = "GAP" if volume % 17 == 0 else "CENSORED" if volume % 5 == 0 else "OK"
        story = hear(story, "step", step(volume, status, n_volumes=None, reason="volume never came"), float(volume))
        story = hear(story, "alarm", {"text": f"something at {volume}", "severity": "data"}, float(volume))
        story = hear(story, "sound", SOUND, float(volume))
        if volume in (3600, 4 * 3600 - 1):
            sizes[volume] = len(pickle.dumps(story))
    assert story.volume == 4 * 3600 - 1
    assert len(story.points) == N_POINTS
    assert sizes[4 * 3600 - 1] < 1.1 * sizes[3600]
    assert len(everything(look(story, 4 * 3600.0))) < 200_000


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
                    max_leaves=8)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text ever drawn builds a table of Unicode
@given(st.sampled_from(["about", "state", "step", "sound", "slices", "alarm", "link", "here", "plan",
                        "nonsense"]),
       st.dictionaries(st.sampled_from([*step(0), *SOUND, *ABOUT, *PLAN, "text", "planes", "state", "up"]), JSON,
                       max_size=8))
def test_nothing_that_anybody_publishes_breaks_the_page(topic: str, payload: dict[str, Any]) -> None:
    base = {"step": step(3), "sound": SOUND, "about": ABOUT, "state": RUNNING}.get(topic, {})
    story = hear(running(2), topic, {**base, **payload}, 3.0)
    everything(look(story, 4.0))


def test_words_from_outside_are_no_markup() -> None:
    evil = "<script>alert(1)</script>"
    story = running(3, ("alarm", {"text": evil, "severity": evil}, 3.0), ("sound", {**SOUND, "sounding": evil}, 3.0),
                    ("about", {**ABOUT, "subject": evil}, 3.0), ("state", {"state": evil}, 3.0))
    assert evil not in everything(look(story, 4.0))
    story = running(3, ("step", step(3, top=[{"clip_id": evil, "genre": evil, "posterior": 0.5, "similarity": 0.1}],
                                     why=evil, status=evil), 4.0))
    assert "<script" not in everything(look(story, 4.0))


def test_the_next_volume_is_expected_one_tr_after_the_last_and_late_after_that() -> None:
    story = running(3)
    early, late = look(story, 3.4), look(story, 5.0)
    assert early.clock.expected_in_s == pytest.approx(0.6)
    assert not early.clock.late
    assert not early.alarms
    assert late.clock.late
    assert "Volume 4 is 1.0 s late" in texts(story, 5.0)
    assert look(running(25), 60.0).clock.expected_in_s is None  # the run has no more


@pytest.mark.parametrize(("message", "words", "severity"), [
    (("connection", {"up": False}, 3.0), "broker does not answer", "data"),
    (("state", {"state": "offline"}, 3.0), "live program is gone", "data"),
    (("link", {"text": "", "bridges": 0, "let_in": 1}, 3.0), "bridge is gone", "data"),
    (("sound", {**SOUND, "dose_percent": 85.0}, 3.0), "85 % of a day's sound dose", "person"),
    (("here", {"stopped": True, "free_bytes": 10**12, "recorded_by": 1}, 3.0), "STOP holds", "person"),
    (("here", {"stopped": False, "free_bytes": 10**8, "recorded_by": 1}, 3.0), "nearly full: 100 MB", "data"),
    (("step", step(3, "GAP", reason="volume 3 never came", gaps=1), 3.0), "Volume 3 never came", "data"),
    (("step", step(3, "REJECTED", reason="volume 3: shape is (8, 8, 8)", rejected=1), 3.0), "shape is", "data"),
    (("step", step(3, why="waiting for start"), 3.0), "decisions wait for your start", "note"),
])
def test_every_trouble_has_its_sentence_and_a_remedy(message: tuple[str, dict[str, Any], float], words: str,
                                                     severity: str) -> None:
    found = [alarm for alarm in alarms(running(3, message), 3.1) if words in alarm.text]
    assert [alarm.severity for alarm in found] == [severity]
    assert found[0].remedy
    assert not any(words in alarm.text for alarm in alarms(running(3), 3.1))


def test_a_head_that_moves_is_told_once_it_moved_three_times_in_ten_volumes() -> None:
    moves = [("step", step(3 + n, "CENSORED", fd_mm=1.5), 4.0 + n) for n in range(3)]
    assert "moves" not in texts(running(3, *moves[:2]), 5.1)
    assert "up to 1.5 mm" in texts(running(3, *moves), 6.1)


def test_a_silent_player_is_told_with_what_still_works() -> None:
    assert "said nothing for 3 s" in texts(running(3), 6.0)
    assert "said nothing" not in texts(running(3), 4.0)


def test_alarms_come_the_worst_first_and_are_put_aside_when_seen() -> None:
    story = running(3, ("alarm", {"text": "worth knowing", "severity": "note"}, 3.0),
                    ("alarm", {"text": "data", "severity": "data"}, 3.0), ("alarm", {"text": "data"}, 3.1),
                    ("alarm", {"text": "the person", "severity": "person"}, 3.2))
    assert [(alarm.severity, alarm.count) for alarm in alarms(story, 3.3)] == [("person", 1), ("data", 2), ("note", 1)]
    assert not alarms(hear(story, "acknowledged", {}, 3.4), 3.5)
    many = [Alarm("data", f"alarm {n}") for n in range(9)]
    assert panels.alarm_list(many).count('class="alarm') == panels.N_ALARMS
    assert "+ 6 more" in panels.alarm_list(many)


def test_the_evidence_of_a_trial_grows_and_begins_again_with_the_next() -> None:
    assert len(running(4).trial.growth) == 3
    assert running(7).trial.number == 1
    assert len(running(7).trial.growth) == 1


def test_volumes_that_come_again_end_the_silence() -> None:
    story = running(3, ("state", {"state": "stale"}, 9.0))
    assert look(story, 9.0).headline.word == "NO VOLUMES"
    assert look(hear(story, "step", step(3), 9.5), 9.6).headline.word == "RUNNING"


def test_a_live_program_that_ended_in_order_is_not_called_gone() -> None:
    ended = {"state": "ended", "status": "complete"}
    story = running(25, ("state", ended, 26.0), ("state", {"state": "offline"}, 26.1))
    assert look(story, 27.0).headline.word == "ENDED"
    assert not alarms(story, 30.0)
    assert look(hear(story, "state", {"state": "armed"}, 40.0), 40.1).headline.word == "ARMED"


def test_another_attempt_begins_with_a_clean_slate() -> None:
    story = running(9, ("state", {**RUNNING, "attempt": 2}, 12.0))
    assert (story.points, story.spans, story.volume, story.attempt) == ((), (), -1, 2)


def test_only_what_would_do_something_can_be_pressed() -> None:
    here = {"stopped": False, "free_bytes": None, "recorded_by": 77}
    assert {"pause", "abort", "mark"} <= look(running(3, ("here", here, 3.0)), 3.0).keys
    assert "arm" not in look(running(3, ("here", here, 3.0)), 3.0).keys
    assert {"arm", "preflight", "stop"} <= look(Story(), 0.0).keys
    assert "rearm" not in look(Story(), 0.0).keys


# the preflight ------------------------------------------------------------------------------------


def test_the_first_broken_link_is_where_to_begin() -> None:
    def broken(text: str) -> Any:
        def look_() -> str:
            raise SessionError(text)
        return look_

    found = list(walk([Check("a", lambda: "fine"), Check("b", broken("x\nis broken")), Check("c", broken("y"))],
                      (SessionError,)))
    assert [finding.mark for finding in found] == ["good", "bad", "bad"]
    assert first_broken(found) == Finding("b", "bad", "x is broken")
    assert first_broken(found[:1]) is None
    assert [finding.link for finding in nothing_checked()] == list(LINKS)


# what is drawn ------------------------------------------------------------------------------------


def planes_of(bundle: Bundle, hidden: bool = False) -> list[dict[str, Any]]:
    return Pictures(bundle, hidden).draw(builders.volumes(1)[0], builders.AFFINE, None, "run")


def test_slices_show_the_volume_with_the_decoders_voxels_inside_the_head() -> None:
    planes = planes_of(builders.bundle())
    assert [plane["plane"] for plane in planes] == ["sagittal", "coronal", "axial"]
    drawn = 0
    for plane in planes:
        (story,) = (hear(Story(), "slices", {"volume": 0, "planes": [plane]}, 0.0),)
        assert "<image" in slices.picture(story.planes[0])
        import base64

        grey = np.frombuffer(base64.b64decode(plane["pixels"]), np.uint8).reshape(plane["size"][::-1])
        x, y = plane["voxels"][::2], plane["voxels"][1::2]
        drawn += len(x)
        assert (grey[y, x] > 60).all()  # the bundle's voxels are bright ones
    assert drawn > 5


def test_voxels_follow_the_head() -> None:
    bundle, motion = builders.bundle(), np.eye(4)
    motion[0, 3] = 8.0  # two voxels to the right
    pictures = Pictures(bundle)
    still = pictures.draw(builders.volumes(1)[0], builders.AFFINE, None, "run")[2]
    moved = pictures.draw(builders.volumes(1)[0], builders.AFFINE, motion, "run")[2]
    assert [x + 2 for x in still["voxels"][::2]] == moved["voxels"][::2]
    assert pictures.six(motion).shift_mm == pytest.approx((8.0, 0.0, 0.0))
    assert pictures.six(motion).turn_deg == pytest.approx((0.0, 0.0, 0.0))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
def test_a_volume_looks_the_same_however_its_axes_lie(axes: tuple[int, int, int], flips: tuple[bool, ...]) -> None:
    data, bundle = builders.volumes(1)[0], builders.bundle()
    turned, affine = np.transpose(data, axes), builders.AFFINE[:, [*axes, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
            turned = np.flip(turned, axis)
    upright = Pictures(bundle).draw(data, builders.AFFINE, None, "run")
    assert Pictures(bundle).draw(turned, affine, None, "run") == upright


def test_what_cannot_be_a_picture_is_none() -> None:
    for plane in ({"size": [3, 3], "pixels": "AAAA"}, {"size": [0, 0], "pixels": ""}, {"size": [1, 1], "pixels": "*"}):
        story = hear(Story(), "slices", {"volume": 0, "planes": [{"plane": "axial", "voxels": [], **plane}]}, 0.0)
        assert slices.picture(story.planes[0]) == ""


def test_noise_reaches_above_chance_and_seldom_above_its_band() -> None:
    bundle, catalogue = builders.bundle(), builders.catalogue()
    decoder = OnnxDecoder(bundle)
    band = chance_band(decoder, catalogue, bundle.reliability, len(bundle.voxels))
    from realtime.decoding.posterior import believe
    from realtime.reliability import ANY_SIZE, HEARD

    for p95, is_heard_trial, sizes in ((band.heard, True, HEARD), (band.any_size, False, ANY_SIZE)):
        assert len(p95) == 4
        assert all(1 / builders.N_CLIPS < value < 1 for value in p95)
        assert band.after(0, is_heard_trial=is_heard_trial) is None
        assert band.after(9, is_heard_trial=is_heard_trial) == p95[-1]
        rng = np.random.default_rng(99)
        above = [believe(catalogue, decoder.decode(rng.standard_normal(60).astype(np.float32)),
                         bundle.reliability, 1, sizes).confidence > p95[0] for _ in range(400)]
        assert 0.01 < np.mean(above) < 0.11
    assert all(any_size < heard for heard, any_size in zip(band.heard, band.any_size, strict=True))


# blinding -----------------------------------------------------------------------------------------


def test_a_blinded_step_has_the_same_keys_and_nothing_that_an_arm_changes() -> None:
    real = step(7)
    yoked = step(7, playing="clip09", decision="switch", why="better", confidence=0.9, latency_ms=60.0,
                 embedded_ms=44.0, top=real["top"][::-1], genre="b", tsnr=60.0, dvars_percent=3.0)
    assert blinded("step", real) == blinded("step", yoked)
    assert blinded("step", real).keys() == real.keys()
    assert blinded("step", real)["fd_mm"] == real["fd_mm"]
    json.dumps(blinded("step", real))


def test_a_field_nobody_has_thought_about_is_hidden() -> None:
    for topic in ("step", "state", "about", "sound", "slices"):
        assert blinded(topic, {"new": "clip01", "newer": 0.5, "list": [1]}) == {"new": "", "newer": None, "list": []}


def test_blinded_slices_are_those_of_no_decoder() -> None:
    other = builders.bundle()
    other = replace(other, voxels=other.voxels[:10])
    assert planes_of(builders.bundle(), hidden=True) == planes_of(other, hidden=True)


@given(st.floats(0, 1e5), st.floats(0, RELEASE_S * 0.99))
def test_messages_leave_at_the_same_time_however_fast_the_decision_was(received_s: float, took_s: float) -> None:
    assert release_s(received_s, received_s + took_s) == pytest.approx(received_s + RELEASE_S)
    assert release_s(received_s, received_s + RELEASE_S + took_s + 1e-3) > received_s + RELEASE_S


def test_a_blinded_page_shows_the_same_panels_and_no_title() -> None:
    shown = step(7)
    open_story = running(7, ("step", shown, 8.0))
    story = running(7, ("about", blinded("about", ABOUT) | {"blinded": True}, 7.0),
                    ("step", blinded("step", shown), 8.0), ("sound", blinded("sound", SOUND), 8.0))
    story = replace(story, points=story.points[-1:], trial=hear(story, "step", blinded("step", shown), 8.0).trial)
    page = everything(look(story, 8.1))
    assert "clip0" not in page
    assert page.count("<h2>") == everything(look(open_story, 8.1)).count("<h2>")
    assert "BLINDED" in page
