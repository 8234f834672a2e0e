"""Designs hold what they promise, whatever the seed."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import ConfigError
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.design import CUE_PREFIX, DesignSettings, generate, length_volumes
from realtime.experiment.phases import Phase, Window, WindowedTrials, phase_after

SEEDS = st.integers(0, 2**32)


@st.composite
def designs(draw: st.DrawFn) -> DesignSettings:
    n_clips = draw(st.integers(2, 12))
    imagines = draw(st.booleans())
    trial = ("cue", "imagine", "wait", "feedback", "rest") if imagines else ("listen", "rest")
    return DesignSettings(
        tuple(f"clip{n}" for n in range(n_clips)), trial, blocks=draw(st.integers(1, 4)),
        min_distance=draw(st.integers(1, max(1, n_clips // 2))),
        catch_share=draw(st.sampled_from([0.0, 0.1, 0.25, 0.4])) if imagines else 0.0,
        jitter_s=draw(st.sampled_from([0.0, 3.0, 6.0])))


@st.composite
def acquisitions(draw: st.DrawFn) -> Acquisition:
    tr_s = draw(st.sampled_from([0.8, 1.5, 2.0]))
    clustered = draw(st.booleans())
    silence_s = draw(st.sampled_from([0.0, 0.25])) * tr_s
    return Acquisition(tr_s, silence_s, 3 if clustered else 0, 4.0 if clustered else 0.0)


def trials_of(phases: tuple[Phase, ...], kinds: tuple[str, ...]) -> list[Phase]:
    return [phase for phase in phases if phase.kind in kinds]


@given(designs(), acquisitions(), SEEDS)
def test_every_clip_comes_equally_often_and_never_sooner_than_stated(
        settings: DesignSettings, acquisition: Acquisition, seed: int) -> None:
    kinds = ("imagine", "catch") if "imagine" in settings.trial else ("listen",)
    clips = [phase.clip_id for phase in trials_of(generate(settings, acquisition, seed), kinds)]
    assert Counter(clips) == {clip: settings.blocks for clip in settings.clips}
    for block in range(settings.blocks):
        assert set(clips[block * len(settings.clips):][:len(settings.clips)]) == set(settings.clips)
    for place, clip in enumerate(clips):
        assert clip not in clips[max(0, place - settings.min_distance):place]


@given(designs(), acquisitions(), SEEDS)
def test_catch_trials_come_at_the_stated_rate_and_spread_over_the_run(
        settings: DesignSettings, acquisition: Acquisition, seed: int) -> None:
    kinds = [phase.kind for phase in generate(settings, acquisition, seed) if phase.kind in ("imagine", "catch")]
    n_catches = round(settings.catch_share * settings.n_trials) if "imagine" in settings.trial else 0
    assert kinds.count("catch") == n_catches
    halves = (kinds[:len(kinds) // 2].count("catch"), kinds[len(kinds) // 2:].count("catch"))
    assert abs(halves[0] - halves[1]) <= 2


@given(designs(), acquisitions(), SEEDS, SEEDS)
def test_every_seed_gives_a_run_of_the_same_length(
        settings: DesignSettings, acquisition: Acquisition, one: int, other: int) -> None:
    first, second = generate(settings, acquisition, one), generate(settings, acquisition, other)
    assert length_volumes(first) == length_volumes(second)


@given(designs(), acquisitions(), SEEDS)
def test_the_same_seed_gives_the_same_run(settings: DesignSettings, acquisition: Acquisition, seed: int) -> None:
    assert generate(settings, acquisition, seed) == generate(settings, acquisition, seed)


@given(designs(), acquisitions(), SEEDS)
def test_phases_leave_no_gap_and_begin_where_a_volume_has_ended(
        settings: DesignSettings, acquisition: Acquisition, seed: int) -> None:
    phases = generate(settings, acquisition, seed)
    for before, after in pairwise(phases):
        assert after.first_volume == before.first_volume + before.n_volumes
        assert after.onset_s == pytest.approx(before.onset_s + before.duration_s)
        assert after.onset_s == acquisition.end_s(after.first_volume - 1)
    for volume in range(-1, length_volumes(phases) - 1):
        phase = phase_after(phases, volume)
        assert phase is not None
        assert phase.first_volume <= volume + 1 < phase.first_volume + phase.n_volumes
    assert phase_after(phases, length_volumes(phases) - 1) is None


@given(designs(), acquisitions(), SEEDS)
def test_a_cue_says_what_its_trial_asks_for(settings: DesignSettings, acquisition: Acquisition, seed: int) -> None:
    phases = generate(settings, acquisition, seed)
    task = {phase.trial: phase.kind for phase in phases if phase.kind in ("imagine", "catch")}
    assert all(phase.sound == CUE_PREFIX + task[phase.trial] for phase in phases if phase.kind == "cue")
    assert not any(phase.sound for phase in phases if phase.kind in ("imagine", "catch", "wait", "rest", "feedback"))


@given(acquisitions(), st.integers(0, 200))
def test_windows_of_their_own_take_volumes_as_the_lag_and_length_say(acquisition: Acquisition, volume: int) -> None:
    trials = WindowedTrials(acquisition, (10.0, 60.0), (Window(4.5, 10.0), Window(6.0, 14.0)))
    middle_s = acquisition.start_s(volume) + acquisition.tr_s / 2
    wanted = 0 if 14.5 <= middle_s < 24.5 else 1 if 66.0 <= middle_s < 80.0 else -1
    assert trials.trial_of(volume) == wanted


def test_a_later_trial_takes_over_when_its_own_window_begins() -> None:
    trials = WindowedTrials(Acquisition(1.0), (0.0, 10.0), (Window(2.0, 30.0), Window(6.0, 5.0)))
    assert [trials.trial_of(volume) for volume in (1, 2, 15, 16, 20, 21)] == [-1, 0, 0, 1, 1, -1]


def test_all_that_is_wrong_with_a_design_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        DesignSettings(("a",), ("rest",), blocks=0, catch_share=0.7)
    for word in ("clips", "neither 'listen' nor 'imagine'", "blocks is 0", "catch_share"):
        assert word in str(told.value)
