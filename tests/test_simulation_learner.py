"""A simulated learner keeps to what is rewarded, and learns nothing where feedback does not follow what it did."""

import numpy as np

from offline_training.simulation.learner import Learner, LearnerSettings

SETTINGS = LearnerSettings()


def share_of_best(contingent: bool, seed: int, n_trials: int = 200) -> float:
    """Of the last fifty trials, in how many it chose what is best by 0.3."""
    rng, learner, chosen = np.random.default_rng(seed), Learner.new(6), []
    for _ in range(n_trials):
        chosen.append(learner.choose(rng, SETTINGS))
        best = chosen[-1] == 2 if contingent else rng.random() < 1 / 6
        feedback = float(np.clip(0.4 + 0.3 * best + 0.1 * rng.standard_normal(), 0, 1))
        learner = learner.rewarded(chosen[-1], feedback, SETTINGS)
    return float(np.mean(np.array(chosen[-50:]) == 2))


def test_it_keeps_to_what_is_rewarded() -> None:
    assert np.mean([share_of_best(True, seed) for seed in range(20)]) > 0.6


def test_feedback_that_does_not_follow_what_it_did_teaches_nothing() -> None:
    assert abs(np.mean([share_of_best(False, seed) for seed in range(20)]) - 1 / 6) < 0.1
