"""What the page shows at one moment: the story and a time, looked at. Pure."""

from dataclasses import dataclass
from typing import Literal

from realtime.console.alarms import LATE_S, Alarm, alarms, lateness_s, without_program
from realtime.console.story import Point, Story
from realtime.console.visiting import Visit

Layout = Literal["before", "visit", "run"]


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
    """What the best clip's posterior stays below in 95 % of noise; element n-1: after n volumes.

    Attributes
    ----------
    heard, any_size : tuple of float
        For trials that were heard, and for responses of unknown size, of which the posterior promises less.
    """

    heard: tuple[float, ...]
    any_size: tuple[float, ...]

    def after(self, n_volumes: int, *, is_heard_trial: bool) -> float | None:
        """The band for so many volumes; None before the first."""
        p95 = self.heard if is_heard_trial else self.any_size
        return p95[min(n_volumes, len(p95)) - 1] if n_volumes > 0 and p95 else None


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
    layout : {"before", "visit", "run"}
        What fills the page: the preflight, the plan of a visit, or what a run's volumes say.
    visit : Visit or None
        Where the visit stands, while its program is there or after its end.
    """

    story: Story
    headline: Headline
    clock: Clock
    alarms: tuple[Alarm, ...]
    stopped: bool
    keys: frozenset[str]
    point: Point | None
    layout: Layout
    visit: Visit | None

    @property
    def between(self) -> bool:
        """Whether a visit waits for a word, or is over."""
        return self.visit is not None and self.visit.between


def look(story: Story, now_s: float) -> View:
    """The page at this monotonic time."""
    stopped = story.here.stopped or (story.sound is not None and story.sound.stopped and story.active)
    visit = _visit(story)
    return View(story, _headline(story, visit), _clock(story, now_s), alarms(story, now_s), stopped,
                _keys(story, visit, stopped), story.points[-1] if story.points else None, _layout(story, visit), visit)


def _visit(story: Story) -> Visit | None:
    """Where it stands; None once its program is gone before its end: then that is what matters."""
    visit = story.visit
    return visit if visit is not None and (story.here.recorded_by or visit.waiting == "over") else None


def _layout(story: Story, visit: Visit | None) -> Layout:
    if visit is not None and (visit.between or story.volume < 0):
        return "visit"
    return "before" if story.volume < 0 else "run"


def _of_visit(visit: Visit) -> Headline:
    """While somebody has to say what comes next."""
    return {
        "go": Headline("YOUR TURN", f"{visit.place_label}: G begins it", "wait"),
        "accept": Headline("JUDGE THE PICTURE", f"{visit.place_label}: Y accepts, X refuses", "wait"),
        "in": Headline("SUBJECT OUT", "I when they are back in", "wait"),
        "over": Headline("VISIT OVER", f"{sum(run.n_done for run in visit.runs)} runs are recorded", "calm"),
    }.get(visit.waiting, Headline(visit.waiting.upper(), "", "wait"))


def _headline(story: Story, visit: Visit | None) -> Headline:
    if without_program(story):
        return Headline("NOT RUNNING" if story.volume >= 0 else "NOT STARTED",
                        "A goes on where it was" if story.volume >= 0 else "F checks everything, A arms the session",
                        "bad" if story.volume >= 0 else "wait")
    if story.connected is False and story.here.embedded and story.volume < 0:
        return Headline("STARTING", "its broker will answer in a moment", "wait")
    if story.connected is False:
        return Headline("NO BROKER", "what follows is the last that was heard", "bad")
    if story.connected is None:
        return Headline("CONNECTING", "waiting for the broker", "wait")
    if visit is not None and visit.between:
        return _of_visit(visit)
    run = "" if visit is None else f"{visit.label}: "
    attempt = run + (f"attempt {story.attempt}, " if story.attempt > 1 else "")
    of = f"TR {story.tr_s:g} s" if story.n_volumes is None else f"{story.n_volumes} volumes, TR {story.tr_s:g} s"
    headlines = {
        "": Headline("NOT STARTED", "F checks everything, A arms the session", "wait"),
        "armed": Headline("ARMED", f"{run}ready: start the scan", "calm"),
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


def _keys(story: Story, visit: Visit | None, stopped: bool) -> frozenset[str]:
    keys = {"stop", "acknowledge"}
    if stopped:
        keys.add("rearm")
    if visit is not None and visit.between and story.here.recorded_by:
        keys |= {"finish" if action == "end" else action for action in visit.actions}
    elif story.here.recorded_by:
        keys |= {"volume", "mute", "note"}
        keys |= {"pause", "abort", "retry", "mark"} if story.state in ("running", "stale") else set()
        keys |= {"start"} if story.waits_for_start else set()
        keys |= {"end"}
    else:
        keys |= {"arm", "preflight"}
    return frozenset(keys)
