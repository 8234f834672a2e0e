"""Posterior over clips and genres."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.decoding.posterior import believe, posterior
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.reliability import ANY_SIZE, HEARD, Reliability, heavy_tailed


def clips(n: int) -> list[Clip]:
    return [Clip(f"clip-{i}", Path(f"{i}.ogg"), genre=("rock", "jazz", "pop")[i % 3]) for i in range(n)]


cosines = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=12)


@given(values=cosines, scale=st.floats(0, 500))
def test_probabilities_are_a_distribution_in_the_order_of_the_odds(values: list[float], scale: float) -> None:
    similarities = np.array(values, np.float32)
    got = posterior(scale * similarities, similarities, clips(len(values)))
    assert got.probabilities.sum() == pytest.approx(1)
    assert (got.probabilities >= 0).all()
    top = got.top(len(values))
    assert [r.similarity for r in top] == sorted(values, reverse=True)
    assert top[0].posterior == got.confidence
    assert sum(share.posterior for share in got.genres) == pytest.approx(1)


def test_softmax_against_the_formula() -> None:
    odds = np.array([0.4, 2.0, -0.8])
    got = posterior(odds, odds / 4, clips(3))
    np.testing.assert_allclose(got.probabilities, np.exp(odds) / np.exp(odds).sum(), rtol=1e-12)
    assert [ranked.clip.clip_id for ranked in got.top(2)] == ["clip-1", "clip-0"]


def test_genre_posterior_is_the_sum_over_its_clips() -> None:
    odds = np.array([1.5, 1.0, 0.5, 1.5])
    got = posterior(odds, odds, clips(4))
    shares = {share.genre: share.posterior for share in got.genres}
    assert shares["rock"] == pytest.approx(got.probabilities[0] + got.probabilities[3])
    assert got.genres[0].genre == "rock"


def test_ties_are_broken_by_position_and_genre_name() -> None:
    got = posterior(np.zeros(3), np.zeros(3), clips(3))
    assert [ranked.clip.clip_id for ranked in got.top(3)] == ["clip-0", "clip-1", "clip-2"]
    assert [share.genre for share in got.genres] == ["jazz", "pop", "rock"]


def test_no_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        posterior(np.zeros(0), np.zeros(0), [])
    with pytest.raises(ValueError, match=r"\(2,\) log odds and \(2,\) similarities for 3 clips"):
        posterior(np.zeros(2), np.zeros(2), clips(3))


def reliability(window: int = 3) -> Reliability:
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(2, window, 4, 6)).astype(np.float32)
    tail = np.linspace(0, 0.2, window, dtype=np.float32)
    return Reliability(rng.normal(size=6).astype(np.float32), maps[0], maps[1], tail)


def reliability_of(maps: np.ndarray) -> Reliability:
    return Reliability(np.zeros(3, np.float32), maps, maps, np.zeros(len(maps), np.float32))


def test_log_odds_against_the_formula() -> None:
    known, rng = reliability(), np.random.default_rng(0)
    embedding, music = rng.normal(size=6).astype(np.float32), rng.normal(size=(5, 6)).astype(np.float32)
    for n in (1, 3, 9):
        row = min(n, 3) - 1
        seen = known.evidence_map[row] @ (embedding - known.mean)
        distance = np.array([np.square(seen - known.clip_map[row] @ (clip - known.mean)).sum() for clip in music])
        wanted = -0.5 * (np.log(1 + known.tail[row] * distance) / known.tail[row] if row else distance)
        np.testing.assert_allclose(known.log_odds(embedding, music, n), wanted, rtol=1e-5)
    np.testing.assert_array_equal(known.log_odds(embedding, music, 0), np.zeros(5))


def test_what_is_imagined_is_judged_by_the_mean_over_sizes_of_its_response() -> None:
    known, rng = reliability(), np.random.default_rng(1)
    embedding, music = rng.normal(size=6).astype(np.float32), rng.normal(size=(5, 6)).astype(np.float32)
    scaled = [replace(known, clip_map=np.float32(size) * known.clip_map) for size in ANY_SIZE]
    for n in (1, 3):
        likelihood = np.mean([np.exp(each.log_odds(embedding, music, n)) for each in scaled], axis=0)
        got = known.log_odds(embedding, music, n, ANY_SIZE)
        np.testing.assert_allclose(got - got[0], np.log(likelihood / likelihood[0]), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(known.log_odds(embedding, music, n, HEARD), known.log_odds(embedding, music, n))


def test_judged_as_imagined_the_posterior_keeps_what_it_promises_and_judged_as_heard_it_does_not() -> None:
    """Ten directions, noise of unit variance in each, twenty clips; responses of sizes that nobody was told."""
    rng = np.random.default_rng(5)
    maps, music = 1.2 * np.eye(10, dtype=np.float32)[None], rng.standard_normal((20, 10)).astype(np.float32)
    known = Reliability(np.zeros(10, np.float32), maps, maps, np.zeros(1, np.float32))
    claimed: dict[tuple[float, ...], list[float]] = {HEARD: [], ANY_SIZE: []}
    right: dict[tuple[float, ...], list[bool]] = {HEARD: [], ANY_SIZE: []}
    for _ in range(2000):
        clip, size = int(rng.integers(20)), rng.choice(ANY_SIZE)
        embedding = (size * music[clip] + rng.standard_normal(10) / 1.2).astype(np.float32)
        for sizes in (HEARD, ANY_SIZE):
            odds = known.log_odds(embedding, music, 1, sizes)
            claimed[sizes].append(float(1.0 / np.exp(odds - odds.max()).sum()))
            right[sizes].append(int(odds.argmax()) == clip)
    assert abs(np.mean(claimed[ANY_SIZE]) - np.mean(right[ANY_SIZE])) < 0.03
    assert np.mean(claimed[HEARD]) - np.mean(right[HEARD]) > 0.1
    assert np.mean(right[ANY_SIZE]) > np.mean(right[HEARD])


def test_a_tail_changes_how_sure_the_posterior_is_and_not_the_order_of_clips() -> None:
    distance = np.random.default_rng(0).uniform(0, 400, 50)
    gaussian = heavy_tailed(distance, 0.0)
    for tail in (1e-9, 0.01, 0.25):
        odds = heavy_tailed(distance, tail)
        np.testing.assert_array_equal(np.argsort(odds), np.argsort(gaussian))
        assert np.ptp(odds) <= np.ptp(gaussian)
    np.testing.assert_allclose(heavy_tailed(distance, 1e-9), gaussian, rtol=1e-6)


def test_a_likelier_clip_lies_along_the_direction_it_points_to() -> None:
    known, embedding = reliability(), np.ones(6, np.float32)
    step = 1e-3 * known.towards(embedding, 2)
    here, there = known.log_odds(embedding, np.stack([known.mean, known.mean + step]), 2)
    assert there > here


def test_the_clip_that_would_have_evoked_the_evidence_is_believed_whatever_else_it_is_like() -> None:
    """Cosine over all dimensions prefers the second: only the first dimension is decoded, and there the first fits."""
    music = np.array([[2.0, -9.0, 5.0], [0.5, 0.1, 0.0], [-2.0, 0.0, 0.0]], np.float32)
    catalogue = Catalogue(EmbeddingSpace("three", 3, "0" * 64), clips(3), music, np.zeros(3, np.float32))
    maps = np.array([[[3.0, 0.0, 0.0]]], np.float32)
    belief = believe(catalogue, np.array([2.0, 0.0, 0.0], np.float32), reliability_of(maps),
                     1)
    assert belief.top(1)[0].clip.clip_id == "clip-0"
    assert belief.confidence > 0.99


def test_evidence_without_a_reliable_direction_leaves_all_clips_equally_probable() -> None:
    music = np.eye(3, dtype=np.float32)
    catalogue = Catalogue(EmbeddingSpace("three", 3, "0" * 64), clips(3), music, np.zeros(3, np.float32))
    nothing = np.zeros((2, 0, 3), np.float32)
    belief = believe(catalogue, np.ones(3, np.float32), reliability_of(nothing), 2)
    np.testing.assert_allclose(belief.probabilities, 1 / 3)
