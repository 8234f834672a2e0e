"""The console's bars, with real processes and a headless Chromium: paint, load, delay, STOP, blinding, memory."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import stats

from realtime.broker import free_port
from realtime.bundle import read_bundle, write_bundle
from realtime.console.story import Story, hear
from realtime.playback.halt import rearm
from realtime.session.folder import SessionFolder
from realtime.session.record import read_documents
from scanner_bridge.volume import RunEnd
from tests import builders
from tests.browser import chromium
from tests.console_room import Watcher
from tests.processes import World, command, finish, make_world, running, until
from tests.scanner_room import Room, Scanner, live
from tests.test_bus import BrokerProcess

Figures = dict[str, Any]
WARM_UP_S = 3.0


@dataclass
class Station:
    """A console process and where it listens."""

    process: subprocess.Popen[str]
    url: str


@contextlib.contextmanager
def console(room: Room) -> Iterator[Station]:
    """`innerear console` for this room, ready."""
    port = free_port()
    config = room.session.parent / f"{room.session.name}-console.toml"
    config.write_text(f'bundle = "{room.world.bundle}"\ncatalogue = "{room.world.catalogue}"\n'
                      f'session = "{room.session}"\nevents = "{room.world.events}"\n{room.settings}'
                      f'[bridge]\nendpoint = "{room.endpoint}"\n[bus]\nbroker = "mqtt://127.0.0.1:{room.broker_port}"\n'
                      f"[console]\nport = {port}\n")
    with running(command("console", "--config", config)) as process:
        until(lambda: answers(port), "the console answers")
        yield Station(process, f"http://127.0.0.1:{port}/")


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def figure(value: float, unit: str, bar: float, n: int, **more: Any) -> Figures:
    """One bar."""
    return {"value": round(float(value), 3), "unit": unit, "bar": bar, "n": n, **more}


def paint(url: str, times: int = 10) -> Figures:
    """Seconds from asking for the page to its head and STOP being drawn, in a fresh browser each."""
    seconds = []
    for _ in range(times):
        with chromium() as browser:
            tab = browser.tab()
            seconds.append(tab.open(url))
            tab.close()
    return {"first_paint_s": figure(max(seconds), "s, worst", 2.0, times, median=float(np.median(seconds)))}


def load(room: Room, station: Station, seconds: float = 60.0) -> Figures:
    """Share of a core that the console's process takes with two browsers open and volumes coming at their pace."""
    process = psutil.Process(station.process.pid)
    with chromium() as browser:
        for _ in range(2):
            browser.tab().open(station.url)
        time.sleep(WARM_UP_S)
        before, begun_s = process.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after, took_s = process.cpu_times(), time.monotonic() - begun_s
    used_s = after.user + after.system - before.user - before.system
    return {"two_browsers_core_percent": figure(100 * used_s / took_s, "% of a core", 10.0, 1, seconds=took_s,
                                                resident_mb=process.memory_info().rss / 1e6)}


_WATCH = """
window.seen = {};
const look = () => {
  const cell = document.querySelectorAll('.head .cell b')[1];
  const volume = cell ? parseInt(cell.innerText) : NaN;
  if (volume && !(volume in window.seen)) window.seen[volume] = performance.timeOrigin + performance.now();
  requestAnimationFrame(look);
};
look();
"""


def delay(room: Room, station: Station, n_volumes: int) -> Figures:
    """Milliseconds from a volume's decision to the frame of the browser that shows its number."""
    with chromium() as browser:
        tab = browser.tab()
        tab.open(station.url)
        tab.run(_WATCH)
        clock_s = time.time() - time.monotonic()
        with Scanner(room, room.world.n_volumes) as scanner:
            scanner.send(scanner.header)
            for volume in scanner.run[:n_volumes]:
                scanner.send(volume)
                time.sleep(0.9 + 0.05 * (volume.index % 5))
            seen = {int(key): value for key, value in json.loads(str(tab.run("JSON.stringify(window.seen)"))).items()}
            scanner.send(RunEnd("run-1", n_volumes, "aborted"))
    decided = {entry["volume"] + 1: entry["received_s"] + clock_s
               for entry in read_documents(SessionFolder(room.session).timing) if "decided_s" in entry}
    delays = [seen[number] - 1000 * decided[number] for number in seen if number in decided and number > 1]
    return {"volume_to_screen_ms": figure(np.percentile(delays, 99), "ms, p99", 300.0, len(delays),
                                          median=float(np.median(delays)), max=float(max(delays)))}


