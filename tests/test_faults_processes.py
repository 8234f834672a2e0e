"""What breaks at seven in the evening, part one: processes that die, stop, or begin again."""

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from realtime.playback.recorder import read_played
from realtime.session.folder import SessionFolder
from scanner_bridge.client import BridgeClient
from scanner_bridge.volume import RunEnd
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


def test_an_aborted_run_is_tried_again_without_a_restart_and_both_attempts_are_in_the_record(
        watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    again = room.world.run.with_name("again_bold.nii")
    shutil.copy(room.world.run, again)
    shutil.copy(room.world.run.with_name("run_bold.json"), again.with_name("again_bold.json"))
    with live(room, "--retry-wait", 60) as process:
        with running(command("bridge", "serve", room.world.run, "--connect", room.endpoint, "--speed", "5")) as bridge:
            until(room.plays, "music plays")
            bridge.send_signal(signal.SIGTERM)
            bridge.wait()
        operator.await_state("aborted")
        until(lambda: room.documents("cue")[-1]["clip_id"] == "", "the music ends with the attempt")
        with running(command("bridge", "serve", again, "--connect", room.endpoint, "--unpaced")) as bridge:
            finish(bridge)
        finish(process)
    first, second = room.documents("start")
    assert [first["attempt"], second["attempt"]] == [1, 2]
    assert first["run"]["run_id"] != second["run"]["run_id"]
    (end,) = room.documents("end")
    assert (end["attempt"], end["status"], end["reason"]) == (1, "aborted", "stopped by SIGTERM")
    undisturbed = room.undisturbed(N_VOLUMES)
    n_first = len(room.steps()) - N_VOLUMES
    assert room.steps() == [*undisturbed[:n_first], *undisturbed]  # the second knows nothing of the first
    summary = room.summary()
    assert (summary["status"], summary["volumes_journaled"], summary["gaps"]) == ("complete", N_VOLUMES, 0)
    assert [attempt["status"] for attempt in summary["attempts"]] == ["aborted", "complete"]
    numbers = [document["number"] for document in room.documents("cue")]
    assert numbers == list(range(len(numbers)))
    room.verify()


def test_the_operator_gives_an_attempt_up_and_a_bridge_that_was_killed_begins_the_next(
        watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room, "--retry-wait", 60) as process:
        with Scanner(room, N_VOLUMES) as scanner:
            scanner.scan(8)
            until(lambda: len(room.steps()) == 8, "eight steps")
            operator.command("abort", "the person moved")
            operator.await_state("aborted")
            scanner.scan(12)  # what the scanner still makes of it
        operator.await_alarm("attempt 1 is over; what came of it afterwards is kept, not used")
        with Scanner(room, N_VOLUMES, "run-2") as scanner:
            scanner.scan(5)  # its bridge did not say that the first run is over: the spool does
            scanner.end()
            finish(process)
    (end,) = room.documents("end")
    assert (end["status"], end["reason"], end["volumes"]) == ("aborted", "the person moved", 8)
    assert [step["volume"] for step in room.steps()] == [*range(8), *range(N_VOLUMES)]
    assert room.summary()["status"] == "complete"
    room.verify()


def test_a_live_program_killed_between_two_attempts_waits_for_the_next(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room, "--retry-wait", 60) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(6)
        scanner.send(RunEnd("run-1", 6, "aborted", "the scanner stopped"))
        operator.await_state("aborted")
        process.kill()
    with live(room, "--retry-wait", 60) as process, Scanner(room, N_VOLUMES, "run-2") as scanner:
        scanner.end()
        finish(process)
    assert [attempt["status"] for attempt in room.summary()["attempts"]] == ["aborted", "complete"]
    room.verify()


def test_a_run_that_does_not_fit_the_session_is_kept_and_the_attempt_goes_on(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    room.settings += "[bridge]\nstale_after_volumes = 1\n"
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(12)
        until(room.plays, "music plays")
        with BridgeClient(room.endpoint, spool=room.session.parent / "another-bridge") as localizer:
            localizer.send(replace(scanner.header, run_id="localizer", shape=(8, 8, 8)))
            localizer.flush(60.0)
        operator.await_alarm("run 'localizer' is no attempt at this session's run")
        until(lambda: "stale" in room.events(), "another run is no sign of life: the music fades")
        scanner.end()
        finish(process)
    assert [step["volume"] for step in room.steps()] == list(range(N_VOLUMES))
    assert len(room.summary()["attempts"]) == 1
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
