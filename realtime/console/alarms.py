"""Few alarms, the worst first, each a sentence with what to do. Pure."""

from dataclasses import dataclass
from typing import Literal

from realtime.console.story import Story
from realtime.console.visiting import LIKELY

Severity = Literal["person", "data", "note"]
ORDER = ("person", "data", "note")
LITTLE_DISK_BYTES = 1_000_000_000
SILENT_S = 1.6  # the player tells its counters twice a second
LATE_S = 0.5
TROUBLE_SHOWN_S = 30.0
DOSE_WARNING_PERCENT = 80.0
_MOVED, _OF_LAST = 3, 10


@dataclass(frozen=True)
class Alarm:
    """Something to act on.

    Attributes
    ----------
    severity : {"person", "data", "note"}
        It concerns the person and the sound; data or decisions are being lost; worth knowing.
    text : str
        What it is.
    remedy : str
        What to do; "" where the text says so.
    count : int
        How often it was told.
    """

    severity: Severity
    text: str
    remedy: str = ""
    count: int = 1


def alarms(story: Story, now_s: float) -> tuple[Alarm, ...]:
    """Everything wrong at this moment, and what the live program told that nobody has acknowledged."""
    found = [*_of_sound(story, now_s), *_of_programs(story, now_s), *_of_volumes(story, now_s), *_of_visit(story),
             *_of_machine(story)]
    told = [Alarm(_severity(told.severity), told.text, "", told.count)
            for told in sorted(story.told, key=lambda told: -told.at_s)]
    return tuple(sorted([*found, *told], key=lambda alarm: ORDER.index(alarm.severity)))


def lateness_s(story: Story, now_s: float) -> float | None:
    """How long the next volume has been due; negative before it is; None where none is waited for."""
    if story.state not in ("running", "stale") or story.volume_s is None or story.tr_s <= 0:
        return None
    if story.n_volumes is not None and story.volume + 1 >= story.n_volumes:
        return None
    return now_s - story.volume_s - story.tr_s


def _of_sound(story: Story, now_s: float) -> list[Alarm]:
    found = []
    if story.here.stopped:
        found.append(Alarm("person", "STOP holds: the sound is off, whatever the other programs do.",
                           "Speak to the person. L, twice, lets it sound again."))
    sound = story.sound
    if sound is not None and story.active and (sound.dose_percent or 0.0) >= DOSE_WARNING_PERCENT:
        found.append(Alarm("person", f"{sound.dose_percent:.0f} % of a day's sound dose is used up.",
                           "Lower the volume; at 100 % the sound stops."))
    over = story.n_volumes is not None and story.volume + 1 >= story.n_volumes  # it is about to end, and falls silent
    if (story.connected and story.active and not over and story.sound_s is not None
            and now_s - story.sound_s > SILENT_S):
        found.append(Alarm("person", f"Live program and player have said nothing for {now_s - story.sound_s:.0f} s.",
                           "If the sound should stop, press STOP: it needs neither of them. Then A starts them again."))
    return found


def without_program(story: Story) -> bool:
    """Whether there is no broker because the program that runs it is not there."""
    return story.connected is False and story.here.embedded and not story.here.recorded_by


def _of_programs(story: Story, now_s: float) -> list[Alarm]:
    if story.connected is False and story.here.embedded and (story.volume < 0 or story.state == "ended"):
        return []  # it comes, or went, with its program
    if without_program(story):
        return [Alarm("data", "The live program is gone in the middle of the session, and its broker with it.",
                      "A starts them again: it goes on where it was, and no volume is lost.")]
    if story.connected is False:
        return [Alarm("data", "The broker does not answer: nothing below is up to date, and no command arrives.",
                      "The session goes on and records. Start the broker again; STOP works all the same.")]
    if story.state == "offline" and story.volume >= 0 and now_s >= story.since_s:
        return [Alarm("data", "The live program is gone in the middle of the session.",
                      "A starts it again: it goes on where it was, and no volume is lost.")]
    if story.state in ("running", "stale") and story.bridges == 0:
        return [Alarm("data", "The bridge is gone; volumes wait on the scanner's host.",
                      "Start `innerear bridge serve` there again: it sends what is missing.")]
    return []


def _of_volumes(story: Story, now_s: float) -> list[Alarm]:
    found = []
    late_s = lateness_s(story, now_s)
    if late_s is not None and late_s > max(LATE_S, 0.25 * story.tr_s) and story.bridges != 0:
        found.append(Alarm("data", f"Volume {story.volume + 2} is {late_s:.1f} s late, and the bridge is there.",
                           "Does the scanner scan? Then look at its export and at the share."))
    if story.trouble and now_s - story.trouble_s < TROUBLE_SHOWN_S:
        gaps, rejected, _ = story.counts
        gone = "never came" in story.trouble
        found.append(Alarm("data", _sentence(story.trouble) + (f" {gaps} lost so far." if gone else
                                                               f" {rejected} refused so far."),
                           "The run goes on without it." if gone else
                           "If the protocol was changed: abort, and scan with the decoder's own."))
    last = story.points[-_OF_LAST:]
    if sum(point.status == "CENSORED" for point in last) >= _MOVED:
        worst = max(point.fd_mm or 0.0 for point in last)
        found.append(Alarm("data", f"The head moves: up to {worst:.1f} mm from one volume to the next.",
                           "Ask the person to lie still; such volumes are not used."))
    slow = [point.stages_ms[-1] for point in last if point.stages_ms[-1] is not None]
    if story.tr_s > 0 and len(slow) >= _MOVED and min(slow[-_MOVED:]) > 1000 * story.tr_s:
        found.append(Alarm("data", f"Decisions come {slow[-1] / 1000:.1f} s after their volumes: more than one TR.",
                           "Close other programs on this machine."))
    if story.waits_for_start and story.active:
        found.append(Alarm("note", "All decisions wait for your start.", "Press S when the person is ready."))
    return found


def _of_visit(story: Story) -> list[Alarm]:
    visit = story.visit
    if visit is None or visit.waiting != "accept":
        return []
    if visit.lie is None:
        return [Alarm("data", f"The picture of {visit.run} could not be made; the program's log says why.",
                      "X has the reference recorded again.")]
    if visit.lie.likely:
        return []
    return [Alarm("person", f"This head does not look like {visit.subject}'s: it correlates "
                            f"{visit.lie.correlation:.2f} with the training reference, wanted {LIKELY} or more.",
                  "Is it the right person, and the right plan? If not, X or O, and mend it before anything else.")]


def _of_machine(story: Story) -> list[Alarm]:
    free = story.here.free_bytes
    if free is None or free >= LITTLE_DISK_BYTES:
        return []
    return [Alarm("data", f"The session's disk is nearly full: {free / 1e6:.0f} MB are left.",
                  "Delete something now: without room volumes wait at the bridge.")]


def _severity(name: str) -> Severity:
    return "person" if name == "person" else "note" if name == "note" else "data"


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
