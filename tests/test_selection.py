"""Selection: does not flicker, does not lag, does not guess."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.music.index import direction
from realtime.music.selection import Decision, Outlook, SelectionSettings, SelectionState, look, select, steer

SURE = 100.0
DIM = 4


def clips_along_the_axes(bpm: float = 0.0) -> Catalogue:
    """Clips a, b, c, d: the similarity to each is one coordinate of the direction."""
    return Catalogue(EmbeddingSpace("axes", DIM, ""), [Clip(name, Path("x"), bpm=bpm) for name in "abcd"],
                     np.eye(DIM, dtype=np.float32), np.zeros(DIM, np.float32))


AXES = clips_along_the_axes()


def step(state: SelectionState, embedding: list[float], *, times_chance: float = SURE, volume: int = 100,
         settings: SelectionSettings | None = None, barred: tuple[str, ...] = (),
         index: Catalogue = AXES) -> Decision:
    chosen = settings or SelectionSettings(smoothing=0.0)
    towards = direction(np.array(embedding, np.float32), index.centre)
    steered = steer(state, towards, chosen.smoothing)
    return select(steered, look(steered, index, barred), times_chance, volume, 1.0, chosen)


def test_the_first_confident_evidence_starts_the_music() -> None:
    decision = step(SelectionState(), [0.1, 0.9, 0.2, 0.3])
    assert (decision.kind, decision.state.playing, decision.state.since_volume) == ("switch", "b", 100)


def test_without_confidence_nothing_changes() -> None:
    decision = step(SelectionState(playing="a"), [0.1, 0.9, 0.2, 0.3], times_chance=1.2)
    assert (decision.kind, decision.state.playing) == ("hold", "a")


def test_a_clip_must_beat_the_playing_one_by_the_margin() -> None:
    playing, settings = SelectionState(playing="a"), SelectionSettings(smoothing=0.0, margin=0.1)
    assert step(playing, [0.50, 0.56, 0.4, 0.5], settings=settings).kind == "keep"
    assert step(playing, [0.50, 0.65, 0.4, 0.4], settings=settings).kind == "switch"


@pytest.mark.parametrize(("bpm", "bar_s"), [(60.0, 4.0), (240.0, 2.0), (0.0, 2.0)])
def test_a_clip_plays_for_two_seconds_and_a_bar(bpm: float, bar_s: float) -> None:
    index = clips_along_the_axes(bpm)
    for age in range(1, 7):
        decision = step(SelectionState(playing="a", since_volume=100 - age), [0.0, 0.9, 0.0, 0.0], index=index)
        assert decision.kind == ("switch" if age >= bar_s else "keep")


def test_one_odd_volume_does_not_switch_when_smoothed() -> None:
    settings = SelectionSettings(smoothing=0.5)
    state = SelectionState()
    for volume in range(10):
        state = step(state, [0.8, 0.0, 0.0, 0.0], settings=settings, volume=volume).state
    odd = step(state, [0.2, 0.6, 0.0, 0.0], settings=settings, volume=10)
    assert odd.state.playing == "a"
    lasting = odd.state
    for volume in range(11, 15):
        lasting = step(lasting, [0.2, 0.6, 0.0, 0.0], settings=settings, volume=volume).state
    assert lasting.playing == "b"


def test_an_excluded_clip_never_plays() -> None:
    assert step(SelectionState(), [0.1, 0.9, 0.2, 0.0], barred=("b",)).state.playing == "c"
    nothing = step(SelectionState(), [0.1, 0.9, 0.2, 0.0], barred=("a", "b", "c", "d"))
    assert (nothing.kind, nothing.state.playing) == ("hold", "")


def test_ties_go_to_the_first_clip_by_name() -> None:
    assert step(SelectionState(), [0.2, 0.7, 0.7, 0.7]).state.playing == "b"


vectors = st.lists(st.floats(-1, 1, width=32), min_size=DIM, max_size=DIM)


@given(st.lists(vectors, min_size=1, max_size=30), st.floats(0.0, 0.95))
def test_the_lead_of_the_smoothed_direction_is_that_of_smoothed_similarities(
        sequence: list[list[float]], smoothing: float) -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((9, DIM)).astype(np.float32)
    index = Catalogue(EmbeddingSpace("random", DIM, ""), [Clip(f"{n}", Path("x")) for n in range(9)], rows,
                      rows.mean(axis=0))
    state, smoothed = SelectionState(playing="4"), np.zeros(9)
    for number, embedding in enumerate(np.array(sequence, np.float32)):
        state = steer(state, direction(embedding, index.centre), smoothing)
        now = index.similarities(embedding).astype(np.float64)
        smoothed = now if number == 0 else smoothing * smoothed + (1 - smoothing) * now
    assert look(state, index, ()).lead == pytest.approx(smoothed.max() - smoothed[4], abs=1e-5)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(-1, 2), st.floats(0, 5)), min_size=1, max_size=40))
def test_whatever_comes_dwell_and_margin_hold(sequence: list[tuple[str, float, float]]) -> None:
    settings = SelectionSettings(margin=0.05, dwell_s=3.0)
    state = SelectionState()
    for volume, (best, lead, times_chance) in enumerate(sequence):
        decision = select(state, Outlook(best, lead), times_chance, volume, 1.0, settings)
        if decision.kind == "switch":
            assert times_chance >= settings.times_chance
            assert not state.playing or (volume - state.since_volume >= 3 and lead >= 0.05)
        else:
            assert decision.state.playing == state.playing
        state = decision.state


def switches_per_minute(settings: SelectionSettings, seed: int) -> float:
    """A target that changes every 30 s, TR 1.5 s, seen through autocorrelated noise."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, 16)).astype(np.float32)
    index = Catalogue(EmbeddingSpace("random", 16, ""), [Clip(f"{n:02}", Path("x")) for n in range(40)],
                      rows / np.linalg.norm(rows, axis=1, keepdims=True), np.zeros(16, np.float32))
    state, noise, n_switches, n_volumes = SelectionState(), np.zeros(16), 0, 400
    for volume in range(n_volumes):
        noise = 0.6 * noise + 0.8 * rng.standard_normal(16) / 4
        seen = index.unit[(volume // 20) % 40] + 1.2 * noise
        state = steer(state, direction(seen.astype(np.float32), index.centre), settings.smoothing)
        decision = select(state, look(state, index, ()), SURE, volume, 1.5, settings)
        n_switches += decision.kind == "switch"
        state = decision.state
    return n_switches / (n_volumes * 1.5 / 60)


def test_the_policy_flickers_several_times_less_than_the_raw_best_match() -> None:
    raw = SelectionSettings(smoothing=0.0, margin=0.0, dwell_s=0.0)
    for seed in range(3):
        assert switches_per_minute(SelectionSettings(), seed) < 0.5 * switches_per_minute(raw, seed)