def stop(room: Room, station: Station, process: subprocess.Popen[str], presses: int) -> Figures:
    """Milliseconds from the press of Esc, or the click, to digital zero, with the live program running and stopped."""
    figures: Figures = {}
    with chromium() as browser:
        tab = browser.tab()
        tab.open(station.url)
        ways = (("key", lambda: tab.key("Escape"), False), ("click", lambda: tab.click("#stop"), False),
                ("key_decoder_stopped", lambda: tab.key("Escape"), True))
        for name, press, hung in ways:
            if hung:
                process.send_signal(signal.SIGSTOP)
            try:
                took = [_press(room, press) for _ in range(presses)]
            finally:
                process.send_signal(signal.SIGCONT)
            figures[f"stop_by_{name}_ms"] = figure(1000 * np.percentile(took, 99), "ms, p99", 100.0, presses,
                                                   median=1000 * float(np.median(took)), max=1000 * max(took))
    return figures


def _press(room: Room, press: Any) -> float:
    played = SessionFolder(room.session).played
    rearm(played)
    time.sleep(0.15)
    begun_s = time.monotonic()
    press()
    return _silent_since(played, begun_s) - begun_s


def _silent_since(played: Path, begun_s: float) -> float:
    """When the player, asked at its door, says that it came to digital zero; later than the press."""
    from realtime.playback.address import connect_unix, door_of

    with connect_unix(door_of(played), 1.0) as door, door.makefile("rb") as lines:
        while time.monotonic() < begun_s + 2.0:
            door.sendall(b'{"command":"volume","volume_db":-12.0}\n')
            answer = json.loads(lines.readline())
            if answer.get("stopped") and answer.get("silent_s", 0.0) >= begun_s:
                return float(answer["silent_s"])
            time.sleep(0.005)
    return begun_s + 2.0


def latency(world: World, folder: Path, broker_port: int, n_runs: int = 6) -> Figures:
    """The live program's p99 from due to decided, with console and two browsers, against without: alternating runs."""
    p99: dict[bool, list[float]] = {False: [], True: []}
    for number in range(n_runs):
        shown = number % 2 == 1
        room = replace(Room(world, folder / f"latency-{number}", broker_port=broker_port))
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(live(room))
            if shown:
                station = stack.enter_context(console(room))
                browser = stack.enter_context(chromium())
                for _ in range(2):
                    browser.tab().open(station.url)
            with running(command("bridge", "serve", world.run, "--connect", room.endpoint, "--speed", "2")) as bridge:
                finish(bridge, 600)
            finish(process, 600)
        p99[shown].append(room.summary()["latency_ms"]["volume_to_decision"]["p99"])
    with_it, without = float(np.median(p99[True])), float(np.median(p99[False]))
    return {"latency_p99_change_percent": figure(
        100 * (with_it / without - 1), "% of p99, medians of runs with and without", 5.0, n_runs,
        with_console_ms=p99[True], without_ms=p99[False], volumes_per_run=world.n_volumes)}


ARMS = ("real", "shuffled", "yoked")


def blinding(folder: Path, broker_port: int, n_volumes: int) -> Figures:
    """Messages of blinded sessions with the real and a shuffled decoder, and with other music.

    All arms run at once and get every volume in turn, in an order that goes round: what else the machine does is
    the same for all.
    """
    told, world = {}, make_world(folder / "world-blinded", n_volumes)
    rooms = {arm: Room(_arm(world, folder / f"world-{arm}", arm), folder / arm, broker_port=broker_port)
             for arm in ARMS}
    with contextlib.ExitStack() as stack:
        processes, watchers, scanners = {}, {}, {}
        for arm, room in rooms.items():
            room.settings = "blinded = true\n" + room.settings
            processes[arm] = stack.enter_context(live(room))
            watchers[arm] = stack.enter_context(Watcher(room))
            until(lambda arm=arm: watchers[arm].story.state == "armed", "armed")  # type: ignore[misc]
            scanners[arm] = stack.enter_context(Scanner(room, n_volumes, f"run-{arm}"))
            scanners[arm].send(scanners[arm].header)
        for number in range(n_volumes):
            for place in range(len(ARMS)):
                arm = ARMS[(number + place) % len(ARMS)]
                scanners[arm].send(scanners[arm].run[number])
            time.sleep(0.1)
        time.sleep(0.6)
        for arm in ARMS:
            scanners[arm].send(RunEnd(f"run-{arm}", n_volumes))
            finish(processes[arm], 300)
    for arm, room in rooms.items():
        told[arm] = _told(room, watchers[arm])
    figures: Figures = {}
    for arm in ARMS[1:]:
        test = stats.ks_2samp(told["real"]["delays"], told[arm]["delays"])
        figures[f"blinding_{arm}_ks_p"] = figure(test.pvalue, "p of Kolmogorov and Smirnov, above", 0.05,
                                                 len(told[arm]["delays"]), statistic=float(test.statistic),
                                                 same_schema=told["real"]["schema"] == told[arm]["schema"],
                                                 same_values=told["real"]["values"] == told[arm]["values"])
    return figures


