"""The order of the clips has the structure of ds003720."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_training.corpus import Corpus, CorpusClip
from offline_training.errors import SimulationError
from offline_training.simulation.order import plan_runs
from offline_training.simulation.settings import SimulationSettings
from realtime.music.synth_styles import GENRES


def corpus_of(n_training, n_test):
    clips = tuple(CorpusClip(f"{genre}-{i}", f"clips/{genre}-{i}.flac", genre, "training" if i < n_training else "test",
                             10.0, 100.0, 0.0, 0.0, "", {})
                  for i in range(n_training + n_test) for genre in GENRES)
    return Corpus(Path("nowhere"), 10.0, clips, None, np.zeros((len(clips), 0), np.float32))


@given(seed=st.integers(0, 2**32), runs=st.integers(1, 6), blocks=st.integers(1, 4), tests=st.integers(0, 3),
       cycles=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_runs_have_the_structure_of_the_published_experiment(seed, runs, blocks, tests, cycles):
    corpus = corpus_of(runs * blocks + 1, tests)
    plans = plan_runs(corpus, SimulationSettings(seed=seed, n_training_runs=runs, n_test_runs=tests,
                                                 blocks_per_training_run=blocks, cycles_per_test_run=cycles))
    assert [(plan.task, plan.number) for plan in plans] == (
        [("Training", n + 1) for n in range(runs)] + [("Test", n + 1) for n in range(tests)])
    for plan in plans:
        genres = [corpus.clips[row].genre for row in plan.clips]
        assert len(genres) == 1 + 10 * (blocks if plan.task == "Training" else cycles)
        assert plan.clips[0] == plan.clips[-1]
        assert all(left != right for left, right in pairwise(genres))
        for start in range(1, len(genres), 10):
            assert set(genres[start : start + 10]) == set(GENRES)
        wanted = "training" if plan.task == "Training" else "test"
        assert {corpus.clips[row].split for row in plan.clips} == {wanted}
    heard = [row for plan in plans if plan.task == "Training" for row in plan.clips[1:]]
    assert len(heard) == len(set(heard))
    for plan in plans:
        if plan.task == "Test":
            assert plan.clips[1:] == plan.clips[1:11] * cycles


def test_a_corpus_that_is_too_small_is_refused_with_the_counts():
    with pytest.raises(SimulationError, match="needs 10 training clips of each genre, but blues has 9"):
        plan_runs(corpus_of(9, 1), SimulationSettings())
