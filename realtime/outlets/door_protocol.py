"""What a task and the door say to each other: one JSON object per ZeroMQ message, DEALER to ROUTER."""

from typing import Literal

import msgspec

LONGEST_WORD = 4096
"""Bytes of what a task says."""


class Hello(msgspec.Struct, frozen=True, tag_field="kind", tag="hello"):
    """Task to door, twice a second for as long as it asks: who it is, of which protocol, and its clock (s)."""

    protocol: int
    client: str
    sent_s: float


class Confirmed(msgspec.Struct, frozen=True):
    """What a task says until the door has confirmed it.

    `number` counts them and `life` names the task's process: one that comes again is known by both.
    """

    life: str
    number: int


class ShownWord(Confirmed, frozen=True, tag_field="kind", tag="shown"):
    """Task to door: what this step brought is on the screen since `shown_s` of the task's clock.

    `offset_s` is the door's clock minus the task's, as the task knows it, `uncertainty_s` bounds its error.
    """

    session: str
    sequence: int
    shown_s: float
    offset_s: float | None
    uncertainty_s: float | None


class Say(Confirmed, frozen=True, tag_field="kind", tag="say"):
    """Task to door: a command for the live program, of the few that a task may give."""

    name: Literal["mark", "note", "rate"]
    text: str = ""
    value: float | None = None


class Welcome(msgspec.Struct, frozen=True, tag_field="kind", tag="welcome"):
    """Door to task, the answer to a hello: its clock when it heard it, the door's when it answered, how things stand.

    `session` and `state` are the bus's last words, "" before any; `connected` is whether the broker answers the door.
    """

    sent_s: float
    door_s: float
    session: str
    state: str
    connected: bool


class Refused(msgspec.Struct, frozen=True, tag_field="kind", tag="refused"):
    """Door to task: why it gets nothing, and what to do."""

    why: str


class Value(msgspec.Struct, frozen=True, tag_field="kind", tag="value"):
    """Door to task: what the newest step brought; on every step, and after the first hello.

    `feedback` is the grade of a designed run, else the confidence, between 0 and 1; `clip_id` is the best clip. What a
    blinded session hides is null or "". `age_s` is how long ago the door heard of it.
    """

    session: str
    sequence: int
    attempt: int
    volume: int
    status: str
    trial: int
    n: int
    phase: str
    feedback: float | None
    confidence: float | None
    clip_id: str
    genre: str
    genre_confidence: float | None
    playing: str
    tr_s: float
    age_s: float


class KeyWord(msgspec.Struct, frozen=True, tag_field="kind", tag="key"):
    """Door to task, in rehearsals: a key that an emulated trigger or person presses."""

    key: str
    by: str


class Noted(msgspec.Struct, frozen=True, tag_field="kind", tag="noted"):
    """Door to task: what had that number is with the broker, or on disk."""

    number: int


FromTask = Hello | ShownWord | Say
FromDoor = Welcome | Refused | Value | KeyWord | Noted
