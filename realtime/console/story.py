"""What the console knows: a fold of status messages into one frozen value, as large after hours as after minutes. Pure.

Topics are those of the bus (`realtime.bus`), and three of the console's own: `connection` (whether the broker
listens), `here` (what this machine knows without it: STOP, the disk, who records) and `acknowledged`.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from realtime.console.visiting import Visit, read_visit

N_POINTS = 240
N_TOLD = 40
N_SPANS = 300
MAX_TRIALS = 1000
LONGEST = 1_000_000
"""Volumes of a run; a message that says more is not ours."""
ACTIVE = ("armed", "running", "resumed", "stale", "aborted")


@dataclass(frozen=True)
class About:
    """What the session is; empty before the live program has said so."""

    subject: str = ""
    bundle: str = ""
    session: str = ""
    n_voxels: int | None = None
    n_clips: int = 0
    lag_volumes: int = 0
    window_volumes: int = 0
    onset_volumes: tuple[int, ...] = ()
    stale_after_volumes: int = 5
    blinded: bool = False


@dataclass(frozen=True)
class Point:
    """One volume in the traces; None is not known.

    `stages_ms` are milliseconds from when it was due until it was here, on disk, embedded and decided.
    """

    volume: int
    status: str
    fd_mm: float | None
    dvars_percent: float | None
    tsnr: float | None
    six: tuple[float, ...] | None
    stages_ms: tuple[float | None, ...]


@dataclass(frozen=True)
class Candidate:
    """A clip in the evidence."""

    clip_id: str
    genre: str
    posterior: float
    similarity: float


@dataclass(frozen=True)
class Trial:
    """Evidence of the present trial, or of the present segment of a free run.

    Attributes
    ----------
    number : int
        From 0; -1 for none.
    n : int
        Usable volumes in it.
    top : tuple of Candidate
        Best first.
    growth : tuple of float
        Posterior of the best, volume by volume.
    decision, why, playing : str
        What was decided last; empty where that is hidden.
    kind : str
        "trial" or "segment".
    response : str
        "imagined" where that is what the posterior is of.
    """

    number: int = -1
    n: int = 0
    top: tuple[Candidate, ...] = ()
    growth: tuple[float, ...] = ()
    decision: str = ""
    why: str = ""
    playing: str = ""
    kind: str = "trial"
    response: str = ""


@dataclass(frozen=True)
class Sound:
    """The player's last word."""

    sounding: str = ""
    level_dba: float | None = None
    momentary_lufs: float = -200.0
    peak_dbfs: float = -200.0
    dose_percent: float | None = None
    volume_db: float | None = None
    muted: bool = False
    stopped: bool = False
    sink: str = ""
    underruns: int = 0


@dataclass(frozen=True)
class Plane:
    """A slice: uint8 rows in base64, and the pixels of the decoder's voxels as x, y, x, y …"""

    name: str
    width: int
    height: int
    pixels: str
    voxels: tuple[int, ...]


@dataclass(frozen=True)
class Told:
    """An alarm as the live program told it, how often, when last, and at which volume."""

    text: str
    severity: str
    count: int
    at_s: float
    volume: int


@dataclass(frozen=True)
class Span:
    """Neighbouring volumes of one kind: a trial ("trial"), or what went wrong ("GAP", "REJECTED", "CENSORED")."""

    kind: str
    first: int
    last: int
    number: int = -1


@dataclass(frozen=True)
class Here:
    """What this machine knows without the live program."""

    stopped: bool = False
    free_bytes: int | None = None
    recorded_by: int = 0
    embedded: bool = False
    """The broker is the session's own, and there is none before it."""


@dataclass(frozen=True)
class Story:
    """Everything the console knows; times are of this machine's monotonic clock."""

    about: About = field(default_factory=About)
    here: Here = field(default_factory=Here)
    connected: bool | None = None
    since_s: float = 0.0
    state: str = ""
    reason: str = ""
    attempt: int = 0
    tr_s: float = 0.0
    n_volumes: int | None = None
    counts: tuple[int, int, int] = (0, 0, 0)
    link: str = ""
    bridges: int | None = None
    points: tuple[Point, ...] = ()
    trial: Trial = field(default_factory=Trial)
    sound: Sound | None = None
    planes: tuple[Plane, ...] = ()
    planes_volume: int = -1
    told: tuple[Told, ...] = ()
    spans: tuple[Span, ...] = ()
    volume: int = -1
    trouble: str = ""
    trouble_s: float = -1e9
    volume_s: float | None = None
    sound_s: float | None = None
    waits_for_start: bool = False
    visit: Visit | None = None

    @property
    def active(self) -> bool:
        """Whether a live program said last that it is there."""
        return self.state in ACTIVE


