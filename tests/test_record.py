"""The record repeats itself exactly after a crash, or says that it does not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import SessionError
from realtime.session.record import DocumentLog, Record, decode_vector, encode_vector, read_documents

DOCUMENTS = [{"doc": "start", "x": 0.1}, {"doc": "step", "volume": 0}, {"doc": "stop"}]


def write(path: Path, documents: list[dict[str, object]]) -> None:
    record = Record(path)
    for document in documents:
        record.append(document)
    record.close()


def test_documents_come_back_in_order(tmp_path: Path) -> None:
    write(tmp_path / "r", DOCUMENTS)
    assert list(read_documents(tmp_path / "r")) == DOCUMENTS


def test_a_resumed_record_takes_the_same_documents_again_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "r", DOCUMENTS[:2])
    record = Record(tmp_path / "r")
    assert record.resumed
    record.append(DOCUMENTS[0])
    record.append(DOCUMENTS[1])
    assert not record.resumed
    record.append(DOCUMENTS[2])
    record.close()
    assert list(read_documents(tmp_path / "r")) == DOCUMENTS


def test_a_line_cut_by_a_crash_is_written_again_whole(tmp_path: Path) -> None:
    write(tmp_path / "r", DOCUMENTS)
    whole = (tmp_path / "r").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "r").write_bytes(whole[:cut])
        write(tmp_path / "r", DOCUMENTS)
        assert (tmp_path / "r").read_bytes() == whole


def test_another_decision_than_before_the_crash_is_refused_and_nothing_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "r", DOCUMENTS[:2])
    before = (tmp_path / "r").read_bytes()
    record = Record(tmp_path / "r")
    record.append(DOCUMENTS[0])
    with pytest.raises(SessionError, match="line 2 does not repeat"):
        record.append({"doc": "step", "volume": 1})
    record.close()
    assert (tmp_path / "r").read_bytes() == before


def test_nan_never_reaches_the_disk(tmp_path: Path) -> None:
    log = DocumentLog(tmp_path / "t")
    with pytest.raises(ValueError, match="Out of range float"):
        log.append({"value": float("nan")})
    log.close()
    assert (tmp_path / "t").read_bytes() == b""


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_vectors_keep_their_bits_as_text(values: list[float]) -> None:
    vector = np.array(values, np.float32)
    assert decode_vector(encode_vector(vector)).tobytes() == vector.tobytes()
