"""A listening TCP socket that lets one right peer in, refuses everybody else with a sentence, and bounds them all.

Nobody is trusted before the first bytes are those of the protocol: up to `_CANDIDATES` connections
may be open at once, each with a bounded buffer and a few seconds, so that a stranger who connects and
says nothing keeps nobody out. The address of the first right peer then owns the door.
"""

import logging
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from scanner_bridge.errors import PeerGone, ProtocolError, SourceError
from scanner_bridge.sources.address import Address

logger = logging.getLogger(__name__)

_CANDIDATES = 8
_BACKLOG = 128  # a sender with a connection per volume may be far ahead of us
_GREETING_S = 5.0
_STALL_S = 15.0
_TICK_S = 0.05
_CHUNK_BYTES = 65536

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Timing:
    """How a door waits: `sleep` is called at least every 50 ms and may raise to end the wait; monotonic `clock`."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class Visitor:
    """A connected peer, and what it sent that nobody has asked for yet."""

    def __init__(self, connection: socket.socket, address: str, name: str, clock: Callable[[], float]) -> None:
        self.connection = connection
        self.address = address
        self.name = name
        self.buffer = bytearray()
        self.heard_s = clock()
        self.known = False
        connection.setblocking(False)

    def receive(self, at_most: int) -> int:
        """Take in what lies in the socket, up to so many bytes; -1 when the peer has closed."""
        try:
            data = self.connection.recv(at_most)
        except BlockingIOError:
            return 0
        except OSError:
            return -1
        self.buffer += data
        return len(data) or -1

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self.connection.close()


@dataclass(frozen=True)
class Admitted(Generic[Parsed]):
    """A right peer, and what it said first."""

    visitor: Visitor
    greeting: Parsed


@dataclass(frozen=True)
class Greeting(Generic[Parsed]):
    """How a peer of the protocol begins.

    Attributes
    ----------
    parse : callable
        What the bytes so far say, or None when more have to come; it may look at the same bytes again.
        ProtocolError when they are of something else.
    length : callable
        How many of the bytes that took, from the bytes and what they said; the rest is the next message.
    max_bytes : int
        Nobody sends more than this before it is understood.
    """

    parse: Callable[[bytes], Parsed | None]
    length: Callable[[bytes, Parsed], int]
    max_bytes: int


@dataclass
class Door:
    """See the module. Close it after use.

    Parameters
    ----------
    address : Address
        Where to listen.
    protocol : str
        What is spoken there, for people.
    timing : Timing
        How to wait.
    owner : str, optional
        The only address that may come in; else that of the first right peer.

    Raises
    ------
    SourceError
        The port is taken, or the address is none of this host.
    """

    address: Address
    protocol: str
    timing: Timing = field(default_factory=Timing)
    owner: str | None = None

    def __post_init__(self) -> None:
        """Start listening."""
        self._candidates: list[Visitor] = []
        self._listening = _listen(self.address, self.protocol)
        self.port: int = self._listening.getsockname()[1]

    def admit(self, greeting: Greeting[Parsed], wait_s: float) -> Admitted[Parsed] | None:
        """The next peer that greets as the protocol says, or None after `wait_s` without one."""
        until_s = self.timing.clock() + wait_s
        while True:
            self._wait_for(*(visitor.connection for visitor in self._candidates))
            self._let_in()
            for visitor in list(self._candidates):
                said = self._hear(visitor, greeting)
                if said is not None:
                    self._candidates.remove(visitor)
                    self.owner = visitor.address
                    visitor.known = True
                    del visitor.buffer[: greeting.length(bytes(visitor.buffer), said)]
                    return Admitted(visitor, said)
            if self.timing.clock() >= until_s:
                return None

    def read(self, visitor: Visitor, n_bytes: int, what: str, idle_s: float | None = None) -> bytearray:
        """Exactly so many bytes of a peer; everybody else who comes meanwhile is looked after.

        Parameters
        ----------
        visitor : Visitor
            The peer.
        n_bytes : int
            How many; reserved at once, so bound it before.
        what : str
            What they are, for people.
        idle_s : float, optional
            How long it may take until the first byte comes (for ever when not given). After that a
            peer may be slow, but not silent for 15 s.

        Raises
        ------
        PeerGone
            The peer closed, fell silent or was never heard; `received` says how many bytes had come.
        """
        began_s = visitor.heard_s = self.timing.clock()
        while len(visitor.buffer) < n_bytes:
            self._wait_for(visitor.connection)
            self._let_in()
            n_received = visitor.receive(min(n_bytes - len(visitor.buffer), 1 << 20))
            now_s = self.timing.clock()
            got = f"{len(visitor.buffer)} of {n_bytes} bytes of {what} had come"
            if n_received < 0:
                raise PeerGone(f"{visitor.name} closed the {self.protocol} connection when {got}")
            if n_received:
                visitor.heard_s = now_s
            elif visitor.buffer and now_s - visitor.heard_s >= _STALL_S:
                raise PeerGone(f"{visitor.name} has sent nothing for {_STALL_S:g} s when {got}")
            elif not visitor.buffer and idle_s is not None and now_s - began_s >= idle_s:
                raise PeerGone(f"{visitor.name} has sent nothing for {idle_s:g} s")
        data = visitor.buffer[:n_bytes]
        del visitor.buffer[:n_bytes]
        return data

    def keep(self, visitor: Visitor) -> None:
        """Listen to a peer again that has said something else to come: its next greeting may take its time."""
        self._candidates.append(visitor)

    def turn_away(self, reason: str) -> None:
        """Refuse whoever has connected meanwhile; never waits."""
        self._let_in()
        for visitor in list(self._candidates):
            self._drop(visitor, reason)

    def close(self) -> None:
        """Stop listening and drop whoever waits; may be called twice."""
        for visitor in self._candidates:
            visitor.close()
        self._candidates.clear()
        self._listening.close()

    def _full(self) -> bool:
        """Whether those who connect have to wait: a peer may be far ahead of us, and loses nothing by it."""
        return self.owner is not None and len(self._candidates) >= _CANDIDATES

    def _wait_for(self, *sockets: socket.socket) -> None:
        self.timing.sleep(0)
        with selectors.DefaultSelector() as selector:
            for each in sockets if self._full() else (self._listening, *sockets):
                selector.register(each, selectors.EVENT_READ)
            selector.select(_TICK_S)

    def _let_in(self) -> None:
        if self._full():
            return
        try:
            connection, (address, port, *_) = self._listening.accept()
        except BlockingIOError:
            return
        except OSError as error:  # the peer was gone again, or too many files are open
            logger.warning("a %s connection failed as it was made: %s", self.protocol, error)
            return
        visitor = Visitor(connection, address, f"{address}:{port}", self.timing.clock)
        if self.owner is not None and address != self.owner:
            self._refuse(visitor, f"the run comes from {self.owner}")
            return
        if len(self._candidates) >= _CANDIDATES:  # the newest may be the right one
            self._drop(self._candidates[0], f"it said nothing while {_CANDIDATES} others came")
        self._candidates.append(visitor)

    def _hear(self, visitor: Visitor, greeting: Greeting[Parsed]) -> Parsed | None:
        """What a candidate says, once it is understood; a candidate that cannot become a peer is dropped."""
        silent = not visitor.buffer
        n_received = visitor.receive(min(_CHUNK_BYTES, greeting.max_bytes - len(visitor.buffer) + 1))
        if silent and n_received > 0:
            visitor.heard_s = self.timing.clock()
        try:
            said = greeting.parse(bytes(visitor.buffer)) if visitor.buffer else None
        except ProtocolError as error:
            self._drop(visitor, str(error))
            return None
        if said is None:
            if n_received < 0 and visitor.known and not visitor.buffer:
                self._candidates.remove(visitor)
                visitor.close()
            elif n_received < 0:
                self._drop(visitor, f"it left after {len(visitor.buffer)} bytes")
            elif len(visitor.buffer) > greeting.max_bytes:
                self._drop(visitor, f"its first message is longer than {greeting.max_bytes} bytes")
            elif self.timing.clock() - visitor.heard_s > _GREETING_S and (visitor.buffer or not visitor.known):
                self._drop(visitor, f"it did not say what it is within {_GREETING_S:g} s")
        return said

    def _drop(self, visitor: Visitor, reason: str) -> None:
        self._candidates.remove(visitor)
        self._refuse(visitor, reason)

    def _refuse(self, visitor: Visitor, reason: str) -> None:
        logger.warning("%s is refused at the %s port %d: %s", visitor.name, self.protocol, self.port, reason)
        visitor.close()


def _listen(address: Address, protocol: str) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise SourceError(
            f"cannot listen for {protocol} at {address}: {error}; another program may hold the port: "
            "end it, or name another address"
        ) from error
    listening.setblocking(False)
    return listening