def hear(story: Story, topic: str, payload: dict[str, Any], at_s: float) -> Story:
    """The story with one more message; what is not understood changes nothing.

    Parameters
    ----------
    story : Story
        So far.
    topic : str
        Of the message, below the session's.
    payload : dict
        From anybody who may publish: nothing in it is trusted to be of the right kind.
    at_s : float
        Monotonic time at which it came here.
    """
    teller = _TELLERS.get(topic)
    if teller is None:
        return story
    try:
        return teller(story, payload, at_s)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return story


_NOTHING: dict[str, Any] = {"points": (), "spans": (), "trial": Trial(), "volume": -1, "trouble": "",
                            "counts": (0, 0, 0)}


def _about(story: Story, payload: dict[str, Any], _at_s: float) -> Story:
    about = About(str(payload["subject"]), str(payload["bundle"]), str(payload["session"]),
                  _int(payload.get("n_voxels")), int(payload["n_clips"]), int(payload["lag_volumes"]),
                  int(payload["window_volumes"]), tuple(map(int, payload["onset_volumes"][:MAX_TRIALS])),
                  int(payload["stale_after_volumes"]), bool(payload["blinded"]))
    if story.about.session not in ("", about.session):  # the next run of a visit begins with nothing
        story = replace(story, **_NOTHING, attempt=0, volume_s=None, planes=(), state="", told=())
    return replace(story, about=about, waits_for_start=bool(payload["wait_for_start"]) and story.volume < 0)


def _state(story: Story, payload: dict[str, Any], at_s: float) -> Story:
    state = str(payload["state"])
    if state == "offline" and story.state == "ended":
        return story  # it said good-bye before it went
    story = replace(story, state=state, since_s=at_s, reason=str(payload.get("reason") or payload.get("status") or ""))
    if state == "running":
        attempt, tr_s = int(payload["attempt"]), float(payload["tr_s"])
        if not 0 < tr_s < LONGEST:
            return story
        fresh = {} if attempt == story.attempt else {**_NOTHING, "volume_s": at_s}
        return replace(story, attempt=attempt, tr_s=tr_s, n_volumes=_int(payload["n_volumes"]),
                       **fresh)
    if state in ("armed", "resumed"):  # another life of the live program: what the last one complained of is over
        return replace(story, told=(), sound_s=at_s, volume_s=None)
    return replace(story, volume_s=None) if state in ("ended", "offline", "aborted") else story


def _step(story: Story, payload: dict[str, Any], at_s: float) -> Story:
    status, volume, tr_s = str(payload["status"]), int(payload["volume"]), float(payload["tr_s"])
    six = payload.get("six_motions")
    if not (0 <= volume < LONGEST and 0 < tr_s < LONGEST and (six is None or len(six) == 6)):
        return story
    stages = tuple(_float(payload.get(name)) for name in ("received_ms", "journaled_ms", "embedded_ms", "latency_ms"))
    point = Point(volume, status, _float(payload["fd_mm"]), _float(payload["dvars_percent"]), _float(payload["tsnr"]),
                  None if six is None else tuple(map(float, six)), stages)
    trouble: dict[str, Any] = {}
    if status in ("GAP", "REJECTED"):
        trouble = {"trouble": str(payload["reason"]), "trouble_s": at_s}
    spans = story.spans
    if status in ("GAP", "REJECTED", "CENSORED"):
        spans = _spanned(spans, Span(status, volume, volume))
    trial = _trial(story.trial, payload)
    if trial.number >= 0:
        spans = _spanned(spans, Span("trial", volume, volume, trial.number))
    return replace(
        story, state="running" if story.state == "stale" and status != "GAP" else story.state, volume=volume,
        volume_s=story.volume_s if status == "GAP" else at_s, tr_s=tr_s,
        n_volumes=_int(payload["n_volumes"]), attempt=int(payload["attempt"]),
        points=(*story.points, point)[-N_POINTS:],
        counts=(int(payload["gaps"]), int(payload["rejected"]), int(payload["censored"])), trial=trial, spans=spans,
        waits_for_start=str(payload["why"]) == "waiting for start" or (story.waits_for_start and story.about.blinded),
        **trouble)


