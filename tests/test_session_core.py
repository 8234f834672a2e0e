"""The pure core: gaps are gaps, nothing is invented, the past does not depend on the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.messages import Cue
from realtime.session.core import LiveCore
from realtime.session.steps import Step
from scanner_bridge.volume import Volume
from tests import builders

DATA = builders.volumes(22)
RUN = builders.run_of(DATA)


def core() -> LiveCore:
    return LiveCore(builders.header(len(RUN)), builders.parts())


def fold(live: LiveCore, volumes: list[Volume]) -> list[Step]:
    return [live.decide(percept) for volume in volumes for percept in live.perceive(volume).percepts]


def documents(steps: list[Step]) -> list[dict[str, object]]:
    return [step.document for step in steps]


def test_every_volume_index_gets_exactly_one_step() -> None:
    steps = fold(core(), RUN)
    assert [step.document["volume"] for step in steps] == list(range(len(RUN)))
    assert [step.document["status"] for step in steps[:4]] == ["SETTLING", "SETTLING", "OK", "OK"]


def test_trials_lag_and_grow_by_one_usable_volume_at_a_time() -> None:
    steps = fold(core(), RUN)
    grown = [(step.document["trial"], step.document["n"]) for step in steps[6:16]]
    window, rest = [(1, 1), (1, 2), (1, 3), (1, 4)], (-1, 0)  # lag 1, window 4, a trial every 5 volumes
    assert grown == [*window, rest, *[(2, n) for _, n in window], rest]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, len(RUN) - 1), st.integers(0, 3))
def test_decisions_about_the_past_do_not_depend_on_the_future(cut: int, seed: int) -> None:
    other = builders.run_of([*DATA[:cut], *builders.volumes(len(DATA) - cut, seed=seed + 50)])
    assert documents(fold(core(), RUN[:cut])) == documents(fold(core(), other))[:cut]


def test_a_missing_volume_is_a_gap_and_lowers_n() -> None:
    steps = fold(core(), RUN[:7] + RUN[8:])
    gap = steps[7].document
    assert (gap["status"], gap["volume"], gap["fd_mm"]) == ("GAP", 7, None)
    assert steps[6].document["n"] == gap["n"] == steps[8].document["n"] - 1
    assert gap["embedding"] == steps[6].document["embedding"]


def test_every_volume_that_came_says_how_good_it_is() -> None:
    steps = [step.document for step in fold(core(), RUN[:7] + RUN[8:])]
    assert steps[0]["dvars_percent"] is None
    assert (steps[7]["dvars_percent"], steps[7]["tsnr"]) == (None, None)  # it never came
    came = [step["dvars_percent"] for step in steps[1:] if step["status"] != "GAP"]
    assert all(0.0 < value < 20.0 for value in came)
    assert [step["tsnr"] is None for step in steps[:11]] == [True] * 11  # statistics of fewer than ten volumes
    assert all(20.0 < step["tsnr"] < 500.0 for step in steps[14:])


def test_a_late_volume_is_noted_and_not_fed() -> None:
    live = core()
    fold(live, RUN[:7] + RUN[8:10])
    intake = live.perceive(RUN[7])
    assert intake.percepts == ()
    assert "came after later ones" in intake.documents[0]["text"]
    assert live.counts.late == 1


def test_a_repeated_volume_is_dropped_and_a_conflicting_one_is_noted() -> None:
    live = core()
    fold(live, RUN[:5])
    assert "came twice; the second was dropped" in live.perceive(RUN[3]).documents[0]["text"]
    other = builders.with_data(RUN[3], DATA[9])
    assert "different voxels" in live.perceive(other).documents[0]["text"]
    assert (live.counts.duplicates, live.counts.rejected) == (1, 1)
    expected = documents(fold(core(), RUN))
    assert documents(fold(live, RUN[5:])) == expected[5:]


UNUSABLE = {
    "NaN": np.full(builders.SHAPE, np.nan, np.float32),
    "constant": np.zeros(builders.SHAPE, np.int16),
    "wrong shape": np.ones((3, 4, 5), np.int16),
    "infinite": np.where(DATA[0] > 100, np.inf, DATA[0]).astype(np.float32),
}


@pytest.mark.parametrize("data", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_volume_is_rejected_with_a_reason_and_the_run_goes_on(data: np.ndarray) -> None:
    live = core()
    steps = fold(live, [*RUN[:6], builders.with_data(RUN[6], data), *RUN[7:]])
    assert steps[6].document["status"] == "REJECTED"
    assert str(steps[6].document["reason"]).startswith("volume 6")
    assert [step.document["status"] for step in steps[7:]] == ["OK"] * (len(RUN) - 7)
    gap = fold(core(), RUN[:6] + RUN[7:])  # rejected and missing volumes leave the same state behind
    assert [d["embedding"] for d in documents(steps)[7:]] == [d["embedding"] for d in documents(gap)[7:]]


def test_a_volume_from_elsewhere_is_rejected() -> None:
    shifted = builders.AFFINE.copy()
    shifted[0, 3] += 2.0
    steps = fold(core(), [*RUN[:3], Volume(3, DATA[3], shifted, builders.TR_S, "run-1")])
    assert "lies elsewhere" in str(steps[3].document["reason"])


def test_an_absurd_index_advances_nothing() -> None:
    live = core()
    fold(live, RUN[:3])
    far = Volume(10**9, DATA[3], builders.AFFINE, builders.TR_S, "run-1")
    assert live.perceive(far).percepts == ()
    assert live.next_index == 3


def test_rescaled_voxels_decode_as_their_scanner_units() -> None:
    doubled = [Volume(v.index, (v.data // 2).astype(np.int16), v.affine, v.tr_s, v.run_id, slope=2.0) for v in RUN]
    plain = [builders.with_data(v, ((v.data // 2) * 2).astype(np.int16)) for v in RUN]
    assert documents(fold(core(), doubled)) == documents(fold(core(), plain))


def test_pause_silences_and_holds_until_resume() -> None:
    live = core()
    steps = fold(live, RUN[:12])
    assert live.playing
    reaction = live.event("pause")
    assert reaction.cue is not None
    assert reaction.cue.clip_id == ""
    held = fold(live, RUN[12:16])
    assert {step.document["decision"] for step in held} == {"hold"}
    live.event("resume")
    after = fold(live, RUN[16:])
    assert live.playing
    numbers = [step.cue.number for step in [*steps, *after] if step.cue is not None]
    assert numbers == sorted(set(numbers))
    assert reaction.cue.number not in numbers


def test_a_mark_opens_a_trial_where_no_events_are_known() -> None:
    live = LiveCore(builders.header(None), builders.parts(n_trials=0))
    assert {step.document["trial"] for step in fold(live, RUN[:6])} == {-1}
    live.event("mark", "imagine")
    assert [(step.document["trial"], step.document["n"]) for step in fold(live, RUN[6:10])] == [
        (-1, 0), (0, 1), (0, 2), (0, 3)]


def test_volumes_missing_at_the_end_become_gaps() -> None:
    live = core()
    fold(live, RUN[:18])
    assert [percept.status for percept in live.finish(len(RUN)).percepts] == ["GAP"] * 4
    assert live.counts.gaps == 4


def test_cues_name_the_clip_and_the_volume_of_their_decision() -> None:
    steps = fold(core(), RUN)
    cues = [step.cue for step in steps if step.cue is not None]
    assert cues
    assert [cue.number for cue in cues] == list(range(len(cues)))
    assert all(isinstance(cue, Cue) and steps[cue.volume_index].document["playing"] == cue.clip_id for cue in cues)
