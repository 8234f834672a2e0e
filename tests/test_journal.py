"""The journal: what was acknowledged is there, what is torn is cut, what is damaged is named."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import JournalError
from realtime.session.journal import Journal, JournalRecord, Kind, scan_journal
from scanner_bridge.framing import frame

PAYLOADS = [b"first", b"", b"third record, a little longer", b"the fourth names IEJ2, as every frame does"]


def written(path: Path, payloads: list[bytes]) -> Path:
    journal = Journal(path)
    for payload in payloads:
        journal.append(Kind.MESSAGE, payload)
    journal.close()
    return path


def payloads_of(path: Path) -> list[bytes]:
    return [record.payload for record in scan_journal(path).records]


def test_records_come_back_in_order_with_kind_and_number(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    assert [journal.append(kind, b"x") for kind in (Kind.MESSAGE, Kind.REJECTED, Kind.EVENT)] == [0, 1, 2]
    journal.close()
    assert scan_journal(tmp_path / "j").records == (
        JournalRecord(0, Kind.MESSAGE, b"x"), JournalRecord(1, Kind.REJECTED, b"x"), JournalRecord(2, Kind.EVENT, b"x"))


def test_reserved_space_behind_the_last_record_is_not_read_as_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", reserve_bytes=100_000)
    journal.append(Kind.MESSAGE, b"only")
    assert (tmp_path / "j").stat().st_size >= 100_000
    scan = scan_journal(tmp_path / "j")
    assert [record.payload for record in scan.records] == [b"only"]
    assert scan.torn_bytes == 0
    journal.close()


def test_cut_at_any_byte_keeps_every_whole_record_and_goes_on(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", PAYLOADS).read_bytes()
    ends = [scan_journal(written(tmp_path / f"first{n}", PAYLOADS[:n])).end for n in range(1, len(PAYLOADS) + 1)]
    for cut in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        assert payloads_of(path) == PAYLOADS[:kept]
        journal = Journal(path, reserve_bytes=1)
        assert journal.append(Kind.EVENT, b"afterwards") == kept
        journal.close()
        assert payloads_of(path) == [*PAYLOADS[:kept], b"afterwards"]


def test_every_single_flipped_bit_is_detected_and_none_is_skipped_silently(tmp_path: Path) -> None:
    path = written(tmp_path / "j", PAYLOADS)
    whole = path.read_bytes()
    last_start = scan_journal(written(tmp_path / "short", PAYLOADS[:-1])).end
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if bit // 8 >= last_start:  # the last record: indistinguishable from a torn tail, and counted as one
            scan = scan_journal(path)
            assert [record.payload for record in scan.records] == PAYLOADS[:-1]
            assert scan.torn_bytes > 0
        else:
            with pytest.raises(JournalError, match="damaged"):
                scan_journal(path)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(0, 11))
def test_reopening_anywhere_changes_nothing(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes],
                                            reopen_at: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal(path)
    for number, payload in enumerate(payloads):
        if number == reopen_at:
            journal.close()
            journal = Journal(path)
        journal.append(Kind.MESSAGE, payload)
    journal.close()
    assert payloads_of(path) == payloads


WRITER = """
import sys
from pathlib import Path
from realtime.session.journal import Journal, Kind
journal = Journal(Path(sys.argv[1]), reserve_bytes=1 << 22)
number = len(journal.recovered.records)
while True:
    journal.append(Kind.MESSAGE, number.to_bytes(8, "little") * 4000)
    print(number, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "j"
    acknowledged = -1
    for kill in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(5 + 3 * kill):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        numbers = [int.from_bytes(payload[:8], "little") for payload in payloads_of(path)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > acknowledged


def test_full_disk_is_refused_when_the_run_is_reserved(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    free = os.statvfs(tmp_path)
    with pytest.raises(JournalError, match=r"cannot reserve .* free"):
        journal.reserve(free.f_bavail * free.f_frsize + (1 << 40))
    journal.append(Kind.MESSAGE, b"still whole")
    journal.close()
    assert payloads_of(tmp_path / "j") == [b"still whole"]


def test_refused_write_is_reported_and_the_next_one_takes_its_place(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(Kind.MESSAGE, b"before")
    real, calls = os.pwrite, []

    def short_then_full(fd: int, data: memoryview, offset: int) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(fd, data[:7], offset)  # a full disk first shows as a short write
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", short_then_full)
    with pytest.raises(JournalError, match="No space left"):
        journal.append(Kind.MESSAGE, b"lost to the disk, never acknowledged")
    monkeypatch.undo()
    assert journal.append(Kind.MESSAGE, b"after") == 1
    journal.close()
    assert payloads_of(tmp_path / "j") == [b"before", b"after"]


def test_a_missing_journal_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"journal .*none.* cannot be read"):
        scan_journal(tmp_path / "none")


def test_a_journal_of_another_format_is_refused_and_not_taken_for_a_torn_one(tmp_path: Path) -> None:
    path = written(tmp_path / "j", PAYLOADS)
    older = b"".join(frame(b"IEJ1", Kind.MESSAGE, number, payload) for number, payload in enumerate(PAYLOADS))
    path.write_bytes(older)
    for look in (scan_journal, Journal):
        with pytest.raises(JournalError, match="is of format 1, this program reads format 2: use the release"):
            look(path)
    assert path.read_bytes() == older
