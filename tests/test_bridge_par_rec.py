"""Philips PAR/REC pairs: magnitude over phase, scanner units slice by slice, whole pairs only."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge.errors import SourceError
from scanner_bridge.sources import open_source
from scanner_bridge.sources.par_rec import read_par_rec
from scanner_bridge.sources.series import Assembler
from scanner_bridge.wire import encode
from tests.recorded_series import DATA, both_marks

DUMP = DATA / "parrec" / "philips_dump"
pytestmark = both_marks


def pair(number: int) -> tuple[bytes, bytes]:
    return ((DUMP / f"Dump-000{number}.par").read_bytes(), (DUMP / f"Dump-000{number}.rec").read_bytes())


def test_the_tr_is_the_time_between_two_volumes_where_the_header_is_blank() -> None:
    assembler = Assembler("folder")
    verdicts = [assembler.take(f"{number}.par", b"".join(pair(number))) for number in (2, 0, 1)]
    assert [(verdict.kind, verdict.indices) for verdict in verdicts] == [
        ("part", (2,)), ("complete", (0, 2)), ("complete", (1,)),
    ]  # fmt: skip
    (series,) = assembler.series.values()
    assert series.header is not None
    assert (series.header.tr_s, series.header.source, series.header.dtype) == (1.0, "PAR/REC, Philips", "<f4")


def test_one_pair_alone_has_no_tr(tmp_path: Path) -> None:
    for ending, content in zip((".par", ".rec"), pair(0), strict=True):
        (tmp_path / f"Dump-0000{ending}").write_bytes(content)
    with pytest.raises(SourceError, match="states no repetition time"):
        _ = open_source(tmp_path).header


def test_half_a_pair_is_unfinished() -> None:
    par, rec = pair(0)
    for content in (par[:9000], par, par + rec[: len(rec) // 2], par + rec[:-1]):
        verdict = Assembler("folder").take("a.par", content)
        assert verdict.kind == "unfinished"
        assert verdict.reason.startswith("a.par: its ")


def test_a_dump_of_phase_only_is_left_alone() -> None:
    par, rec = pair(0)
    phase = par.replace(b" 1 1 0 16 0 ", b" 1 1 0 17 0 ")
    assert Assembler("folder").take("a.par", phase + rec).rule == "phase"


def test_two_runs_are_told_apart_by_their_folders() -> None:
    content = b"".join(pair(0))
    names = set()
    for scope in ("folder", "other", "folder"):
        assembler = Assembler(scope)
        names.add(assembler.take("a.par", content).run_id)
    assert len(names) == 2


def test_a_whole_run_in_one_pair_counts_its_dynamics() -> None:
    """Synthetic: the table of one dump three times, as dynamics 1 to 3 of an export."""
    par, rec = pair(0)
    lines = par.split(b"\r\n")
    table = [line for line in lines if line[:1].isdigit()]
    head, tail = lines[: lines.index(table[0])], lines[lines.index(table[-1]) + 1 :]
    rows = []
    for dynamic in (1, 2, 3):
        for line in table:
            words = line.split()
            words[2], words[6] = b"%d" % dynamic, b"%d" % (int(words[6]) + 30 * (dynamic - 1))
            rows.append(b" ".join(words))
    general = b"\r\n".join(head).replace(
        b"Max. number of dynamics            :   1", b"Max. number of dynamics            :   3"
    ).replace(b"Repetition time [ms]               :   1", b"Repetition time [ms]               :   2000")  # fmt: skip
    whole = b"\r\n".join([general, *rows, *tail])
    brighter = (np.frombuffer(rec, "<u2") + 1).astype("<u2").tobytes()
    image = read_par_rec(whole + rec + brighter + rec, "folder")
    assert [slices.index for slices in image.volumes] == [0, 1, 2]
    assert (image.acquisition.tr_s, image.acquisition.n_volumes) == (2.0, 3)
    first, second, third = (slices.pixels for slices in image.volumes)
    np.testing.assert_array_equal(second, first + 1)
    np.testing.assert_array_equal(third, first)


def test_no_text_of_a_par_file_gets_into_messages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        par, rec = pair(number)
        for name in (b"Patient name", b"Examination name", b"Protocol name"):
            field = name.ljust(35) + b":"
            assert field in par
            par = par.replace(field, field + b" CANARY")
        (tmp_path / f"{number}.par").write_bytes(par)
        (tmp_path / f"{number}.rec").write_bytes(rec)
    opened = open_source(tmp_path)
    sent = b"".join(frame for message in (opened.header, *opened) for frame in encode(message))
    assert b"CANARY" not in sent
    assert "CANARY" not in caplog.text


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_no_damage_raises_anything(seed: int) -> None:
    rng, (par, rec) = random.Random(seed), pair(0)
    damaged = bytearray(par)
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(30, len(damaged))] = rng.choice(b"0123456789. -x\xff")
    verdict = Assembler("folder").take("a.par", bytes(damaged) + rec)
    assert verdict.kind == "part" or verdict.reason.startswith("a.par: ")
