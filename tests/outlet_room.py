"""A session's outlets for tests: the process as its user starts it, and the client file as a task has it."""

import asyncio
import importlib.util
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import zmq

from realtime.bus import BusSettings, MqttBus
from realtime.session.folder import topic_name
from realtime.topics import PROTOCOL
from tests.processes import command, until
from tests.scanner_room import Room

KIT = Path(__file__).resolve().parents[1] / "realtime" / "outlets" / "task_kit"


def load_client() -> ModuleType:
    """`innerear_client.py`, read from its file as a task reads it."""
    spec = importlib.util.spec_from_file_location("innerear_client", KIT / "innerear_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hello(protocol: object) -> bytes:
    return json.dumps({"kind": "hello", "protocol": protocol, "client": "old task", "sent_s": 0.0}).encode()


def answer_to(door: str, *words: bytes) -> dict[str, Any]:
    """What the door says to a task that speaks by itself."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(door)
        for word in words:
            dealer.send(word)
        assert dealer.poll(60_000), "the door does not answer"
        answer: dict[str, Any] = json.loads(dealer.recv())
    return answer


@dataclass
class Outlets:
    """The running process and where its door is."""

    process: subprocess.Popen[str]
    door: str


@contextmanager
def outlets(room: Room, **table: Any) -> Iterator[Outlets]:
    """`innerear outlets` for this room's session; `table` is `[outlets]`."""
    config = room.session.parent / f"{room.session.name}-outlets.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    values = {"door": "tcp://127.0.0.1:*", **table}
    lines = [f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
             for name, value in values.items()]
    config.write_text(f'bundle = "{room.world.bundle}"\ncatalogue = "{room.world.catalogue}"\n'
                      f'session = "{room.session}"\n[bus]\nbroker = "mqtt://127.0.0.1:{room.broker_port}"\n'
                      "[outlets]\n" + "\n".join(lines) + "\n")
    process = subprocess.Popen(command("outlets", "--config", config), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said, found = "", None
        while found is None:
            line = process.stderr.readline()
            assert line, said
            said, found = said + line, re.search(r"tasks connect to (tcp://\S+)", line)
        if "server_key" not in table:
            until(lambda: answer_to(found[1], hello(PROTOCOL))["connected"], "the outlets hear the bus")
        yield Outlets(process, found[1])
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def a_step(sequence: int, **more: Any) -> dict[str, Any]:
    """What a live program tells of a volume."""
    told: dict[str, Any] = {
        "sequence": sequence, "attempt": 1, "volume": sequence, "status": "OK", "reason": "", "n_volumes": 20,
        "tr_s": 1.0, "gaps": 0, "rejected": 0, "censored": 0, "fd_mm": 0.1, "dvars_percent": 1.0, "tsnr": 50.0,
        "six_motions": [0.1, 0.2, 0.3, 1.0, 2.0, 3.0], "trial": 0, "n": sequence + 1, "embedding": "",
        "top": [{"clip_id": f"clip{sequence:02}", "genre": "jazz", "posterior": 0.25, "similarity": 0.5}],
        "confidence": 0.25, "genre": "jazz", "genre_confidence": 0.5, "playing": "clip00", "decision": "keep",
        "why": "", "received_ms": 1.0, "journaled_ms": 2.0, "embedded_ms": 6.0, "latency_ms": 8.0}
    assert more.keys() <= {*told, "phase", "grade"}
    return told | more


def an_about(session: Path | str, **more: Any) -> dict[str, Any]:
    """What a live program tells of itself."""
    return {"protocol": 1, "subject": "sub-00", "bundle": "bundle", "session": str(session), "n_voxels": 60,
            "n_clips": 12, "space": "random", "dim": 3, "lag_volumes": 3, "window_volumes": 5, "onset_volumes": [0],
            "wait_for_start": False, "stale_after_volumes": 5, "software": "innerear 0.1.0", "blinded": False} | more


RUNNING = {"state": "running", "source": "phantom", "n_volumes": 20, "tr_s": 1.0, "attempt": 1}


class Voice:
    """A session's words on a real bus, said by the test; and what others say there."""

    def __init__(self, room: Room) -> None:
        self.settings = BusSettings(topic_name(room.session), port=room.broker_port)
        self.commands: list[dict[str, Any]] = []
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._speak(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20.0)
        self._loop.close()

    async def _speak(self) -> None:
        self._over = asyncio.Event()
        async with MqttBus(self.settings) as self._bus:
            await self._bus.connected.wait()
            hearing = asyncio.create_task(self._listen())
            self._ready.set()
            await self._over.wait()
            hearing.cancel()

    async def _listen(self) -> None:
        async for said in self._bus.commands():
            self.commands.append(said)

    def say(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        """Publish, soon."""
        self._loop.call_soon_threadsafe(lambda: self._bus.publish(topic, payload, retain=retain))

    def begin(self, session: Path | str, **more: Any) -> None:
        """A run begins."""
        self.say("about", an_about(session, **more), retain=True)
        self.say("state", RUNNING, retain=True)
