"""What the page shows at one moment: the story and a time, looked at. Pure."""

from dataclasses import dataclass

from realtime.console.alarms import LATE_S, Alarm, alarms, lateness_s
from realtime.console.story import Point, Story


@dataclass(frozen=True)
class Headline:
    """The session in a word and a sentence; `tone` is "calm", "wait" or "bad"."""

    word: str
    sentence: str
    tone: str


@dataclass(frozen=True)
class Clock:
    """When the last volume came and the next is expected.

    Attributes
    ----------
    since_s : float or None
        Since the last; None before the first and between runs.
    expected_in_s : float or None
        Until the next; negative when it is late.
    share : float
        Of the repetition time that has passed, at most 1.
    late : bool
        Whether it is late enough to say so.
    """

    since_s: float | None
    expected_in_s: float | None
    share: float
    late: bool


@dataclass(frozen=True)
class ChanceBand:
    """Element n-1: what the best clip's posterior stays below in 95 % of noise, after n volumes."""

    p95: tuple[float, ...]

    def after(self, n_volumes: int) -> float | None:
        """The band for so many volumes; None before the first."""
        return self.p95[min(n_volumes, len(self.p95)) - 1] if n_volumes > 0 and self.p95 else None


@dataclass(frozen=True)
class View:
    """The page at one moment.

    Attributes
    ----------
    story : Story
        What panels draw.
    headline, clock, alarms
        See there; `alarms` are sorted, the worst first.
    stopped : bool
        STOP holds.
    keys : frozenset of str
        Names of the controls that would do something now.
    point : Point or None
        The last volume.
    """

    story: Story
    headline: Headline
    clock: Clock
    alarms: tuple[Alarm, ...]
    stopped: bool
    keys: frozenset[str]
    point: Point | None


def look(story: Story, now_s: float) -> View:
    """The page at this monotonic time."""
    stopped = story.here.stopped or (story.sound is not None and story.sound.stopped and story.active)
    return View(story, _headline(story), _clock(story, now_s), alarms(story, now_s), stopped, _keys(story, stopped),
                story.points[-1] if story.points else None)


def _headline(story: Story) -> Headline:
    if story.connected is False:
        return Headline("NO BROKER", "what follows is the last that was heard", "bad")
    if story.connected is None:
        return Headline("CONNECTING", "waiting for the broker", "wait")
    attempt = f"attempt {story.attempt}, " if story.attempt > 1 else ""
    of = f"TR {story.tr_s:g} s" if story.n_volumes is None else f"{story.n_volumes} volumes, TR {story.tr_s:g} s"
    headlines = {
        "": Headline("NOT STARTED", "F checks everything, A arms the session", "wait"),
        "armed": Headline("ARMED", "ready: start the scan", "calm"),
        "resumed": Headline("RESUMED", "went on after an interruption: waiting for the next volume", "calm"),
        "running": Headline("RUNNING", attempt + of, "calm"),
        "stale": Headline("NO VOLUMES", "the music has faded until they come again", "bad"),
        "aborted": Headline("ABORTED", f"attempt {story.attempt} is over ({story.reason or 'no reason given'}): start "
                                       "the scan again for the next", "wait"),
        "ended": Headline("ENDED", f"the run is {story.reason or 'over'}; everything is recorded", "calm"),
        "offline": Headline("NOT RUNNING", "no live program: A arms the session",
                            "bad" if story.volume >= 0 else "wait"),
    }
    return headlines.get(story.state, Headline(story.state.upper(), "", "wait"))


def _clock(story: Story, now_s: float) -> Clock:
    late_s = lateness_s(story, now_s)
    if late_s is None or story.volume_s is None:
        return Clock(None, None, 0.0, False)
    since_s = max(now_s - story.volume_s, 0.0)
    return Clock(since_s, -late_s, min(since_s / story.tr_s, 1.0), late_s > max(LATE_S, 0.25 * story.tr_s))


def _keys(story: Story, stopped: bool) -> frozenset[str]:
    keys = {"stop", "acknowledge"}
    if stopped:
        keys.add("rearm")
    if story.here.recorded_by:
        keys |= {"volume", "mute", "note"}
        keys |= {"pause", "abort", "retry", "mark"} if story.state in ("running", "stale") else set()
        keys |= {"start"} if story.waits_for_start else set()
        keys |= {"end"}
    else:
        keys |= {"arm", "preflight"}
    return frozenset(keys)
