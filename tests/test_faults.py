"""What breaks at seven in the evening: each fault done to real processes, and what the session makes of it."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from realtime.bundle import write_bundle
from realtime.playback.recorder import read_played
from realtime.session.folder import SessionFolder
from scanner_bridge.delivery import Envelope, Kind
from scanner_bridge.volume import WIRE_DTYPES, RunEnd
from scanner_bridge.wire import encode
from tests import builders
from tests.processes import World, command, finish, make_world, running, until
from tests.scanner_room import Operator, Room, Scanner, live, player_of, refuse_files_beyond
from tests.test_bus import BrokerProcess

N_VOLUMES = 25


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), N_VOLUMES)


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    with BrokerProcess() as process:
        yield process


@pytest.fixture
def room(world: World, tmp_path: Path) -> Room:
    return Room(world, tmp_path / tmp_path.name)  # a broker keeps the last state of every name


@pytest.fixture
def watched(room: Room, broker: BrokerProcess) -> Iterator[tuple[Room, Operator]]:
    room.broker_port = broker.port
    with Operator(room) as operator:
        yield room, operator


def is_sound(path: Path) -> bool:
    return bool(np.abs(read_played(path).frames).max(initial=0.0) > 0.01)


# processes that die -------------------------------------------------------------------------


def test_a_killed_player_is_started_again_and_no_decision_changes(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(12)
        until(room.plays, "music plays")
        first = player_of(process)
        os.kill(first, signal.SIGKILL)
        operator.await_alarm("started again; sound goes on and is recorded in")
        assert "died with status -9" in operator.alarms()
        until(lambda: is_sound(room.session / "played-1.wav"), "the new player sounds before any new cue")
        scanner.end()
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    assert room.summary()["volumes_journaled"] == N_VOLUMES
    assert room.summary()["player"] == "closed"
    room.verify()


def test_a_player_that_dies_every_time_is_given_up_in_words(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(12)
        for start in range(2, 5):
            os.kill(player_of(process), signal.SIGKILL)
            until(lambda n=start: operator.alarms().count("started again;") == n - 1, "it is started again")  # type: ignore[misc]
        os.kill(player_of(process), signal.SIGKILL)
        operator.await_alarm("died 4 times: no sound for the rest of the session")
        scanner.end()
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    room.verify()


def test_a_killed_broker_changes_no_decision_and_is_told_all_when_it_is_back(room: Room) -> None:
    first = BrokerProcess()
    room.broker_port = first.port
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        with first, Operator(room) as operator:
            scanner.scan(8)
            operator.await_state("running")
        scanner.scan(20)
        with BrokerProcess(first.port), Operator(room) as operator:
            operator.await_state("running")  # retained: published again to a broker that knew nothing
            scanner.end()
            finish(process)
            operator.await_state("ended")
    assert room.steps() == room.undisturbed(N_VOLUMES)
    room.verify()


def test_a_bridge_that_was_killed_and_begins_anew_goes_on_with_the_same_run(room: Room) -> None:
    serve = command("bridge", "serve", room.world.run, "--connect", room.endpoint)
    with live(room) as process:
        with running([*serve, "--speed", "5"]) as bridge:
            until(room.plays, "music plays")
            bridge.kill()
        with running([*serve, "--unpaced"]) as bridge:  # sends everything again: what is known is dropped
            finish(bridge)
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    summary = room.summary()
    assert (summary["gaps"], summary["rejected"], summary["status"]) == (0, 0, "complete")
    assert summary["duplicates"] > 0
    assert summary["latency_ms"]["volume_to_decision"]["n"] == N_VOLUMES  # a repeated volume is no decision
    room.verify()


def test_another_run_in_the_middle_of_one_is_kept_not_used_and_the_operator_hears_it(
        watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    room.settings += "[bridge]\nstale_after_volumes = 1\n"
    other = room.world.run.with_name("other_bold.nii")
    shutil.copy(room.world.run, other)
    shutil.copy(room.world.run.with_name("run_bold.json"), other.with_name("other_bold.json"))
    with live(room) as process:
        with running(command("bridge", "serve", room.world.run, "--connect", room.endpoint, "--speed", "5")) as bridge:
            until(room.plays, "music plays")
            bridge.kill()
        n_before = len(room.steps())
        with running(command("bridge", "serve", other, "--connect", room.endpoint, "--speed", "5")):
            operator.await_alarm("start another session for it")
            until(lambda: "stale" in room.events(), "volumes of another run are no sign of life: the music fades")
            process.send_signal(signal.SIGTERM)
            finish(process)
    assert room.documents("cue")[-1]["clip_id"] == ""
    assert len(room.steps()) >= n_before
    assert room.steps() == room.undisturbed(N_VOLUMES)[:len(room.steps())]
    assert room.summary()["status"] == "aborted"
    room.verify()


def test_a_live_program_stopped_for_three_seconds_loses_nothing(room: Room) -> None:
    serve = command("bridge", "serve", room.world.run, "--connect", room.endpoint, "--speed", "5")
    with live(room) as process, running(serve) as bridge:
        until(lambda: len(room.steps()) > 4, "a few volumes came")
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        process.send_signal(signal.SIGCONT)
        finish(bridge)
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    assert (room.summary()["gaps"], room.summary()["status"]) == (0, "complete")
    room.verify()


def test_a_session_killed_before_its_summary_is_finished_by_starting_it_again(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.end()
        finish(process)
    folder = SessionFolder(room.session)
    record = folder.record.read_bytes()
    for left_behind in (record, record[:4096] + bytes(4096) + record[8192:]):  # as a power cut leaves pages
        folder.record.write_bytes(left_behind)
        folder.summary.unlink()
        with live(room) as process:
            finish(process)
        assert folder.record.read_bytes() == record
        assert room.summary()["status"] == "complete"
    room.verify()


# what comes over the wire -------------------------------------------------------------------


def test_volumes_repeated_reordered_and_damaged_leave_a_record_of_each(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        run, nan = scanner.run, np.full(builders.SHAPE, np.nan)
        every_type = [replace(volume, data=(volume.data // 16).astype(dtype), slope=16.0)
                      for volume, dtype in zip(run[17:], WIRE_DTYPES, strict=True)]
        scanner.send(
            scanner.header, *run[:8],
            run[3],                                                            # again
            replace(run[3], data=run[4].data),                                 # again, with other voxels
            run[9], run[8],                                                    # in the wrong order
            replace(run[10], data=nan), replace(run[11], data=nan.astype("<f4") * np.inf),
            replace(run[12], slope=1e308), replace(run[13], inter=-1e308),
            replace(run[14], data=np.full(builders.SHAPE, 1e300)),
            replace(run[15], data=np.zeros((2, 3, 4), "<i2")),
            replace(run[16], affine=np.zeros((4, 4))),
            replace(run[17], index=2**52),
            replace(run[17], run_id="another"),
            *every_type,
            RunEnd("another", 3),
            RunEnd("run-1", 2**53 - 1),                                        # an absurd length invents no gaps
        )
        finish(process)
    statuses = {step["volume"]: step["status"] for step in room.steps()}
    assert {volume for volume, status in statuses.items() if status == "REJECTED"} == set(range(10, 17))
    assert [volume for volume, status in statuses.items() if status == "GAP"] == [8]
    assert {statuses[volume] for volume in range(17, N_VOLUMES)} <= {"OK", "CENSORED"}
    assert list(statuses) == list(range(N_VOLUMES))
    notes = " ".join(document["text"] for document in room.documents("note"))
    for words in ("volume 3 came twice; the second", "volume 3 came twice with different voxels",
                  "volume 8 came after later ones", f"volume {2**52} is", "run 'another' is not this session's"):
        assert words in notes
    figures = room.summary()
    assert (figures["gaps"], figures["duplicates"], figures["late"]) == (1, 1, 1)
    room.verify()


def dealer_sends(endpoint: str, *messages: list[bytes]) -> None:
    """Raw frames, each sent until it is answered."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(endpoint)
        for frames in messages:
            deadline_s = time.monotonic() + 60.0
            while True:
                dealer.send_multipart(frames)
                if dealer.poll(500):
                    break
                assert time.monotonic() < deadline_s, "no answer"
            while dealer.poll(50):
                answer = Envelope.from_bytes(dealer.recv())
        assert answer.kind is Kind.ACK


