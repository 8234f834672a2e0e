"""Selection: does not flicker, does not lag, does not guess."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from realtime.music.selection import Decision, SelectionSettings, SelectionState, select

SURE = 1.0
ALL = np.ones(4, bool)


def step(state: SelectionState, similarities: list[float], *, confidence: float = SURE, volume: int = 100,
         settings: SelectionSettings | None = None, allowed: np.ndarray = ALL) -> Decision:
    chosen = settings or SelectionSettings(smoothing=0.0)
    return select(state, np.array(similarities, np.float32), confidence, volume, 1.0, chosen, allowed)


def test_the_first_confident_evidence_starts_the_music() -> None:
    decision = step(SelectionState(), [0.1, 0.9, 0.2, 0.3])
    assert (decision.kind, decision.state.playing, decision.state.since_volume) == ("switch", 1, 100)


def test_without_confidence_nothing_changes() -> None:
    decision = step(SelectionState(playing=0), [0.1, 0.9, 0.2, 0.3], confidence=0.3)
    assert (decision.kind, decision.state.playing) == ("hold", 0)


def test_a_clip_must_beat_the_playing_one_by_the_margin() -> None:
    playing = SelectionState(playing=0)
    assert step(playing, [0.50, 0.54, 0.0, 0.0]).kind == "keep"
    assert step(playing, [0.50, 0.56, 0.0, 0.0]).kind == "switch"


def test_a_clip_plays_at_least_its_dwell() -> None:
    young = SelectionState(playing=0, since_volume=99)
    assert step(young, [0.0, 0.9, 0.0, 0.0]).kind == "keep"
    assert step(young, [0.0, 0.9, 0.0, 0.0], volume=101).kind == "switch"


def test_one_odd_volume_does_not_switch_when_smoothed() -> None:
    settings = SelectionSettings(smoothing=0.5)
    state = step(SelectionState(), [0.8, 0.0, 0.0, 0.0], settings=settings, volume=0).state
    for volume in range(1, 10):
        state = step(state, [0.8, 0.0, 0.0, 0.0], settings=settings, volume=volume).state
    odd = step(state, [0.1, 0.55, 0.0, 0.0], settings=settings, volume=10)
    assert odd.state.playing == 0
    lasting = odd.state
    for volume in range(11, 15):
        lasting = step(lasting, [0.1, 0.55, 0.0, 0.0], settings=settings, volume=volume).state
    assert lasting.playing == 1


def test_an_excluded_clip_never_plays() -> None:
    allowed = np.array([True, False, True, True])
    assert step(SelectionState(), [0.1, 0.9, 0.2, 0.0], allowed=allowed).state.playing == 2
    nothing = step(SelectionState(), [0.1, 0.9, 0.2, 0.0], allowed=np.zeros(4, bool))
    assert (nothing.kind, nothing.state.playing) == ("hold", -1)


def test_ties_go_to_the_earlier_clip() -> None:
    assert step(SelectionState(), [0.2, 0.7, 0.7, 0.7]).state.playing == 1


vectors = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4)


@given(st.lists(st.tuples(vectors, st.floats(0, 1)), min_size=1, max_size=40))
def test_whatever_comes_dwell_and_margin_hold(sequence: list[tuple[list[float], float]]) -> None:
    settings = SelectionSettings(smoothing=0.5, margin=0.05, dwell_s=3.0)
    state = SelectionState()
    for volume, (similarities, confidence) in enumerate(sequence):
        decision = step(state, similarities, confidence=confidence, volume=volume, settings=settings)
        if decision.kind == "switch" and state.playing >= 0:
            assert volume - state.since_volume >= 3
            smoothed = decision.state.similarities
            assert smoothed is not None
            assert smoothed[decision.state.playing] - smoothed[state.playing] >= 0.05
        else:
            assert decision.kind == "switch" or decision.state.playing == state.playing
        state = decision.state


def switches_per_minute(settings: SelectionSettings, seed: int) -> float:
    """A target that changes every 30 s, TR 1.5 s, seen through autocorrelated noise."""
    rng = np.random.default_rng(seed)
    clips = rng.standard_normal((40, 16))
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    state, noise, n_switches, n_volumes = SelectionState(), np.zeros(16), 0, 400
    for volume in range(n_volumes):
        noise = 0.6 * noise + 0.8 * rng.standard_normal(16) / 4
        seen = clips[(volume // 20) % 40] + 1.2 * noise
        similarities = (clips @ (seen / np.linalg.norm(seen))).astype(np.float32)
        decision = select(state, similarities, SURE, volume, 1.5, settings, np.ones(40, bool))
        n_switches += decision.kind == "switch"
        state = decision.state
    return n_switches / (n_volumes * 1.5 / 60)


def test_the_policy_flickers_several_times_less_than_the_raw_best_match() -> None:
    raw = SelectionSettings(smoothing=0.0, margin=0.0, dwell_s=0.0)
    for seed in range(3):
        assert switches_per_minute(SelectionSettings(), seed) < 0.5 * switches_per_minute(raw, seed)
