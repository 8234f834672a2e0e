"""Feedback, arms, the envelope of the allocation, and whether blinding held."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import ConfigError, SessionError
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.allocation import Opening, allocate, read_allocation, read_sealed, write_allocation
from realtime.experiment.arms import ARMS, ArmDecoder, Tape
from realtime.experiment.blinding import bang_index
from realtime.experiment.contamination import is_contaminated, sound_share, sounded
from realtime.experiment.feedback import (
    FeedbackSettings,
    ThresholdSettings,
    grade,
    ladder,
    next_threshold,
    rendered,
    rivals,
    rung_of,
    target_score,
)
from realtime.experiment.run_design import open_arm, seal_arm
from realtime.messages import PLAIN, Rendering
from tests import builders

CODES = tuple(f"sub-{n:02}" for n in range(1, 23))
MUSIC = builders.catalogue()


def test_the_target_itself_scores_far_above_the_average_clip() -> None:
    others = rivals(MUSIC, ["clip03"])
    assert "clip03" not in others
    own = target_score(MUSIC.embedding("clip03"), MUSIC, ["clip03"], others)
    assert own > 1.5
    assert own > max(target_score(MUSIC.embedding(clip), MUSIC, ["clip03"], others) for clip in others)


def test_an_embedding_without_direction_scores_zero() -> None:
    assert target_score(MUSIC.centre, MUSIC, ["clip03"], rivals(MUSIC, ["clip03"])) == 0.0


@given(st.floats(-50, 50), st.floats(-5, 5), st.floats(0.01, 5))
def test_a_grade_lies_between_0_and_1_and_says_half_at_the_threshold(
        score: float, threshold: float, spread: float) -> None:
    assert 0.0 < grade(score, threshold, spread) < 1.0
    assert grade(threshold, threshold, spread) == 0.5
    assert grade(score + 1, threshold, spread) >= grade(score, threshold, spread)


@given(st.floats(0, 1), st.integers(2, 20))
def test_a_grade_has_a_rung_and_no_rendering_is_above_the_operators_volume(value: float, n_rungs: int) -> None:
    assert 0 <= rung_of(value, n_rungs) < n_rungs
    loudness = rendered(value, FeedbackSettings("target", "x", render="loudness"))
    assert (loudness.clarity, -30.0 <= loudness.level_db <= 0.0) == (1.0, True)
    assert rendered(value, FeedbackSettings("target", "x", render="clarity")) == Rendering(0.0, value)
    assert rendered(value, FeedbackSettings("target", "x")) == PLAIN
    assert rung_of(1.0, n_rungs) == n_rungs - 1


def test_the_ladder_climbs_to_the_target() -> None:
    rungs = ladder(MUSIC, ["clip05"], 6, MUSIC.embedding("clip05"))
    near = MUSIC.similarities(MUSIC.embedding("clip05"), rungs)
    assert rungs[-1] == "clip05"
    assert len(set(rungs)) == 6
    assert (np.diff(near) > 0).all()


def test_the_threshold_rests_where_the_wanted_share_succeeds() -> None:
    settings, rng, threshold, successes = ThresholdSettings(0.0, 0.1, 0.6), np.random.default_rng(0), 0.0, []
    for _ in range(6000):
        successes.append(bool(rng.standard_normal() + 1.7 >= threshold))
        threshold = next_threshold(threshold, successes[-1], settings)
    assert np.mean(successes[1000:]) == pytest.approx(0.6, abs=0.02)


def test_only_the_shuffled_arm_decodes_something_else_and_always_the_same() -> None:
    parts, rng = builders.parts(), np.random.default_rng(1)
    features = rng.standard_normal(len(parts.bundle.voxels)).astype(np.float32)
    real = parts.decoder.decode(features)
    for arm in ARMS:
        decoded = ArmDecoder(parts.decoder, arm, 7).decode(features)
        assert np.array_equal(decoded, real) == (arm != "shuffled")
    assert np.array_equal(ArmDecoder(parts.decoder, "shuffled", 7).decode(features),
                          ArmDecoder(parts.decoder, "shuffled", 7).decode(features))


@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 40))
def test_an_allocation_is_balanced_at_every_block(seed: int, n_arms: int, n_people: int) -> None:
    codes, arms = [f"s{n}" for n in range(n_people)], ARMS[:n_arms]
    sealed = allocate(codes, arms, seed)
    drawn = [sealed.arm_of(code) for code in codes]
    for upto in range(n_people + 1):
        counts = Counter(drawn[:upto])
        assert max((counts[arm] for arm in arms), default=0) - min(counts[arm] for arm in arms) <= 1


def test_no_arm_can_be_read_in_the_sealed_file(tmp_path: Path) -> None:
    write_allocation(tmp_path / "allocation.json", allocate(CODES, ("yoked", "shuffled"), 3))
    text = (tmp_path / "allocation.json").read_text()
    assert (text.count("yoked"), text.count("shuffled")) == (1, 1)  # the list of arms, which is no secret
    assert not any(arm in seal_arm(arm, 5) for arm in ARMS)
    assert [open_arm(seal_arm(arm, 5)) for arm in ARMS] == list(ARMS)
    assert len({len(seal_arm(arm, 5)) for arm in ARMS}) == 1


def test_an_opened_allocation_is_refused_and_says_who_opened_it(tmp_path: Path) -> None:
    path, sealed = tmp_path / "allocation.json", allocate(CODES, ("real", "yoked"), 3)
    write_allocation(path, sealed)
    assert read_sealed(path) == sealed
    with pytest.raises(SessionError, match="sealed"):
        sealed.all_arms()
    opened = sealed.unblinded(Opening("2026-01-01T00:00:00Z", "N.N.", "the study is over"))
    write_allocation(path, opened)
    assert set(read_allocation(path).all_arms().values()) == {"real", "yoked"}
    with pytest.raises(SessionError, match=r"opened at 2026.* by N\.N\. \(the study is over\)"):
        read_sealed(path)


def test_an_allocation_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "allocation.json"
    sealed, other = allocate(CODES, ("real", "yoked"), 3), allocate(CODES, ("real", "yoked"), 4)
    write_allocation(path, replace(sealed, envelope=other.envelope))
    with pytest.raises(SessionError, match="was changed"):
        read_allocation(path)
    path.write_text(json.dumps({"format": 1}))
    with pytest.raises(SessionError, match="not a readable allocation"):
        read_allocation(path)


def test_who_is_not_allocated_is_named() -> None:
    with pytest.raises(SessionError, match="'sub-99'"):
        allocate(CODES, ("real", "yoked"), 3).arm_of("sub-99")


def test_bangs_index_agrees_with_the_libraries() -> None:
    # the example of BlindingIndex.jl and of R's BI, two-sided 95 %: 0.115 (0.080 to 0.150), 0.022 (-0.016 to 0.060)
    treatment = bang_index(["drug"] * 48 + ["placebo"] * 4 + ["unsure"] * 330, "drug")
    placebo = bang_index(["placebo"] * 30 + ["drug"] * 22 + ["unsure"] * 319, "placebo")
    assert (treatment.value, treatment.low, treatment.high) == pytest.approx((0.115, 0.080, 0.150), abs=5e-4)
    assert (placebo.value, placebo.low, placebo.high) == pytest.approx((0.022, -0.016, 0.060), abs=5e-4)


def test_bangs_index_at_its_corners() -> None:
    assert bang_index(["real"] * 9, "real").value == 1.0
    assert bang_index(["yoked"] * 9, "real").value == -1.0
    assert bang_index(["unsure"] * 9, "real").value == 0.0
    assert np.isnan(bang_index([], "real").value)


def test_a_volume_in_or_just_after_sound_is_contaminated() -> None:
    acquisition = Acquisition(2.0)
    stretches = sounded([(4.0, "clip"), (6.0, "")])
    assert [is_contaminated(volume, acquisition, stretches, 3.0) for volume in range(7)] == [
        False, False, True, True, True, False, False]
    assert sound_share(5, acquisition, stretches).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_sound_in_a_silent_gap_spares_the_volume_before_it() -> None:
    acquisition = Acquisition(10.0, silence_s=8.0)
    assert not is_contaminated(0, acquisition, sounded([(2.0, "clip"), (5.0, "")]), 1.0)
    assert is_contaminated(1, acquisition, sounded([(2.0, "clip")]), 1.0)
    assert sound_share(1, acquisition, sounded([(2.0, "clip"), (5.0, "")]))[0] == pytest.approx(0.3)


def test_a_tape_repeats_what_was_shown_volume_by_volume() -> None:
    documents = [{"doc": "start"}, {"doc": "step", "shown": None}, {"doc": "step", "shown": 0.5, "mirrored": "clip01"}]
    assert Tape.from_steps(documents) == Tape((None, 0.5), ("", "clip01"))


def test_a_target_is_named_for_target_training_alone() -> None:
    with pytest.raises(ConfigError, match=r"feedback\.target"):
        FeedbackSettings("mirror", "clip01")
    with pytest.raises(ConfigError, match=r"feedback\.target"):
        FeedbackSettings("target")