def test_bit_flips_and_truncation_on_the_wire_reject_one_volume_each(room: Room) -> None:
    run, nonce = builders.run_of(builders.volumes(8)), b"0123456789abcdef"
    messages = [encode(message) for message in (
        builders.header(N_VOLUMES), *run, RunEnd("run-1", 8, "aborted", "enough"))]
    flipped, cut = bytearray(messages[4][1]), messages[6][1][:-7]
    flipped[1000] ^= 4
    damaged = {4: [messages[4][0], bytes(flipped)], 6: [messages[6][0], cut], 8: messages[8][:1]}
    envelopes = [Envelope(Kind.DATA, nonce, seq).to_bytes() for seq in range(len(messages))]
    stream = [[envelopes[seq], *frames] for seq, whole in enumerate(messages)
              for frames in ([damaged[seq]] * 4 if seq in damaged else [whole])]  # three requests, then as it came
    room.settings = "[playback]\ntail_s = 2.0\n"
    with live(room) as process:
        dealer_sends(room.endpoint, *stream, stream[-1])  # whose acknowledgement was lost: it is answered again
        finish(process)
    assert [step["status"] for step in room.steps()] == [
        "SETTLING", "SETTLING", "OK", "REJECTED", "OK", "REJECTED", "OK", "REJECTED"]
    room.verify()


