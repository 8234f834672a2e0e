"""No bytes from outside break a decoder: neither what fuzzing found before, nor a minute of it now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds, write_seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
SECONDS = 60


@pytest.mark.parametrize("name", TARGETS)
def test_right_bytes_and_what_fuzzing_found_break_nothing(name: str) -> None:
    found = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    for content in (*seeds()[name], *found, b"", b"\0" * 100):
        TARGETS[name](content)


@pytest.mark.parametrize("name", TARGETS)
def test_cutting_and_flipping_right_bytes_breaks_nothing(name: str) -> None:
    for content in seeds()[name]:
        step = max(1, len(content) // 60)
        for at in range(0, len(content), step):
            TARGETS[name](content[:at])
            TARGETS[name](content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 240)
@pytest.mark.parametrize("name", TARGETS)
def test_a_minute_of_guided_fuzzing_breaks_nothing(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: pip install 'innerear[fuzz]'")
    corpus = tmp_path / "corpus"
    write_seeds(corpus, name)
    for path in (CORPUS / name).glob("*"):
        (corpus / path.name).write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "tests.fuzz", name, str(SECONDS), str(corpus)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    assert executed is not None
    assert int(executed.group(1)) > 1000
