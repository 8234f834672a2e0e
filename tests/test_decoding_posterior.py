"""Posterior over clips and genres."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.decoding.posterior import posterior
from realtime.messages import Clip


def clips(n: int) -> list[Clip]:
    return [Clip(f"clip-{i}", Path(f"{i}.ogg"), genre=("rock", "jazz", "pop")[i % 3]) for i in range(n)]


cosines = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=12)


@given(values=cosines, scale=st.floats(0, 500), n=st.integers(0, 12))
def test_probabilities_are_a_distribution_in_the_order_of_similarity(values: list[float], scale: float, n: int) -> None:
    got = posterior(np.array(values, np.float32), clips(len(values)), [scale] * 10, n)
    assert got.probabilities.sum() == pytest.approx(1)
    assert (got.probabilities >= 0).all()
    top = got.top(len(values))
    assert [r.similarity for r in top] == sorted(values, reverse=True)
    assert top[0].posterior == got.confidence
    assert sum(share.posterior for share in got.genres) == pytest.approx(1)


def test_softmax_against_the_formula() -> None:
    got = posterior(np.array([0.1, 0.5, -0.2]), clips(3), [2.0, 4.0], 2)
    weights = np.exp(4.0 * np.array([0.1, 0.5, -0.2]))
    np.testing.assert_allclose(got.probabilities, weights / weights.sum(), rtol=1e-12)
    assert [ranked.clip.clip_id for ranked in got.top(2)] == ["clip-1", "clip-0"]


def test_genre_posterior_is_the_sum_over_its_clips() -> None:
    got = posterior(np.array([0.3, 0.2, 0.1, 0.3]), clips(4), [5.0], 1)
    shares = {share.genre: share.posterior for share in got.genres}
    assert shares["rock"] == pytest.approx(got.probabilities[0] + got.probabilities[3])
    assert got.genres[0].genre == "rock"


def test_ties_are_broken_by_position_and_genre_name() -> None:
    got = posterior(np.zeros(3), clips(3), [9.0], 1)
    assert [ranked.clip.clip_id for ranked in got.top(3)] == ["clip-0", "clip-1", "clip-2"]
    assert [share.genre for share in got.genres] == ["jazz", "pop", "rock"]


def test_more_volumes_than_scales_use_the_last_scale_and_none_is_uniform() -> None:
    values, scale = np.array([0.1, 0.9]), [1.0, 2.0, 3.0]
    late, last = (posterior(values, clips(2), scale, n).probabilities for n in (30, 3))
    np.testing.assert_array_equal(late, last)
    np.testing.assert_array_equal(posterior(values, clips(2), scale, 0).probabilities, 0.5)


def test_no_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        posterior(np.zeros(0), [], [1.0], 1)
    with pytest.raises(ValueError, match=r"\(2,\) similarities for 3 clips"):
        posterior(np.zeros(2), clips(3), [1.0], 1)
