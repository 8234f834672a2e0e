"""A scanner, an operator and a live program in their own processes, each at the test's command."""

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt

from realtime.session.core import LiveCore
from realtime.session.folder import SessionFolder, topic_name
from realtime.session.journal import scan_journal
from realtime.session.kept import read_parts
from realtime.session.record import Document, read_documents
from realtime.session.replay import replay_session
from scanner_bridge.client import BridgeClient
from scanner_bridge.volume import Message, RunEnd
from tests import builders
from tests.loopback import free_endpoint
from tests.processes import World, live_command, running, until

N_VOLUMES = 25


@dataclass
class Room:
    """One live program, how to reach it, and what it wrote."""

    world: World
    session: Path
    endpoint: str = field(default_factory=free_endpoint)
    broker_port: int = 0
    settings: str = "[playback]\ntail_s = 0.0\nfade_s = 0.05\n"

    def command(self, *more: object) -> list[str]:
        """`innerear live` of this room."""
        self.session.parent.mkdir(parents=True, exist_ok=True)
        config = self.session.parent / f"{self.session.name}.toml"
        config.write_text(self.settings)
        broker = ["--broker", f"mqtt://127.0.0.1:{self.broker_port}"] if self.broker_port else []
        return live_command(self.world, self.session, self.endpoint, "--config", config, *broker, *more)

    def documents(self, kind: str) -> list[Document]:
        """Of the record, so far."""
        return [document for document in read_documents(SessionFolder(self.session).record) if document["doc"] == kind]

    def steps(self) -> list[Document]:
        """Of the record, so far."""
        return self.documents("step")

    def events(self) -> list[str]:
        """Names of the events in the record, so far."""
        return [document["name"] for document in self.documents("event")]

    def plays(self) -> bool:
        """Whether the last decision was for music."""
        steps = self.steps()
        return bool(steps) and steps[-1]["playing"] != ""

    def summary(self) -> dict[str, Any]:
        """Figures of the finished session."""
        figures: dict[str, Any] = json.loads(SessionFolder(self.session).summary.read_text())
        return figures

    def n_records(self) -> int:
        """Whole records in the journal."""
        journal = SessionFolder(self.session).journal
        return len(scan_journal(journal).records) if journal.exists() else 0

    def verify(self) -> None:
        """What `innerear verify` does, which raises where a document differs."""
        assert replay_session(self.session)["identical"]

    def undisturbed(self, n_volumes: int) -> list[Document]:
        """The steps this session has when every volume comes once and in order."""
        core = LiveCore(builders.header(n_volumes), read_parts(SessionFolder(self.session)))
        steps = []
        for volume in builders.run_of(builders.volumes(n_volumes)):
            steps += [core.decide(percept).document for percept in core.perceive(volume).percepts]
        return steps


class Scanner:
    """A bridge that sends what the test says."""

    def __init__(self, room: Room, n_volumes: int, run_id: str = "run-1") -> None:
        self.run = builders.run_of(builders.volumes(n_volumes), run_id)
        self.header = builders.header(n_volumes, run_id)
        self._client = BridgeClient(room.endpoint)
        self._sent = -1

    def __enter__(self) -> "Scanner":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, *messages: Message) -> None:
        """Deliver, and wait until all of it is stored."""
        for message in messages:
            self._client.send(message)
        self._client.flush(60.0)

    def scan(self, until_volume: int) -> None:
        """The volumes before this one that were not scanned yet, the header first."""
        first = [self.header] if self._sent < 0 else []
        before, self._sent = max(self._sent, 0), until_volume
        self.send(*first, *self.run[before:until_volume])

    def end(self) -> None:
        """The rest of the run, and its end; the live program may be gone before the last word is acknowledged."""
        self.scan(len(self.run))
        self.send(RunEnd(self.header.run_id, len(self.run)))


class Operator:
    """Someone who watches a session and sends commands, over a real broker."""

    def __init__(self, room: Room) -> None:
        self._base = f"innerear/{topic_name(room.session)}"
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._hear
        subscribed: list[object] = []
        self._client.on_subscribe = lambda *_: subscribed.append(None)
        self._client.connect("127.0.0.1", room.broker_port)
        self._client.loop_start()
        self._client.subscribe(f"{self._base}/#", qos=1)
        until(lambda: bool(subscribed), "the operator listens")

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: object, _data: object, message: Any) -> None:
        base, _, topic = message.topic.rpartition("/")
        if base == self._base and topic != "command":  # the broker of the tests sends what others retained as well
            self.heard.append((topic, json.loads(message.payload)))

    def alarms(self) -> str:
        """All alarms so far, in one text."""
        return "\n".join(payload["text"] for topic, payload in list(self.heard) if topic == "alarm")

    def await_alarm(self, words: str) -> None:
        """Until an alarm has these words."""
        until(lambda: words in self.alarms(), f"an alarm says {words!r}; there are: {self.alarms()}")

    def await_state(self, *names: str) -> None:
        """Until the session is in one of these states."""
        until(lambda: any(topic == "state" and payload["state"] in names for topic, payload in list(self.heard)),
              f"the session is {' or '.join(names)}")

    def command(self, name: str, text: str = "", value: float | None = None) -> None:
        """Send a command."""
        self.raw(json.dumps({"name": name, "text": text, "value": value}).encode())

    def raw(self, payload: bytes) -> None:
        """Send any bytes as a command."""
        self._client.publish(f"{self._base}/command", payload, qos=1).wait_for_publish(10.0)


def player_of(live: subprocess.Popen[str]) -> int:
    """Process id of the live program's player."""
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            if folder.name.isdigit() and int(words[1]) == live.pid and words[0] != "Z" and (
                    b"realtime.playback.player" in (folder / "cmdline").read_bytes()):
                return int(folder.name)
        except (OSError, IndexError):
            continue
    raise AssertionError(f"process {live.pid} has no player")


@contextmanager
def live(room: Room, *more: object) -> Iterator[subprocess.Popen[str]]:
    """The live program of this room, running."""
    with running(room.command(*more)) as process:
        yield process


def refuse_files_beyond(n_bytes: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command on a disk that takes files of at most so many bytes."""
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, preexec_fn=limit,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])})
