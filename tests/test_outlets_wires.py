"""Pyneal's queries, AFNI's stream and Lab Streaming Layer, as tasks that exist speak them: real sockets, every byte."""

import json
import math
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from realtime.broker import free_port
from realtime.outlets.afni import afni_motion
from realtime.outlets.pyneal import PynealResults
from realtime.session.record import encode_vector
from tests.outlet_room import RUNNING, Voice, a_step, outlets
from tests.processes import until
from tests.scanner_room import Room
from tests.test_bus import BrokerProcess

WAIT_S = 60.0


@pytest.fixture
def voice(room: Room, broker: BrokerProcess) -> Iterator[Voice]:
    room.broker_port = broker.port
    with Voice(room) as voice:
        yield voice


# Pyneal --------------------------------------------------------------------------------------------


def ask_pyneal(port: int, volume: bytes) -> bytes:
    """All that comes back for four digits."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as line:
        line.sendall(volume)
        raw = b""
        while more := line.recv(65536):
            raw += more
    return raw


def test_a_task_of_pyneals_gets_the_results_of_a_volume(room: Room, voice: Voice) -> None:
    port = free_port()
    with outlets(room, pyneal=f"127.0.0.1:{port}"):
        assert ask_pyneal(port, b"0000") == b'23\n{"foundResults": false}'
        voice.begin("")
        voice.say("step", a_step(0, confidence=None, genre_confidence=None, top=[], genre="", n=0, trial=-1))
        voice.say("step", a_step(1, status="GAP", confidence=None))
        voice.say("step", a_step(12, grade=0.75))
        until(lambda: b"true" in ask_pyneal(port, b"0012"), "volume 12 is here")
        length, _, body = ask_pyneal(port, b"0012").partition(b"\n")
        assert int(length) == len(body)
        assert json.loads(body) == {"average": 0.75, "volume": 12, "status": "OK", "confidence": 0.25, "genre": "jazz",
                                    "clip_id": "clip12", "foundResults": True}
        for nothing in (b"0000", b"0001", b"0013", b"\xff\x00ab", b"-001"):
            assert ask_pyneal(port, nothing) == b'23\n{"foundResults": false}'
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.sendall(b"00")  # and goes away
        voice.say("step", a_step(13, attempt=2, volume=0))
        until(lambda: b"true" in ask_pyneal(port, b"0000"), "another attempt is here")
        assert b"false" in ask_pyneal(port, b"0012")


def test_results_of_a_run_before_are_nobodys_answer() -> None:
    from realtime.topics import State, read

    results = PynealResults("127.0.0.1", 0)
    step = read("step", a_step(3))
    assert step is not None
    results.hear(step)
    assert b"true" in results.answer(b"0003")
    results.hear(State("offline"))
    assert b"true" in results.answer(b"0003")
    results.hear(State("armed"))
    assert results.answer(b"0003") == b'23\n{"foundResults": false}'


# AFNI ----------------------------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[socket.socket]:
    """A task that listens, as realtime_receiver.py does."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2)
        listening.settimeout(WAIT_S)
        yield listening


def exactly(line: socket.socket, n: int) -> bytes:
    line.settimeout(WAIT_S)
    raw = b""
    while len(raw) < n:
        more = line.recv(n - len(raw))
        assert more, f"the stream ended after {len(raw)} of {n} bytes"
        raw += more
    return raw


def hello_of(line: socket.socket) -> int:
    """Reads the greeting; how many extra values each volume has."""
    assert exactly(line, 4) == b"\xab\xcd\xef\xac"
    return int(struct.unpack("i", exactly(line, 4))[0])


def volumes_of(line: socket.socket, n: int, n_extra: int) -> np.ndarray:
    return np.frombuffer(exactly(line, n * 4 * (6 + n_extra)), np.float32).reshape(n, 6 + n_extra)


