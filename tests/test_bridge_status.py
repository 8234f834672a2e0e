"""What both sides say of the line: nobody there, gone, back again, standing still, another version."""

import itertools
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from scanner_bridge.client import BridgeClient
from scanner_bridge.envelope import Envelope, Kind
from scanner_bridge.link import Link
from tests.live_end import LiveProgram, a_header, a_volume, live_program, raw_dealer
from tests.loopback import free_endpoint
from tests.road import Road, road


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


def says(program: LiveProgram, words: str) -> Callable[[], bool]:
    return lambda: bool(program.statuses) and words in program.statuses[-1].sentence


def test_nobody_there_then_there_then_gone_then_back_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=Link.__module__)
    endpoint = free_endpoint()
    with BridgeClient(endpoint) as client:
        until(lambda: "nobody answered: start the live program there" in client.state, "nobody is there")
        for _ in range(2):
            with live_program(endpoint) as program:
                until(lambda: client.state == "connected", "connected")
                until(says(program, "a bridge is connected"), "the live program sees it")
            until(lambda: client.state == "the connection was lost", "gone")
    assert caplog.text.count(": connected") == 2


def test_the_live_program_sees_a_bridge_go() -> None:
    with live_program() as program:
        with BridgeClient(program.endpoint):
            until(says(program, "a bridge is connected"), "it came")
        until(says(program, "the bridge is gone: volumes wait on its disk"), "it went")


def test_a_receiver_that_stands_still_is_told_from_one_that_is_gone(tmp_path: Path) -> None:
    with road(Road(tmp_path, free_endpoint())) as setting:
        setting.catch_up()
        os.kill(setting.receiver.pid, signal.SIGSTOP)
        setting.give()
        until(lambda: "connection was lost" in setting.complaints.read_text()
              or "does not answer" in setting.complaints.read_text(), "the bridge says that something is wrong")
        os.kill(setting.receiver.pid, signal.SIGCONT)
        setting.catch_up()
        assert setting.stored() == [0]


def of_version_nine(frame: bytes) -> bytes:
    return frame[:3] + b"9" + frame[4:]


def test_a_bridge_of_another_version_is_seen_and_can_read_that_it_is() -> None:
    with live_program() as program, raw_dealer(program.endpoint) as other:
        other.send_multipart([of_version_nine(Envelope(Kind.PING, bytes(16)).to_bytes()), b""])
        assert other.recv_multipart()[0][:4] == b"IWE2"
        until(lambda: bool(program.statuses) and "bridge of another version" in program.statuses[-1].refused, "seen")


def test_a_live_program_of_another_version_is_named_with_the_remedy() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        with BridgeClient(f"tcp://127.0.0.1:{port}") as client:
            route = router.recv_multipart()[0]
            router.send_multipart([route, of_version_nine(Envelope(Kind.PONG, bytes(16)).to_bytes())])
            until(lambda: "speaks version 9" in client.state, "the bridge says so")
            assert "run the same release on both hosts" in client.state


def test_clocks_of_one_host_are_found_to_be_the_same() -> None:
    with live_program() as program, BridgeClient(program.endpoint) as client:
        client.send(a_header())
        for index in itertools.count():
            client.send(a_volume(index))
            client.flush(10)
            clock = program.received[-1].clock
            if clock is not None:
                break
    assert abs(clock.offset_s) <= clock.uncertainty_s < 0.5
