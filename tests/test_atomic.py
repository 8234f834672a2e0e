"""Files written whole: the new one, or the old one untouched."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from realtime.atomic import write_bytes, write_json


def test_the_new_file_takes_the_old_ones_place_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for payload in (b"old", b"new"):
        write_bytes(tmp_path / "file", payload)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "file", b"old")

    def refuse(_fd: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_what_json_does_not_know_becomes_null_wherever_it_stands(tmp_path: Path) -> None:
    document = {"a": float("nan"), "b": [1.5, np.float64("inf")], "c": ({"d": -np.inf}, "é", True)}
    write_json(tmp_path / "f.json", document)
    read = json.loads((tmp_path / "f.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read == {"a": None, "b": [1.5, None], "c": [{"d": None}, "é", True]}
