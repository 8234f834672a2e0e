"""The bus's messages are what their schemas say, in a real run over a real broker, open and blinded."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from realtime.bus import NullBus
from realtime.experiment.acquisition import Acquisition
from realtime.outlets.schemas import schemas, write_schemas
from realtime.topics import PROTOCOL, TOPICS, read
from realtime.visit.designs import read_means
from realtime.visit.plan import PlanSettings, RunSettings
from realtime.visit.walk import open_visit, tell
from tests.processes import World, command, finish, until
from tests.scanner_room import N_VOLUMES, Operator, Room, Scanner, live
from tests.test_bus import BrokerProcess

DOCUMENTED = Path(__file__).resolve().parents[1] / "docs" / "schemas"


def test_the_documented_schemas_are_those_of_the_messages(tmp_path: Path) -> None:
    written = write_schemas(tmp_path)
    assert {path.name for path in DOCUMENTED.glob("*.json")} == {path.name for path in written}
    for path in written:
        assert (DOCUMENTED / path.name).read_text() == path.read_text(), "run: innerear schemas docs/schemas"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_every_schema_is_one_and_names_its_protocol(name: str) -> None:
    found = schemas()[name]
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$id"] == f"innerear/protocol-{PROTOCOL}/{name}"


def complaints(topic: str, payload: dict[str, Any]) -> list[str]:
    """What the topic's schema says of a message, keys that it does not know included."""
    found = schemas()[topic]
    properties = found["$defs"][TOPICS[topic].__name__]["properties"]
    unknown = [f"{topic}: unknown key {key!r}" for key in payload if key not in properties]
    return unknown + [f"{topic}: {error.json_path}: {error.message}"
                      for error in jsonschema.Draft202012Validator(found).iter_errors(payload)]


@pytest.mark.parametrize("blinded", [False, True])
def test_every_message_of_a_live_run_is_what_its_schema_says(room: Room, broker: BrokerProcess, blinded: bool) -> None:
    room.broker_port = broker.port
    room.settings = ("blinded = true\n" if blinded else "") + room.settings
    with Operator(room) as operator, live(room, "--retry-wait", 60) as process:
        operator.await_state("armed")
        with Scanner(room, N_VOLUMES) as scanner:
            scanner.scan(6)
            elsewhere = replace(scanner.run[7], affine=scanner.run[7].affine + 9.0)
            scanner.send(scanner.run[6], elsewhere)
            operator.raw(b"nonsense")
            operator.command("volume", value=3.0)  # too loud: an alarm
            operator.command("abort", "she coughed")
            operator.await_state("aborted")
        with Scanner(room, N_VOLUMES, "run-2") as scanner:
            scanner.scan(20)
            scanner.send(*scanner.run[22:])  # volumes 20 and 21 are lost
            until(lambda: any(topic == "sound" for topic, _ in operator.heard), "the player's counters are told")
            scanner._sent = N_VOLUMES
            scanner.end()
        finish(process)
        operator.await_state("ended")
    heard = list(operator.heard)
    assert {topic for topic, _ in heard} >= {"about", "state", "link", "step", "slices", "sound", "alarm", "rejected"}
    assert [words for topic, payload in heard for words in complaints(topic, payload)] == []
    assert all(read(topic, payload) is not None for topic, payload in heard)
    steps = sorted(payload["sequence"] for topic, payload in heard if topic == "step")
    assert steps == list(range(len(room.steps()))), "the sequence is the place of the step in the record"
    about = next(payload for topic, payload in heard if topic == "about")
    assert (about["protocol"], about["dim"]) == (PROTOCOL, None if blinded else 6)
    embedded = [payload for topic, payload in heard if topic == "step" and payload["embedding"]]
    assert bool(embedded) is not blinded


def test_what_a_visit_tells_is_what_its_schema_says(room_world: World, tmp_path: Path) -> None:
    class Heard(NullBus):
        def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
            super().publish(topic, payload, retain=retain)
            heard.append((topic, json.loads(json.dumps(payload))))

    heard: list[tuple[str, dict[str, Any]]] = []
    run = RunSettings("reference", "reference", N_VOLUMES)
    plan = PlanSettings("sub-00", room_world.bundle, room_world.catalogue, tmp_path, Acquisition(1.0), (run,))
    visit = open_visit(plan, read_means(plan))

    async def telling() -> None:
        tell(visit, Heard())

    try:
        asyncio.run(telling())
    finally:
        visit.diary.close()
    assert [topic for topic, _ in heard] == ["plan"]
    assert [words for topic, payload in heard for words in complaints(topic, payload)] == []


def test_a_schema_refuses_what_is_not_so() -> None:
    assert complaints("alarm", {"text": "a", "severity": "note"}) == []
    assert complaints("alarm", {"text": "a", "severity": "loud"})
    assert complaints("alarm", {"severity": "note"})
    assert complaints("alarm", {"text": "a", "new": 1})
    assert read("alarm", {"text": 3}) is None
    assert read("nothing", {}) is None


def test_the_command_writes_them(tmp_path: Path) -> None:
    import subprocess

    done = subprocess.run(command("schemas", tmp_path / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "step.schema.json").read_text())["$defs"]["Step"]["type"] == "object"
