"""What is said on the bus, a type for each topic: the schemas that others program against are made from these.

A value that is not known, or that a blinded session does not tell, is null, "" or empty; the keys stay. Keys may be
added at any time, so a reader passes over those it does not know. `PROTOCOL` counts what is no such addition.
"""

from typing import Any, Literal

import msgspec

PROTOCOL = 1
"""Of these messages and of the door's (`realtime.outlets.door_protocol`): both ends must be of the same."""


class About(msgspec.Struct, frozen=True):
    """What the session is. Retained.

    `session` is its folder; `space` and `dim` are those of the decoded vectors; `onset_volumes` are the trials' first
    volumes.
    """

    protocol: int
    subject: str
    bundle: str
    session: str
    n_voxels: int | None
    n_clips: int
    space: str
    dim: int | None
    lag_volumes: int
    window_volumes: int
    onset_volumes: list[int]
    wait_for_start: bool
    stale_after_volumes: int
    software: str
    blinded: bool


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the session is doing; "offline" when its program has ended or died. Retained.

    With "running" come `source`, `n_volumes`, `tr_s` (s) and `attempt`; with "aborted" the `reason`; with "ended" the
    `status`, the number of `gaps` and the `verdict` on the decoding.
    """

    state: Literal["armed", "resumed", "running", "stale", "aborted", "ended", "offline"]
    attempt: int | None = None
    source: str | None = None
    n_volumes: int | None = None
    tr_s: float | None = None
    reason: str | None = None
    status: str | None = None
    gaps: int | None = None
    verdict: str | None = None


class Link(msgspec.Struct, frozen=True):
    """Who is at the other end of the line that brings the volumes, and who was refused there, by reason. Retained."""

    text: str
    bridges: int
    tried: int
    let_in: int
    refused: dict[str, int]


class Candidate(msgspec.Struct, frozen=True):
    """A clip, its posterior, and its centred cosine to what was decoded."""

    clip_id: str
    genre: str
    posterior: float
    similarity: float


class Step(msgspec.Struct, frozen=True):
    """What came of one volume.

    `sequence` counts the session's steps from 0, over all attempts and restarts: the place of the step's document in
    record.jsonl among those of its kind. `embedding` is base64 of little-endian float32. `confidence` is the posterior
    of the best clip; `abstained` says that it, or the genre's, was below the session's threshold. `response` says of
    what the posterior is where something may be imagined, else nothing. `segment` (number, first volume, log odds of a
    change) is a free run's, whose `trial` is -1. Millisecond figures count from when the volume was due. From `phase`
    on: of a designed run alone; `phase` begins after this volume, `grade` (0 to 1) is what is fed back, `score` the
    person's own.
    """

    sequence: int
    attempt: int
    volume: int
    status: Literal["OK", "SETTLING", "CENSORED", "GAP", "REJECTED"]
    reason: str
    n_volumes: int | None
    tr_s: float
    gaps: int
    rejected: int
    censored: int
    fd_mm: float | None
    dvars_percent: float | None
    tsnr: float | None
    six_motions: list[float] | None
    trial: int
    n: int
    embedding: str
    top: list[Candidate]
    confidence: float | None
    genre: str
    genre_confidence: float | None
    playing: str
    decision: str
    why: str
    received_ms: float | None
    journaled_ms: float | None
    embedded_ms: float | None
    latency_ms: float | None
    condition: dict[str, Any] | None = None
    abstained: bool | None = None
    response: Literal["", "heard", "imagined"] = ""
    segment: dict[str, Any] | None = None
    phase: str = ""
    masked: bool = False
    score: float | None = None
    shown: float | None = None
    mirrored: str = ""
    grade: float | None = None
    threshold: float | None = None
    level_db: float | None = None
    clarity: float | None = None

    @property
    def feedback(self) -> float | None:
        """One figure between 0 and 1: the grade of a designed run, else the confidence; None where there is none."""
        return self.confidence if self.grade is None else self.grade


class Plane(msgspec.Struct, frozen=True):
    """A slice: `size` is width and height, `pixels` base64 of uint8 rows, `voxels` x, y, x, y … of the decoder's."""

    plane: str
    size: list[int]
    pixels: str
    voxels: list[int]


