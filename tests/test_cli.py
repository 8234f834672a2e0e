"""The command: every wrong input is one sentence and a status, never a traceback."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

import innerear
from realtime.bundle import write_bundle
from realtime.console.figures import print_summary, write_figures
from realtime.messages import EmbeddingSpace
from tests import builders
from tests.loopback import free_endpoint
from tests.processes import World, command, live_command, make_world, running


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"), 12)


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A copy to damage."""
    shutil.copytree(template.folder, tmp_path / "world")
    moved = tmp_path / "world"
    return World(moved, moved / "bundle", moved / "corpus", moved / template.run.name, moved / "events.tsv", 12)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=90)


def check(world: World, *more: object) -> subprocess.CompletedProcess[str]:
    return run("check", "--quick", "--bundle", world.bundle, "--catalogue", world.catalogue, "--session",
               world.folder / "s", "--events", world.events, *more)


def test_the_overview_names_every_command_and_an_unknown_one_is_refused() -> None:
    overview = run()
    assert overview.returncode == 0
    assert all(f"  {name}" in overview.stdout for name in innerear.COMMANDS)
    unknown = run("dmeo")
    assert unknown.returncode == 2
    assert "no command 'dmeo'" in unknown.stderr


@pytest.mark.parametrize("name", sorted(innerear.COMMANDS))
def test_every_command_has_help(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_session_that_fits_passes_the_preflight(world: World) -> None:
    done = check(world)
    assert done.returncode == 0, done.stderr


def _bundle_in_another_space(world: World) -> None:
    bundle = builders.bundle()
    other = replace(bundle.manifest, space=EmbeddingSpace("other", builders.DIM, "2" * 64))
    write_bundle(world.bundle, replace(bundle, manifest=other))


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


DAMAGE: dict[str, tuple[Callable[[World], object], str]] = {
    "no bundle": (lambda world: shutil.rmtree(world.bundle), "no bundle in"),
    "a bundle's file changed": (lambda world: _flip(world.bundle / "decoder.onnx"), "has changed since the export"),
    "a bundle without manifest": (lambda world: (world.bundle / "manifest.json").unlink(), "no bundle in"),
    "another embedding space": (_bundle_in_another_space, "predicts space 'other'"),
    "no catalogue": (lambda world: shutil.rmtree(world.catalogue), "no catalogue in"),
    "a missing corpus file": (lambda world: (world.catalogue / "clip03.wav").unlink(), "clip03"),
    "no events file": (lambda world: world.events.unlink(), "cannot be read"),
    "events out of order": (
        lambda world: world.events.write_text("onset\tduration\tclip_id\n5\t5\tclip00\n0\t5\tclip01\n"), "line 3"),
    "events without onset": (lambda world: world.events.write_text("a\tb\n1\t2\n"), "column 'onset'"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE.values(), ids=DAMAGE.keys())
def test_the_preflight_names_what_is_wrong(world: World, damage: Callable[[World], object], sentence: str) -> None:
    damage(world)
    done = check(world)
    assert done.returncode == 1
    assert sentence in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_all_that_is_wrong_is_named_at_once(world: World) -> None:
    shutil.rmtree(world.bundle)
    world.events.unlink()
    done = check(world)
    assert "no bundle in" in done.stderr
    assert "events" in done.stderr


def test_an_unknown_key_is_named_with_its_file(world: World) -> None:
    config = world.folder / "live.toml"
    config.write_text("[selection]\nclip_ods = 4\n")
    done = check(world, "--config", config)
    assert done.returncode == 1
    assert "live.toml" in done.stderr
    assert "did you mean 'clip_odds'" in done.stderr


def test_a_busy_port_is_refused_with_its_remedy(world: World) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        done = subprocess.run(live_command(world, world.folder / "s", f"tcp://127.0.0.1:{holder.getsockname()[1]}"),
                              capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


def _with_tr(world: World, tr_s: float) -> None:
    world.run.with_name("run_bold.json").write_text(json.dumps({"RepetitionTime": tr_s}))


def _late_events(world: World) -> None:
    world.events.write_text("onset\tduration\tclip_id\n0\t5\tclip00\n300\t5\tclip01\n")


def _other_shape(world: World) -> None:
    bundle = builders.bundle()
    padded = np.pad(bundle.reference, ((0, 2), (0, 0), (0, 0)))
    write_bundle(world.bundle, replace(bundle, reference=padded))


MISFITS: dict[str, tuple[Callable[[World], object], str]] = {
    "another TR": (lambda world: _with_tr(world, 2.0), "the run's TR is 2 s, the bundle wants 1 s"),
    "another shape": (_other_shape, "the run's volumes are (24, 22, 14), the bundle wants (26, 22, 14)"),
    "events beyond the run": (_late_events, "lie outside the run"),
}


@pytest.mark.parametrize(("damage", "sentence"), MISFITS.values(), ids=MISFITS.keys())
def test_a_run_that_does_not_fit_is_refused_before_its_first_volume(
        world: World, damage: Callable[[World], object], sentence: str) -> None:
    damage(world)
    endpoint = free_endpoint()
    with running(live_command(world, world.folder / "s", endpoint)) as live, \
            running(command("bridge", "serve", world.run, "--connect", endpoint, "--unpaced")):
        _, errors = live.communicate(timeout=90)
    assert live.returncode == 1
    assert sentence in errors
    assert "Traceback" not in errors
    assert list((world.folder / "s").glob("record.jsonl")) == [] or not (world.folder / "s/record.jsonl").read_text()


def test_a_session_folder_that_cannot_be_written_is_one_sentence(world: World) -> None:
    (world.folder / "s").write_text("a file where the folder should be")
    done = subprocess.run(live_command(world, world.folder / "s", free_endpoint()), capture_output=True, text=True,
                          check=False, timeout=90)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_replaying_what_is_neither_session_nor_run_says_so(tmp_path: Path) -> None:
    done = run("replay", tmp_path)
    assert done.returncode == 1
    assert "--bundle" in done.stderr
    done = run("verify", tmp_path)
    assert done.returncode == 1
    assert "not a session folder" in done.stderr


def test_figures_that_cannot_be_written_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        write_figures(tmp_path / "missing" / "figures.json", {"n": 1})
    assert ended.value.exit_code == 1
    assert "cannot be written" in capsys.readouterr().err


def test_brackets_in_a_name_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    none = {"n": 0}
    print_summary({
        "session_dir": "runs/[b]old", "status": "complete", "reason": "", "volumes_sent": 3, "volumes_journaled": 3,
        "gaps": 0, "rejected": 0, "censored": 0, "verdict": "no [red] claim", "switches": 0, "underruns": 0,
        "sink": "wav", "played_wav": "x/[i].wav", "moved_volumes": {}, "segments": [],
        "coverage": {"least_confidence": 0.0, "trials": 0},
        "latency_ms": {name: none for name in ("volume_to_embedding", "volume_to_decision", "volume_to_sound")}})
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("runs/[b]old (complete)", "no [red] claim", "x/[i].wav"))
