"""The spool: what it took is there, what is torn is cut, what is damaged is named, what is stored goes away."""

import contextlib
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge import spool_stream
from scanner_bridge.client import BridgeClient
from scanner_bridge.errors import SpoolError
from scanner_bridge.spool import MAX_AGE_S, Spool, default_folder
from scanner_bridge.spool_segment import MAGIC, Preamble, scan_segment
from scanner_bridge.spool_stream import SpooledStream
from scanner_bridge.volume import Message, RunEnd, Volume
from scanner_bridge.wire import decode, encode
from tests.live_end import a_header, a_volume, live_program, send_volumes
from tests.loopback import free_endpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def put(stream: SpooledStream, *messages: Message) -> None:
    for message in messages:
        stream.append(message, encode(message))


def spooled(folder: Path, n_volumes: int) -> None:
    """A bridge that took a run's first volumes and was killed."""
    spool = Spool(folder)
    put(spool.begin(a_header()), *(a_volume(index) for index in range(n_volumes)))
    spool.close()


def indices(stream: SpooledStream) -> list[int]:
    messages = [decode(stream.read(seq)) for seq in range(stream.first_seq, stream.next_seq)]
    return [message.index for message in messages if isinstance(message, Volume)]


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.spool")
    return path


def test_what_was_taken_is_there_for_the_next_life(folder: Path) -> None:
    spooled(folder, 4)
    spool = Spool(folder)
    (stream,) = spool.streams
    assert indices(stream) == [0, 1, 2, 3]
    assert (stream.header.run_id, stream.n_volumes, stream.last_index, stream.end) == ("run", 4, 3, None)
    assert stream.knows(a_volume(3), encode(a_volume(3)))
    assert not stream.knows(a_volume(4), encode(a_volume(4)))
    put(stream, a_volume(4), RunEnd("run", 5))
    assert indices(stream) == [0, 1, 2, 3, 4]
    spool.close()
    spool.close()


def test_cut_at_any_byte_keeps_every_whole_message_and_goes_on(folder: Path, tmp_path: Path) -> None:
    spooled(folder, 2)
    path = only_file(folder)
    whole = path.read_bytes().rstrip(b"\0")
    scan = scan_segment(whole, "whole")
    assert scan is not None
    begins = [record.offset for record in scan.messages]
    cuts = sorted({*range(0, len(whole), 97), *begins, *(begin + 1 for begin in begins), len(whole) - 1})
    for cut in cuts:
        other = tmp_path / f"cut-{cut}"
        other.mkdir(mode=0o700)
        (other / path.name).write_bytes(whole[:cut])
        n_whole = sum(record.end <= cut for record in scan.messages)
        spool = Spool(other)
        if spool.last is not None:
            assert spool.last.next_seq == n_whole
            put(spool.last, a_volume(7))
            assert indices(spool.last) == [*range(n_whole - 1), 7]
        else:
            assert n_whole == 0
        spool.close()


def test_a_byte_that_changed_on_disk_is_noticed_and_what_lies_before_it_is_delivered(folder: Path) -> None:
    spooled(folder, 4)
    path = only_file(folder)
    scan = scan_segment(path.read_bytes(), "whole")
    assert scan is not None
    changed = bytearray(path.read_bytes())
    changed[scan.messages[3].offset + 100] ^= 8
    path.write_bytes(changed)
    spool = Spool(folder)
    (stream,) = spool.streams
    assert stream.damaged
    assert indices(stream) == [0, 1]
    assert path.with_suffix(".damaged").read_bytes() == bytes(changed)
    spool.close()
    endpoint = free_endpoint()
    with live_program(endpoint) as program, BridgeClient(endpoint, spool=folder) as client:
        send_volumes(client, 4)  # the source repeats: a new stream of the same run
        client.flush(10)
        assert program.indices == [0, 1, 0, 1, 2, 3]


def test_a_message_that_changes_while_the_bridge_runs_is_sent_as_it_lies_there(folder: Path) -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint, spool=folder) as client:
        send_volumes(client, 3)
        path = only_file(folder)
        scan = scan_segment(path.read_bytes(), "whole")
        assert scan is not None
        with open(path, "r+b") as file:
            file.seek(scan.messages[2].end - 5)
            file.write(b"\xff")
        with live_program(endpoint) as program:
            client.flush(10)
            assert program.indices == [0, 2]
            assert [received.rejected is not None for received in program.received] == [False, False, True, False]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_a_segment_or_are_refused(raw: bytes, ours: bool) -> None:
    first = Preamble(bytes(16), a_header()).to_bytes() if ours else b""
    for data in (raw, MAGIC + raw, first + raw):
        with contextlib.suppress(SpoolError):
            assert scan_segment(data, "name") is None or ours


