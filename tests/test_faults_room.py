"""Part three: disks, folders and files, and what the operator does."""

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realtime.bundle import write_bundle
from realtime.playback.recorder import read_played
from realtime.session.folder import SessionFolder
from tests import builders
from tests.processes import World, finish, until
from tests.scanner_room import N_VOLUMES, Operator, Room, Scanner, live, refuse_files_beyond


def is_sound(path: Path) -> bool:
    return bool(np.abs(read_played(path).frames).max(initial=0.0) > 0.01)


@pytest.mark.parametrize("n_bytes", [0, 200_000], ids=["nothing fits", "the journal does not fit"])
def test_a_disk_that_refuses_at_the_start_is_one_sentence(room: Room, n_bytes: int) -> None:
    done = refuse_files_beyond(n_bytes, room.command())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "free space" in done.stderr or "make room" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True,
                          check=False)
    if done.returncode != 0:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full, to the last byte."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_full_in_the_run_ends_in_a_sentence_and_the_session_is_finished_with_room(
        room: Room, small_disk: Path) -> None:
    room.session = small_disk / "session"
    with live(room, "--sink", "null") as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(6)
        filler = small_disk / "filler"
        fill(filler)  # and with it the room that the record would have needed
        scanner.end()  # the journal's space was reserved: every volume is stored all the same
        errors = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert "start this session again" in errors
    assert "Traceback" not in errors
    filler.unlink()
    with live(room, "--sink", "null") as process:
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    assert room.summary()["volumes_journaled"] == N_VOLUMES
    room.verify()


def test_two_live_programs_cannot_record_in_one_folder(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(5)
        other = replace(room, endpoint=Room(room.world, room.session).endpoint)
        with live(other) as second:
            errors = second.communicate(timeout=90)[1]
        assert second.returncode == 1
        assert f"is being recorded by another live program (process {process.pid})" in errors
        process.kill()  # the kernel lets go of the folder, whatever the lock file says
        process.wait()
        with live(room) as process:
            scanner.end()
            finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    room.verify()


def test_a_session_is_not_resumed_with_other_inputs_than_it_began_with(room: Room, tmp_path: Path) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(10)
        process.kill()
    changed = shutil.copytree(room.world.folder, tmp_path / "changed")
    other = World(changed, changed / "bundle", changed / "corpus", changed / "run_bold.nii", changed / "events.tsv",
                  N_VOLUMES)
    write_bundle(other.bundle, builders.bundle(seed=1))
    np.save(other.catalogue / "embeddings.npy", np.load(other.catalogue / "embeddings.npy") + 1)
    other.events.write_text("onset\tduration\tclip_id\n0\t5\tclip00\n")
    settings = room.settings + "[selection]\nclip_odds = 4.0\n"
    with live(replace(room, world=other, settings=settings)) as process:
        errors = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert "was begun with other inputs: selection, bundle (" in errors
    assert "catalogue (" in errors
    assert "events (" in errors


def test_music_that_vanishes_in_the_run_is_an_alarm_and_is_chosen_no_more(watched: tuple[Room, Operator],
                                                                         tmp_path: Path) -> None:
    room, operator = watched
    folder = shutil.copytree(room.world.catalogue, tmp_path / "corpus")
    room.world = replace(room.world, catalogue=folder)
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        operator.await_state("armed")
        for place, path in enumerate(sorted(folder.glob("*.wav"))):
            path.unlink() if place % 2 else path.write_bytes(b"RIFF, but nothing else")
        scanner.end()
        finish(process)
    operator.await_alarm("cannot be read any more")
    assert "unplayable" in room.events()
    differing = {key for step, calm in zip(room.steps(), room.undisturbed(N_VOLUMES), strict=True)
                 for key in step.keys() | calm.keys() if step.get(key) != calm.get(key)}
    assert differing == {"decision", "why", "playing"}  # the choice of music, and nothing of what was decoded
    room.verify()


def test_a_corrupt_audio_file_is_named_before_the_run(room: Room, tmp_path: Path) -> None:
    folder = shutil.copytree(room.world.catalogue, tmp_path / "corpus")
    (folder / "clip05.wav").write_bytes(b"RIFF, but nothing else")
    index = json.loads((folder / "corpus.json").read_text())
    index["clips"][5]["sha256"] = hashlib.sha256(b"RIFF, but nothing else").hexdigest()  # indexed as it is
    (folder / "corpus.json").write_text(json.dumps(index))
    room.world = replace(room.world, catalogue=folder)
    with live(room) as process:
        errors = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert "'clip05' cannot be read" in errors
    assert "Traceback" not in errors


def test_every_command_of_the_operator_has_its_effect_and_is_in_the_record(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        operator.await_state("armed")
        operator.command("mark", "before the run")
        until(lambda: room.n_records() == 1, "an early command is journaled")
        scanner.scan(10)
        until(room.plays, "music plays")
        operator.command("pause", "a question")
        until(lambda: "pause" in room.events(), "the pause is recorded")
        scanner.scan(14)
        operator.command("resume")
        until(lambda: "resume" in room.events(), "the resume is recorded")
        scanner.scan(20)
        operator.raw(b"\xff not a command")
        operator.raw(b'{"name": "mark", "text": "\\ud800"}')
        for name, value in (("mute", None), ("unmute", None), ("volume", -20.0), ("volume", 50.0)):
            operator.command(name, value=value)
        operator.await_alarm("volume cannot be 50")
        operator.command("stop", "she wants out")
        finish(process)
    assert room.events() == ["mark", "pause", "resume", "mute", "unmute", "volume", "volume", "stop", "aborted"]
    assert room.documents("event")[0]["before_volume"] == 0
    held = [step for step in room.steps() if 10 <= step["volume"] < 14]
    assert {(step["why"], step["playing"]) for step in held} == {("paused", "")}
    assert any(step["playing"] for step in room.steps()[14:])
    assert room.summary()["reason"] == "the operator stopped the session"
    assert len({payload["got"] for topic, payload in operator.heard if topic == "rejected"}) == 2
    room.verify()


def test_all_decisions_wait_for_the_operators_start_where_that_is_asked_for(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    room.settings = "wait_for_start = true\n" + room.settings
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        operator.await_alarm('all decisions wait for the command "start"')
        scanner.scan(12)
        until(lambda: len(room.steps()) == 12, "twelve volumes are decided")
        operator.command("start")
        until(lambda: "start" in room.events(), "the start is recorded")
        process.kill()  # and a start stays one
        process.wait()
        with live(room) as process:
            scanner.end()
            finish(process)
    assert {(step["why"], step["decision"]) for step in room.steps()[:12]} == {("waiting for start", "hold")}
    assert any(step["embedding"] for step in room.steps()[:12])
    assert any(step["playing"] for step in room.steps()[12:])
    assert json.loads(SessionFolder(room.session).settings.read_text())["wait_for_start"] is True
    room.verify()


def test_a_session_that_was_muted_is_resumed_muted(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(6)
        operator.command("mute")
        until(lambda: "mute" in room.events(), "the mute is recorded")
        process.kill()
        process.wait()
        with live(room) as process:
            scanner.end()
            until(lambda: len(room.steps()) == N_VOLUMES, "all is decided")
            finish(process)
    assert any(document["clip_id"] for document in room.documents("cue"))
    assert not is_sound(room.session / "played-1.wav")
    room.verify()
