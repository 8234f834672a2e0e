"""The order of the clips has the structure of ds003720."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_training.errors import SimulationError
from offline_training.simulation.order import acquisition_order, plan_runs
from offline_training.simulation.settings import SimulationSettings
from realtime.music.synth_styles import GENRES

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "bids" / "ds003720"
SESSIONS = ("Tr01 Tr02 Te01 Tr03 Tr04 Te02", "Tr05 Te03 Tr06 Tr07 Te04 Tr08", "Te05 Tr09 Tr10 Te06 Tr11 Tr12")


def clips_of(n_training, n_test):
    """Genres of clips, and which may be trained on."""
    genres = [genre for _ in range(n_training + n_test) for genre in GENRES]
    return genres, np.repeat(np.arange(n_training + n_test) < n_training, len(GENRES))


def check_structure(training, test, genre_of):
    """All rules of the published order; runs are sequences of clips, `genre_of` says a clip's genre."""
    for run, before in zip(training, (training[-1], *training[:-1]), strict=True):
        assert run[0] == before[-1]
    for run in test:
        assert run[0] == run[-1]
        assert list(run[1:]) == list(run[1:11]) * ((len(run) - 1) // 10)
    for run in (*training, *test):
        genres = [genre_of(clip) for clip in run]
        assert all(left != right for left, right in pairwise(genres))
        for start in range(1, len(run), 10):
            assert len(set(genres[start : start + 10])) == 10
    heard = [clip for run in training for clip in run[1:]]
    assert len(heard) == len(set(heard))
    assert not set(heard) & {clip for run in test for clip in run}


@given(seed=st.integers(0, 2**32), runs=st.integers(1, 6), blocks=st.integers(1, 4), tests=st.integers(0, 3),
       cycles=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_runs_have_the_structure_of_the_published_experiment(seed, runs, blocks, tests, cycles):
    genres, training = clips_of(runs * blocks + 1, tests)
    plans = plan_runs(genres, training, SimulationSettings(seed=seed, n_training_runs=runs, n_test_runs=tests,
                                                           blocks_per_training_run=blocks,
                                                           cycles_per_test_run=cycles))
    assert [(plan.task, plan.number) for plan in plans] == (
        [("Training", n + 1) for n in range(runs)] + [("Test", n + 1) for n in range(tests)])
    assert sorted(plan.place for plan in plans) == list(range(runs + tests))
    for plan in plans:
        assert len(plan.clips) == 1 + 10 * (blocks if plan.task == "Training" else cycles)
        assert all(training[row] == (plan.task == "Training") for row in plan.clips)
    check_structure([plan.clips for plan in plans if plan.task == "Training"],
                    [plan.clips for plan in plans if plan.task == "Test"], genres.__getitem__)


def test_three_sessions_of_the_published_size_follow_the_published_order():
    order = acquisition_order(12, 6, 3)
    names = [[f"{task[:2]}{number:02d}" for task, number, at in order if at == session] for session in range(3)]
    assert names == [line.split() for line in SESSIONS]


@given(training=st.integers(1, 20), test=st.integers(0, 8), sessions=st.integers(1, 4))
def test_sessions_hold_all_runs_in_order_and_about_equally_many(training, test, sessions):
    order = acquisition_order(training, test, min(sessions, training + test))
    assert sorted((task, number) for task, number, _ in order) == sorted(
        [("Training", n + 1) for n in range(training)] + [("Test", n + 1) for n in range(test)])
    for task in ("Training", "Test"):
        numbers = [number for name, number, _ in order if name == task]
        assert numbers == sorted(numbers)
    sizes = np.bincount([session for _, _, session in order])
    assert max(sizes) - min(sizes) <= 1


def recorded(task, number, subject):
    name = f"sub-{subject:03d}_task-{task}_run-{number:02d}_events.tsv"
    with (PUBLISHED / f"sub-{subject:03d}" / "func" / name).open() as file:
        return [(row["genre"].strip("'"), row["track"]) for row in csv.DictReader(file, delimiter="\t")]


@pytest.mark.data
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published events are not here")
def test_the_published_events_obey_the_same_rules():
    first = [[recorded("Training", n + 1, 1) for n in range(12)], [recorded("Test", n + 1, 1) for n in range(6)]]
    check_structure(*first, lambda clip: clip[0])
    assert {len(run) for part in first for run in part} == {41}
    second = [[recorded("Training", n + 1, 2) for n in range(12)], [recorded("Test", n + 1, 2) for n in range(6)]]
    assert first == second


def test_too_few_clips_are_refused_with_the_counts():
    with pytest.raises(SimulationError, match="needs 10 training clips of each genre, but blues has 9"):
        plan_runs(*clips_of(9, 1), SimulationSettings())
