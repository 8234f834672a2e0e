"""Order: every index once, forward only, whatever comes; a damaged index makes no gaps; nothing waits for ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.session.ordering import Missing, Ordered, Ordering
from scanner_bridge.volume import RunHeader, Volume

TR_S = 2.0
HEADER = RunHeader("run", (2, 2, 2), "<i2", np.eye(4), TR_S, start_s=100.0)


def volume(index: int, due_index: int | None = None, value: int = 0) -> Volume:
    """A volume that was due when volume `due_index` (its own index by default) was complete."""
    due_s = HEADER.start_s + ((index if due_index is None else due_index) + 1) * TR_S
    return Volume(index, np.full((2, 2, 2), value + index % 1000, np.int16), np.eye(4), TR_S, "run", due_s)


def turns(*ordered: Ordered) -> list[str]:
    """What came out: "3" for a volume, "-3" for one that is missing."""
    return [f"-{item.index}" if isinstance(item, Missing) else str(item.index) for one in ordered for item in one.turn]


def kinds(ordered: Ordered) -> list[tuple[int, str]]:
    return [(remark.index, remark.kind) for remark in ordered.remarks]


def test_volumes_in_order_are_used_at_once() -> None:
    ordering = Ordering(HEADER)
    assert [turns(ordering.arrived(volume(index))) for index in range(4)] == [["0"], ["1"], ["2"], ["3"]]
    assert not ordering.waits


def test_two_in_the_wrong_order_are_used_in_the_right_one() -> None:
    ordering = Ordering(HEADER)
    assert turns(*[ordering.arrived(volume(index)) for index in (0, 2, 1, 3)]) == ["0", "1", "2", "3"]


def test_a_volume_is_missing_once_two_later_ones_are_there() -> None:
    ordering = Ordering(HEADER)
    assert turns(ordering.arrived(volume(0))) == ["0"]
    assert turns(ordering.arrived(volume(2))) == []
    assert ordering.waits
    assert turns(ordering.arrived(volume(3))) == ["-1", "2", "3"]
    assert kinds(ordering.arrived(volume(1))) == [(1, "late")]


def test_a_volume_is_missing_once_time_is_up() -> None:
    ordering = Ordering(HEADER)
    ordering.arrived(volume(1))
    assert turns(ordering.give_up()) == ["-0", "1"]
    assert not ordering.waits
    assert turns(ordering.give_up()) == []


def test_a_volume_that_cannot_be_read_takes_its_turn() -> None:
    ordering = Ordering(HEADER)
    ordering.arrived(volume(0))
    ordering.arrived(volume(2))
    assert turns(ordering.unreadable()) == ["2"]
    assert ordering.next_index == 3


@pytest.mark.parametrize("index", [30, 900, 2**52])
def test_one_damaged_index_makes_no_gaps(index: int) -> None:
    ordering = Ordering(HEADER)
    for place in range(5):
        ordering.arrived(volume(place))
    assert turns(ordering.arrived(volume(index, due_index=5))) == []
    assert not ordering.waits
    assert turns(ordering.give_up()) == []
    came = ordering.arrived(volume(6))
    assert turns(came) == []
    came = ordering.arrived(volume(5))
    assert turns(came) == ["5", "6"]
    assert kinds(came) == [(index, "impossible")]
    assert turns(ordering.arrived(volume(7))) == ["7"]


def test_an_index_that_was_damaged_is_used_when_it_really_comes() -> None:
    ordering = Ordering(HEADER)
    ordering.arrived(volume(8, due_index=0))
    for place in range(8):
        ordering.arrived(volume(place))
    assert turns(ordering.arrived(volume(8, value=7))) == ["8"]


def test_an_outage_at_the_scanners_pace_is_gaps_as_soon_as_it_is_over() -> None:
    ordering = Ordering(HEADER)
    ordering.arrived(volume(0))
    ordering.arrived(volume(20))
    assert ordering.waits
    assert turns(ordering.give_up()) == [*(f"-{index}" for index in range(1, 20)), "20"]


def test_an_outage_of_a_run_that_is_streamed_faster_is_believed_when_a_second_volume_says_so() -> None:
    ordering = Ordering(HEADER)
    assert turns(ordering.arrived(volume(20, due_index=0))) == []
    assert turns(ordering.arrived(volume(21, due_index=0)))[-3:] == ["-19", "20", "21"]


def test_the_end_of_the_run_settles_what_is_held() -> None:
    ordering = Ordering(HEADER)
    ordering.arrived(volume(9, due_index=0))
    ordering.arrived(volume(400, due_index=0))
    end = ordering.finish(12)
    assert turns(end) == [*(f"-{index}" for index in range(9)), "9", "-10", "-11"]
    assert kinds(end) == [(400, "impossible")]


def test_a_second_volume_of_an_index_is_told_apart_by_its_voxels() -> None:
    ordering = Ordering(HEADER)
    ordering.arrived(volume(0))
    ordering.arrived(volume(2))
    for index in (0, 2):
        assert kinds(ordering.arrived(volume(index))) == [(index, "repeated")]
        assert kinds(ordering.arrived(volume(index, value=1))) == [(index, "conflicting")]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 25), max_size=40), st.lists(st.integers(0, 40), max_size=4), st.integers(0, 30))
def test_whatever_comes_every_index_has_one_turn_forward_only(indices: list[int], give_ups: list[int], n: int) -> None:
    ordering = Ordering(HEADER)
    out: list[str] = []
    for place, index in enumerate(indices):
        out += turns(ordering.arrived(volume(index)))
        if place in give_ups:
            out += turns(ordering.give_up())
            assert not ordering.waits
    out += turns(ordering.finish(n))
    numbers = [abs(int(turn)) for turn in out]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= n
    used = {int(turn) for turn in out if not turn.startswith("-")}
    assert used <= set(indices)


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(12)))
def test_volumes_that_come_at_most_one_early_lose_none(order: list[int]) -> None:
    nearly = sorted(range(12), key=lambda index: index + 0.7 * (order[index] % 3))  # nobody overtakes two others
    ordering = Ordering(HEADER)
    out = turns(*[ordering.arrived(volume(index)) for index in nearly], ordering.finish(12))
    overtaken = [index for place, index in enumerate(nearly) if sum(other > index for other in nearly[:place]) > 1]
    assert [turn for turn in out if turn.startswith("-")] == [f"-{index}" for index in sorted(overtaken)]
