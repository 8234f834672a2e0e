"""What Innerear decodes, for a task: one file to put beside it. Python 3.8 or newer, pyzmq (which PsychoPy brings).

    feed = Innerear("tcp://127.0.0.1:5578", "my task")
    feed.ready(10.0)                      # once, before the person lies in the scanner: raises Refused with a sentence
    while ...:                            # the frame loop
        value = feed.latest()             # the newest, or None; never waits
        ...draw value.feedback, unless feed.stale says why it is old...
        win.flip()
        if value is not None:
            feed.shown(value)             # once for each value: the record then tells what was seen when

Nothing here waits but `ready` and `close`, and nothing but `ready` and the constructor raises. Call `latest` in every
frame, or at least once a second: it also keeps the connection. Door, broker and live program may be started again at
any time; so may the task. For one thread.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict, deque
from typing import Any, NamedTuple

import zmq

PROTOCOL = 1
BEAT_S = 0.5
SILENT_S = 2.5
RESEND_S = 2.0
MOST_UNNOTED = 10000
_AT_ONCE = 64
_OFFSETS_KEPT = 32


class Refused(Exception):
    """The door is not there, or does not serve this task; the message says why and what to do."""


class Value(NamedTuple):
    """What one volume brought. None and "" are not known, or hidden in a blinded session.

    `sequence` counts the session's steps; `feedback` is between 0 and 1; `clip_id` is the best clip; `received_s` is a
    time of `time.perf_counter`, by which the value was decided.
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
    received_s: float


