"""What a live session tells: status and alarms on the bus, times in the timing file. Decides nothing."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from realtime.ports import MessageBus
from realtime.session.blinding import blinded, release_s
from realtime.session.fold import Outcome, Perceived, SessionFold
from realtime.session.pictures import Pictures
from realtime.session.record import DocumentLog
from realtime.session.steps import Step
from realtime.topics import PROTOCOL
from scanner_bridge.clock_offset import SAME_CLOCK, ClockOffset
from scanner_bridge.peers import LinkStatus
from scanner_bridge.server import Received
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)

Severity = Literal["person", "data", "note"]
"""Of an alarm: it concerns the person and the sound; data or decisions are being lost; worth knowing."""

_PICTURES_APART_S = 0.4
_HIDDEN = "something about the music or the decoder needs looking at; it is in the session's log"



@dataclass(frozen=True)
class Stamps:
    """Monotonic times of one message: on disk, embedded, decided."""

    journaled_s: float
    embedded_s: float
    decided_s: float


@dataclass(frozen=True)
class _Arrival:
    """When a volume was due (by this host's clock; None when not known), came, and was on disk."""

    due_s: float | None
    received_s: float
    journaled_s: float
    clock: ClockOffset | None


@dataclass
class Telling:
    """Where the session's words go.

    Attributes
    ----------
    bus : MessageBus
        Status out.
    timing : DocumentLog
        When things happened, by this host's monotonic clock.
    clock_id : str
        Of that clock.
    pictures : Pictures or None
        Draws what the console shows of a volume.
    blinded : bool
        Tell nothing that an arm may change, and when no arm moves (`realtime.session.blinding`).
    """

    bus: MessageBus
    timing: DocumentLog
    clock_id: str
    pictures: Pictures | None = None
    blinded: bool = False
    _pictured_s: float = -1e9
    _told: set[str] = field(default_factory=set)
    _refused: int = 0
    _line: str = ""
    _arrived: dict[tuple[int, int], _Arrival] = field(default_factory=dict)

    def about(self, about: dict[str, Any]) -> None:
        """What the session is, for those who come later, too."""
        self._publish("about", {"protocol": PROTOCOL, **about, "blinded": self.blinded}, retain=True)

    def state(self, state: str, **more: Any) -> None:
        """What the session is doing."""
        self._publish("state", {"state": state, **more}, retain=True)

    def sound(self, counters: dict[str, Any]) -> None:
        """What the player counts, and what it plays."""
        self._publish("sound", counters)

    def self_check(self, found: dict[str, Any], attempt: int) -> None:
        """How near what really left is to what was chosen and decoded."""
        self.timing.append({"attempt": attempt, "self_check": found})
        self._publish("self_check", found)

    def alarm(self, text: str, severity: Severity = "data", *, of_arm: bool = False) -> None:
        """Something the operator should act on; `of_arm` where a blinded operator may not know what it is."""
        if of_arm and self.blinded:
            logger.debug("%s", text)
            text = _HIDDEN
        logger.error("%s", text)
        self._publish("alarm", {"text": text, "severity": severity})

    def alarm_once(self, text: str) -> None:
        """The same, and not again in the same words."""
        if text and text not in self._told:
            self._told.add(text)
            self.alarm(text)

    def _publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        self.bus.publish(topic, blinded(topic, payload) if self.blinded else payload, retain=retain)

    def _publish_about(self, topic: str, payload: dict[str, Any], received_s: float) -> None:
        """Tell of something that came at this time; a blinded session tells at times that no arm moves."""
        if not self.blinded:
            self._publish(topic, payload)
            return
        loop = asyncio.get_running_loop()
        loop.call_at(release_s(received_s, loop.time()), self._publish, topic, payload)

    def link(self, status: LinkStatus) -> None:
        """Who is at the other end of the line, and who was refused."""
        self._publish("link", {"text": status.sentence, "bridges": status.n_bridges, "tried": status.tried,
                               "let_in": status.let_in, "refused": status.refused}, retain=True)
        if status.sentence != self._line:
            self._line = status.sentence
            logger.info("%s", status.sentence)
        n_refused = sum(status.refused.values())
        if n_refused >= max(2 * self._refused, 1):  # at 1, 2, 4, 8 ...: a flood is no flood of alarms
            self._refused = n_refused
            reasons = ", ".join(f"{reason} ({count} times)" for reason, count in sorted(status.refused.items()))
            self.alarm(f"connections to the bridge's port were refused: {reasons}; check who else uses that address, "
                       "the keys, and that both hosts run the same release")

    def message(self, received: Received, fold: SessionFold, perceived: Perceived, outcome: Outcome,
                stamps: Stamps) -> None:
        """What came of a message, and how long it took."""
        for text in (*fold.take_notes(), self.timing.trouble):
            self.alarm_once(text)
        header, volume = fold.header, perceived.volume
        if header is None:
            return
        if volume is not None:
            clock = SAME_CLOCK if header.clock_id == self.clock_id else received.clock
            came = _Arrival(_here(float(volume.due_s), clock), received.received_s, stamps.journaled_s, clock)
            self._arrived.setdefault((len(fold.attempts), volume.index), came)
        self.steps(fold, outcome, stamps)
        if isinstance(received.message, RunHeader) and fold.end is None:
            self.running(fold)
        if volume is not None:
            self._picture(volume, outcome, header.run_id, received.received_s, stamps)

    def running(self, fold: SessionFold) -> None:
        """Volumes of an attempt come, or come again."""
        header = fold.header
        if header is not None:
            self.state("running", source=header.source, n_volumes=header.n_volumes, tr_s=header.tr_s,
                       attempt=len(fold.attempts))

    def _picture(self, volume: Volume, outcome: Outcome, run: str, received_s: float, stamps: Stamps) -> None:
        """Three slices of it, now and then; after the decision, so that no decision waits for them."""
        if self.pictures is None or stamps.decided_s - self._pictured_s < _PICTURES_APART_S:
            return
        self._pictured_s = stamps.decided_s
        motion = next((step.percept.preprocessed.motion for step in reversed(outcome.steps)
                       if step.percept.preprocessed is not None), None)
        try:
            planes = self.pictures.draw(volume.data, volume.affine, motion, run)
        except (ValueError, IndexError, np.linalg.LinAlgError):  # a volume that is not what its header says
            return
        self._publish_about("slices", {"volume": volume.index, "planes": planes}, received_s)

    def steps(self, fold: SessionFold, outcome: Outcome, stamps: Stamps) -> None:
        """What was decided, each from when its volume was due; a gap has no such time."""
        core, header, attempt = fold.core, fold.header, len(fold.attempts)
        if core is None or header is None:
            return
        totals = {"n_volumes": header.n_volumes, "gaps": core.counts.gaps, "rejected": core.counts.rejected,
                  "censored": core.counts.censored, "tr_s": header.tr_s, "attempt": attempt}
        for sequence, step in enumerate(outcome.steps, fold.n_steps - len(outcome.steps)):
            came = self._arrived.pop((attempt, step.percept.volume_index), None)
            if came is not None:
                self._time(attempt, step, came, stamps)
            shown = {key: value for key, value in step.document.items() if key not in ("doc", "motion")}
            shown["embedding"] = shown["embedding"] or ""
            shown |= {"sequence": sequence, "six_motions": self._six(step), **_waterfall(came, stamps), **totals}
            self._publish_about("step", shown, stamps.journaled_s if came is None else came.received_s)

    def _six(self, step: Step) -> list[float] | None:
        result = step.percept.preprocessed
        return None if result is None or self.pictures is None else self.pictures.six(result.motion).to_list()

    def _time(self, attempt: int, step: Step, came: _Arrival, stamps: Stamps) -> None:
        clock = came.clock
        self.timing.append({
            "attempt": attempt, "volume": step.percept.volume_index, "due_s": came.due_s,
            "received_s": came.received_s, "journaled_s": came.journaled_s, "embedded_s": stamps.embedded_s,
            "decided_s": stamps.decided_s, "embedded": step.posterior is not None,
            "clock_offset_s": clock and clock.offset_s, "clock_uncertainty_s": clock and clock.uncertainty_s,
            "clock_drift_ppm": clock and clock.drift_ppm})


def _waterfall(came: _Arrival | None, stamps: Stamps) -> dict[str, float | None]:
    """Milliseconds from when the volume was due (came, where that is not known) until each stage was done."""
    if came is None:
        return dict.fromkeys(("received_ms", "journaled_ms", "embedded_ms", "latency_ms"))
    begun_s = came.received_s if came.due_s is None else came.due_s
    stages = {"received_ms": came.received_s, "journaled_ms": came.journaled_s, "embedded_ms": stamps.embedded_s,
              "latency_ms": stamps.decided_s}
    return {name: round(1000 * (at_s - begun_s), 2) for name, at_s in stages.items()}


def _here(due_s: float, clock: ClockOffset | None) -> float | None:
    """A time of the bridge's clock by ours; None when it or the clocks' offset is not known."""
    return due_s - clock.offset_s if clock is not None and np.isfinite(due_s) else None