def test_a_task_that_listens_for_afni_gets_every_volume_in_its_place(room: Room, voice: Voice) -> None:
    with receiver() as listening, outlets(room, afni=f"127.0.0.1:{listening.getsockname()[1]}"):
        voice.begin("")
        voice.say("step", a_step(0))
        line, _ = listening.accept()
        with line:
            assert hello_of(line) == 3
            assert volumes_of(line, 1, 3)[0] == pytest.approx([0.3, -0.1, -0.2, 3.0, -1.0, -2.0, 0.25, 0.25, 0.5])
            voice.say("step", a_step(2, grade=0.75))  # volume 1 was lost on the bus
            voice.say("step", a_step(3, status="GAP", six_motions=None, confidence=None, genre_confidence=None))
            frames = volumes_of(line, 3, 3)
            assert np.isnan(frames[[0, 2]]).all()
            assert frames[1, 6] == pytest.approx(0.75)
        line, _ = listening.accept()  # the task was started again: the same attempt, from its first volume
        with line:
            assert hello_of(line) == 3
            assert np.isnan(volumes_of(line, 4, 3)).all(axis=1).tolist() == [False, True, False, True]
            voice.say("step", a_step(4, attempt=2, volume=0))
            assert exactly(line, 4) == b"\xde\xad\xde\xad"
        line, _ = listening.accept()
        with line:
            assert hello_of(line) == 3
            volumes_of(line, 1, 3)
            voice.say("state", {"state": "ended", "status": "complete"})
            assert exactly(line, 4) == b"\xde\xad\xde\xad"
            assert line.recv(1) == b""


def test_afnis_axes_are_superior_left_and_posterior() -> None:
    assert afni_motion([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]) == (0, -1, 0, 0, 0, 0)  # a millimetre to the right
    assert afni_motion([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]) == (0, 0, -1, 0, 0, 0)
    assert afni_motion([0.0, 0.0, 1.0, 0.0, 0.0, 2.0]) == (1, 0, 0, 2, 0, 0)
    assert all(math.isnan(value) for value in afni_motion(None))


# Lab Streaming Layer -------------------------------------------------------------------------------


@pytest.mark.parametrize("blinded", [False, True])
def test_a_recorder_finds_three_streams_and_a_blinded_one_tells_nothing_of_the_arm(room: Room, voice: Voice,
                                                                                  blinded: bool) -> None:
    pylsl = pytest.importorskip("pylsl", reason="Lab Streaming Layer is optional: pip install innerear[lsl]",
                                exc_type=(ImportError, RuntimeError))
    from realtime.session.blinding import blinded as hidden
    from tests.outlet_room import an_about

    def told(topic: str, payload: dict[str, object]) -> dict[str, object]:
        return hidden(topic, payload) if blinded else payload

    with outlets(room, lsl=True):
        voice.say("about", told("about", an_about("")), retain=True)
        voice.say("state", RUNNING, retain=True)
        source = f"innerear-%s {voice.settings.session}"
        names = ("confidence", "markers") if blinded else ("confidence", "markers", "embedding")
        inlets = {}
        for name in names:
            found = pylsl.resolve_byprop("source_id", source % name, 1, WAIT_S)
            assert found, f"no stream {name}"
            inlets[name] = pylsl.StreamInlet(found[0], recover=False)
            inlets[name].open_stream(WAIT_S)
        vector = np.array([0.5, -1.5, 2.25], np.float32)
        voice.say("step", told("step", a_step(0, embedding=encode_vector(vector), phase="feedback", grade=0.75)))
        sample, _ = inlets["confidence"].pull_sample(WAIT_S)
        if blinded:
            assert np.isnan([*sample[:3], sample[4]]).all()
            assert sample[3] == 0.0
            assert not pylsl.resolve_byprop("source_id", source % "embedding", 1, 0.5)
        else:
            assert sample == [0.75, 0.25, 0.5, 0.0, 8.0]
            assert inlets["embedding"].pull_sample(WAIT_S)[0] == vector.tolist()
        voice.say("alarm", {"text": "she coughed", "severity": "note"})
        marks = [inlets["markers"].pull_sample(WAIT_S)[0][0]]
        while marks[-1] != "alarm she coughed":
            marks.append(inlets["markers"].pull_sample(WAIT_S)[0][0])
        assert marks[-2:] == ["phase feedback", "alarm she coughed"]
        for inlet in inlets.values():
            inlet.close_stream()
