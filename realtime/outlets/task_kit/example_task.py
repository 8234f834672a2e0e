"""A task as a feedback bar: copy it and change it. With PsychoPy on its screen, without it in a terminal.

Run `python example_task.py --door tcp://127.0.0.1:5578`; without a scanner, `innerear rehearse-task example_task.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Protocol

from innerear_client import Innerear, Refused, Value

TRIGGER = "5"
RATINGS = ("1", "2", "3", "4")


class Screen(Protocol):
    """What the task needs of a display and its keys."""

    def draw(self, height: float, words: str) -> None:
        """Draw the bar, 0 to 1, and some words below it."""

    def flip(self) -> float:
        """Show what was drawn; the time of it by `time.perf_counter`. Waits for the next frame."""

    def keys(self) -> list[str]:
        """Keys pressed since the last call."""

    def close(self) -> None:
        """Give the display back."""


class Terminal:
    """A bar of characters, where there is no PsychoPy."""

    def __init__(self, frame_rate_hz: float) -> None:
        self._frame_s = 1.0 / frame_rate_hz
        self._next_s = time.perf_counter()
        self._line = self._on_screen = ""

    def draw(self, height: float, words: str) -> None:
        """Compose the line."""
        n_full = round(30 * height)
        self._line = "[" + "#" * n_full + "." * (30 - n_full) + "] " + words

    def flip(self) -> float:
        """Print the line if it is another, at the next frame."""
        self._next_s = max(self._next_s + self._frame_s, time.perf_counter())
        time.sleep(max(0.0, self._next_s - time.perf_counter()))
        if self._line != self._on_screen:
            self._on_screen = self._line
            sys.stdout.write(self._line + "\n")
            sys.stdout.flush()
        return time.perf_counter()

    def keys(self) -> list[str]:
        """A terminal has none; emulators press theirs through the door."""
        return []

    def close(self) -> None:
        """Nothing is held."""


class PsychoPyScreen:
    """A bar on PsychoPy's window."""

    def __init__(self) -> None:
        from psychopy import event, visual  # noqa: PLC0415 - a gigabyte, where it is wanted

        self._event = event
        self._window = visual.Window(fullscr=True, color="black", units="height")
        self._bar = visual.Rect(self._window, width=0.12, height=0.01, fillColor="white", lineColor=None)
        self._text = visual.TextStim(self._window, pos=(0, -0.42), height=0.04)

    def draw(self, height: float, words: str) -> None:
        """Draw both."""
        self._bar.height = max(0.8 * height, 0.005)
        self._bar.pos = (0, -0.35 + self._bar.height / 2)
        self._text.text = words
        self._bar.draw()
        self._text.draw()

    def flip(self) -> float:
        """Wait for the screen's next refresh."""
        self._window.flip()
        return time.perf_counter()

    def keys(self) -> list[str]:
        """Of the keyboard, or of a response box that looks like one."""
        return list(self._event.getKeys())

    def close(self) -> None:
        """Close the window."""
        self._window.close()


def run(feed: Innerear, screen: Screen, seconds: float) -> int:
    """Show feedback until the session has ended; how many values were shown."""
    n_shown, n_pulses, held, asking = 0, 0, 0.0, False
    seen: Value | None = None
    end_s = time.perf_counter() + seconds
    while feed.state not in ("ended", "offline") and time.perf_counter() < end_s:
        value = feed.latest()
        fresh = value is not None and value is not seen
        if fresh and value.phase == "rate" and (seen is None or seen.phase != "rate"):
            asking = True
        if value is not None and value.feedback is not None and not feed.stale:
            held = value.feedback  # what is not known leaves the bar where it was
        screen.draw(held, "How vivid was it? 1 2 3 4" if asking else words_for(feed, value))
        shown_s = screen.flip()
        if fresh:
            feed.shown(value, shown_s)
            seen, n_shown = value, n_shown + 1
        for key in screen.keys() + feed.keys():
            if key == "escape":
                return n_shown
            n_pulses += key == TRIGGER
            if asking and key in RATINGS:
                feed.rate(float(key), "vividness")
                asking = False
    sys.stdout.write(f"{n_shown} values shown, {n_pulses} trigger pulses\n")
    return n_shown


def words_for(feed: Innerear, value: Value | None) -> str:
    """What stands below the bar."""
    if feed.stale:
        return f"waiting: {feed.stale}"
    if value is None or value.feedback is None:
        return "..."
    return f"{value.feedback:.2f} {value.genre}"


def main() -> int:
    """Run the task; 1 with a sentence when the door does not serve it."""
    options = argparse.ArgumentParser(description="A feedback bar.")
    options.add_argument("--door", default="tcp://127.0.0.1:5578")
    options.add_argument("--seconds", type=float, default=3600.0, help="end after this time at the latest")
    options.add_argument("--screen", choices=("auto", "psychopy", "terminal"), default="auto")
    options.add_argument("--keys", nargs=2, metavar=("OWN.key_secret", "DOOR.key"), help="beyond this computer")
    asked = options.parse_args()
    with Innerear(asked.door, "example task", tuple(asked.keys) if asked.keys else None) as feed:
        try:
            feed.ready(10.0)  # before the person lies in the scanner
        except Refused as refusal:
            sys.stderr.write(f"{refusal}\n")
            return 1
        screen = open_screen(asked.screen)
        try:
            run(feed, screen, asked.seconds)
        finally:
            screen.close()
    return 0


def open_screen(which: str) -> Screen:
    """PsychoPy's window where there is PsychoPy, unless the terminal is asked for."""
    if which != "terminal":
        try:
            return PsychoPyScreen()
        except ImportError:
            if which == "psychopy":
                raise
    return Terminal(60.0)


if __name__ == "__main__":
    sys.exit(main())
