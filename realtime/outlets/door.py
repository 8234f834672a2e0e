"""The door for tasks: the newest step to whoever asks by `innerear_client.py`, and what they showed into the record.

A guest that is slow or gone holds nobody up: what it does not take is dropped, and the newest comes again when it asks.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from realtime.errors import SessionError
from realtime.outlets.door_protocol import (
    LONGEST_WORD,
    FromDoor,
    FromTask,
    Hello,
    KeyWord,
    Noted,
    Refused,
    Say,
    ShownWord,
    Value,
    Welcome,
)
from realtime.session.folder import SessionFolder
from realtime.session.record import DocumentLog
from realtime.topics import PROTOCOL, About, Alarm, Command, Key, Shown, State, Step
from scanner_bridge.keys import ServerKeys
from scanner_bridge.sockets import configure, is_this_host

logger = logging.getLogger(__name__)

GUEST_LASTS_S = 5.0
MOST_TAKEN = 20_000
_ZAP_DOMAIN = "innerear-door"
_OPTIONS: dict[int, int] = {
    zmq.LINGER: 0, zmq.SNDHWM: 256, zmq.RCVHWM: 1024, zmq.MAXMSGSIZE: LONGEST_WORD, zmq.HANDSHAKE_IVL: 3000,
    zmq.HEARTBEAT_IVL: 1000, zmq.HEARTBEAT_TIMEOUT: 5000,
}
_OLD = (f"its innerear_client.py speaks protocol {{}}, wanted {PROTOCOL}: put this release's file beside the task "
        "(innerear client FOLDER)")

Tell = Callable[[str, msgspec.Struct], Awaitable[None]]
"""Says a message on the bus, below a topic; SessionError when the broker is away."""


@dataclass
class _Guest:
    name: str
    heard_s: float
    given: tuple[str, int] = ("", -1)


@dataclass
class Door:
    """Serves tasks; an outlet.

    Attributes
    ----------
    endpoint : str
        Where to listen; names the real port after `open`.
    tell : callable
        Commands and acknowledgements on their way to the bus.
    keys : ServerKeys or None
        Encrypt, and let in these tasks only. Required beyond this host.
    """

    endpoint: str
    tell: Tell
    keys: ServerKeys | None = None
    connected: bool = False
    _context: zmq.asyncio.Context | None = None
    _about: About | None = None
    _sessions: set[str] = field(default_factory=set)
    _state: str = ""
    _newest: tuple[float, str, Step] | None = None
    _guests: dict[bytes, _Guest] = field(default_factory=dict)
    _taken: dict[tuple[str, int], None] = field(default_factory=dict)
    _turned_away: set[tuple[str, str]] = field(default_factory=set)
    _log: DocumentLog | None = None
    _router: zmq.asyncio.Socket | None = None

    def __post_init__(self) -> None:
        if self.keys is None and not is_this_host(self.endpoint):
            raise SessionError(f"will not open a door for tasks on {self.endpoint} without keys: anyone on that "
                               "network could write into the record; listen on 127.0.0.1, or name outlets.server_key "
                               "and outlets.client_keys")

    async def open(self) -> None:
        """Listen; SessionError when the endpoint cannot be had."""
        self._context = zmq.asyncio.Context()
        self._router = self._listen(self._context)

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._router is not None
        assert self._context is not None
        try:
            while True:
                identity, *frames = await self._router.recv_multipart()
                try:
                    await self._hear_task(identity, frames)
                except Exception:  # one word's trouble is no other task's
                    logger.exception("a word of a task could not be taken")
        finally:
            self._router = None
            self._context.destroy(linger=0)
            if self._log is not None:
                self._log.close()

    def _listen(self, context: zmq.asyncio.Context) -> zmq.asyncio.Socket:
        router = context.socket(zmq.ROUTER)
        configure(router, _OPTIONS, self.keys.own if self.keys else None)
        if self.keys is not None:
            authenticator = AsyncioAuthenticator(context, log=logger)
            authenticator.start()
            authenticator.certs[_ZAP_DOMAIN] = dict.fromkeys(self.keys.clients, True)
            router.zap_domain = _ZAP_DOMAIN.encode()
            router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            router.curve_server = True
        try:
            router.bind(self.endpoint)
        except zmq.ZMQError as exc:
            raise SessionError(f"the door for tasks cannot listen on {self.endpoint} ({exc}); stop the program that "
                               "holds it (`ss -ltnp` names it), or choose another outlets.door") from exc
        self.endpoint = router.get_string(zmq.LAST_ENDPOINT)
        return router

    # from the bus -------------------------------------------------------------------------

    def hear(self, message: msgspec.Struct) -> None:
        """Take in what the session says, and pass the newest step on."""
        match message:
            case About():
                self._about = message
                self._sessions.add(message.session)
            case State():
                self._state = message.state
            case Step() if not self._is_old(message):
                self._newest = (time.monotonic(), self._session, message)
                self._state = "running" if self._state in ("", "stale", "resumed") else self._state
                for identity, guest in self._present():
                    self._give(identity, guest)
            case Key():
                for identity, _ in self._present():
                    self._send(identity, KeyWord(message.key, message.by))

    def _is_old(self, step: Step) -> bool:
        """Whether a newer one is here: a blinded session's may overtake each other."""
        return (self._newest is not None and self._newest[1] == self._session
                and step.sequence <= self._newest[2].sequence)

    @property
    def _session(self) -> str:
        return self._about.session if self._about is not None else ""

    def _present(self) -> list[tuple[bytes, _Guest]]:
        now_s = time.monotonic()
        self._guests = {identity: guest for identity, guest in self._guests.items()
                        if now_s - guest.heard_s < GUEST_LASTS_S}
        return list(self._guests.items())

    def _give(self, identity: bytes, guest: _Guest) -> None:
        """The newest step, unless this guest has it."""
        if self._newest is None:
            return
        heard_s, session, step = self._newest
        if guest.given != (session, step.sequence):
            guest.given = (session, step.sequence)
            self._send(identity, value_of(session, step, time.monotonic() - heard_s))

    def _send(self, identity: bytes, word: FromDoor) -> None:
        if self._router is not None:  # done at once: a ROUTER drops what a guest does not take
            self._router.send_multipart([identity, msgspec.json.encode(word)])

    # from tasks ---------------------------------------------------------------------------

    async def _hear_task(self, identity: bytes, frames: list[bytes]) -> None:
        try:
            word: FromTask = msgspec.json.decode(b"".join(frames), type=FromTask)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            if identity in self._guests:
                logger.warning("a word of task %r is passed over: %s", self._guests[identity].name, exc)
            else:
                await self._turn_away(identity, "not named", "unknown")
            return
        if isinstance(word, Hello):
            await self._welcome(identity, word)
        elif identity in self._guests:  # whoever was not welcomed may not write
            await self._take(identity, self._guests[identity], word)

    async def _welcome(self, identity: bytes, hello: Hello) -> None:
        spoken = PROTOCOL if self._about is None else self._about.protocol
        if hello.protocol != PROTOCOL:
            await self._turn_away(identity, hello.client, str(hello.protocol))
            return
        if spoken != PROTOCOL:
            self._send(identity, Refused(f"the session speaks protocol {spoken} and its outlets {PROTOCOL}: start both "
                                         "from one release"))
            return
        guest = self._guests.setdefault(identity, _Guest(hello.client, 0.0))
        guest.heard_s = time.monotonic()
        self._send(identity, Welcome(hello.sent_s, time.monotonic(), self._session, self._state, self.connected))
        self._give(identity, guest)

    async def _turn_away(self, identity: bytes, client: str, protocol: str) -> None:
        self._send(identity, Refused(_OLD.format(protocol)))
        if (client, protocol) not in self._turned_away:
            sentence = f"task {client!r} is refused: {_OLD.format(protocol)}"
            logger.error("%s", sentence)
            if await self._tell("alarm", Alarm(sentence, "data")):
                self._turned_away.add((client, protocol))

    async def _take(self, identity: bytes, guest: _Guest, word: ShownWord | Say) -> None:
        """Do it once, and confirm it however often it comes."""
        if (word.life, word.number) not in self._taken:
            if not await (self._say(word) if isinstance(word, Say) else self._shown(guest, word)):
                return  # it comes again
            self._taken[word.life, word.number] = None
            if len(self._taken) > MOST_TAKEN:
                del self._taken[next(iter(self._taken))]
        self._send(identity, Noted(word.number))

    async def _say(self, word: Say) -> bool:
        return await self._tell("command", Command(word.name, word.text, word.value))

    async def _shown(self, guest: _Guest, word: ShownWord) -> bool:
        """Into the session's folder, where that is on this host, and onto the bus."""
        here_s = time.monotonic() if word.offset_s is None else word.shown_s + word.offset_s
        shown = Shown(guest.name, word.number, word.session, word.sequence, here_s, word.uncertainty_s)
        log = self._log_of(word.session)
        if log is not None:
            log.append({**msgspec.to_builtins(shown), "life": word.life, "task_s": word.shown_s})
        told = await self._tell("shown", shown)
        return told or log is not None

    async def _tell(self, topic: str, message: msgspec.Struct) -> bool:
        try:
            await self.tell(topic, message)
        except SessionError as exc:
            logger.warning("%s", exc)
            return False
        return True

    def _log_of(self, session: str) -> DocumentLog | None:
        """What tasks showed of this session; None where its folder is on another host."""
        if session not in self._sessions or not session or not Path(session).is_dir():
            return None
        path = SessionFolder(Path(session)).shown
        if self._log is None or self._log.path != path:
            if self._log is not None:
                self._log.close()
            self._log = None
            try:
                self._log = DocumentLog(path)
            except SessionError as exc:
                logger.error("%s", exc)
        return self._log


def value_of(session: str, step: Step, age_s: float) -> Value:
    """What a task gets of a step."""
    shared: dict[str, Any] = {name: getattr(step, name) for name in Value.__struct_fields__ if hasattr(step, name)}
    return Value(session=session, clip_id=step.top[0].clip_id if step.top else "", age_s=age_s, **shared)
