"""A watched folder on a real disk: changes are told, sub-folders followed, shares may go away, files may be locked."""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scanner_bridge.errors import SourceError
from scanner_bridge.sources import open_source
from scanner_bridge.sources.dicom_folder import DicomFolderSource
from scanner_bridge.sources.folder_watch import FolderWatch, file_system
from scanner_bridge.sources.object_files import list_objects
from scanner_bridge.sources.settings import SourceSettings
from tests import dicom_builder as build
from tests.test_bridge_folder_orders import Room

POLL_S = 0.05
_STACKS = tuple(build.enhanced([v]) for v in range(build.N_VOLUMES))


Step = tuple[float, Callable[[], object]]


def follow(folder: Path, steps: list[Step], *, follow_s: float = 6.0) -> DicomFolderSource:
    room = Room(folder, steps)
    asked = SourceSettings(path=folder, kind="dicom_folder", follow_s=follow_s, wait_s=8.0, poll_s=POLL_S,
                           watching="poll")
    return DicomFolderSource(folder, asked, sleep=room.sleep, clock=room.clock)


def writes(path: Path, content: bytes) -> Callable[[], object]:
    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return write


def test_the_system_tells_of_a_file_below_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="watchfiles is not installed: pip install 'innerear[dicom]'")
    (tmp_path / "deep").mkdir()
    watch = FolderWatch(tmp_path, "events", 0.2, lambda seconds: None)
    assert watch.by_events
    writes(tmp_path / "deep" / "1.dcm", b"x")()
    assert watch.wait()
    assert not watch.wait()
    watch.close()
    watch.close()


def test_nothing_is_looked_into_while_nothing_changes(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, "events", 0.02, lambda seconds: None)
    assert [watch.wait() for _ in range(5)] == [False] * 5
    watch.close()


def test_a_wait_for_events_can_be_ended(tmp_path: Path) -> None:
    def stop(seconds: float) -> None:
        raise InterruptedError

    watch = FolderWatch(tmp_path, "events", 0.02, stop)
    with pytest.raises(InterruptedError):
        watch.wait()
    watch.close()


def test_shares_are_polled_and_disks_are_not(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / ext4 rw 0 0\n//console/export /mnt/my\\040scanner cifs rw 0 0\n"
                      "host:/data /srv nfs4 rw 0 0\n/dev/sdb /srv ext4 rw 0 0\nbroken\n")
    kinds = {"/home/me": "ext4", "/mnt/my scanner/today": "cifs", "/mnt/my": "ext4", "/srv/x": "ext4"}
    for path, kind in kinds.items():
        assert file_system(Path(path), mounts) == kind
    assert file_system(Path("/x"), tmp_path / "missing") == ""
    assert not FolderWatch(tmp_path, "poll", 0.1, lambda seconds: None).by_events


def test_a_followed_folder_on_a_real_disk_publishes_each_volume_as_it_is_finished(tmp_path: Path) -> None:
    asked = SourceSettings(path=tmp_path, kind="dicom_folder", follow_s=20.0, wait_s=20.0, poll_s=1.0,
                           watching="events")
    source, published = open_source(asked), threading.Event()

    def scan() -> None:
        for index, content in enumerate(_STACKS):
            published.clear()
            with (tmp_path / f"{index}.part").open("wb") as file:
                file.write(content)
            os.replace(tmp_path / f"{index}.part", tmp_path / f"{index}.dcm")
            if index:  # two objects say what the TR is
                assert published.wait(20)

    scanner = threading.Thread(target=scan)
    scanner.start()
    indices = []
    for volume in source:
        indices.append(volume.index)
        published.set()
    scanner.join()
    source.close()
    assert indices == list(range(build.N_VOLUMES))


def test_folders_in_the_folder_are_followed_and_unfinished_names_are_left_alone(tmp_path: Path) -> None:
    """GE writes p###/e###/s###; many programs write under another name first."""
    files = [(v, k) for v in range(build.N_VOLUMES) for k in range(build.N_SLICES)]
    paths = [tmp_path / f"p1/e2/s{3 + k % 2}/i{number}.MRDC.{number}" for number, (_, k) in enumerate(files)]
    steps = [(0.5 + 0.1 * number, writes(paths[number], build.ge_slice(v, k))) for number, (v, k) in enumerate(files)]
    unfinished = (".hidden.dcm", "1.dcm.part", "2.dcm.tmp", "3.filepart", ".git/1.dcm")
    steps += [(0.4, writes(tmp_path / name, build.ge_slice(3, 0)[:-1])) for name in unfinished]
    volumes = list(follow(tmp_path, steps))
    assert [volume.index for volume in volumes] == list(range(build.N_VOLUMES))
    assert [path for path, _ in list_objects(tmp_path)] == sorted(paths)


