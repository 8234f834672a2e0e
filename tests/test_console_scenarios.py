"""What goes wrong at the scanner, with real processes: within two seconds the console says what, and what to do."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realtime.console import alarms
from realtime.playback.latch import Latch
from realtime.session.folder import SessionFolder
from scanner_bridge.volume import RunEnd, TriggerSummary
from tests import builders, dicom_builder
from tests.console_room import Watcher
from tests.processes import command, finish, running, until
from tests.scanner_room import N_VOLUMES, Room, Scanner, live, player_of
from tests.test_bus import BrokerProcess

SOON_S = 60.0  # for what is not the console's to be quick about


@pytest.fixture
def watcher(room: Room, broker: BrokerProcess) -> Iterator[Watcher]:
    room.broker_port = broker.port
    with Watcher(room) as watcher:
        yield watcher


def reach(watcher: Watcher, volume: int) -> None:
    until(lambda: watcher.story.volume >= volume - 1, f"{volume} volumes are told")


def test_a_run_with_everything_wrong_in_it(room: Room, watcher: Watcher) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        watcher.is_in("ARMED", SOON_S)
        scanner.scan(3)
        reach(watcher, 3)
        watcher.is_in("RUNNING")
        assert watcher.view().clock.expected_in_s is not None
        watcher.says("late, and the bridge is there", 1.0 + 2.0)  # from the TR after the last volume on
        scanner.send(*scanner.run[4:6])  # volume 3 is lost
        until(lambda: watcher.story.counts[0] == 1, "the loss is decided")
        watcher.says("Volume 3 never came. 1 lost so far")
        elsewhere = scanner.run[6].affine.copy()
        elsewhere[0, 3] += 20.0
        scanner.send(replace(scanner.run[6], affine=elsewhere))  # the slices were moved
        watcher.says("If the protocol was changed: abort")
        scanner.send(*scanner.run[7:14])
        os.kill(player_of(process), signal.SIGKILL)
        watcher.says("died with status -9")
        watcher.says("started again; sound goes on", SOON_S)
        trigger = TriggerSummary(24, 1, 1, 0, 0, 1.0, 0.01, "24 pulses: volume 5 came without one, volume 9 with two")
        scanner.send(*scanner.run[14:], RunEnd("run-1", N_VOLUMES - 1, trigger=trigger))
        watcher.says("trigger: 24 pulses: volume 5 came without one")
        finish(process)
        watcher.is_in("ENDED")
    assert [span.kind for span in watcher.story.spans if span.kind != "trial"] == ["GAP", "REJECTED"]
    assert room.summary()["gaps"] == 1
    room.verify()


def test_abort_retry_kill_and_going_on(room: Room, watcher: Watcher) -> None:
    with live(room, "--retry-wait", 60) as process:
        with Scanner(room, N_VOLUMES) as scanner:
            scanner.scan(6)
            reach(watcher, 6)
            assert "next attempt" in watcher.command("retry", "she coughed")
            watcher.is_in("ABORTED")
            assert {"volume", "end"} <= watcher.view().keys
        with Scanner(room, N_VOLUMES, "run-2") as scanner:
            scanner.scan(8)
            until(lambda: (watcher.story.attempt, watcher.story.volume) == (2, 7), "the second attempt is told")
            assert "attempt 2" in watcher.view().headline.sentence
            assert watcher.command("note", "she coughs") == "Done: the note is in the record."
            until(lambda: "note" in room.events(), "the note is recorded")
            process.kill()
            watcher.says("The live program is gone in the middle of the session")
            until(lambda: "arm" in watcher.view().keys, "A may be pressed", 2.0)
            with live(room, "--retry-wait", 60) as second:
                watcher.is_in("RESUMED", SOON_S)
                assert "is gone" not in watcher.alarms()
                scanner.end()
                finish(second)
    assert [attempt["status"] for attempt in room.summary()["attempts"]] == ["aborted", "complete"]
    room.verify()


def test_a_killed_bridge_and_a_killed_broker(room: Room) -> None:
    first = BrokerProcess()
    room.broker_port = first.port
    with live(room) as process:
        with first, Watcher(room) as watcher:
            with Scanner(room, N_VOLUMES) as scanner:
                scanner.scan(5)
                reach(watcher, 5)
            watcher.says("The bridge is gone; volumes wait on the scanner's host", 2.5 + 2.0)  # heard 2 s ago is there
            os.kill(first._process.pid, signal.SIGKILL)
            watcher.says("The broker does not answer")
            assert watcher.view().headline.word == "NO BROKER"
            assert "the player obeyed" in watcher.stop()  # and STOP works all the same
            watcher.says("STOP holds")
            assert Latch(SessionFolder(room.session).played).held
            assert "armed" in watcher.command("rearm").lower()
        with BrokerProcess(first.port), Watcher(room) as again, Scanner(room, N_VOLUMES) as scanner:
            # stale where broker and scanner took longer than five volumes to come back
            until(lambda: again.view().headline.word in ("RUNNING", "NO VOLUMES"), "the session is heard again", SOON_S)
            scanner.end()
            finish(process)
    room.verify()


def write_slices(share: Path, volumes: range) -> None:
    """What a GE scanner exports of the phantom: an object per slice, counted through the run."""
    for number, data in zip(volumes, builders.volumes(volumes.stop)[volumes.start:], strict=True):
        for z in range(data.shape[2]):
            instance = number * data.shape[2] + z + 1
            image = dicom_builder.base(dicom_builder.CLASSIC, str(instance), Manufacturer="GE MEDICAL SYSTEMS")
            image.RepetitionTime, image.InstanceNumber = 1000 * builders.TR_S, instance
            image.NumberOfTemporalPositions, image.ImagesInAcquisition = N_VOLUMES, data.shape[2]
            image.ImagePositionPatient = [46, 42, -30 + 4.5 * z]  # left and back are positive here
            image.ImageOrientationPatient, image.PixelSpacing = [-1, 0, 0, 0, -1, 0], [4, 4]
            image.SpacingBetweenSlices = 4.5
            pixels = data[:, :, z].T.astype("<u2").copy()
            (share / f"{instance:05}.dcm").write_bytes(dicom_builder.written(image, pixels))


def test_a_share_that_goes_away_and_comes_back(room: Room, watcher: Watcher, tmp_path: Path) -> None:
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()
    write_slices(share, range(6))
    serve = command("bridge", "serve", share, "--connect", room.endpoint, "--unpaced", "--follow", 60)
    with live(room) as process, running(serve) as bridge:
        until(lambda: watcher.story.volume >= 4, "five volumes are told")
        share.rename(away)
        watcher.says("late, and the bridge is there. Does the scanner scan? Then look at its export and at the share",
                     1.0 + 1.0 + 2.0)  # from when the next volume is overdue on
        away.rename(share)
        write_slices(share, range(6, N_VOLUMES))
        finish(bridge)
        finish(process)
    assert room.summary()["gaps"] == room.summary()["rejected"] == 0
    assert room.summary()["volumes_journaled"] == N_VOLUMES
    room.verify()


def test_a_bundle_that_was_made_for_another_protocol(room: Room, watcher: Watcher) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        watcher.is_in("ARMED", SOON_S)
        scanner.header = replace(scanner.header, shape=(8, 8, 8))
        scanner._client.send(scanner.header)  # not acknowledged: it is refused
        watcher.says("does not fit this run", 10.0)
        process.communicate(timeout=60)
    assert process.returncode == 1
    watcher.is_in("NOT RUNNING")


def test_stop_works_while_the_live_program_hangs(room: Room, watcher: Watcher) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(12)
        until(room.plays, "music plays")
        process.send_signal(signal.SIGSTOP)
        try:
            watcher.says("Live program and player have said nothing", alarms.SILENT_S + 2.0)
            assert "the player obeyed" in watcher.stop()
            watcher.says("STOP holds: the sound is off")
            assert "rearm" in watcher.view().keys
        finally:
            process.send_signal(signal.SIGCONT)
        scanner.end()
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)


def test_a_disk_that_is_nearly_full(room: Room, broker: BrokerProcess, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True,
                          check=False)
    mounted = done.returncode == 0
    if not mounted:  # this user may not: then this very disk is called small
        monkeypatch.setattr(alarms, "LITTLE_DISK_BYTES", shutil.disk_usage(tmp_path).free + 10**12)
    room.broker_port = broker.port
    room.session = disk / "session"
    try:
        with Watcher(room) as watcher:
            watcher.says("The session's disk is nearly full")
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def test_a_live_program_that_cannot_start_says_why(room: Room, watcher: Watcher) -> None:
    nowhere = replace(room, world=replace(room.world, bundle=room.session / "nothing"))
    watcher.deeds.post = replace(watcher.deeds.post, start=tuple(nowhere.command()[4:]))
    assert "The live program starts" in watcher.command("arm")
    words: list[str] = []
    until(lambda: bool(words) or bool(words.append(said) if (said := watcher.deeds.last_words()) else None), "it ended")
    assert "no bundle in" in words[0]
    assert watcher.deeds.last_words() == ""


def test_what_a_blinded_session_tells_names_no_music(room: Room, watcher: Watcher) -> None:
    room.settings = "blinded = true\n" + room.settings
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(N_VOLUMES)
        until(room.plays, "music plays")
        reach(watcher, N_VOLUMES)
        until(lambda: bool(watcher.story.planes), "slices came")
        scanner.send(RunEnd("run-1", N_VOLUMES))
        finish(process)
    assert watcher.story.about.blinded
    told = "".join(str(payload) for _, _, payload in watcher.heard)
    assert "clip" not in told.replace("n_clips", "")
    assert all(plane.voxels == () for plane in watcher.story.planes)
    assert np.isfinite([point.fd_mm for point in watcher.story.points if point.fd_mm is not None]).all()
    room.verify()
