"""Attempts at a session's run: each acquisition of it is one, from its header to its end. Values only.

A run that is aborted may be tried again while the live program stands: the next acquisition that fits
the session is the next attempt, with a state of its own. Nothing of the earlier one is edited; its
documents stay in the record before those of the next.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from realtime.session.record import Document
from scanner_bridge.volume import RunEnd, RunHeader


@dataclass(frozen=True, eq=False)
class Attempt:
    """One acquisition.

    Attributes
    ----------
    number : int
        Counts from 1.
    header : RunHeader
        `header.run_id` names the acquisition.
    end : RunEnd or None
        None while it goes on.
    by_operator : bool
        It was ended from this side: what the scanner sends of it afterwards is kept and not used.
    """

    number: int
    header: RunHeader
    end: RunEnd | None = None
    by_operator: bool = False

    @property
    def complete(self) -> bool:
        """Whether it came to its end by itself: there is nothing to try again."""
        return self.end is not None and self.end.status == "complete"

    @property
    def may_go_on(self) -> bool:
        """Whether the same acquisition, cut off on the way here, may go on."""
        return self.end is not None and self.end.status == "aborted" and not self.by_operator

    def ended(self, end: RunEnd, by_operator: bool = False) -> "Attempt":
        """The same, over."""
        return replace(self, end=end, by_operator=by_operator)

    def gone_on(self) -> "Attempt":
        """The same, going on."""
        return replace(self, end=None, by_operator=False)


def last_attempt(documents: Iterable[Document]) -> list[Document]:
    """Of a record: the documents of its last attempt, and the record's end."""
    kept: list[Document] = []
    for document in documents:
        if document["doc"] == "start":
            kept = []
        kept.append(document)
    return kept


def last_attempt_timing(timing: Iterable[Document]) -> list[Document]:
    """Of a timing file: the entries of its last attempt."""
    entries = list(timing)
    number = max((entry["attempt"] for entry in entries), default=1)
    return [entry for entry in entries if entry["attempt"] == number]


def attempts_of(documents: Iterable[Document]) -> list[dict[str, Any]]:
    """Number, acquisition, end and reason of each attempt in a record, for summaries."""
    attempts: list[dict[str, Any]] = []
    for document in documents:
        if document["doc"] == "start":
            attempts.append({"attempt": document["attempt"], "run_id": document["run"]["run_id"], "status": None,
                             "reason": ""})
        elif document["doc"] in ("end", "stop") and attempts:
            attempts[-1] |= {"status": document["status"], "reason": document["reason"]}
    return attempts