class Innerear:
    """One task's connection to the door that `innerear outlets` opens.

    Parameters
    ----------
    door : str
        Its address.
    name : str
        Of the task, for the record.
    keys : (str, str), optional
        Beyond this computer: our secret key file (NAME.key_secret), and the door's public one (NAME.key).
    """

    def __init__(self, door: str = "tcp://127.0.0.1:5578", name: str = "task",
                 keys: tuple[str, str] | None = None) -> None:
        self.door, self.name = door, name
        self.refused = ""
        self.state = ""
        self._life = os.urandom(8).hex()
        self._newest: Value | None = None
        self._acknowledged: tuple[str, int] | None = None
        self._number = 0
        self._unnoted: OrderedDict[int, tuple[float, dict[str, Any]]] = OrderedDict()
        self._unsent: deque[dict[str, Any]] = deque(maxlen=MOST_UNNOTED)
        self._keys_pressed: deque[str] = deque(maxlen=1000)
        self._offsets: deque[tuple[float, float]] = deque(maxlen=_OFFSETS_KEPT)
        self._beat_s = self._welcome_s = float("-inf")
        self._door_connected = False
        self._socket = _dealer(door, keys)

    def __enter__(self) -> Innerear:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the door has welcomed this task.

        Raises
        ------
        Refused
            It speaks another protocol than the door, or nobody answers within the time.
        """
        deadline_s = time.perf_counter() + timeout_s
        while self._welcome_s == float("-inf"):
            self._exchange()
            if self.refused:
                raise Refused(self.refused)
            if time.perf_counter() > deadline_s:
                raise Refused(f"nobody answers at {self.door} within {timeout_s:g} s: start `innerear outlets` there, "
                              "or correct the address, and the keys where there are some")
            self._socket.poll(20)

    def latest(self) -> Value | None:
        """The newest value, or None before the first; takes some microseconds, and never waits."""
        self._exchange()
        return self._newest

    @property
    def stale(self) -> str:
        """Why the newest value should not be shown as new; "" while it may be. As of the last call of `latest`."""
        now_s = time.perf_counter()
        if self.refused:
            return self.refused
        if now_s - self._welcome_s > SILENT_S:
            return "the door is silent"
        if not self._door_connected:
            return "the broker does not answer"
        if self.state != "running":
            return "the session is %s" % (self.state or "not there yet")
        return "" if self._newest is not None else "no volume has come yet"

    def shown(self, value: Value, at_s: float | None = None) -> None:
        """Say that this value is on the screen since `at_s` (`time.perf_counter`; now by default); once is enough."""
        if self._acknowledged == (value.session, value.sequence):
            return
        self._acknowledged = (value.session, value.sequence)
        offset_s, uncertainty_s = min(self._offsets, key=lambda each: each[1], default=(None, None))
        self._say("shown", session=value.session, sequence=value.sequence,
                  shown_s=time.perf_counter() if at_s is None else at_s, offset_s=offset_s,
                  uncertainty_s=uncertainty_s)

    @property
    def unnoted(self) -> int:
        """What was said and not confirmed yet by the door; it is sent again until it is."""
        return len(self._unsent) + len(self._unnoted)

    def mark(self, text: str = "") -> None:
        """Open a trial at the next volume, in a run without events or design."""
        self._say("say", name="mark", text=text, value=None)

    def note(self, text: str) -> None:
        """Put words into the session's record."""
        self._say("say", name="note", text=text, value=None)

    def rate(self, value: float, text: str = "") -> None:
        """Put a rating into the session's record."""
        self._say("say", name="rate", text=text, value=value)

    def keys(self) -> list[str]:
        """In rehearsals: keys that emulators pressed since the last call; "5" is the scanner's trigger."""
        pressed = list(self._keys_pressed)
        self._keys_pressed.clear()
        return pressed

    def close(self, wait_s: float = 3.0) -> None:
        """Wait a moment for what was said to be confirmed, then let go."""
        deadline_s = time.perf_counter() + wait_s
        while self.unnoted and not self.refused and time.perf_counter() < deadline_s:
            self._exchange()
            self._socket.poll(20)
        self._socket.close()

    def _say(self, kind: str, **content: Any) -> None:
        self._unsent.append({"kind": kind, "life": self._life, "number": self._number, **content})
        self._number += 1
        self._exchange()

    def _exchange(self) -> None:
        """Send what waits, as far as that goes at once; take what has come."""
        now_s = time.perf_counter()
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s = now_s
            self._send({"kind": "hello", "protocol": PROTOCOL, "client": self.name, "sent_s": now_s})
        if now_s - self._welcome_s < SILENT_S:
            self._send_waiting(now_s)
        for _ in range(_AT_ONCE):
            try:
                raw = self._socket.recv(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            self._take(raw)

    def _send_waiting(self, now_s: float) -> None:
        while self._unnoted and now_s - next(iter(self._unnoted.values()))[0] > RESEND_S:
            self._unsent.append(self._unnoted.popitem(last=False)[1][1])
        while self._unsent and self._send(self._unsent[0]):
            word = self._unsent.popleft()
            self._unnoted[word["number"]] = (now_s, word)

    def _send(self, word: dict[str, Any]) -> bool:
        try:
            self._socket.send(json.dumps(word).encode(), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def _take(self, raw: bytes) -> None:
        try:
            word = json.loads(raw.decode("utf-8"))
            getattr(self, "_take_" + word["kind"])(word)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # of a door that says more than this file knows

    def _take_welcome(self, word: dict[str, Any]) -> None:
        now_s = time.perf_counter()
        self._welcome_s, self.refused = now_s, ""
        self.state, self._door_connected = word["state"], word["connected"]
        way_s = (now_s - word["sent_s"]) / 2
        self._offsets.append((word["door_s"] - word["sent_s"] - way_s, way_s))

    def _take_refused(self, word: dict[str, Any]) -> None:
        self.refused = word["why"]

    def _take_value(self, word: dict[str, Any]) -> None:
        word["received_s"] = time.perf_counter() - word["age_s"]
        value = Value(**{name: word[name] for name in Value._fields})
        newest = self._newest
        if newest is None or newest.session != value.session or value.sequence > newest.sequence:
            self._newest = value

    def _take_noted(self, word: dict[str, Any]) -> None:
        self._unnoted.pop(word["number"], None)

    def _take_key(self, word: dict[str, Any]) -> None:
        self._keys_pressed.append(word["key"])


def _dealer(door: str, keys: tuple[str, str] | None) -> Any:
    socket: Any = zmq.Context.instance().socket(zmq.DEALER)
    for option, number in ((zmq.LINGER, 0), (zmq.IMMEDIATE, 1), (zmq.SNDHWM, 100), (zmq.RCVHWM, 1000),
                           (zmq.RECONNECT_IVL, 100), (zmq.RECONNECT_IVL_MAX, 1000)):
        socket.setsockopt(option, number)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_PUBLICKEY, _key(keys[0], "public"))
        socket.setsockopt(zmq.CURVE_SECRETKEY, _key(keys[0], "secret"))
        socket.setsockopt(zmq.CURVE_SERVERKEY, _key(keys[1], "public"))
    socket.connect(door)
    return socket


def _key(path: str, which: str) -> bytes:
    """A key out of a file in ZeroMQ's certificate format."""
    with open(path, encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition("=")
            if name.strip() == which + "-key":
                return rest.strip().strip("\"'").encode()
    raise Refused(f"{path} holds no {which} key: make a pair with `innerear bridge keys`")
