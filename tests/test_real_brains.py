"""The decoding chain on a real brain: what was seen is identified, and nothing is when the labels are exchanged."""

from dataclasses import replace

import numpy as np
import pytest

from offline_training.responses import Responses
from tests import haxby

pytestmark = [pytest.mark.data, pytest.mark.skipif(not haxby.available(), reason=f"no Haxby data in {haxby.FOLDER}")]


@pytest.fixture(scope="module")
def responses() -> Responses:
    return haxby.slice_responses()


def test_both_cuts_of_the_session_tell_the_same_blocks(responses) -> None:
    for one, other in zip(responses.runs, haxby.brain_responses().runs, strict=True):
        assert one.events == other.events
        assert {event.clip_id for event in one.events} == set(haxby.CATEGORIES)
        np.testing.assert_array_equal(one.usable, other.usable)
        assert 110 <= one.usable.sum() <= 119


def test_categories_seen_are_identified_above_the_band_of_chance(responses) -> None:
    made = haxby.score(responses, n_folds=6)
    assert made.n_blocks == 96
    assert made.identification > made.band.p99
    assert made.identification < 0.9, "half a slice cannot tell that much: something leaks"


def test_exchanged_labels_are_inside_the_band(responses) -> None:
    rng = np.random.default_rng(0)
    runs = []
    for run in responses.runs:
        names = rng.permutation([event.clip_id for event in run.events])
        runs.append(replace(run, events=tuple(replace(event, clip_id=str(name))
                                              for event, name in zip(run.events, names, strict=True))))
    made = haxby.score(replace(responses, runs=tuple(runs)), n_folds=3)
    assert abs(made.identification - made.band.p50) < made.band.p99 - made.band.p50
