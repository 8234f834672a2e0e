"""Attempts at a run, as record, timing and journal have them; their images come with the repeated session."""

from collections.abc import Iterator
from dataclasses import dataclass

from offline_training.bids.images import Storage, first_storage
from offline_training.bids.late import journalled
from offline_training.bids.recordings import Recording
from realtime.experiment.acquisition import Acquisition
from realtime.session.record import Document, read_documents
from realtime.session.replay import RepeatedStep
from scanner_bridge.volume import RunHeader


@dataclass(frozen=True, eq=False)
class Attempt:
    """One attempt, as far as its record and timing tell without its images."""

    recording: Recording
    number: int
    status: str
    reason: str
    documents: tuple[Document, ...]
    timing: tuple[Document, ...]
    storage: Storage | None

    @property
    def start(self) -> Document:
        """The head of its record."""
        return self.documents[0]

    @property
    def steps(self) -> list[Document]:
        """What came of each volume."""
        return [document for document in self.documents if document["doc"] == "step"]

    def stored(self, header: RunHeader) -> Storage:
        """How its volumes are stored."""
        return self.storage or Storage(header.dtype)

    @property
    def acquisition(self) -> Acquisition:
        """When its volumes were acquired."""
        design = self.recording.design
        return design.acquisition if design is not None else Acquisition(float(self.start["run"]["tr_s"]))


def attempts_of(recording: Recording) -> list[Attempt]:
    """All of a session's, in order."""
    groups: list[list[Document]] = []
    for document in read_documents(recording.folder.record):
        if document["doc"] == "start":
            groups.append([])
        groups[-1].append(document)
    timing, storages = list(read_documents(recording.folder.timing)), _storages(recording)
    return [Attempt(recording, number, str(known["status"]), str(known["reason"]), tuple(documents),
                    tuple(entry for entry in timing if entry["attempt"] == number), storages.get(known["run_id"]))
            for number, (documents, known) in enumerate(zip(groups, recording.attempts, strict=True), start=1)]


def _storages(recording: Recording) -> dict[str, Storage]:
    """How each acquisition's volumes can be stored, from a first look at all of them."""
    headers: dict[str, RunHeader] = {}
    storages: dict[str, Storage] = {}
    for message in journalled(recording.folder.journal):
        if isinstance(message, RunHeader):
            headers.setdefault(message.run_id, message)
        elif message.run_id in headers:
            known = storages.get(message.run_id) or first_storage(headers[message.run_id], message)
            storages[message.run_id] = known.with_volume(message)
    return storages


def by_attempt(steps: Iterator[RepeatedStep]) -> Iterator[tuple[int, Iterator[RepeatedStep]]]:
    """Steps grouped by attempt, as `itertools.groupby`; the last group is proven to the record's end."""
    waiting: list[RepeatedStep] = []

    def of(number: int, first: RepeatedStep) -> Iterator[RepeatedStep]:
        yield first
        for step in steps:
            if step.attempt != number:
                waiting.append(step)
                return
            yield step

    for step in steps:
        waiting.append(step)
        while waiting:
            first = waiting.pop()
            group = of(first.attempt, first)
            yield first.attempt, group
            for _ in group:  # what was not looked at
                pass
