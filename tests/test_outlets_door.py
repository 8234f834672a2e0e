"""A task at the door: the real outlets process, a real broker, and the client file as a task has it."""

import ast
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from realtime.errors import SessionError
from realtime.outlets.door import Door
from realtime.session.record import read_documents
from realtime.topics import PROTOCOL
from scanner_bridge.keys import write_key_files
from scanner_bridge.sockets import new_key_pair
from tests.loopback import free_endpoint
from tests.outlet_room import KIT, Voice, a_step, answer_to, hello, load_client, outlets
from tests.processes import command, until
from tests.scanner_room import Operator, Room
from tests.test_bus import BrokerProcess


@pytest.fixture
def client() -> ModuleType:
    return load_client()


@pytest.fixture
def spoken(room: Room, broker: BrokerProcess) -> Iterator[tuple[Room, Voice]]:
    room.broker_port = broker.port
    room.session.mkdir(parents=True)
    with Voice(room) as voice:
        yield room, voice


def asked(feed: Any, done: Callable[[], bool], what: str) -> None:
    """A task's frame loop, until something is so."""
    def frame() -> bool:
        feed.latest()
        return done()

    until(frame, what)


def value_of(feed: Any, sequence: int) -> Any:
    asked(feed, lambda: feed._newest is not None and feed._newest.sequence == sequence, f"value {sequence} is here")
    return feed.latest()


def test_a_task_gets_the_newest_value_and_what_it_showed_is_in_the_record(spoken: tuple[Room, Voice],
                                                                          client: ModuleType) -> None:
    room, voice = spoken
    with outlets(room) as out, Operator(room) as operator, client.Innerear(out.door, "bar") as feed:
        voice.begin(room.session)
        feed.ready(60.0)
        for sequence in (0, 1, 3, 2):  # the third is overtaken
            voice.say("step", a_step(sequence, grade=sequence / 10, phase="feedback"))
        value = value_of(feed, 3)
        assert (value.volume, value.feedback, value.phase, value.clip_id) == (3, 0.3, "feedback", "clip03")
        assert value.confidence == 0.25
        assert value.session == str(room.session)
        asked(feed, lambda: feed.stale == "", "the session's state is here, too")
        shown_s = time.perf_counter()
        feed.shown(value, shown_s)
        feed.shown(value, shown_s + 1.0)  # once is enough
        asked(feed, lambda: feed.unnoted == 0, "it is confirmed")
        feed.rate(3.0, "vividness")
        feed.mark("she moved")
        feed.note("a word")
        until(lambda: len(voice.commands) == 3, "the live program hears the task")
        until(lambda: any(topic == "shown" for topic, _ in operator.heard), "the bus tells what was shown")
        voice.say("state", {"state": "ended", "status": "complete"}, retain=True)
        asked(feed, lambda: feed.state == "ended", "the task knows that it is over")
        assert feed.stale == "the session is ended"
    lines = list(read_documents(room.session / "shown.jsonl"))
    assert [(line["client"], line["sequence"]) for line in lines] == [("bar", 3)]
    assert abs(lines[0]["shown_s"] - shown_s) <= lines[0]["uncertainty_s"] + 1e-4  # one clock, on one host
    assert [command["name"] for command in voice.commands] == ["rate", "mark", "note"]
    assert voice.commands[0]["value"] == 3.0


def test_a_task_with_another_protocol_is_refused_and_the_operator_told(spoken: tuple[Room, Voice],
                                                                       client: ModuleType) -> None:
    room, voice = spoken
    with outlets(room) as out, Operator(room) as operator:
        voice.begin(room.session)
        for old in (hello(0), hello("1.0"), b'{"kind": "hello", "client": "old task"}', b"GET / HTTP/1.1", b"\xff"):
            refused = answer_to(out.door, old)
            assert refused["kind"] == "refused"
            assert "innerear client FOLDER" in refused["why"]
        until(lambda: bool(answer_to(out.door, hello(0))) and "task 'old task' is refused: its innerear_client.py "
              "speaks protocol 0, wanted 1" in operator.alarms(), "the operator is told")
        client.PROTOCOL = PROTOCOL + 1
        with client.Innerear(out.door, "of tomorrow") as feed:
            with pytest.raises(client.Refused, match=f"speaks protocol {PROTOCOL + 1}, wanted {PROTOCOL}: put this"):
                feed.ready(60.0)
            assert feed.latest() is None
            assert "protocol" in feed.stale
        client.PROTOCOL = PROTOCOL
        voice.say("about", {"protocol": PROTOCOL + 1}, retain=True)
        voice.say("key", {"key": "1", "by": "person"})
        until(lambda: answer_to(out.door, hello(PROTOCOL))["kind"] == "refused", "a session of another release")
        assert "start both from one release" in answer_to(out.door, hello(PROTOCOL))["why"]


def test_a_task_may_say_three_things_and_only_when_it_was_welcomed(spoken: tuple[Room, Voice]) -> None:
    room, voice = spoken
    with outlets(room) as out:
        voice.begin(room.session)
        rate, stop, mark = (json.dumps({"kind": "say", "life": "a", "number": number, "name": name}).encode()
                            for number, name in enumerate(("rate", "stop", "mark")))
        assert answer_to(out.door, rate, hello(PROTOCOL), stop, mark, mark)["kind"] == "welcome"
        until(lambda: bool(voice.commands), "the mark came through")
    assert [command["name"] for command in voice.commands] == ["mark"]


