"""Identification accuracy against its definition, its null, and the sentence people read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from realtime.scoring import identification_accuracy, permutation_band, rank_score, verdict


def naive_identification(predictions: NDArray[np.float64], targets: NDArray[np.float64], clips: list[str]) -> float:
    """The paper's formula, written for reading: one candidate per distinct clip, ties half."""
    scores = []
    for i, clip in enumerate(clips):
        own = np.corrcoef(predictions[i], targets[i])[0, 1]
        rivals = {name: np.corrcoef(predictions[i], targets[j])[0, 1] for j, name in enumerate(clips) if name != clip}
        scores.append(np.mean([1.0 if own > rival + 1e-12 else 0.5 if own > rival - 1e-12 else 0.0
                               for rival in rivals.values()]))
    return float(np.mean(scores))


def music(n_clips: int, dim: int = 16, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n_clips, dim))


def names(n_clips: int) -> list[str]:
    return [f"clip-{i:02d}" for i in range(n_clips)]


@settings(deadline=None, max_examples=40)
@given(n_clips=st.integers(2, 9), repeats=st.integers(1, 3), noise=st.floats(0, 5), seed=st.integers(0, 10_000))
def test_score_is_the_papers_formula_with_repeats_excluded(n_clips: int, repeats: int, noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = names(n_clips) * repeats
    targets = np.tile(music(n_clips, seed=seed), (repeats, 1))
    predictions = targets + noise * rng.normal(size=targets.shape)
    score = identification_accuracy(predictions, targets, clips)
    assert score.mean == pytest.approx(naive_identification(predictions, targets, clips), abs=1e-9)


def test_perfect_predictions_score_one_and_opposite_ones_zero() -> None:
    targets = np.eye(6)
    assert identification_accuracy(targets, targets, names(6)).mean == 1.0
    two = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    assert identification_accuracy(two[::-1], two, names(2)).mean == 0.0


def test_a_constant_prediction_ties_with_every_clip_and_scores_half() -> None:
    score = identification_accuracy(np.full((5, 16), 3.0), music(5), names(5))
    np.testing.assert_array_equal(score.per_trial, 0.5)


def test_counting_ties_as_wins_would_show_here() -> None:
    targets = music(4)
    targets[1] = targets[0]  # two clips with one embedding: they can only tie
    score = identification_accuracy(targets, targets, names(4))
    np.testing.assert_allclose(score.per_trial, [2.5 / 3, 2.5 / 3, 1, 1])


def test_a_trial_without_evidence_is_not_scored_but_its_clip_remains_a_rival() -> None:
    targets = np.eye(4)
    predictions = targets.copy()
    predictions[0] = targets[3]
    predictions[3] = np.nan
    score = identification_accuracy(predictions, targets, names(4))
    assert np.isnan(score.per_trial[3])
    assert score.n_trials == 3
    assert score.per_trial[0] == pytest.approx((0 + 0.5 + 0.5) / 3)  # loses to clip 3, ties with the two others


def test_repeats_weigh_no_more_as_rivals_than_single_clips() -> None:
    targets = np.eye(3)[[0, 1, 2, 2, 2]]
    predictions = targets.copy()
    predictions[0] = [0.5, 0.0, 1.0]  # loses to clip 2 only, which was played three times
    assert identification_accuracy(predictions, targets, ["a", "b", "c", "c", "c"]).per_trial[0] == 0.5


def test_the_band_of_sixty_clips_matches_the_published_null() -> None:
    """Quantiles for n = 60: p95 .561, p99 .586 (simulated by others with 6-dimensional tuning); here wide tolerance."""
    rng = np.random.default_rng(3)
    band = permutation_band(rng.normal(size=(60, 128)), music(60, 128, seed=4), names(60), n_permutations=4000)
    assert band.p50 == pytest.approx(0.5, abs=0.01)
    assert band.p95 == pytest.approx(0.561, abs=0.02)
    assert band.p99 == pytest.approx(0.586, abs=0.03)


def test_p_value_is_uniform_on_noise() -> None:
    """Exactness of the permutation test: under the null P(p <= x) <= x. 200 noise runs, x = .1: 20 ± 4.2."""
    rng = np.random.default_rng(5)
    targets = music(10)
    p = [permutation_band(rng.normal(size=targets.shape), targets, names(10), n_permutations=1000, seed=i).p_value
         for i in range(200)]
    assert 0.02 <= np.mean(np.array(p) <= 0.1) <= 0.18
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


def test_p_value_counts_the_observed_assignment_itself() -> None:
    band = permutation_band(np.eye(10), np.eye(10), names(10), n_permutations=1000)
    assert band.p_value == pytest.approx(1 / 1001)


def test_the_band_repeats_with_its_seed() -> None:
    predictions, targets = music(8, seed=1), music(8, seed=2)
    assert permutation_band(predictions, targets, names(8)) == permutation_band(predictions, targets, names(8))
    assert permutation_band(predictions, targets, names(8), seed=1) != permutation_band(predictions, targets, names(8))


def test_clips_are_permuted_within_runs_only() -> None:
    """Run A's targets lie far from run B's: between runs every assignment wins, within a run nothing is known."""
    rng = np.random.default_rng(0)
    block = np.array([[1.0, -1.0, 0, 0], [0, 0, 1.0, -1.0]]).repeat(5, axis=0)
    targets = block + 0.01 * rng.normal(size=block.shape)
    predictions = block + 0.01 * rng.normal(size=block.shape)
    clips, runs = names(10), ["A"] * 5 + ["B"] * 5
    free = permutation_band(predictions, targets, clips, n_permutations=2000)
    within = permutation_band(predictions, targets, clips, runs, n_permutations=2000)
    assert free.p95 < 0.75
    assert within.p50 == pytest.approx(5 / 9 + 2 / 9, abs=0.05)  # all 5 of the other run beaten, half of the 4 own


def test_repeats_of_a_clip_move_together_in_the_null() -> None:
    """Two clips, ten trials each: only two assignments exist, so no p-value below one half is possible."""
    targets = np.eye(2).repeat(10, axis=0) @ np.array([[1.0, 0, 0], [0, 1.0, 0]])
    band = permutation_band(targets, targets, ["a"] * 10 + ["b"] * 10)
    assert band.smallest_p == 0.5
    assert band.p_value == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("n_clips", [0, 1, 2, 3])
def test_too_few_clips_make_no_claim(n_clips: int) -> None:
    targets = music(n_clips)
    score = identification_accuracy(targets, targets, names(n_clips))
    band = permutation_band(targets, targets, names(n_clips))
    assert not band.tells
    sentence = verdict(score, band)
    assert ("too few" in sentence) if n_clips > 1 else ("No trial could be scored" in sentence)


def test_verdict_says_on_which_side_of_the_band_a_run_lies() -> None:
    targets = music(10)
    clips = names(10)
    perfect = verdict(identification_accuracy(targets, targets, clips), permutation_band(targets, targets, clips))
    assert "1.00 over 10 trials lies above the chance band" in perfect
    noise = music(10, seed=9)
    random = verdict(identification_accuracy(noise, targets, clips), permutation_band(noise, targets, clips))
    assert "the chance band" in random
    assert "does not show" in random


def test_ranks_count_from_one_and_a_tie_is_half_a_place() -> None:
    targets = np.eye(4)
    predictions = targets.copy()
    predictions[0] = targets[1]
    ranks = rank_score(predictions, targets, names(4))
    assert ranks.top1 == 0.75
    assert ranks.top3 == 1.0  # trial 0: behind clip 1, level with 2 and 3: ranks 2, 3, 4 tie at 3
    assert ranks.median_rank == 1.0
    assert ranks.n_candidates == 4


@pytest.mark.parametrize("n_clips", range(4, 61, 7))
def test_the_third_best_counts_as_top_three_among_any_number_of_clips(n_clips: int) -> None:
    targets = np.eye(n_clips)
    predictions = np.eye(n_clips) + 2 * np.roll(np.eye(n_clips), 1, axis=1) + 3 * np.roll(np.eye(n_clips), 2, axis=1)
    ranks = rank_score(predictions, targets, names(n_clips))
    assert (ranks.median_rank, ranks.top1, ranks.top3) == (3.0, 0.0, 1.0)


def test_wrong_shapes_and_too_few_permutations_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"\(3, 16\).*\(4, 16\)"):
        identification_accuracy(music(3), music(4), names(3))
    with pytest.raises(ValueError, match="at least 1000"):
        permutation_band(music(4), music(4), names(4), n_permutations=999)
    with pytest.raises(ValueError, match="one run per trial"):
        permutation_band(music(4), music(4), names(4), run_ids=["a"])


def test_a_run_of_more_clips_than_a_factorial_can_hold_has_a_band():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 4))
    band = permutation_band(rows, rows, [str(row) for row in range(200)], n_permutations=1000)
    assert band.smallest_p == 0
    assert band.tells
