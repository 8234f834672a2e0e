"""The demo as a newcomer runs it, at twenty times the scanner's pace."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realtime.broker import free_port
from realtime.playback.recorder import read_played
from realtime.session.record import read_documents
from tests.benchmarks.console import answers
from tests.browser import CHROMIUM, NO_CHROMIUM, Tab, chromium
from tests.loopback import free_endpoint
from tests.processes import command, running, until
from tests.test_bus import BrokerProcess

pytestmark = pytest.mark.timeout(420)  # with nothing compiled yet, on a busy machine


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(command("demo", "--out", folder / "demo", "--speed", "20", "--sink", "wav", "--json",
                                  folder / "figures.json"), capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return {**figures, "printed": done.stdout, "complaints": done.stderr}


def test_no_volume_is_lost(demo: dict[str, Any]) -> None:
    assert demo["volumes_sent"] == demo["volumes_journaled"] == 115
    assert demo["gaps"] == 0


def test_the_held_out_run_is_decoded_above_chance(demo: dict[str, Any]) -> None:
    assert demo["trials"] == 10  # eleven clips, the first is the dummy
    assert demo["identification_accuracy"] > demo["identification_chance_p95"]
    assert "the music heard was decoded" in demo["verdict"]


def test_every_promised_figure_is_there(demo: dict[str, Any]) -> None:
    for name in ("volume_to_embedding", "volume_to_decision", "volume_to_sound"):
        figures = demo["latency_ms"][name]
        assert figures["n"] > 0
        assert 0 < figures["p50"] <= figures["p99"] <= figures["max"]
    assert demo["latency_ms"]["volume_to_decision"]["n"] == 115
    assert demo["seconds_total"] > 0
    assert demo["underruns"] >= 0


def test_music_was_played_and_is_the_catalogues(demo: dict[str, Any]) -> None:
    frames = read_played(Path(demo["played_wav"])).frames
    loud = np.abs(frames).max(axis=1) > 0.01
    assert loud.mean() > 0.2
    assert np.abs(frames).max() <= 10 ** (-3.0 / 20) + 1e-6  # the ceiling of the settings
    catalogue = json.loads((Path(demo["session_dir"]) / "catalogue" / "corpus.json").read_text())
    known = {clip["clip_id"] for clip in catalogue["clips"]} | {""}
    cues = [document["clip_id"] for document in read_documents(Path(demo["session_dir"]) / "record.jsonl")
            if document["doc"] == "cue"]
    assert len(cues) > 5
    assert set(cues) <= known


def test_the_live_decoder_never_saw_which_clip_was_heard(demo: dict[str, Any]) -> None:
    """Decisions of another life of the same journal, told other clips, are the same."""
    session = Path(demo["session_dir"])
    events = session / "events.tsv"
    original = events.read_text()
    lines = original.splitlines()
    shifted = [*lines[2:], lines[1]]
    told_otherwise = ["\t".join([*mine.split("\t")[:2], *other.split("\t")[2:]])
                      for mine, other in zip(lines[1:], shifted, strict=True)]
    events.write_text("\n".join([lines[0], *told_otherwise]) + "\n")
    try:
        done = subprocess.run(command("replay", session), capture_output=True, text=True, check=False)
    finally:
        events.write_text(original)
    # the one document that may differ is the first, which names the clips for the score
    assert "line 1:" in done.stderr
    assert subprocess.run(command("replay", session), capture_output=True, check=False).returncode == 0


def test_the_report_has_its_pictures_and_the_verdict(demo: dict[str, Any]) -> None:
    page = Path(demo["report"]).read_text()
    assert page.count("data:image/") + page.count("<svg") >= 5
    assert "Identification accuracy" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_what_is_printed_says_what_happened(demo: dict[str, Any]) -> None:
    assert "115 of 115 sent are in the journal (0 lost)" in demo["printed"]
    assert demo["verdict"] in " ".join(demo["printed"].split())
    assert demo["complaints"] == ""


def test_a_folder_that_no_demo_made_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("irreplaceable")
    done = subprocess.run(command("demo", "--out", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "holds files that no demo made" in done.stderr
    assert (tmp_path / "thesis.tex").read_text() == "irreplaceable"


@pytest.mark.skipif(not CHROMIUM, reason=NO_CHROMIUM)
def test_a_newcomer_walks_a_visit_from_preflight_to_report_in_twelve_actions_and_edits_no_file(
        demo: dict[str, Any], broker: BrokerProcess) -> None:
    """As the README says: `make demo`, `innerear rehearse`, seven keys in the page, `innerear report`."""
    pytest.importorskip("nicegui", reason="the extra `console` is not installed")
    folder, port = Path(demo["session_dir"]).parents[1], free_port()
    visit = folder / "rehearsal" / "visit"
    actions = ["make demo", "innerear rehearse", "open the page"]
    rehearsal = command("rehearse", "--demo", folder / "demo", "--out", folder / "rehearsal", "--speed", 20, "--broker",
                        f"mqtt://127.0.0.1:{broker.port}", "--port", port, "--endpoint", free_endpoint(),
                        "--sink", "null")
    keys = (("f", ".head", "NOT STARTED"), ("a", ".verdict", "Everything is in order"), ("g", ".head", "run 1 of 4: G"),
            ("y", ".head", "run 1 of 4: Y"), ("g", ".head", "run 2 of 4: G"), ("g", ".head", "run 3 of 4: G"),
            ("g", ".head", "run 4 of 4: G"))
    with running(rehearsal) as process, chromium() as browser:
        until(lambda: answers(port), "the console answers")
        tab = browser.tab()
        tab.open(f"http://127.0.0.1:{port}/")
        for key, where, words in keys:
            await_text(tab, where, words)
            tab.key(key)
            actions.append(key)
        await_text(tab, ".head", "VISIT OVER")
        process.send_signal(signal.SIGINT)
        process.wait(60)
    done = subprocess.run(command("report", visit / "04-train-2"), capture_output=True, text=True, check=False)
    actions.append("innerear report")
    assert done.returncode == 0, done.stderr
    assert (visit / "04-train-2" / "report.html").stat().st_size > 10_000
    assert len(actions) <= 12
    assert json.loads((visit / "01-reference" / "overlay.json").read_text())["correlation"] > 0.85
    for run, n_volumes in (("02-warm-up", 65), ("03-train-1", 89), ("04-train-2", 89)):
        steps = [each for each in read_documents(visit / run / "record.jsonl") if each["doc"] == "step"]
        assert len(steps) == n_volumes
        assert {step["status"] for step in steps} <= {"OK", "SETTLING", "CENSORED"}
    assert any(step["shown"] is not None for step in steps)


def await_text(tab: Tab, where: str, words: str) -> None:
    """Until a part of the page says so."""
    until(lambda: words in tab.text(where), f"{where} says {words!r}, not {tab.text(where)!r}", 240.0)
