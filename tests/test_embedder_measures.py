"""The measures of an embedding: perfect, by chance, and between."""

import numpy as np
import pytest

from offline_training.embedder.measures import like_neighbours, piece_identity, right_answers, search
from offline_training.embedder.truth import draw_claims
from tests.test_embedder_truth import some_truths

RNG = np.random.default_rng(0)
LABELS = np.arange(200) % 5


def test_right_answers_are_counted_beside_their_chance():
    assert right_answers(LABELS, LABELS).value == 1
    share = right_answers(np.where(np.arange(200) < 100, LABELS, -1), LABELS)
    assert share.value == 0.5
    assert (share.n, right_answers(np.zeros(200, int), LABELS).value) == (200, 0.2)
    assert share.chance_p50 == pytest.approx(0.1, abs=0.02)
    assert share.chance_p50 <= share.chance_p95 < 0.2


def test_clusters_are_like_their_neighbours_and_noise_is_not():
    clusters = np.eye(5)[LABELS] + 0.01 * RNG.standard_normal((200, 5))
    noise = RNG.standard_normal((200, 5))
    assert like_neighbours(clusters.astype(np.float32), LABELS).value == 1
    noisy = like_neighbours(noise.astype(np.float32), LABELS)
    assert noisy.value == pytest.approx(0.2, abs=0.06)
    assert noisy.chance_p50 == pytest.approx(0.2, abs=0.02)


def test_a_piece_is_found_by_its_other_half_or_by_chance():
    first = RNG.standard_normal((80, 16)).astype(np.float32)
    found = piece_identity(first, first + 0.1 * RNG.standard_normal((80, 16)).astype(np.float32))
    lost = piece_identity(first, RNG.standard_normal((80, 16)).astype(np.float32))
    assert (found.accuracy.value, found.top1) == (1, 1)
    assert lost.accuracy.value == pytest.approx(0.5, abs=0.08)
    assert lost.top1 < 0.1
    assert found.accuracy.chance_p95 < 0.6


def test_words_find_what_they_hold_of():
    truths = some_truths(150, 1)
    claims = draw_claims(truths, np.arange(60), np.random.default_rng(2))
    holds = claims.hold(truths)
    vectors, _, rows = np.linalg.svd(holds - holds.mean(axis=1, keepdims=True), full_matrices=False)
    best = search(claims, (10 * holds @ rows.T).astype(np.float32), truths, rows.T.astype(np.float32))
    worst = search(claims, RNG.standard_normal((60, 60)).astype(np.float32), truths, rows.T.astype(np.float32))
    assert vectors.shape == (60, 60)
    assert best.first_hit.value > 0.9
    assert worst.first_hit.value < 0.3
    assert best.first_hit.chance_p95 < 0.35
    assert best.words_for_piece.value > worst.words_for_piece.value
