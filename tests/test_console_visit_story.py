"""What the page says of a visit: which run is on, what may be pressed, what is to be judged."""

from typing import Any

import pytest

from realtime.console import panels
from realtime.console.story import hear
from realtime.console.view import look
from tests.test_console_story import ABOUT, HERE, PLAN, RUNNING, everything, running, step, story_of, texts, visiting


def test_between_two_runs_the_page_says_which_are_done_and_what_may_be_pressed() -> None:
    view = look(visiting(), 4.0)
    assert (view.layout, view.headline.word) == ("visit", "YOUR TURN")
    assert view.headline.sentence == "run 2 of 3: G begins it"
    assert {"go", "again", "skip", "out", "finish", "stop"} <= view.keys
    assert not {"arm", "pause", "abort", "end"} & view.keys
    assert view.visit is not None
    assert [run.state for run in view.visit.runs] == ["done", "next", "to come"]
    assert view.visit.runs[1].n_aborted == 1
    page = everything(view)
    assert 'data-deed="go"><kbd>G</kbd>' in page
    assert 'data-deed="accept" disabled' in page
    assert "next, 1 aborted" in page


def test_a_reference_is_judged_by_its_picture_and_by_how_alike_it_is() -> None:
    lie = {"correlation": 0.97, "shift_mm": 1.0, "turn_deg": 0.5}
    judged = {"waiting": "accept", "run": "01-reference", "place": 0, "actions": ["accept", "refuse", "out", "end"]}
    view = look(visiting(**judged, overlay=lie), 4.0)
    assert view.headline.word == "JUDGE THE PICTURE"
    assert view.alarms == ()
    assert '<img alt="reference" src="/overlay?01-reference">' in everything(view)
    stranger = look(visiting(**judged, overlay={**lie, "correlation": 0.4}), 4.0)
    assert "does not look like sub-00's: it correlates 0.40" in stranger.alarms[0].text
    assert "could not be made" in look(visiting(**judged), 4.0).alarms[0].text


def test_the_next_run_of_a_visit_begins_with_nothing_of_the_last() -> None:
    story = hear(visiting(waiting="run", actions=[]), "about", {**ABOUT, "session": "/visit/02"}, 5.0)
    assert (story.volume, story.points, story.spans, story.counts) == (-1, (), (), (0, 0, 0))
    assert look(story, 5.0).layout == "visit"  # until its first volume comes
    story = hear(hear(story, "state", RUNNING, 6.0), "step", step(0), 7.0)
    view = look(story, 7.0)
    assert (view.layout, view.headline.word) == ("run", "RUNNING")
    assert view.headline.sentence.startswith("run 2 of 3, 02-train: ")
    assert {"pause", "abort"} <= view.keys
    assert not view.between


def test_a_visit_whose_program_died_says_so_and_how_it_goes_on() -> None:
    story = hear(hear(visiting(), "here", {**HERE, "recorded_by": 0}, 4.0), "connection", {"up": False}, 4.0)
    assert look(story, 4.0).keys >= {"arm"}
    story = hear(hear(running(3), "here", {**HERE, "recorded_by": 0}, 4.0), "connection", {"up": False}, 4.0)
    assert "gone in the middle of the session, and its broker with it" in texts(story, 4.0)
    fresh = story_of(("here", {**HERE, "recorded_by": 0}, 0.0), ("connection", {"up": False}, 0.0))
    assert (look(fresh, 1.0).headline.word, look(fresh, 1.0).alarms) == ("NOT STARTED", ())


def test_a_stop_shows_what_was_chosen_and_that_it_does_not_sound() -> None:
    page = panels.sound(look(running(3, ("here", {**HERE, "stopped": True}, 3.0)), 3.0))
    assert "♪ off: STOP holds" in page
    assert "chosen: clip01" in page


@pytest.mark.parametrize("damage", [{"place": "x"}, {"kinds": []}, {"overlay": {"correlation": "?"}}, {"runs": 3},
                                    {"done": None}])
def test_a_plan_that_is_none_changes_nothing(damage: dict[str, Any]) -> None:
    before = visiting()
    assert hear(before, "plan", {**PLAN, **damage}, 5.0) == before