def test_a_task_outlives_outlets_and_broker_and_loses_no_acknowledgement(room: Room, client: ModuleType) -> None:
    room.session.mkdir(parents=True)
    door, broker = free_endpoint(), BrokerProcess()
    room.broker_port = broker.port
    with Voice(room) as voice, client.Innerear(door, "bar") as feed:
        with outlets(room, door=door) as out:
            voice.begin(room.session)
            feed.ready(60.0)
            voice.say("step", a_step(0))
            value = value_of(feed, 0)
            out.process.kill()
            asked(feed, lambda: feed.stale == "the door is silent", "the task sees that nobody answers")
        assert feed.latest() == value
        feed.shown(value)
        with outlets(room, door=door):
            asked(feed, lambda: feed.unnoted == 0, "the acknowledgement arrived after all")
            asked(feed, lambda: feed.stale == "", "the session is heard again")
            voice.say("step", a_step(1))
            second = value_of(feed, 1)
            broker.kill()
            asked(feed, lambda: feed.stale == "the broker does not answer", "the task knows of the broker")
            feed.shown(second)
            asked(feed, lambda: feed.unnoted == 0, "the disk has it, broker or not")
            with BrokerProcess(broker.port):
                asked(feed, lambda: feed.stale == "", "the broker is back")
                voice.say("step", a_step(2))
                value_of(feed, 2)
    lines = list(read_documents(room.session / "shown.jsonl"))
    assert {line["sequence"] for line in lines} == {0, 1}


def test_no_frame_waits_while_the_door_stands_still(spoken: tuple[Room, Voice], client: ModuleType) -> None:
    room, voice = spoken
    with outlets(room) as out, client.Innerear(out.door, "bar") as feed:
        voice.begin(room.session)
        feed.ready(60.0)
        voice.say("step", a_step(0))
        value = value_of(feed, 0)
        out.process.send_signal(signal.SIGSTOP)
        try:
            begun_s = time.thread_time()
            for sequence in range(5000):
                assert feed.latest() is not None
                feed.shown(value._replace(sequence=sequence))
            assert time.thread_time() - begun_s < 5.0  # of this thread's own time: 1 ms for a frame
        finally:
            out.process.send_signal(signal.SIGCONT)
        asked(feed, lambda: feed.unnoted == 0, "all of them arrive when it goes on")
    assert {line["sequence"] for line in read_documents(room.session / "shown.jsonl")} == set(range(5000))


def test_beyond_this_host_a_door_needs_keys_and_tells_friends_by_them(spoken: tuple[Room, Voice], client: ModuleType,
                                                                     tmp_path: Path) -> None:
    room, voice = spoken
    names = ("door", "task", "stranger")
    files = {name: write_key_files(tmp_path / f"{name}-keys", name, new_key_pair()) for name in names}
    friends = tmp_path / "friends"
    friends.mkdir()
    (friends / "task.key").write_bytes(files["task"][0].read_bytes())
    with outlets(room, server_key=str(files["door"][1]), client_keys=str(friends)) as out:
        voice.begin(room.session)
        with client.Innerear(out.door, "bar", (str(files["task"][1]), str(files["door"][0]))) as feed:
            feed.ready(60.0)
        for keys in (None, (str(files["stranger"][1]), str(files["door"][0]))):
            with client.Innerear(out.door, "bar", keys) as feed, pytest.raises(client.Refused, match="nobody answers"):
                feed.ready(2.0)

    async def tell(_topic: str, _message: object) -> None:
        return

    with pytest.raises(SessionError, match=r"without keys.*name outlets\.server_key"):
        Door("tcp://0.0.0.0:5578", tell)


def test_where_nobody_is_the_task_says_so(client: ModuleType) -> None:
    with client.Innerear(free_endpoint(), "bar") as feed:
        with pytest.raises(client.Refused, match=r"nobody answers at tcp.* start `innerear outlets` there"):
            feed.ready(0.2)
        assert feed.latest() is None
        assert feed.stale == "the door is silent"


@pytest.mark.parametrize("name", ["innerear_client.py", "example_task.py"])
def test_the_files_for_tasks_are_python_3_8_and_need_only_pyzmq(name: str) -> None:
    tree = ast.parse((KIT / name).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) <= {"zmq", "innerear_client", "psychopy"}


def test_the_client_speaks_this_releases_protocol(client: ModuleType, tmp_path: Path) -> None:
    assert client.PROTOCOL == PROTOCOL
    (tmp_path / "innerear_client.py").write_text("old")
    done = subprocess.run(command("client", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "innerear_client.py").read_bytes() == (KIT / "innerear_client.py").read_bytes()
    assert (tmp_path / "example_task.py").read_bytes() == (KIT / "example_task.py").read_bytes()


def test_outlets_that_cannot_open_are_refused_in_one_sentence(room: Room, broker: BrokerProcess) -> None:
    room.broker_port = broker.port
    with outlets(room) as first:
        with pytest.raises(AssertionError, match=r"innerear: the door for tasks cannot listen on.*outlets\.door"):
            with outlets(room, door=first.door):
                pass
        assert first.process.poll() is None
    with pytest.raises(AssertionError, match=r"innerear: .*outlets\.pyneal.*HOST:PORT"):
        with outlets(room, pyneal="127.0.0.1:no"):
            pass
