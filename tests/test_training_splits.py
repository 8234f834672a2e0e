"""No clip, track, run or neighbouring volume lies on both sides of a fold's border, whatever the order was."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_training.errors import FitError
from offline_training.splits import border_crossings, deal_folds

sessions = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8), min_size=2, max_size=10)


def trials(session: list[list[int]]) -> tuple[list[str], list[str]]:
    pairs = [(f"run-{run}", f"track-{track}") for run, heard in enumerate(session) for track in heard]
    return [run for run, _ in pairs], [track for _, track in pairs]


@given(session=sessions, n_folds=st.integers(2, 6))
def test_nothing_crosses_a_border_in_any_session(session: list[list[int]], n_folds: int) -> None:
    runs, tracks = trials(session)
    try:
        fold = deal_folds(runs, tracks, n_folds)
    except FitError:
        return
    assert border_crossings(fold, runs, tracks) == ()
    assert sorted(set(fold.tolist())) == list(range(fold.max() + 1))
    assert 2 <= fold.max() + 1 <= n_folds


@given(n_runs=st.integers(2, 12), n_each=st.integers(1, 6), n_folds=st.integers(2, 6))
def test_runs_that_share_nothing_are_dealt_in_turn(n_runs: int, n_each: int, n_folds: int) -> None:
    runs, tracks = trials([[100 * run + k for k in range(n_each)] for run in range(n_runs)])
    fold = deal_folds(runs, tracks, n_folds)
    np.testing.assert_array_equal(fold, np.repeat(np.arange(n_runs) % min(n_folds, n_runs), n_each))


@given(session=sessions, order=st.randoms(use_true_random=False))
def test_the_folds_do_not_depend_on_the_order_of_trials_within_a_run(session: list[list[int]], order: object) -> None:
    runs, tracks = trials(session)
    shuffled = [sorted(heard, key=lambda _: order.random()) for heard in session]  # type: ignore[attr-defined]
    try:
        fold = deal_folds(runs, tracks, 4)
    except FitError:
        with pytest.raises(FitError):
            deal_folds(*trials(shuffled), 4)
        return
    np.testing.assert_array_equal(fold, deal_folds(*trials(shuffled), 4))


def test_runs_bound_by_a_chain_of_shared_tracks_are_one_fold() -> None:
    runs, tracks = trials([[1, 2], [2, 3], [3, 4], [5, 6]])
    assert deal_folds(runs, tracks, 4).tolist() == [0] * 6 + [1] * 2


def test_unequal_groups_are_balanced() -> None:
    runs, tracks = trials([list(range(10)), list(range(20, 24)), list(range(30, 34)), [40, 41]])
    assert Counter(deal_folds(runs, tracks, 2).tolist()) == {0: 10, 1: 10}


def test_runs_that_all_share_music_are_refused_and_the_clip_is_named() -> None:
    with pytest.raises(FitError, match="all 2 runs share music with each other, 'track-7' in run-0, run-1"):
        deal_folds(*trials([[1, 7], [7, 2]]), 2)


def test_fewer_clips_than_folds_are_refused() -> None:
    with pytest.raises(FitError, match="2 clips cannot be dealt into 3 folds"):
        deal_folds(*trials([[1], [2], [1, 2]]), 3)


def test_a_random_split_of_volumes_is_told_by_run_and_track() -> None:
    runs, tracks = trials([[1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4]])
    planted = np.random.default_rng(0).permutation(12) % 3
    said = border_crossings(planted, runs, tracks)
    assert said[0].startswith("run run-0 is in folds 0, ")
    assert any(line.startswith("track track-") for line in said)