def _told(room: Room, watcher: Watcher) -> Figures:
    """Delays, schema and values of what a session told of its volumes."""
    arrived = {entry["volume"]: entry["received_s"] for entry in read_documents(SessionFolder(room.session).timing)
               if "decided_s" in entry}
    steps = [(at_s, payload) for at_s, topic, payload in watcher.heard if topic == "step"]
    shown = ("trial", "n", "top", "playing", "why")
    return {
        "delays": [at_s - arrived[payload["volume"]] for at_s, payload in steps if payload["volume"] in arrived],
        "schema": {(topic, tuple(sorted((key, type(value).__name__ if topic != "step" else value is None)
                                        for key, value in payload.items())))
                   for _, topic, payload in watcher.heard if topic in ("step", "about", "state", "slices")},
        "values": {payload["volume"]: json.dumps([payload[key] for key in shown]) for _, payload in steps}}


def _arm(world: World, folder: Path, arm: str) -> World:
    """The world as an arm has it: rows of the decoder shuffled, or the music under other names."""
    if arm == "real":
        return world
    bundle = read_bundle(world.bundle)
    rng = np.random.default_rng(7)
    if arm == "shuffled":
        weights = rng.standard_normal((len(bundle.voxels), builders.DIM))
        other = replace(bundle, onnx=builders.linear_onnx(weights, rng.standard_normal(builders.DIM)))
        write_bundle(folder / "bundle", other)
        return replace(world, folder=folder, bundle=folder / "bundle")
    corpus = folder / "corpus"
    builders.write_corpus(corpus)
    vectors = np.load(corpus / "embeddings.npy")
    np.save(corpus / "embeddings.npy", vectors[rng.permutation(len(vectors))])
    return replace(world, folder=folder, catalogue=corpus)


def soak(hours: float = 4.0) -> Figures:
    """Growth of the story over hours of messages, as the console's process folds them, one volume a second."""
    from tests.test_console_story import SOUND, running, step

    process, story = psutil.Process(), running(1)
    after: dict[int, int] = {}
    n = int(hours * 3600)
    for volume in range(1, n):
        story = hear(story, "step", step(volume, n_volumes=None), float(volume))
        story = hear(story, "alarm", {"text": f"something at {volume}", "severity": "data"}, float(volume))
        story = hear(story, "sound", SOUND, float(volume))
        if volume in (n // 4, n - 1):
            after[volume] = process.memory_info().rss
    assert isinstance(story, Story)
    first, last = after.values()
    return {"soak_growth_mb": figure((last - first) / 1e6, "MB from the first quarter to the end", 1.0, n)}


@dataclass(frozen=True)
class Bench:
    """Where everything is measured: a folder, a broker, how often STOP is pressed and how long blinded runs are."""

    folder: Path
    broker_port: int
    presses: int
    n_volumes: int

    def room(self, name: str, n_volumes: int = 200) -> Room:
        """A session of its own over a run of so many volumes of a second."""
        return Room(make_world(self.folder / f"world-{name}", n_volumes), self.folder / name,
                    broker_port=self.broker_port)


def _paint_and_delay(bench: Bench) -> Figures:
    room = bench.room("paint")
    with live(room, "--retry-wait", 600), console(room) as station:
        return paint(station.url) | delay(room, station, 60)


@contextlib.contextmanager
def _playing(room: Room) -> Iterator[tuple[subprocess.Popen[str], Station]]:
    """The live program with its console, while a run comes at the scanner's pace."""
    with live(room) as process, console(room) as station, running(
            command("bridge", "serve", room.world.run, "--connect", room.endpoint, "--speed", "1")):
        until(room.plays, "music plays")
        yield process, station


def _load(bench: Bench) -> Figures:
    room = bench.room("load")
    with _playing(room) as (_, station):
        return load(room, station)


def _stop(bench: Bench) -> Figures:
    room = bench.room("stop", 200 + 4 * bench.presses)  # the run must outlast three ways of pressing
    with _playing(room) as (process, station):
        return stop(room, station, process, bench.presses)


def _latency(bench: Bench) -> Figures:
    return latency(bench.room("latency").world, bench.folder, bench.broker_port)


def _blinding(bench: Bench) -> Figures:
    return blinding(bench.folder, bench.broker_port, bench.n_volumes)


PARTS: dict[str, Callable[[Bench], Figures]] = {
    "paint": _paint_and_delay, "load": _load, "stop": _stop, "latency": _latency, "blinding": _blinding,
    "soak": lambda _bench: soak()}


def measure(presses: int, n_volumes: int, only: str, say: Callable[[str], None]) -> Figures:
    """All bars, or one part of `PARTS`."""
    os.environ.setdefault("XDG_STATE_HOME", tempfile.mkdtemp())
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as scratch, BrokerProcess() as broker:
        bench = Bench(Path(scratch), broker.port, presses, n_volumes)
        for name, part in PARTS.items():
            if only in ("", name):
                say(f"measuring {name}")
                figures |= part(bench)
    return figures
