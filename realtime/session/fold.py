"""Journal entries folded into documents and cues: the one way, live, on resuming and on replay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realtime.bundle import check_fits
from realtime.messages import Cue
from realtime.session.core import LiveCore, Parts
from realtime.session.entries import EventEntry, read_entry
from realtime.session.events import check_events_fit
from realtime.session.journal import JournalRecord, Kind
from realtime.session.record import Document
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
    """

    steps: tuple[Step, ...]
    cue: Cue | None


class SessionFold:
    """Feeds journal records, in order, to the core and its documents to `write`."""

    def __init__(self, parts: Parts, about: Document, write: Callable[[Document], None]) -> None:
        self._parts, self._about, self._write = parts, about, write
        self.header: RunHeader | None = None
        self.core: LiveCore | None = None
        self.end: RunEnd | None = None
        self._early: list[EventEntry] = []
        self._notes: list[str] = []

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
        cue, steps = perceived.cue, []
        for percept in perceived.percepts:
            assert self.core is not None  # a percept exists, so a header came
            step = self.core.decide(percept)
            self._write(step.document)
            cue = self._document_cue(step.cue) or cue
            steps.append(step)
        return Outcome(tuple(steps), cue)

    def check(self, header: RunHeader) -> None:
        """Refuse a run before anything of it is acknowledged.

        Raises
        ------
        BundleError, EventsError
            The run does not fit the bundle or the events.
        """
        check_fits(self._parts.bundle, header)
        check_events_fit(self._parts.events, header.n_volumes, header.tr_s, self._parts.events_name)

    def feed(self, record: JournalRecord) -> Outcome:
        """Perceive and decide in one go: for resuming and replay."""
        return self.decide(self.perceive(record))

    def _message(self, message: RunHeader | Volume | RunEnd) -> Perceived:
        if isinstance(message, RunHeader):
            self._open(message)
            return Perceived()
        if self.core is None or self.header is None:
            self._note(f"a {type(message).__name__} came before any run header; it is kept in the journal")
            return Perceived()
        if message.run_id != self.header.run_id:
            self._note(f"run {message.run_id!r} is not this session's run {self.header.run_id!r}; kept, not used")
            return Perceived()
        if isinstance(message, RunEnd):
            return self._close(message)
        intake: Intake = self.core.perceive(message)
        for document in intake.documents:
            self._write(document)
        return Perceived(intake.percepts, volume=message)

    def _open(self, header: RunHeader) -> None:
        if self.header is not None:
            if header.run_id != self.header.run_id:
                self._note(f"a second run {header.run_id!r} began; this session's run is {self.header.run_id!r}: "
                           "start another session for it")
            return
        self.header, self.core = header, LiveCore(header, self._parts)
        self._write({"doc": "start", "run": describe_run(header), **self._about})
        early, self._early = self._early, []
        for entry in early:
            self._event(entry)

    def _close(self, end: RunEnd) -> Perceived:
        assert self.core is not None
        missing = self.core.finish(end.n_volumes) if end.status == "complete" else ()
        self.end = end
        return Perceived(missing)

    def _event(self, entry: EventEntry) -> Perceived:
        if self.core is None:
            self._early.append(entry)  # counts from the run's first volume on
            if entry.name == "aborted":
                self._early.clear()
            return Perceived()
        if entry.name == "aborted" and self.header is not None and self.end is None:
            self.end = RunEnd(self.header.run_id, self.core.next_index, "aborted", entry.text)
        reaction = self.core.event(entry.name, entry.text, entry.value)
        for document in reaction.documents:
            self._write(document)
        return Perceived(cue=self._document_cue(reaction.cue))

    def _reject(self, reason: str) -> Perceived:
        if self.core is None:
            self._note(f"a message before any run header cannot be used: {reason}")
            return Perceived()
        return Perceived((self.core.reject(reason),))

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
        return {"doc": "stop", "status": "aborted" if end is None else end.status,
                "reason": "the run did not end" if end is None else end.reason,
                "volumes_sent": None if end is None else end.n_volumes, **vars(counts)}


def describe_run(header: RunHeader) -> dict[str, Any]:
    """The run header as the record keeps it; clocks are left out, they are not part of any decision."""
    return {"run_id": header.run_id, "shape": list(header.shape), "dtype": header.dtype,
            "affine": [float(value) for value in header.affine.ravel()], "tr_s": header.tr_s,
            "n_volumes": header.n_volumes, "source": header.source}
