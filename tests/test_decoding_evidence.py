"""Evidence of a trial: the lag, the window, lost volumes, marks, and going on after a restart."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from realtime.decoding.evidence import RunningMean, Schedule, TrialEvidence
from realtime.errors import EventsError, VolumeError
from realtime.messages import EmbeddingSpace, Evidence

N_VOXELS = 5


@dataclass(frozen=True)
class NumpyDecoder:
    """Oracle: a matrix product in float64."""

    weights: NDArray[np.float64]
    space: EmbeddingSpace

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return (features.astype(np.float64) @ self.weights).astype(np.float32)


def decoder() -> NumpyDecoder:
    weights = np.random.default_rng(0).normal(size=(N_VOXELS, 3))
    return NumpyDecoder(weights, EmbeddingSpace("test", 3, "0" * 64))


def features(n_volumes: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n_volumes, N_VOXELS)).astype(np.float32)


def naive_trial(volume: int, schedule: Schedule) -> int:
    """Written for reading: the last trial whose lag is over, unless its window is over too."""
    trial = -1
    for number, onset in enumerate(schedule.onset_volumes):
        if onset + schedule.lag_volumes <= volume:
            trial = number
    if trial >= 0 and volume - schedule.onset_volumes[trial] - schedule.lag_volumes >= schedule.window_volumes:
        return -1
    return trial


schedules = st.builds(
    lambda steps, first, lag, window: Schedule(tuple(int(v) for v in first + np.cumsum([0, *steps])), lag, window),
    st.lists(st.integers(1, 15), max_size=6), st.integers(0, 8), st.integers(0, 5), st.integers(1, 12))


@settings(deadline=None)
@given(schedule=schedules, volume=st.integers(0, 120))
def test_a_volume_belongs_to_the_last_trial_whose_lag_is_over(schedule: Schedule, volume: int) -> None:
    assert schedule.trial_of(volume) == naive_trial(volume, schedule)


def test_first_lag_volumes_of_a_trial_are_evidence_for_the_one_before() -> None:
    schedule = Schedule.from_onsets([0, 15, 30], tr_s=1.5, lag_volumes=3, window_volumes=10)
    assert schedule.onset_volumes == (0, 10, 20)
    assert [schedule.trial_of(v) for v in (0, 2, 3, 9, 10, 12, 13, 22, 23, 32, 33)] == [
        -1, -1, 0, 0, 0, 0, 1, 1, 2, 2, -1]


@settings(deadline=None, max_examples=60)
@given(schedule=schedules, seed=st.integers(0, 100),
       kinds=st.lists(st.sampled_from(["ok", "ok", "ok", "gap", "censored", "never came"]), min_size=1, max_size=60))
def test_evidence_is_the_decoded_mean_of_the_usable_volumes_of_the_trial(
        schedule: Schedule, seed: int, kinds: list[str]) -> None:
    rows, oracle = features(len(kinds), seed), decoder()
    evidence = TrialEvidence(schedule, oracle)
    for v, kind in enumerate(kinds):
        if kind == "never came":
            continue
        got = evidence.push(v, None if kind == "gap" else rows[v], usable=kind == "ok")
        trial = naive_trial(v, schedule)
        used = [u for u in range(v + 1) if kinds[u] == "ok" and naive_trial(u, schedule) == trial]
        if trial < 0 or not used:
            assert got is None
            continue
        assert got is not None
        assert (got.trial, got.n_volumes) == (trial, len(used))
        mean = rows[used].astype(np.float64).mean(axis=0)
        # The mean is rounded to float32 before decoding: 6e-8 relative, times three dozen operations.
        np.testing.assert_allclose(got.embedding, oracle.decode(mean.astype(np.float32)), atol=2e-6)


@settings(deadline=None, max_examples=30)
@given(schedule=schedules, cut=st.integers(0, 50), seed=st.integers(0, 20))
def test_a_restart_from_state_goes_on_bit_for_bit(schedule: Schedule, cut: int, seed: int) -> None:
    rows = features(50, seed)

    def run(evidence: TrialEvidence, volumes: range) -> list[Evidence | None]:
        return [evidence.push(v, rows[v], usable=v % 7 != 3) for v in volumes]

    whole = run(TrialEvidence(schedule, decoder()), range(50))
    first = TrialEvidence(schedule, decoder())
    run(first, range(cut))
    state = first.state()
    run(first, range(cut, 50))  # the state is a copy: what the old object does next cannot touch it
    for got, wanted in zip(run(TrialEvidence.restore(state, decoder()), range(cut, 50)), whole[cut:], strict=True):
        assert (got is None) == (wanted is None)
        if got is not None and wanted is not None:
            assert (got.trial, got.n_volumes) == (wanted.trial, wanted.n_volumes)
            np.testing.assert_array_equal(got.embedding, wanted.embedding)


def test_a_mark_opens_a_trial_with_the_same_lag() -> None:
    evidence = TrialEvidence(Schedule((), 2, 4), decoder())
    rows = features(20)
    assert all(evidence.push(v, rows[v], usable=True) is None for v in range(5))
    evidence.mark(5)
    got = [evidence.push(v, rows[v], usable=True) for v in range(5, 13)]
    assert [e.n_volumes if e else 0 for e in got] == [0, 0, 1, 2, 3, 4, 0, 0]
    assert all(e.trial == 0 for e in got if e)
    with pytest.raises(EventsError, match="volume 5 does not begin after"):
        evidence.mark(5)
    assert evidence.schedule.onset_volumes == (5,)


def test_marks_survive_a_restart() -> None:
    evidence = TrialEvidence(Schedule((0,), 1, 4), decoder())
    evidence.mark(6)
    assert TrialEvidence.restore(evidence.state(), decoder()).schedule.onset_volumes == (0, 6)


def test_a_volume_out_of_order_is_refused_and_changes_nothing() -> None:
    mean = RunningMean(Schedule((0,), 0, 10))
    rows = features(3)
    mean.push(0, rows[0], usable=True)
    mean.push(2, rows[2], usable=True)
    before = mean.state()
    with pytest.raises(VolumeError, match="volume 1 comes after volume 2"):
        mean.push(1, rows[1], usable=True)
    assert mean.state().last_volume == 2
    np.testing.assert_array_equal(mean.state().total, before.total)


def test_features_with_nan_are_refused_unless_marked_unusable() -> None:
    mean = RunningMean(Schedule((0,), 0, 10))
    bad = np.full(N_VOXELS, np.nan, np.float32)
    with pytest.raises(VolumeError, match="NaN"):
        mean.push(0, bad, usable=True)
    assert mean.push(0, bad, usable=False) is None
    got = mean.push(1, np.ones(N_VOXELS, np.float32), usable=True)
    assert got is not None
    assert got.n_volumes == 1


def test_accumulation_does_not_lose_small_changes() -> None:
    """float32 sums lose 1e-4 next to 1e4 after a few volumes; the sum is float64."""
    mean = RunningMean(Schedule((0,), 0, 1000))
    rng = np.random.default_rng(1)
    rows = (1e4 + rng.normal(size=(1000, N_VOXELS))).astype(np.float32)
    got = [mean.push(v, row, usable=True) for v, row in enumerate(rows)][-1]
    assert got is not None
    np.testing.assert_array_equal(got.features, rows.astype(np.float64).mean(axis=0).astype(np.float32))


@pytest.mark.parametrize(("onsets", "lag", "window"), [((0, 0), 3, 10), ((5, 3), 3, 10), ((0,), -1, 10), ((0,), 3, 0)])
def test_an_impossible_schedule_is_refused(onsets: tuple[int, ...], lag: int, window: int) -> None:
    with pytest.raises(EventsError):
        Schedule(onsets, lag, window)