def test_a_disk_that_refuses_delays_and_loses_nothing(folder: Path) -> None:
    spool = Spool(folder)
    stream = spool.begin(a_header())
    put(stream, a_volume(0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (stream.n_bytes + 1000, before[1]))
    try:
        for _ in range(2):
            with pytest.raises(SpoolError, match="make room on that disk; nothing is lost"):
                put(stream, a_volume(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    put(stream, a_volume(1), a_volume(2))
    spool.close()
    spool = Spool(folder)
    assert indices(spool.streams[0]) == [0, 1, 2]
    spool.close()


def test_a_run_that_is_stored_and_over_leaves_nothing_behind(folder: Path) -> None:
    with live_program() as program, BridgeClient(program.endpoint, spool=folder) as client:
        send_volumes(client, 3)
        client.flush(10)
        assert only_file(folder).exists()  # in progress: a live program that loses its record can have it again
        client.send(RunEnd("run", 3))
        client.flush(10)
        assert sorted(path.name for path in folder.iterdir()) == ["spool.lock"]


def test_acknowledged_files_go_when_room_is_needed_and_others_never(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_stream, "SEGMENT_BYTES", 10_000)  # two volumes
    spool = Spool(folder, limit_bytes=30_000)
    stream = spool.begin(a_header())
    put(stream, *(a_volume(index) for index in range(6)))
    assert not spool.has_room(10_000)
    stream.acknowledge(4)
    assert spool.has_room(10_000)
    assert stream.first_seq > 0
    assert stream.first_seq <= 4
    assert indices(stream)[-2:] == [4, 5]
    put(stream, a_volume(6))
    spool.close()
    again = Spool(folder)
    assert (again.streams[0].n_volumes, again.streams[0].last_index, again.streams[0].acknowledged) == (7, 6, 4)
    again.close()


def test_only_this_user_can_read_it(folder: Path) -> None:
    spooled(folder, 1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    folder.chmod(0o750)
    with pytest.raises(SpoolError, match="mode 0750, wanted 0700: run chmod 700"):
        Spool(folder)


def test_two_bridges_do_not_share_a_spool(folder: Path) -> None:
    spool = Spool(folder)
    with pytest.raises(SpoolError, match=f"another bridge .process {os.getpid()}."):
        Spool(folder)
    spool.close()
    Spool(folder).close()


def test_a_folder_that_cannot_be_a_spool_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="cannot be used"):
        Spool(tmp_path / "file")
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    (mine / "notes.spool").touch()
    with pytest.raises(SpoolError, match="holds files of others"):
        Spool(mine)
    (mine / "notes.spool").rename(mine / "000001-x.spool")
    (mine / "000001-x.spool").write_bytes(b"nothing of ours")
    Spool(mine).close()  # never finished: nothing was counted on


def test_what_was_left_behind_long_ago_is_kept_and_not_sent(folder: Path) -> None:
    spooled(folder, 2)
    later_s = only_file(folder).stat().st_mtime + MAX_AGE_S + 1
    spool = Spool(folder, wall_clock=lambda: later_s)
    assert spool.streams == []
    assert [stream.n_volumes for stream in spool.stale] == [2]
    spool.close()
    assert only_file(folder).exists()


def test_another_run_ends_the_one_that_was_cut_off_and_follows_it(folder: Path) -> None:
    spooled(folder, 3)
    endpoint = free_endpoint()
    with live_program(endpoint) as program, BridgeClient(endpoint, spool=folder) as client:
        client.send(a_header("other"))
        client.send(a_volume(0, "other"))
        client.flush(10)
        ends = [received.message for received in program.received if isinstance(received.message, RunEnd)]
        assert program.indices == [0, 1, 2, 0]
        assert [(end.run_id, end.status, end.reason) for end in ends] == [("run", "aborted", "another run began")]
        nonces = [received.nonce for received in program.received]
        assert len(set(nonces[:5])) == len(set(nonces[5:])) == 1
        assert nonces[0] != nonces[5]


def test_a_session_is_not_given_the_run_of_another(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = free_endpoint()
    with BridgeClient(endpoint, spool=folder) as client:
        with live_program(endpoint):
            send_volumes(client, 3)
            client.flush(10)
        client.send(a_volume(3))  # and the bridge is stopped
    with live_program(endpoint) as another_session, BridgeClient(endpoint, spool=folder) as client:
        client.send(a_header("other"))
        client.flush(10)
        assert [received.message.run_id for received in another_session.received if received.message] == ["other"]
    assert "messages of run run stay in" in caplog.text
    assert len(list(folder.glob("*.spool"))) == 3  # two of the old run, and the new one


def test_the_default_folder_is_this_users_own_and_one_for_each_live_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_folder("tcp://10.0.0.1:5577") == Path("/state/innerear/spool/tcp---10-0-0-1-5577")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_folder("x") == Path("/home/someone/.local/state/innerear/spool/x")
