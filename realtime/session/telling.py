"""What a live session tells: status and alarms on the bus, times in the timing file. Decides nothing."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtime.ports import MessageBus
from realtime.session.fold import Outcome, Perceived, SessionFold
from realtime.session.record import Document, DocumentLog
from realtime.session.steps import Step
from scanner_bridge.clock_offset import SAME_CLOCK, ClockOffset
from scanner_bridge.peers import LinkStatus
from scanner_bridge.server import Received
from scanner_bridge.volume import RunHeader

logger = logging.getLogger(__name__)


BLINDED = ("volume", "status", "reason", "fd_mm", "dvars_percent", "tsnr", "trial", "n", "phase", "masked")
"""Of a step, what is told where an allocation decides whose feedback is heard: nothing that was decoded or played."""


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
    """

    bus: MessageBus
    timing: DocumentLog
    clock_id: str
    _told: set[str] = field(default_factory=set)
    _refused: int = 0
    _line: str = ""
    _arrived: dict[tuple[int, int], _Arrival] = field(default_factory=dict)

    def state(self, state: str, **more: Any) -> None:
        """What the session is doing."""
        self.bus.publish("state", {"state": state, **more}, retain=True)

    def alarm(self, text: str) -> None:
        """Something the operator should act on."""
        logger.error("%s", text)
        self.bus.publish("alarm", {"text": text})

    def alarm_once(self, text: str) -> None:
        """The same, and not again in the same words."""
        if text and text not in self._told:
            self._told.add(text)
            self.alarm(text)

    def link(self, status: LinkStatus) -> None:
        """Who is at the other end of the line, and who was refused."""
        self.bus.publish("link", {"text": status.sentence, "bridges": status.n_bridges, "tried": status.tried,
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
            self.state("running", source=header.source, n_volumes=header.n_volumes, tr_s=header.tr_s,
                       attempt=len(fold.attempts))

    def steps(self, fold: SessionFold, outcome: Outcome, stamps: Stamps) -> None:
        """What was decided, each from when its volume was due; a gap has no such time."""
        core, header, attempt = fold.core, fold.header, len(fold.attempts)
        if core is None or header is None:
            return
        totals = {"n_volumes": header.n_volumes, "gaps": core.counts.gaps, "rejected": core.counts.rejected}
        for step in outcome.steps:
            came = self._arrived.pop((attempt, step.percept.volume_index), None)
            latency_ms = None
            if came is not None:
                self._time(attempt, step, came, stamps)
                begun_s = came.received_s if came.due_s is None else came.due_s
                latency_ms = round(1000 * (stamps.decided_s - begun_s), 2)
            shown = told_of(step.document, fold.blinded)
            self.bus.publish("step", {**shown, "latency_ms": latency_ms, **totals})

    def _time(self, attempt: int, step: Step, came: _Arrival, stamps: Stamps) -> None:
        clock = came.clock
        self.timing.append({
            "attempt": attempt, "volume": step.percept.volume_index, "due_s": came.due_s,
            "received_s": came.received_s, "journaled_s": came.journaled_s, "embedded_s": stamps.embedded_s,
            "decided_s": stamps.decided_s, "embedded": step.posterior is not None,
            "clock_offset_s": clock and clock.offset_s, "clock_uncertainty_s": clock and clock.uncertainty_s,
            "clock_drift_ppm": clock and clock.drift_ppm})


def told_of(document: Document, blinded: bool) -> Document:
    """What the bus hears of a step's document."""
    if blinded:
        return {key: document[key] for key in BLINDED}
    return {key: value for key, value in document.items() if key not in ("doc", "motion", "embedding")}


def _here(due_s: float, clock: ClockOffset | None) -> float | None:
    """A time of the bridge's clock by ours; None when it or the clocks' offset is not known."""
    return due_s - clock.offset_s if clock is not None and np.isfinite(due_s) else None
