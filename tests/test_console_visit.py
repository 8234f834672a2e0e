"""A visit at the console: runs begun, judged and repeated by keys of the page, with the processes it really has."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nicegui", reason="the extra `console` is not installed")

from realtime.broker import LOOPBACK, free_port
from realtime.session.folder import SessionFolder
from realtime.session.lock import recorded_by
from realtime.session.record import read_documents
from realtime.session.replay import replay_session
from scanner_bridge.volume import RunEnd
from tests import builders
from tests.benchmarks.console import answers
from tests.browser import CHROMIUM, NO_CHROMIUM, Tab, chromium
from tests.console_room import WITHIN_S
from tests.loopback import free_endpoint
from tests.processes import TIMEOUT_S, World, command, make_world, running, until
from tests.scanner_room import Room, Scanner
from tests.test_bus import BrokerProcess

N_REFERENCE, N_TRAIN = 8, 20
DESIGN = '''clips = ["clip01", "clip02"]
trial = ["imagine", "wait", "feedback"]
blocks = 1
lead_s = 3.0
tail_s = 2.0
[seconds]
imagine = 3.0
wait = 2.0
feedback = 2.0
'''


def write_plan(world: World, endpoint: str, broker_port: int, console_port: int) -> Path:
    (world.folder / "design.toml").write_text(DESIGN)
    path = world.folder / "plan.toml"
    path.write_text(f'''subject = "sub-00"
bundle = "{world.bundle}"
catalogue = "{world.catalogue}"
folder = "{world.folder / "visit"}"
[acquisition]
tr_s = 1.0
[bridge]
endpoint = "{endpoint}"
[bus]
broker = "mqtt://{LOOPBACK}:{broker_port}"
[console]
port = {console_port}
[playback]
sink = "wav"
tail_s = 0.0
[[runs]]
name = "reference"
kind = "reference"
n_volumes = {N_REFERENCE}
[[runs]]
name = "train"
kind = "feedback"
n_volumes = {N_TRAIN}
design = "{world.folder / "design.toml"}"
[runs.feedback]
mode = "target"
target = "clip03"
''')
    return path


class Desk:
    """The page, the scanner and what the visit wrote."""

    def __init__(self, tab: Tab, room: Room, visit: Path) -> None:
        self.tab, self.room, self.visit = tab, room, visit
        self.scans = 0

    def shows(self, words: str, where: str = ".head", within_s: float = TIMEOUT_S) -> None:
        until(lambda: words in self.tab.text(where), f"{where} says {words!r}, not {self.tab.text(where)!r}", within_s)

    def press(self, key: str, deed: str, times: int = 1) -> None:
        """Once the button can be used."""
        until(lambda: bool(self.tab.run(f"!!document.querySelector('[data-deed=\"{deed}\"]:not([disabled])')")),
              f"{deed} can be pressed")
        for _ in range(times):
            self.tab.key(key)

    def scan(self, n_volumes: int, of: np.ndarray | None = None) -> None:
        """One run, from its header to its end."""
        self.scans += 1
        run_id = f"run-{self.scans}"
        rng = np.random.default_rng(self.scans)
        head = builders.phantom() if of is None else of
        data = [np.clip(head + 8 * rng.standard_normal(head.shape), 0, None).astype(np.int16) for _ in range(n_volumes)]
        with Scanner(self.room, n_volumes, run_id) as scanner:
            scanner.send(scanner.header, *builders.run_of(data, run_id), RunEnd(run_id, n_volumes))

    def diary(self) -> list[str]:
        return [str(entry["what"]) for entry in read_documents(self.visit / "diary.jsonl")]


@pytest.fixture
def desk(tmp_path: Path, broker: BrokerProcess) -> Iterator[Desk]:
    world = make_world(tmp_path / "world", N_TRAIN)
    endpoint, port = free_endpoint(), free_port()
    plan, visit = write_plan(world, endpoint, broker.port, port), world.folder / "visit"
    with running(command("console", "--plan", plan)), chromium() as browser:
        until(lambda: answers(port), "the console answers")
        tab = browser.tab()
        tab.open(f"http://{LOOPBACK}:{port}/")
        try:
            yield Desk(tab, Room(world, visit, endpoint), visit)
        finally:
            if pid := recorded_by(SessionFolder(visit)):  # it outlives its console
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(not CHROMIUM, reason=NO_CHROMIUM)
def test_a_wrong_person_is_seen_and_the_right_one_put_in_walks_the_visit_by_keys(desk: Desk) -> None:
    desk.shows("NOT STARTED")
    desk.press("a", "arm")
    desk.shows("YOUR TURN")
    desk.press("g", "go")
    desk.shows("ARMED")
    desk.scan(N_REFERENCE, of=builders.phantom(seed=77))
    desk.shows("JUDGE THE PICTURE")
    desk.shows("does not look like sub-00's", ".alarms", WITHIN_S)
    height = "(document.querySelector('.overlay img') || {}).naturalHeight || 0"
    until(lambda: bool(desk.tab.run(height) > 500), "the picture is shown")
    desk.press("o", "out", times=2)
    desk.shows("SUBJECT OUT", within_s=WITHIN_S)
    desk.press("i", "in")
    desk.shows("01-reference_2", ".visit", WITHIN_S)
    desk.press("g", "go")
    desk.shows("ARMED")
    desk.scan(N_REFERENCE)
    desk.shows("JUDGE THE PICTURE")
    assert "Nothing to act on" in desk.tab.text(".alarms")
    desk.press("y", "accept")
    desk.shows("02-train", ".visit", WITHIN_S)
    desk.press("Escape", "stop")  # between runs: the next begins silent
    desk.shows("STOP holds", ".alarms", WITHIN_S)
    desk.press("g", "go")
    desk.shows("ARMED")
    assert (desk.visit / "02-train" / "player.stopped").exists()
    desk.press("l", "rearm", times=2)
    desk.scan(N_TRAIN)
    desk.shows("VISIT OVER")
    assert desk.diary() == ["plan", "go", "begun", "ended", "out", "in", "go", "begun", "ended", "accept", "go",
                            "begun", "ended"]
    for run in ("01-reference", "01-reference_2", "02-train"):
        assert replay_session(desk.visit / run)["identical"]
