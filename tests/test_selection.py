"""Selection: does not flicker, does not lag, does not guess."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.decoding.posterior import Posterior, posterior
from realtime.errors import ConfigError
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.music.selection import Decision, Outlook, SelectionSettings, SelectionState, look, select

SURE = 100.0
GENRES = {"a": "rock", "b": "rock", "c": "jazz", "d": "jazz"}


def belief_in(shares: Sequence[float], genres: dict[str, str] | None = None, bpm: float = 0.0) -> Posterior:
    """A posterior over clips a, b, c, d with these shares, up to their sum."""
    genres = GENRES if genres is None else genres
    clips = [Clip(name, Path("x"), genre=genres.get(name, ""), bpm=bpm) for name in "abcd"[: len(shares)]]
    odds = np.log(np.maximum(np.array(shares) / sum(shares), 1e-30))
    return posterior(odds, odds, clips)


def step(state: SelectionState, belief: Posterior, *, times_chance: float = SURE, volume: int = 100,
         settings: SelectionSettings | None = None, barred: tuple[str, ...] = ()) -> Decision:
    playing = next((clip for clip in belief.clips if clip.clip_id == state.playing), None)
    return select(state, look(belief, playing, barred), times_chance, volume, 1.0, settings or SelectionSettings())


def test_the_first_confident_evidence_starts_the_music() -> None:
    decision = step(SelectionState(), belief_in([1, 6, 2, 2]))
    assert (decision.kind, decision.state.playing, decision.state.since_volume) == ("switch", "b", 100)


def test_without_confidence_nothing_changes() -> None:
    decision = step(SelectionState("a"), belief_in([1, 9, 1, 1]), times_chance=1.2)
    assert (decision.kind, decision.state.playing) == ("hold", "a")


def test_the_likeliest_genre_plays_though_a_clip_of_another_leads() -> None:
    assert step(SelectionState(), belief_in([4, 0, 3, 3])).state.playing == "c"


@pytest.mark.parametrize(("shares", "plays"), [([5, 0, 3, 4], "a"), ([5, 0, 4, 4], "d"), ([9, 0, 0, 5], "a")])
def test_another_genre_must_be_so_many_times_as_probable(shares: list[float], plays: str) -> None:
    shares[3] += 0.01  # the better of the two
    assert step(SelectionState("a"), belief_in(shares)).state.playing == plays


def test_another_clip_of_the_same_genre_must_be_far_more_probable() -> None:
    assert step(SelectionState("a"), belief_in([1, 19, 1, 1])).kind == "keep"
    assert step(SelectionState("a"), belief_in([1, 21, 1, 1])).state.playing == "b"


def test_music_without_genres_is_chosen_clip_by_clip() -> None:
    assert step(SelectionState("a"), belief_in([1, 19, 1, 1], {})).kind == "keep"
    assert step(SelectionState("a"), belief_in([1, 21, 1, 1], {})).state.playing == "b"


def test_a_clip_that_is_no_candidate_any_more_gives_way() -> None:
    belief = belief_in([2, 1, 1], {"a": "rock", "b": "jazz", "c": "pop"})
    gone = Clip("z", Path("x"), genre="folk")
    assert look(belief, gone, ()) == Outlook("a", float("inf"))


@pytest.mark.parametrize(("bpm", "bar_s"), [(60.0, 4.0), (240.0, 2.0), (0.0, 2.0)])
def test_a_clip_plays_for_two_seconds_and_a_bar(bpm: float, bar_s: float) -> None:
    for age in range(1, 7):
        decision = step(SelectionState("a", 100 - age), belief_in([0, 0, 9, 0], bpm=bpm))
        assert decision.kind == ("switch" if age >= bar_s else "keep")


def test_an_excluded_clip_never_plays() -> None:
    assert step(SelectionState(), belief_in([1, 9, 2, 1]), barred=("b",)).state.playing == "a"
    assert step(SelectionState(), belief_in([1, 9, 2, 1]), barred=("a", "b")).state.playing == "c"
    nothing = step(SelectionState(), belief_in([1, 9, 2, 1]), barred=("a", "b", "c", "d"))
    assert (nothing.kind, nothing.state.playing) == ("hold", "")


def test_ties_go_to_the_first_genre_by_name_and_its_first_clip() -> None:
    assert step(SelectionState(), belief_in([1, 1, 1, 1])).state.playing == "c"


def test_odds_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"genre_odds is 0\.5, clip_odds is nan, wanted at least 1"):
        SelectionSettings(genre_odds=0.5, clip_odds=float("nan"))


def test_a_state_is_its_fields() -> None:
    state = step(SelectionState(), belief_in([1, 6, 2, 2])).state
    assert SelectionState(**asdict(state)) == state


shares = st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4)


@given(st.lists(st.tuples(shares, st.floats(0, 5)), min_size=1, max_size=40))
def test_whatever_comes_dwell_odds_and_confidence_hold(sequence: list[tuple[list[float], float]]) -> None:
    settings, state = SelectionSettings(dwell_s=3.0), SelectionState()
    for volume, (weights, times_chance) in enumerate(sequence):
        belief = belief_in(weights)
        decision = step(state, belief, times_chance=times_chance, volume=volume, settings=settings)
        if decision.kind == "switch":
            assert times_chance >= settings.times_chance
            new = "abcd".index(decision.state.playing)
            if state.playing:
                old = "abcd".index(state.playing)
                assert volume - state.since_volume >= 3
                same = GENRES[state.playing] == GENRES[decision.state.playing]
                p = belief.probabilities
                odds = p[new] / p[old] if same else p[2 * (new // 2) :][:2].sum() / p[2 * (old // 2) :][:2].sum()
                assert odds >= (settings.clip_odds if same else settings.genre_odds) * (1 - 1e-9)
        else:
            assert decision.state.playing == state.playing
        state = decision.state


def switches_per_minute(settings: SelectionSettings, seed: int, remembered: int = 20) -> float:
    """A clip of another genre every 30 s, TR 1.5 s, seen through autocorrelated noise, the mean begun anew so often."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, 16)).astype(np.float32)
    clips = [Clip(f"{n:02}", Path("x"), genre=f"g{n % 8}") for n in range(40)]
    index = Catalogue(EmbeddingSpace("random", 16, ""), clips, rows / np.linalg.norm(rows, axis=1, keepdims=True),
                      np.zeros(16, np.float32))
    state, noise, n_switches, n_volumes, total = SelectionState(), np.zeros(16), 0, 400, np.zeros(16)
    for volume in range(n_volumes):
        noise = 0.6 * noise + 0.8 * rng.standard_normal(16) / 4
        total = (total if volume % remembered else 0.0) + index.unit[(volume // 20) % 40] + 4 * noise
        scores = index.similarities(total.astype(np.float32))
        belief = posterior((3.0 + 0.5 * (volume % remembered)) * np.asarray(scores), scores, clips)
        playing = index.clip(state.playing) if state.playing else None
        decision = select(state, look(belief, playing, ()), SURE, volume, 1.5, settings)
        n_switches += decision.kind == "switch"
        state = decision.state
    return n_switches / (n_volumes * 1.5 / 60)


def test_the_policy_flickers_several_times_less_than_the_raw_best_match() -> None:
    raw = SelectionSettings(genre_odds=1.0, clip_odds=1.0, dwell_s=0.0)
    for seed in range(3):
        assert switches_per_minute(SelectionSettings(), seed) < 0.5 * switches_per_minute(raw, seed, remembered=1)


def test_the_odds_calm_a_trials_mean_further() -> None:
    raw = SelectionSettings(genre_odds=1.0, clip_odds=1.0, dwell_s=0.0)
    for seed in range(3):
        assert switches_per_minute(SelectionSettings(), seed) < 0.6 * switches_per_minute(raw, seed)
