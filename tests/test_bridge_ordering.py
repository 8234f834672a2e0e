"""Volumes leave in order of their index, each once; a missing one is given up a TR after a later one came."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge.sources.ordering import Ordering

Event = tuple[float, str, int, int]


def run(arrivals: list[tuple[float, int]], tr_s: float, n_volumes: int | None, step_s: float) -> list[Event]:
    """Play arrivals (time, index) against an ordering asked every `step_s`; over one TR after the last arrival."""
    ordering, ready, events, now_s = Ordering(tr_s, n_volumes), set[int](), [], 0.0
    waiting = sorted(arrivals)
    while True:
        while waiting and waiting[0][0] <= now_s:
            index = waiting.pop(0)[1]
            if index >= ordering.next_index:
                ready.add(index)
        over = not waiting and now_s >= max((at for at, _ in arrivals), default=0.0) + 2 * tr_s
        step = ordering.step(ready, now_s, over=over)
        if step.kind == "end":
            return events
        if step.kind == "wait":
            now_s += step_s
            continue
        ready.discard(step.index)
        events.append((now_s, step.kind, step.index, step.last))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_leaves_is_in_order_and_everything_else_is_a_gap(data: st.DataObject) -> None:
    n, tr_s = data.draw(st.integers(1, 12)), 1.0
    lost = data.draw(st.sets(st.integers(0, n - 1)))
    delays = data.draw(st.lists(st.floats(0, 4), min_size=n, max_size=n))
    copies = data.draw(st.lists(st.integers(0, n - 1), max_size=4))
    arrivals = [(index * tr_s + delays[index], index) for index in range(n) if index not in lost]
    arrivals += [(at + 0.3, index) for at, index in arrivals if index in copies]
    events = run(arrivals, tr_s, data.draw(st.sampled_from([None, n])), step_s=0.05)
    out = [index for _, kind, index, _ in events if kind == "volume"]
    gaps = [index for _, kind, first, last in events if kind == "gap" for index in range(first, last + 1)]
    assert out == sorted(set(out))
    assert sorted(out + gaps) == list(range(max(out, default=-1) + 1))
    assert set(gaps) >= lost & set(range(max(out, default=0)))
    last_progress_s = 0.0
    for now_s, _, index, _ in events:  # whoever is next is let go, or given up, within a TR of a later one's arrival
        come = [at for at, other in arrivals if other >= index]
        assert now_s <= max(last_progress_s, min(come)) + tr_s + 0.2
        last_progress_s = now_s


def test_a_run_of_announced_length_ends_with_its_last_volume() -> None:
    ordering = Ordering(1.0, 2)
    assert [ordering.step({0, 1, 2}, 0.0).kind for _ in range(3)] == ["volume", "volume", "end"]


@pytest.mark.parametrize("over", [False, True])
def test_without_a_later_volume_nothing_is_given_up(over: bool) -> None:
    assert Ordering(1.0, None).step((), 1e9, over=over).kind == ("end" if over else "wait")