def _trial(before: Trial, payload: dict[str, Any]) -> Trial:
    segment = payload.get("segment")
    number, n = int(segment["number"] if segment else payload["trial"]), int(payload["n"])
    decided: dict[str, Any] = {"decision": str(payload["decision"] or ""), "why": str(payload["why"] or ""),
               "playing": str(payload["playing"] or "")}
    if number < 0:
        return Trial(**decided)
    top = tuple(Candidate(str(item["clip_id"]), str(item["genre"]), float(item["posterior"]), float(item["similarity"]))
                for item in payload["top"][:5])
    growth = before.growth if number == before.number else ()
    if top and n > len(growth):
        growth = (*growth, top[0].posterior)[-64:]
    return Trial(number, n, top, growth, **decided, kind="segment" if segment else "trial",
                 response="imagined" if payload.get("response") == "imagined" else "")


def _spanned(spans: tuple[Span, ...], new: Span) -> tuple[Span, ...]:
    """With one more volume, joined to the span it continues; the oldest are forgotten."""
    for place in range(len(spans) - 1, max(len(spans) - 4, -1), -1):
        span = spans[place]
        if (span.kind, span.number) == (new.kind, new.number) and span.last <= new.last <= span.last + 1:
            return (*spans[:place], replace(span, last=new.last), *spans[place + 1:])
    return (*spans, new)[-N_SPANS:]


def _sound(story: Story, payload: dict[str, Any], at_s: float) -> Story:
    sound = Sound(str(payload["sounding"] or ""), _float(payload["level_dba"]), float(payload["momentary_lufs"]),
                  float(payload["peak_dbfs"]), _float(payload["dose_percent"]), _float(payload["volume_db"]),
                  bool(payload["muted"]), bool(payload["stopped"]), str(payload["sink"]), int(payload["underruns"]))
    return replace(story, sound=sound, sound_s=at_s)


def _slices(story: Story, payload: dict[str, Any], _at_s: float) -> Story:
    planes = tuple(Plane(str(plane["plane"]), int(plane["size"][0]), int(plane["size"][1]), str(plane["pixels"]),
                         tuple(map(int, plane["voxels"]))) for plane in payload["planes"][:3])
    return replace(story, planes=planes, planes_volume=int(payload["volume"]))


def _alarm(story: Story, payload: dict[str, Any], at_s: float) -> Story:
    text, severity = str(payload["text"])[:600], str(payload.get("severity", "data"))
    before = next((told for told in story.told if told.text == text), None)
    others = tuple(told for told in story.told if told.text != text)
    new = Told(text, severity, 1 if before is None else before.count + 1, at_s, story.volume)
    return replace(story, told=(*others, new)[-N_TOLD:])


def _link(story: Story, payload: dict[str, Any], _at_s: float) -> Story:
    there = int(payload["bridges"]) if payload["bridges"] or payload["let_in"] else None  # None: none has come yet
    return replace(story, link=str(payload["text"]), bridges=there)


def _connection(story: Story, payload: dict[str, Any], at_s: float) -> Story:
    return replace(story, connected=bool(payload["up"]), sound_s=at_s)


def _here(story: Story, payload: dict[str, Any], _at_s: float) -> Story:
    return replace(story, here=Here(bool(payload["stopped"]), payload["free_bytes"], int(payload["recorded_by"]),
                                    bool(payload.get("embedded"))))


def _acknowledged(story: Story, _payload: dict[str, Any], _at_s: float) -> Story:
    """The operator has read what was told."""
    return replace(story, told=(), trouble="")


def _plan(story: Story, payload: dict[str, Any], _at_s: float) -> Story:
    return replace(story, visit=read_visit(payload))


def _int(value: Any) -> int | None:
    return None if value is None else min(int(value), LONGEST)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


_TELLERS = {"about": _about, "state": _state, "step": _step, "sound": _sound, "slices": _slices, "alarm": _alarm,
            "link": _link, "connection": _connection, "here": _here, "acknowledged": _acknowledged,
            "plan": _plan}
