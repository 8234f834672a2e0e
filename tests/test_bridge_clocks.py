"""How far two hosts' clocks lie apart: the truth is within the bound that is stated, however the network behaves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge.clock_offset import MAX_DRIFT, Exchange, OffsetEstimator
from scanner_bridge.envelope import Envelope, Kind, Stamps
from scanner_bridge.peers import MAX_PEERS, SILENCE_S, Peers


def exchanges(n: int, offset_s: float, drift: float, seed: int, *, every_s: float = 0.5) -> list[Exchange]:
    """Over a network whose two ways take what they like; the peer's clock is ours + offset, and gains `drift`."""
    rng = np.random.default_rng(seed)

    def peer(now_s: float) -> float:
        return now_s + offset_s + drift * now_s

    made = []
    for place in range(n):
        sent_s = place * every_s
        there_s, back_s = 2e-4 + rng.exponential(0.003), 2e-4 + rng.exponential(0.02)
        arrived_s = sent_s + there_s
        left_s = arrived_s + rng.uniform(0, 0.4)
        made.append(Exchange(sent_s, peer(arrived_s), peer(left_s), left_s + back_s))
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.floats(-1e6, 1e6), st.floats(-MAX_DRIFT, MAX_DRIFT), st.integers(0, 99))
def test_the_true_offset_lies_within_the_stated_bound(n: int, offset_s: float, drift: float, seed: int) -> None:
    estimator = OffsetEstimator()
    for exchange in exchanges(n, offset_s, drift, seed):
        estimator.add(exchange)
    now_s = exchange.received_s + 1.0
    found = estimator.estimate(now_s)
    assert found is not None
    assert abs(found.offset_s - (offset_s + drift * now_s)) <= found.uncertainty_s + 1e-6
    assert found.n_exchanges == n


def test_a_minute_of_exchanges_gives_a_millisecond_and_five_the_drift() -> None:
    estimator = OffsetEstimator()
    for exchange in exchanges(600, 1234.5, 40e-6, seed=3):
        estimator.add(exchange)
        if exchange.sent_s == 60.0:
            early = estimator.estimate(exchange.received_s)
            assert early is not None
            assert early.uncertainty_s < 0.003
    late = estimator.estimate(exchange.received_s)
    assert late is not None
    assert late.drift_ppm == pytest.approx(40, abs=25)


def test_what_cannot_be_is_left_out() -> None:
    estimator = OffsetEstimator()
    for times in ((0.0, 5.0, 6.0, 0.5), (math.nan, 1.0, 1.0, 1.0), (0.0, 1.0, math.inf, 2.0)):
        estimator.add(Exchange(*times))
    assert estimator.estimate(1.0) is None


def test_pings_measure_the_offset_and_a_stale_echo_does_not() -> None:
    peers, route, theirs = Peers(), b"route", 1000.0
    ping = Envelope(Kind.PING, bytes(16))
    pong = peers.pong(route, ping, Stamps(math.nan, math.nan, theirs + 0.0), 0.001)
    assert peers.clock(route, 0.001) is None
    stamps = Stamps.from_bytes(pong[1])
    assert (stamps.origin_s, stamps.receive_s) == (theirs, 0.001)
    peers.pong(route, ping, Stamps(0.5, theirs + 0.1, theirs + 0.2), 0.201)  # an echo of something never sent
    assert peers.clock(route, 0.3) is None
    peers.pong(route, ping, Stamps(0.201, theirs + 0.203, theirs + 0.7), 0.702)
    clock = peers.clock(route, 0.702)
    assert clock is not None
    assert clock.offset_s == pytest.approx(theirs, abs=clock.uncertainty_s)
    assert clock.uncertainty_s == pytest.approx(0.002, abs=1e-4)


def test_a_bridge_that_falls_silent_is_gone_and_is_there_again_when_it_speaks() -> None:
    peers = Peers()
    assert peers.status(0.0).sentence == "no bridge has come yet"
    peers.heard(b"one", 1.0)
    assert peers.status(1.0).sentence == "a bridge is connected"
    peers.heard(b"two", 1.5)
    assert peers.status(1.5).sentence == "2 bridges are connected"
    assert peers.status(2.0 + SILENCE_S).sentence == "the bridge is gone: volumes wait on its disk"
    peers.heard(b"one", 5.0)
    assert peers.status(5.0).n_bridges == 1


def test_a_flood_of_connections_that_speak_takes_bounded_memory() -> None:
    peers = Peers()
    for number in range(10 * MAX_PEERS):
        peers.heard(str(number).encode(), float(number))
    assert len(peers._peers) == MAX_PEERS
