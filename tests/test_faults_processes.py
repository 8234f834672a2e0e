"""What breaks at seven in the evening, part one: processes that die, stop, or begin again."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from realtime.playback.recorder import read_played
from realtime.session.folder import SessionFolder
from tests.processes import command, finish, running, until
from tests.scanner_room import N_VOLUMES, Operator, Room, Scanner, live, player_of
from tests.test_bus import BrokerProcess


def is_sound(path: Path) -> bool:
    return bool(np.abs(read_played(path).frames).max(initial=0.0) > 0.01)


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
    assert summary["duplicates"] == 0  # the bridge knows from its spool what it gave before
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