@contextlib.contextmanager
def garbage(endpoint: str) -> Iterator[None]:
    """Peers that speak no protocol of ours, connected while the block lasts."""
    rng = np.random.default_rng(3)
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(endpoint)
        raw = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]
        for place, peer in enumerate(raw):
            with_greeting = b"\xff" + bytes(8) + b"\x7f" if place % 2 else b""
            peer.sendall(with_greeting + rng.bytes(int(rng.integers(1, 5000))))
        valid = Envelope(Kind.DATA, b"x" * 16, 2**63, 2**63).to_bytes()
        for n_frames in range(1, 30):
            dealer.send_multipart([rng.bytes(int(rng.integers(0, 100))) for _ in range(n_frames)])
            dealer.send_multipart([valid, *[b"?"] * n_frames])
        try:
            yield
        finally:
            for peer in raw:
                peer.close()


def test_peers_that_spew_garbage_disturb_nothing(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(5)
        with garbage(room.endpoint):
            scanner.end()
            finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    room.verify()


def test_volumes_without_a_header_are_kept_and_the_operator_hears_it(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        operator.await_state("armed")
        scanner.send(*scanner.run[:3])
        operator.await_alarm("came before any run header")
        process.send_signal(signal.SIGTERM)
        finish(process)
    assert room.summary()["volumes_journaled"] == 3
    assert room.steps() == []
    room.verify()


# disks --------------------------------------------------------------------------------------


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


# folders and files --------------------------------------------------------------------------


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
    settings = room.settings + "[selection]\nmargin = 0.2\n"
    with live(replace(room, world=other, settings=settings)) as process:
        errors = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert "was begun with other inputs: selection, bundle (" in errors
    assert "catalogue (" in errors
    assert "events (" in errors


def test_music_that_vanishes_in_the_run_is_an_alarm_and_what_plays_plays_on(watched: tuple[Room, Operator],
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
    assert room.steps() == room.undisturbed(N_VOLUMES)
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


# the operator -------------------------------------------------------------------------------


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
