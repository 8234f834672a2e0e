"""Comparing recipes on held-out runs, against leaks: noise scores chance under either, and so do exchanged labels."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from offline_training.compare import (
    Comparison,
    HeldOut,
    Person,
    compare_decoders,
    decode_held_out,
    paired_gain,
    pooled,
    score_held_out,
    surest_gain,
)
from offline_training.fit import fit_decoder
from offline_training.responses import Responses
from realtime.scoring import identification_accuracy, permutation_band
from tests.test_training_fit import PAPER, SETTINGS, embedding, responses

N_NOISE = 12
RECIPES = {"paper": PAPER, "default": SETTINGS}
FIGURES = ("single", "averaged", "by_likelihood")


def repeated(data: Responses, times: int = 2) -> Responses:
    """Each test run heard again, as often, with the same clips: single trials and their averages differ."""
    again = [replace(run, run_id=f"{run.run_id}-{k}", responses=np.roll(run.responses, 60 * k, axis=1))
             for k in range(1, times) for run in data.test]
    return replace(data, runs=(*data.runs, *again))


@pytest.fixture(scope="module")
def noise() -> Comparison:
    people = (Person(repeated(responses(test_runs=2, seed=seed)), embedding) for seed in range(N_NOISE))
    return compare_decoders(people, RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("figure", FIGURES)
def test_noise_scores_chance_on_held_out_runs(noise: Comparison, recipe: str, figure: str) -> None:
    scores = [getattr(one, figure) for one in noise.scores[recipe]]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.06)  # twenty clips: an SD of .067, of .019 over twelve people


def test_of_noise_no_recipe_is_better_than_another(noise: Comparison) -> None:
    gain = noise.gain("default", "paper", "single")
    assert gain.n == N_NOISE
    assert gain.low - 0.01 < 0 < gain.high + 0.01
    confidence, right = pooled(noise.scores["default"])
    assert right.mean() == pytest.approx(1 / 20, abs=0.04)
    assert np.median(confidence) < 0.2


@pytest.mark.parametrize("recipe", RECIPES)
def test_noise_stays_inside_the_band_of_exchanged_clips(recipe: str) -> None:
    inside = []
    for seed in range(N_NOISE):
        data = responses(test_runs=2, seed=100 + seed)
        made = decode_held_out(fit_decoder(data, embedding, RECIPES[recipe]), data)
        targets = np.stack([embedding(clip) for clip in made.clip_ids])
        band = permutation_band(made.predictions, targets, made.clip_ids, made.run_ids, n_permutations=1000)
        inside.append(identification_accuracy(made.predictions, targets, made.clip_ids).mean <= band.p99)
    assert sum(inside) >= N_NOISE - 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_exchanged_labels_of_the_test_runs_score_chance_where_the_true_ones_score_high(recipe: str) -> None:
    data = responses(n_runs=6, signal=1.5, test_runs=2)
    fit = fit_decoder(data, embedding, RECIPES[recipe])
    assert score_held_out(fit, Person(data, embedding)).single > 0.85
    scores = [score_held_out(fit, Person(with_exchanged_clips(data, seed), embedding)) for seed in range(40)]
    for figure in FIGURES:
        assert np.mean([getattr(one, figure) for one in scores]) == pytest.approx(0.5, abs=0.04)


def with_exchanged_clips(data: Responses, seed: int) -> Responses:
    """The clips of all test runs dealt anew among their trials."""
    clips: NDArray[np.str_] = np.random.default_rng(seed).permutation(
        [event.clip_id for run in data.test for event in run.events])
    dealt = iter(clips.tolist())
    return replace(data, runs=tuple(
        replace(run, events=tuple(replace(event, clip_id=next(dealt)) for event in run.events)) if run.is_test else run
        for run in data.runs))


def test_a_paired_gain_has_students_interval() -> None:
    gain = paired_gain([0.1, 0.2, 0.3])
    assert (gain.mean, gain.n) == (pytest.approx(0.2), 3)
    assert gain.high - gain.mean == pytest.approx(4.302653 * 0.1 / np.sqrt(3))


def test_sureness_that_knows_what_is_right_gains_and_one_that_does_not_gains_nothing() -> None:
    right = np.arange(100) % 4 == 0
    assert surest_gain(right.astype(float), right) == pytest.approx(25 / 40 / 0.25)
    assert surest_gain(np.ones(100), right) == pytest.approx(1.0)


def test_early_in_a_trial_less_is_decoded_and_less_is_promised() -> None:
    data = responses(n_runs=6, signal=1.5, test_runs=2)
    made = compare_decoders([Person(data, embedding)], {"default": SETTINGS})
    (late,), (early,) = made.scores["default"], made.early["default"]
    assert early.by_likelihood < late.by_likelihood
    assert early.confidence.mean() < late.confidence.mean()


def test_scores_are_pooled_over_people() -> None:
    one = HeldOut(0.6, 0.7, 0.8, np.array([0.5]), np.array([True]))
    other = HeldOut(0.5, 0.5, 0.5, np.array([0.1, 0.2]), np.array([False, True]))
    confidence, right = pooled([one, other])
    assert (confidence.tolist(), right.tolist()) == ([0.5, 0.1, 0.2], [True, False, True])
