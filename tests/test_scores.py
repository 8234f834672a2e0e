"""Measures of decoding against their definitions, against libraries, and against what must hold for any numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, top_k_accuracy_score

from offline_training.scores import standings as of
from offline_training.scores.classes import agreement, confusion, genre_hits, nearest_genres, top_n
from offline_training.scores.estimates import (
    bootstrap_means,
    clip_sums,
    estimate,
    null_means,
    null_of,
    paired_difference,
)
from offline_training.scores.reliability import calibration, coverage, top_hits
from offline_training.scores.repeats import averages, by_repeat, half_splits, occurrences, split_half_reliability
from offline_training.scores.shuffling import Design, genre_blocks, log_arrangements, shuffles
from realtime.scoring import clip_correlations, identification_accuracy
from tests import naive_scores as naive

GENRES = tuple("abcdefghij")


def similarities(n_trials, n_clips, levels, seed):
    """Few levels: many ties."""
    return np.random.default_rng(seed).integers(levels, size=(n_trials, n_clips)).astype(float)


@settings(deadline=None, max_examples=30)
@given(n_clips=st.integers(3, 7), levels=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_every_measure_is_its_definition(n_clips, levels, seed):
    rows = similarities(3, n_clips, levels, seed)
    stand = of.standings(rows)
    groups = tuple("xy"[k % 2] for k in range(n_clips))
    within = of.identification(of.standings_within(rows, groups))
    for t, row in enumerate(rows):
        for k in range(n_clips):
            same = [j for j in range(n_clips) if groups[j] == groups[k]]
            assert of.identification(stand)[t, k] == pytest.approx(naive.identification(row, k, range(n_clips)))
            assert within[t, k] == pytest.approx(naive.identification(row, k, same), nan_ok=True)
            assert of.top(stand, 3)[t, k] == pytest.approx(naive.top(row, k, 3))
            assert of.n_way(stand, 3)[t, k] == pytest.approx(naive.n_way(row, k, 3))


@settings(deadline=None, max_examples=30)
@given(n_clips=st.integers(2, 12), levels=st.integers(1, 20), seed=st.integers(0, 10_000))
def test_two_way_is_identification_and_all_way_is_top_one(n_clips, levels, seed):
    stand = of.standings(similarities(4, n_clips, levels, seed))
    np.testing.assert_allclose(of.n_way(stand, 2), of.identification(stand), atol=1e-12)
    np.testing.assert_allclose(of.n_way(stand, n_clips), of.top(stand, 1), atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(n_clips=st.integers(2, 12), levels=st.integers(1, 20), seed=st.integers(0, 10_000))
def test_over_all_clips_every_measure_averages_to_chance(n_clips, levels, seed):
    """Each clip was heard as probably as the others: whatever a decoder says, this is what guessing gets."""
    stand = of.standings(similarities(4, n_clips, levels, seed))
    np.testing.assert_allclose(of.identification(stand).mean(axis=1), 0.5)
    np.testing.assert_allclose(of.rank(stand).mean(axis=1), (n_clips + 1) / 2)
    for k in (1, 3, 5):
        np.testing.assert_allclose(of.top(stand, k).mean(axis=1), min(k / n_clips, 1))
    for n in range(2, n_clips + 1):
        np.testing.assert_allclose(of.n_way(stand, n).mean(axis=1), 1 / n)


def test_a_decoder_that_says_the_same_of_all_clips_scores_exactly_chance():
    stand = of.standings(np.zeros((2, 60)))
    assert (of.identification(stand) == 0.5).all()
    np.testing.assert_allclose(of.top(stand, 5), 5 / 60)
    for n in (2, 5, 10, 50):
        np.testing.assert_allclose(of.n_way(stand, n), 1 / n)


def test_top_k_agrees_with_scikit_learn_without_ties():
    rows = np.random.default_rng(0).normal(size=(40, 12))
    own = np.random.default_rng(1).integers(12, size=40)
    for k in (1, 3, 5):
        ours = of.top(of.standings(rows), k)[np.arange(40), own].mean()
        assert ours == pytest.approx(top_k_accuracy_score(own, rows, k=k, labels=np.arange(12)))


def test_more_rivals_than_there_are_make_no_figure():
    assert np.isnan(of.n_way(of.standings(np.eye(4)), 5)).all()


def test_a_trial_without_evidence_has_no_score_in_any_table():
    rows = np.vstack([np.full(6, np.nan), np.arange(6.0)])
    stand = of.standings(rows)
    for table in (of.identification(stand), of.rank(stand), of.top(stand, 3), of.n_way(stand, 4)):
        assert np.isnan(table[0]).all()
        assert np.isfinite(table[1]).all()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), n_clips=st.integers(3, 10))
def test_the_order_of_trials_changes_nothing_and_scoring_agrees(seed, n_clips):
    rng = np.random.default_rng(seed)
    clips = [f"c{k}" for k in rng.integers(n_clips, size=14)]
    music = {clip: rng.normal(size=8) for clip in sorted(set(clips))}
    targets = np.stack([music[clip] for clip in clips])
    predictions = targets + rng.normal(size=targets.shape)
    order = rng.permutation(14)
    means = []
    for rows in (np.arange(14), order):
        against = clip_correlations(predictions[rows], targets[rows], [clips[t] for t in rows])
        table = of.identification(of.standings(against.correlation))
        means.append(estimate(table, against.own, 0.5).value)
    assert means[0] == pytest.approx(means[1], nan_ok=True)
    assert means[0] == pytest.approx(identification_accuracy(predictions, targets, clips).mean, nan_ok=True)


def paper_design(n_runs=2, n_blocks=4, repeats=1, seed=0):
    """Runs of blocks of ten genres; with repeats the first block comes again and again."""
    rng = np.random.default_rng(seed)
    own, runs, genres = [], [], []
    for run in range(n_runs):
        for block in range(n_blocks):
            if repeats == 1 or block == 0:
                first = len(genres)
                genres += [GENRES[g] for g in rng.permutation(10)]
            own += list(range(first, first + 10))
            runs += [f"run-{run}"] * 10
    labels = [genres[k] for k in own]
    codes = np.unique(runs, return_inverse=True)[1]
    return Design(np.array(own), codes, genre_blocks(labels, runs), tuple(genres))


def heard_genres(design, assigned):
    return np.asarray(design.genres)[assigned]


@pytest.mark.parametrize("repeats", [1, 4])
def test_shuffled_blocks_hold_every_genre_once_and_clips_stay_in_their_runs(repeats):
    design = paper_design(repeats=repeats)
    assigned = shuffles(design, 200, 0)
    for run in (0, 1):
        trials = np.flatnonzero(design.runs == run)
        assert (np.sort(assigned[:, trials], axis=1) == np.sort(design.own[trials])).all()
        for block in range(4):
            inside = trials[design.blocks[trials] == block]
            assert (np.sort(heard_genres(design, assigned[:, inside]), axis=1) == np.array(GENRES)).all()


def test_repeats_of_a_clip_are_shuffled_together():
    design = paper_design(repeats=4)
    for row in shuffles(design, 50, 1):
        assert len({(own, new) for own, new in zip(design.own, row, strict=True)}) == 20


def test_clips_move_between_blocks_as_often_as_between_places():
    """Each of the 40 places of a run gets each clip of its run equally often: 2000 shuffles, 50 ± 7 each."""
    design = paper_design(n_runs=1)
    counts = np.stack([np.bincount(column, minlength=40) for column in shuffles(design, 2000, 2).T])
    assert counts.min() > 20
    assert counts.max() < 85
    assert ((counts - 50) ** 2 / 50).sum() < 1.15 * 39 * 40


def test_the_number_of_arrangements_is_counted():
    one_run = paper_design(n_runs=1)
    expected = 10 * np.log(24) + 4 * np.sum(np.log(np.arange(1, 11)))
    assert log_arrangements(one_run) == pytest.approx(expected)


def test_runs_without_the_block_structure_are_shuffled_whole():
    genres, runs = ["a", "a", "b", "c", "a"], ["r"] * 5
    assert genre_blocks(genres, runs).tolist() == [0] * 5
    design = Design(np.arange(5), np.zeros(5, np.intp), genre_blocks(genres, runs), tuple(genres))
    assert len({tuple(row) for row in shuffles(design, 3000, 0).tolist()}) == 120


def test_a_within_genre_shuffle_keeps_every_trials_genre():
    design = paper_design()
    assigned = shuffles(design, 100, 0, within_genre=True)
    assert (heard_genres(design, assigned) == heard_genres(design, design.own)).all()
    assert (assigned != design.own).mean() > 0.7


def test_shuffles_repeat_with_their_seed():
    design = paper_design()
    np.testing.assert_array_equal(shuffles(design, 5, 3), shuffles(design, 5, 3))
    assert (shuffles(design, 5, 3) != shuffles(design, 5, 4)).any()


def test_a_vectorised_null_is_the_loop_and_missing_trials_are_left_out():
    table = np.random.default_rng(0).random((20, 20))
    table[3] = np.nan
    table[4, 7] = np.nan
    assigned = shuffles(paper_design(n_runs=1, n_blocks=2), 30, 0)
    loop = [np.nanmean([table[t, k] for t, k in enumerate(row)]) for row in assigned]
    np.testing.assert_allclose(null_means(table, assigned), loop)


def test_noise_falls_into_its_band_as_often_as_it_should():
    """300 runs of noise: p <= 0.1 in 30 ± 5.2 of them."""
    design, rng = paper_design(n_runs=1), np.random.default_rng(7)
    assigned = shuffles(design, 1000, 0)
    p = []
    for _ in range(300):
        table = of.identification(of.standings(rng.normal(size=(40, 40))))
        p.append(null_of(null_means(table, assigned), table[np.arange(40), design.own].mean(), 0).p_value)
    assert 14 <= np.sum(np.array(p) <= 0.1) <= 46
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_a_null_of_ranks_counts_small_ones_as_good():
    drawn = np.arange(1.0, 100.0)
    assert null_of(drawn, 1.0, 0, larger_is_better=False).p_value == pytest.approx(2 / 100)
    assert null_of(drawn, 99.0, 0, larger_is_better=False).p_value == 1.0


def test_the_bootstrap_over_clips_finds_the_standard_error():
    scores, own = np.random.default_rng(0).random(400), np.arange(400)
    drawn = bootstrap_means(*clip_sums(scores, own, 400), 4000, 0)
    assert drawn.std() == pytest.approx(scores.std() / 20, rel=0.08)
    assert drawn.mean() == pytest.approx(scores.mean(), abs=0.002)


def test_repeats_of_a_clip_do_not_narrow_the_interval():
    scores = np.random.default_rng(0).random(60)
    once = estimate(np.tile(scores[:, None], (1, 60)), np.arange(60), 0.5)
    often = estimate(np.tile(scores.repeat(4)[:, None], (1, 60)), np.arange(60).repeat(4), 0.5)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert (often.n_trials, often.n_clips) == (240, 60)


def test_subjects_are_resampled_besides_clips():
    """All variance between subjects: the interval of the mean is that of five numbers, not of 5 × 60."""
    subjects = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    sums = np.repeat(subjects[:, None], 60, axis=1)
    drawn = bootstrap_means(sums, np.ones_like(sums), 4000, 0)
    assert drawn.std() == pytest.approx(subjects.std() / np.sqrt(5), rel=0.08)


def test_a_paired_difference_sees_what_two_intervals_would_not():
    rng = np.random.default_rng(0)
    hard = rng.random(60)
    better = paired_difference(hard + 0.02 + 0.01 * rng.normal(size=60), hard, np.arange(60), 60)
    assert better.low > 0
    assert better.value == pytest.approx(0.02, abs=0.005)
    several = paired_difference(np.tile(hard + 0.02, (3, 1)), np.tile(hard, (3, 1)), np.arange(60), 60)
    assert several.n_trials == 180


def test_an_estimate_of_nothing_is_null_in_json():
    empty = estimate(np.full((3, 4), np.nan), np.arange(3), 0.5, np.zeros((10, 3), np.intp))
    assert empty.figures()["value"] is None
    assert empty.figures()["null"]["p_value"] == 1.0
    assert replace(empty, null=None).figures()["null"] is None


def posteriors(n, k, seed, sharpness=2.0):
    logits = sharpness * np.random.default_rng(seed).normal(size=(n, k))
    rows = np.exp(logits)
    return rows / rows.sum(axis=1, keepdims=True)


def test_calibration_agrees_with_scikit_learn_and_the_definition():
    rows = posteriors(300, 6, 0)
    heard = np.array([np.random.default_rng(i).choice(6, p=row) for i, row in enumerate(rows)])
    found = calibration(rows, heard)
    correct, sure = (rows.argmax(axis=1) == heard).astype(float), rows.max(axis=1)
    assert found.log_loss == pytest.approx(log_loss(heard, rows, labels=np.arange(6)))
    parts = sum(brier_score_loss(heard == k, rows[:, k]) for k in range(6))
    assert found.brier == pytest.approx(parts)
    assert found.ece_equal_width == pytest.approx(naive.expected_calibration_error(sure, correct, np.arange(11) / 10))
    accuracy, confidence = calibration_curve(correct, sure, n_bins=10, strategy="quantile")
    np.testing.assert_allclose([b.confidence for b in found.bins], confidence)
    np.testing.assert_allclose([b.accuracy for b in found.bins], accuracy)
    assert found.ece == pytest.approx(sum(b.n * abs(b.accuracy - b.confidence) for b in found.bins) / 300)


def test_what_is_said_and_comes_true_lies_where_calibrated_decoders_lie_and_boasting_does_not():
    rows = posteriors(400, 10, 1)
    rng = np.random.default_rng(2)
    heard = np.array([rng.choice(10, p=row) for row in rows])
    honest = calibration(rows, heard)
    assert honest.ece <= honest.ece_if_calibrated_p95
    boasting = rows**3 / (rows**3).sum(axis=1, keepdims=True)
    assert calibration(boasting, heard).ece > 2 * honest.ece_if_calibrated_p95
    assert honest.brier < honest.brier_uniform


def test_a_uniform_posterior_is_calibrated_and_ties_share_the_first_place():
    rows = np.full((40, 8), 1 / 8)
    found = calibration(rows, np.arange(40) % 8)
    assert found.ece == pytest.approx(0)
    assert found.brier == pytest.approx(found.brier_uniform)
    np.testing.assert_allclose(top_hits(rows, np.arange(40) % 8), 1 / 8)


def test_what_is_no_posterior_is_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        calibration(np.full((2, 3), 0.5), np.zeros(2, np.intp))
    with pytest.raises(ValueError, match="do not belong together"):
        calibration(np.full((2, 2), 0.5), np.zeros(3, np.intp))


def test_the_surest_trials_come_first_and_equal_ones_do_not_depend_on_their_order():
    sure, right = np.array([0.9, 0.8, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    found = coverage(sure, right, (0.4, 0.6, 1.0))
    assert found.accuracy == pytest.approx((1.0, 2.5 / 3, 0.6))
    assert found.smallest_confidence == (0.8, 0.5, 0.1)
    assert found.gain_at_40 == pytest.approx(1 / 0.6)
    swapped = coverage(sure, right[[0, 1, 3, 2, 4]], (0.4, 0.6, 1.0))
    assert swapped == found


def test_class_agreement_counts_shared_labels():
    decoded, heard = np.array([[0.5, 0.3, 0.2], [np.nan] * 3]), np.array([[0.4, 0.1, 0.5], [0.2, 0.7, 0.1]])
    np.testing.assert_allclose(agreement(decoded, heard, 2), [[0.5, 1.0], [np.nan, np.nan]])
    assert top_n(np.ones(4), 2).tolist() == [True, True, False, False]


def test_confusion_is_scikit_learns_and_undecoded_trials_are_left_out():
    rng = np.random.default_rng(0)
    heard, said = (["abc"[k] for k in rng.integers(3, size=50)] for _ in range(2))
    found = confusion([*heard, "a"], [*said, ""])
    np.testing.assert_array_equal(found.counts, confusion_matrix(heard, said, labels=list("abc")))


def test_the_genre_of_the_most_similar_clip_is_decoded():
    decoded = nearest_genres(np.array([[0.1, 0.9], [np.nan, np.nan]]), ("x", "y"))
    assert decoded == ("y", "")
    np.testing.assert_allclose(genre_hits(decoded, ("x", "y")), [[0, 1], [np.nan, np.nan]])


@settings(deadline=None, max_examples=10)
@given(n_repeats=st.integers(2, 5), seed=st.integers(0, 1000))
def test_reliability_is_spearman_and_brown(n_repeats, seed):
    repeats = np.random.default_rng(seed).normal(size=(n_repeats, 12, 3)) + np.arange(12)[None, :, None] / 6
    np.testing.assert_allclose(split_half_reliability(repeats), naive.half_reliability(repeats), rtol=1e-9)


def test_reliability_of_known_signal_and_noise():
    """Signal and noise of variance 1: the mean of 4 hearings has reliability 4 / 5."""
    rng = np.random.default_rng(0)
    repeats = rng.normal(size=(1, 400, 30)) + rng.normal(size=(4, 400, 30))
    assert np.mean(split_half_reliability(repeats)) == pytest.approx(0.8, abs=0.01)


def test_columns_that_do_not_vary_have_no_reliability():
    repeats = np.random.default_rng(0).normal(size=(4, 10, 2)).astype(np.float32)
    repeats[:, :, 1] = 7
    assert np.isnan(split_half_reliability(repeats)[1])
    assert np.isnan(split_half_reliability(repeats[:1])).all()


def test_hearings_are_sorted_by_clip_in_order():
    own = np.array([0, 1, 0, 1, 0])
    assert occurrences(own).tolist() == [0, 0, 1, 1, 2]
    sorted_rows = by_repeat(np.arange(5.0)[:, None], own, 2)
    np.testing.assert_allclose(sorted_rows[:, :, 0], [[0, 1], [2, 3], [4, np.nan]])
    assert len(averages(sorted_rows, 2)) == 3
    assert len(half_splits(4)) == 3