class Slices(msgspec.Struct, frozen=True):
    """Three slices of a volume, now and then."""

    volume: int
    planes: list[Plane]


class Sound(msgspec.Struct, frozen=True):
    """The player's counters, twice a second, and what it plays; levels in dB, `dose_percent` of a day's dose."""

    event: str
    sink: str
    frames_played: int
    underruns: int
    peak: float
    peak_dbfs: float
    rms_dbfs: float
    momentary_lufs: float
    short_term_lufs: float
    level_dba: float | None
    dose_percent: float | None
    drift_ppm: float | None
    bad_chunks: int
    limited_chunks: int
    device_underruns: int
    recording_lost_frames: int
    stopped: bool
    sounding: str
    muted: bool
    volume_db: float | None


class SelfCheck(msgspec.Struct, frozen=True):
    """How near what really left for the ear is, as a cosine, to the clip that was chosen and to what was decoded."""

    clip_id: str
    seconds: float | None
    to_chosen: float | None
    to_decoded: float | None


class Alarm(msgspec.Struct, frozen=True):
    """A sentence for the operator: it concerns the person and the sound; data are being lost; worth knowing."""

    text: str
    severity: Literal["person", "data", "note"] = "data"


class Rejected(msgspec.Struct, frozen=True):
    """A command that was not understood."""

    got: str
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """Where a visit is: what it waits for, and the commands that are possible now. Retained.

    `runs`, `kinds` and `n_volumes` are the plan's; `run` is the folder of the one that is on or comes next, `place` its
    place in the plan; `done` and `aborted` are folders. `overlay` are figures of the reference that waits to be judged.
    """

    waiting: str
    words: str
    actions: list[str]
    run: str
    place: int
    runs: list[str]
    kinds: list[str]
    n_volumes: list[int]
    done: list[str]
    aborted: list[str]
    positioning: int
    overlay: dict[str, Any]
    subject: str


class Shown(msgspec.Struct, frozen=True):
    """A task showed the person what this step brought, at a monotonic time of the door's host.

    `uncertainty_s` bounds the error of translating the task's clock; None where that is not known yet.
    """

    client: str
    number: int
    session: str
    sequence: int
    shown_s: float
    uncertainty_s: float | None


class Key(msgspec.Struct, frozen=True):
    """A key that an emulated trigger or person presses, in rehearsals."""

    key: str
    by: Literal["trigger", "person"]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In: what the operator says; `value` goes with "volume" (dB) and "rate"."""

    name: Literal["start", "stop", "abort", "pause", "resume", "mute", "unmute", "mark", "note", "volume", "rate",
                  "go", "again", "skip", "out", "in", "accept", "refuse", "end"]
    text: str = ""
    value: float | None = None


TOPICS: dict[str, type[msgspec.Struct]] = {
    "about": About, "state": State, "link": Link, "step": Step, "slices": Slices, "sound": Sound,
    "self_check": SelfCheck, "alarm": Alarm, "rejected": Rejected, "plan": Plan, "shown": Shown, "key": Key,
    "command": Command,
}


def read(topic: str, payload: dict[str, Any]) -> msgspec.Struct | None:
    """The message, or None for what is of another topic or not as its type says: anybody may publish."""
    kind = TOPICS.get(topic)
    if kind is None:
        return None
    try:
        message: msgspec.Struct = msgspec.convert(payload, kind)
    except msgspec.ValidationError:
        return None
    return message


def schema(name: str, kind: Any) -> dict[str, Any]:
    """JSON Schema of a message type, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"innerear/protocol-{PROTOCOL}/{name}",
            **msgspec.json.schema(kind)}
