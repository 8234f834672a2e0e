"""Who is at the live program's end of the line: bridges that are heard, how their clocks lie, who was refused. Pure."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from scanner_bridge.clock_offset import ClockOffset, Exchange, OffsetEstimator
from scanner_bridge.envelope import Envelope, Kind, Stamps

SILENCE_S = 2.0
"""A bridge says something twice a second; one that was not heard for so long is gone."""

MAX_PEERS = 64


@dataclass(frozen=True)
class LinkStatus:
    """What the operator should see of the line.

    Attributes
    ----------
    n_bridges : int
        Heard within `SILENCE_S`.
    came : int
        Bridges that ever came; with `n_bridges` it tells "nobody yet" from "gone".
    tried, let_in : int
        Connections that were made to the port, and those of them that got as far as saying something.
    refused : mapping of str to int
        How many connections were refused or ignored, for each reason, in words. Those that left without a
        word have none.
    """

    n_bridges: int = 0
    came: int = 0
    tried: int = 0
    let_in: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The state of the line."""
        if self.n_bridges == 0:
            return "the bridge is gone: volumes wait on its disk" if self.came else "no bridge has come yet"
        return "a bridge is connected" if self.n_bridges == 1 else f"{self.n_bridges} bridges are connected"


@dataclass
class _Peer:
    heard_s: float
    clock: OffsetEstimator = field(default_factory=OffsetEstimator)
    pong_s: float = math.nan


class Peers:
    """Bridges by their route (the socket's name for a connection)."""

    def __init__(self) -> None:
        self._peers: dict[bytes, _Peer] = {}
        self._came = self._tried = self._let_in = 0
        self._refused: Counter[str] = Counter()

    def heard(self, route: bytes, now_s: float) -> None:
        """A connection said something of ours."""
        peer = self._peers.get(route)
        if peer is not None:
            peer.heard_s = now_s
            return
        self._came += 1
        self._peers[route] = _Peer(now_s)
        if len(self._peers) > MAX_PEERS:
            del self._peers[min(self._peers, key=lambda other: self._peers[other].heard_s)]

    def unheard(self, for_s: float, now_s: float) -> None:
        """Nobody here listened for so long, until now: what they said then waits, and is no silence."""
        for peer in self._peers.values():
            peer.heard_s = min(now_s, peer.heard_s + for_s)

    def tried(self) -> None:
        """Somebody connected to the port."""
        self._tried += 1

    def let_in(self) -> None:
        """A connection's handshake was right."""
        self._let_in += 1

    def refused(self, reason: str) -> None:
        """A connection was refused, or said something that is not ours."""
        self._refused[reason] += 1

    def pong(self, route: bytes, ping: Envelope, stamps: Stamps, now_s: float) -> list[bytes]:
        """The answer to a PING that came now; its time stamps complete the exchange that our last PONG began."""
        self.heard(route, now_s)
        peer = self._peers[route]
        if stamps.origin_s == peer.pong_s:
            peer.clock.add(Exchange(stamps.origin_s, stamps.receive_s, stamps.transmit_s, now_s))
        peer.pong_s = now_s
        return [Envelope(Kind.PONG, ping.nonce).to_bytes(), Stamps(stamps.transmit_s, now_s, now_s).to_bytes()]

    def clock(self, route: bytes, now_s: float) -> ClockOffset | None:
        """How far a bridge's clock lies from ours; None before it is known."""
        peer = self._peers.get(route)
        return None if peer is None else peer.clock.estimate(now_s)

    def status(self, now_s: float) -> LinkStatus:
        """The line at this moment."""
        n_bridges = sum(now_s - peer.heard_s <= SILENCE_S for peer in self._peers.values())
        return LinkStatus(n_bridges, self._came, self._tried, self._let_in, dict(self._refused))
