"""Journal entries folded into documents and cues: the one way, live, on resuming and on replay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realtime.bundle import check_fits
from realtime.errors import RealtimeError
from realtime.messages import Condition, Cue, Rendering
from realtime.session.attempts import Attempt
from realtime.session.core import LiveCore
from realtime.session.entries import EventEntry, read_entry
from realtime.session.events import check_design_fits, check_events_fit
from realtime.session.journal import JournalRecord, Kind
from realtime.session.parts import Parts
from realtime.session.record import RECORD_FORMAT, Document
from realtime.session.steps import Intake, Percept, Step
from scanner_bridge.errors import WireError
from scanner_bridge.volume import RunEnd, RunHeader, Volume
from scanner_bridge.wire import decode, unpack


@dataclass(frozen=True, eq=False)
class Perceived:
    """An entry after preprocessing and decoding, before any decision.

    Attributes
    ----------
    percepts : tuple of Percept
        Volume indices this entry brought, gaps included, in order.
    cue : Cue or None
        Of an event, which needs no decision.
    volume : Volume or None
        The volume that came, if one did.
    """

    percepts: tuple[Percept, ...] = ()
    cue: Cue | None = None
    volume: Volume | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """An entry after its decisions.

    Attributes
    ----------
    steps : tuple of Step
        One per volume index.
    cue : Cue or None
        The last one, for the player.
    condition : Condition or None
        The last one, for the generator.
    rendering : Rendering or None
        The last one, for the player.
    """

    steps: tuple[Step, ...]
    cue: Cue | None
    condition: Condition | None = None
    rendering: Rendering | None = None

    def after(self, earlier: "Outcome") -> "Outcome":
        """What holds after both, without steps: for going on where an earlier life of the session was."""
        return Outcome((), self.cue or earlier.cue, self.condition or earlier.condition,
                       self.rendering or earlier.rendering)


class SessionFold:
    """Feeds journal records, in order, to the core and its documents to `write`."""

    def __init__(self, parts: Parts, about: Document, write: Callable[[Document], None]) -> None:
        self._parts, self._about, self._write = parts, about, write
        self.attempts: list[Attempt] = []
        self.core: LiveCore | None = None
        self.stopped = False
        self.n_steps = 0
        self._early: list[EventEntry] = []
        self._notes: list[str] = []

    @property
    def header(self) -> RunHeader | None:
        """Of the present attempt; None before the first."""
        return self.attempts[-1].header if self.attempts else None

    @property
    def end(self) -> RunEnd | None:
        """Of the present attempt; None while it goes on."""
        return self.attempts[-1].end if self.attempts else None

    @property
    def over(self) -> bool:
        """Whether no attempt can follow: the run is complete, or the session was stopped."""
        return self.stopped or (bool(self.attempts) and self.attempts[-1].complete)

    @property
    def blinded(self) -> bool:
        """Whether nobody may be told what is decoded and played."""
        return self._parts.design is not None and self._parts.design.blinded

    @property
    def longest_interval_s(self) -> float:
        """From one volume's start to the next at most; a design may have silent gaps. 0 before the first header."""
        if self._parts.design is not None:
            return self._parts.design.acquisition.longest_interval_s
        return self.header.tr_s if self.header is not None else 0.0

    @property
    def waits_for_volume(self) -> bool:
        """Whether volumes are held for one that should have come before them."""
        return self.core is not None and self.end is None and self.core.waits_for_volume

    def begins_attempt(self, header: RunHeader) -> bool:
        """Whether this header is of another acquisition that the session may take as its next attempt."""
        return not self.over and all(attempt.header.run_id != header.run_id for attempt in self.attempts)

    @property
    def waits_for_start(self) -> bool:
        """Whether decisions are, or will be, held until the operator's `start`."""
        if self.core is not None:
            return self.core.waits_for_start
        return self._parts.wait_for_start and all(entry.name != "start" for entry in self._early)

    def take_notes(self) -> tuple[str, ...]:
        """What the operator should hear of, since the last call: messages that were kept and not used."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def perceive(self, record: JournalRecord) -> Perceived:
        """Take in one record; whatever it holds becomes a percept, a note, or nothing, never an error."""
        entry = read_entry(record)
        if isinstance(entry, EventEntry):
            return self._event(entry)
        if record.kind is Kind.REJECTED:
            return self._reject("its bytes arrived damaged three times; they are kept in the journal")
        try:
            message = decode(unpack(entry.blob))
        except WireError as exc:
            return self._reject(f"its bytes cannot be read ({exc}); they are kept in the journal")
        return self._message(message)

    def decide(self, perceived: Perceived) -> Outcome:
        """Decide for every volume index of one record, and document it."""
        cue, condition, rendering, steps = perceived.cue, None, None, []
        for percept in perceived.percepts:
            assert self.core is not None  # a percept exists, so a header came
            step = self.core.decide(percept)
            self._write(step.document)
            cue = self._document_cue(step.cue) or cue
            condition = step.condition or condition
            rendering = step.rendering or rendering
            steps.append(step)
        self.n_steps += len(steps)
        return Outcome(tuple(steps), cue, condition, rendering)

    def check(self, header: RunHeader) -> None:
        """Refuse a run before anything of it is acknowledged.

        Raises
        ------
        BundleError, EventsError
            The run does not fit the bundle or the events.
        """
        check_fits(self._parts.bundle, header)
        if self._parts.design is not None:
            check_design_fits(self._parts.design, header.n_volumes, header.tr_s)
        check_events_fit(self._parts.events, header.n_volumes, header.tr_s, self._parts.events_name)

    def feed(self, record: JournalRecord) -> Outcome:
        """Perceive and decide in one go: for resuming and replay."""
        return self.decide(self.perceive(record))

    def _message(self, message: RunHeader | Volume | RunEnd) -> Perceived:
        if isinstance(message, RunHeader):
            return self._open(message)
        if self.core is None or self.header is None:
            self._note(f"a {type(message).__name__} came before any run header; it is kept in the journal")
            return Perceived()
        if message.run_id != self.header.run_id:
            self._note(f"run {message.run_id!r} is not this session's run {self.header.run_id!r}; kept, not used")
            return Perceived()
        if self.end is not None:
            self._note(f"attempt {len(self.attempts)} is over; what came of it afterwards is kept, not used")
            return Perceived()
        if isinstance(message, RunEnd):
            return self._close(message)
        return Perceived(self._noted(self.core.perceive(message)), volume=message)

    def _noted(self, intake: Intake) -> tuple[Percept, ...]:
        for document in intake.documents:
            self._write(document)
        self._notes += intake.alarms
        return intake.percepts

    def _open(self, header: RunHeader) -> Perceived:
        current = self.attempts[-1] if self.attempts else None
        if not self.begins_attempt(header):
            if current is not None and current.header.run_id == header.run_id and current.may_go_on and not self.over:
                self.attempts[-1] = current.gone_on()
                self._note(f"run {header.run_id!r} goes on after it was cut off")
            elif current is None or current.header.run_id != header.run_id or current.end is not None:
                self._note(f"run {header.run_id!r} began again or is another, and this session's run is over: its "
                           "volumes are kept, not used; start another session for it")
            return Perceived()
        if current is None:
            return Perceived(cue=self._begin(header))
        try:
            self.check(header)
        except RealtimeError as exc:
            self._note(f"run {header.run_id!r} is no attempt at this session's run: {exc}; it is kept, not used")
            return Perceived()
        cue = None
        if current.end is None:
            cue = self._abort(RunEnd(current.header.run_id, self._next_index(), "aborted", "another run began"))
        self._write({**self.stop_document(), "doc": "end"})
        return Perceived(cue=self._begin(header) or cue)

    def _begin(self, header: RunHeader) -> Cue | None:
        number = len(self.attempts) + 1
        first_cue = 0 if self.core is None else self.core.next_cue
        self.attempts.append(Attempt(number, header))
        self.core = LiveCore(header, self._parts, first_cue)
        self._write({"doc": "start", "format": RECORD_FORMAT, "attempt": number, "run": describe_run(header),
                     **self._about})
        cue = self._document_cue(self.core.begin())
        early, self._early = self._early, []
        for entry in early:
            cue = self._event(entry).cue or cue
        return cue

    def _close(self, end: RunEnd) -> Perceived:
        assert self.core is not None
        if end.trigger is not None and (end.trigger.n_missing or end.trigger.n_extra):
            self._note(f"trigger: {end.trigger.sentence}")
        if end.status == "aborted":
            return Perceived(self._noted(self.core.give_up_waiting()), cue=self._abort(end))
        last = self._noted(self.core.finish(end.n_volumes))
        self.attempts[-1] = self.attempts[-1].ended(end)
        return Perceived(last)

    def _abort(self, end: RunEnd, by_operator: bool = False) -> Cue | None:
        """End the attempt, and its music."""
        assert self.core is not None
        self.attempts[-1] = self.attempts[-1].ended(end, by_operator)
        return self._document_cue(self.core.silence())

    def _next_index(self) -> int:
        assert self.core is not None
        return self.core.next_index

    def _event(self, entry: EventEntry) -> Perceived:
        self.stopped = self.stopped or entry.name == "aborted"
        if self.core is None:
            self._early.append(entry)  # counts from the run's first volume on
            if entry.name == "aborted":
                self._early.clear()
            return Perceived()
        reaction = self.core.event(entry.name, entry.text, entry.value)
        for document in reaction.documents:
            self._write(document)
        cue = self._document_cue(reaction.cue)
        percepts = self._noted(self.core.give_up_waiting()) if entry.name == "overdue" else ()
        if entry.name in ("abort", "aborted") and self.header is not None and self.end is None:
            end = RunEnd(self.header.run_id, self._next_index(), "aborted", entry.text)
            cue = self._abort(end, by_operator=True) or cue
        return Perceived(percepts, cue)

    def _reject(self, reason: str) -> Perceived:
        if self.core is None:
            self._note(f"a message before any run header cannot be used: {reason}")
            return Perceived()
        return Perceived(self._noted(self.core.reject(reason)))

    def _note(self, text: str) -> None:
        self._notes.append(text)
        if self.core is not None:
            self._write({"doc": "note", "volume": self.core.next_index, "text": text})

    def _document_cue(self, cue: Cue | None) -> Cue | None:
        if cue is not None:
            self._write({"doc": "cue", "number": cue.number, "volume": cue.volume_index, "clip_id": cue.clip_id})
        return cue

    def stop_document(self) -> Document:
        """The last document: how the run ended, and the totals."""
        assert self.core is not None
        end, counts = self.end, self.core.counts
        trigger = {} if end is None or end.trigger is None else {"trigger": vars(end.trigger)}
        return {"doc": "stop", "attempt": len(self.attempts), "status": "aborted" if end is None else end.status,
                "reason": "the run did not end" if end is None else end.reason,
                "volumes_sent": None if end is None else end.n_volumes, **vars(counts), **trigger}


def describe_run(header: RunHeader) -> dict[str, Any]:
    """The run header as the record keeps it; clocks are left out, they are not part of any decision."""
    return {"run_id": header.run_id, "shape": list(header.shape), "dtype": header.dtype,
            "affine": [float(value) for value in header.affine.ravel()], "tr_s": header.tr_s,
            "n_volumes": header.n_volumes, "source": header.source}