def test_a_share_that_goes_away_and_comes_back_costs_no_volume(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()
    steps = [(0.5 + 0.8 * v, writes(share / f"{v}.dcm", content)) for v, content in enumerate(_STACKS[:2])]
    steps += [(1.5, lambda: share.rename(away)), (4.0, lambda: away.rename(share))]
    steps += [(4.1 + 0.8 * v, writes(share / f"{2 + v}.dcm", content)) for v, content in enumerate(_STACKS[2:])]
    volumes = list(follow(share, steps))
    assert [volume.index for volume in volumes] == list(range(build.N_VOLUMES))
    assert [text for text in caplog.messages if "cannot list" in text or "again" in text] == [
        f"cannot list {share}: [Errno 2] No such file or directory: '{share}'; check that the share is mounted; "
        "waiting for it", f"{share} can be listed again"]


def test_a_share_that_stays_away_ends_the_run_with_its_name(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    steps = [(0.5 + 0.8 * v, writes(share / f"{v}.dcm", content)) for v, content in enumerate(_STACKS[:2])]
    steps += [(1.5, lambda: shutil.rmtree(share))]
    source = follow(share, steps, follow_s=3.0)
    with pytest.raises(SourceError, match=f"cannot list {share}"):
        list(source)


def test_a_file_that_cannot_be_read_yet_is_tried_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As when the scanner's host still holds it; root reads everything, so the reading function plays the lock."""
    from scanner_bridge.sources import dicom_folder

    read, refusals = dicom_folder.read_content, []

    def locked(path: Path) -> bytes:
        if path.name == "2.dcm" and len(refusals) < 3:
            refusals.append(path)
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(dicom_folder, "read_content", locked)
    steps = [(0.5 + 0.8 * v, writes(tmp_path / f"{v}.dcm", one)) for v, one in enumerate(_STACKS)]
    volumes = list(follow(tmp_path, steps))
    assert [volume.index for volume in volumes] == list(range(build.N_VOLUMES))
    assert len(refusals) == 3
    assert sum("2.dcm cannot be read" in text for text in caplog.messages) == 1


def test_what_came_while_the_program_was_held_up_is_no_silence(tmp_path: Path) -> None:
    """A disk that hangs under the spool may hold us up for longer than a run may be silent."""
    room = Room(tmp_path, [(0.5 + 0.8 * v, writes(tmp_path / f"{v}.dcm", one)) for v, one in enumerate(_STACKS)])
    asked = SourceSettings(path=tmp_path, follow_s=3.0, wait_s=8.0, poll_s=POLL_S, watching="poll")
    heard = []
    for volume in DicomFolderSource(tmp_path, asked, sleep=room.sleep, clock=room.clock):
        heard.append(volume.index)
        if volume.index == 1:
            room.sleep(60.0)
    assert heard == list(range(build.N_VOLUMES))


def test_old_files_are_passed_over_and_new_ones_are_not(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"old-{number}.dcm").write_bytes(build.plain_slice(0, 0))
    steps = [(0.5 + 0.8 * v, writes(tmp_path / f"{v}.dcm", content)) for v, content in enumerate(_STACKS)]
    room = Room(tmp_path, steps)
    asked = SourceSettings(path=tmp_path, follow_s=6.0, wait_s=8.0, poll_s=POLL_S, watching="poll", only_new=True)
    volumes = list(DicomFolderSource(tmp_path, asked, sleep=room.sleep, clock=room.clock))
    assert [volume.index for volume in volumes] == list(range(build.N_VOLUMES))
    np.testing.assert_array_equal(volumes[0].data.shape, (build.COLUMNS, build.ROWS, build.N_SLICES))


def test_a_run_that_is_only_read_is_not_watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for v, content in enumerate(_STACKS):
        writes(tmp_path / f"{v}.dcm", content)()
    with caplog.at_level(logging.DEBUG):
        assert len(list(open_source(tmp_path))) == build.N_VOLUMES
    assert "watch" not in caplog.text
