"""A blinded session as a data set: the same in every arm until the allocation is opened, and whole afterwards."""

import asyncio
import csv
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from offline_training.bids.dataset import ExportSettings, export_bids
from offline_training.checklists.page import write_checklists
from offline_training.report import write_report
from realtime.errors import SessionError
from realtime.experiment.allocation import Allocation, Opening, allocate, write_allocation
from realtime.experiment.arms import Arm
from realtime.experiment.run_design import read_run_design
from realtime.reporting import make_report
from realtime.session.record import read_documents
from tests.bids_room import NO_VALIDATOR, SPEED, VALIDATOR, stream_designed, validate

pytestmark = pytest.mark.timeout(400)
ARMS: tuple[Arm, Arm] = ("real", "shuffled")
STEM = "sub-00_ses-session_task-music_run-01"
OWN_CLOCK = ("received", "journaled", "onset", "sample", "duration", "sound")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[Arm, Path]:
    folders = [tmp_path_factory.mktemp(arm) for arm in ARMS]
    with ThreadPoolExecutor() as both:  # at the scanner's pace they mostly wait
        made = both.map(stream_designed, folders, ARMS, ((), ("--no-report",)))
        return dict(zip(ARMS, made, strict=True))


@pytest.fixture(scope="module")
def exports(sessions: dict[Arm, Path]) -> dict[Arm, Path]:
    made = {}
    for arm, session in sessions.items():
        made[arm] = session.with_name("dataset")
        assert export_bids(session, made[arm], ExportSettings()).blinded
    return made


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def contents(dataset: Path) -> dict[str, object]:
    """Every file; of tables without the columns that another clock fills."""
    found: dict[str, object] = {}
    for path in sorted(path for path in dataset.rglob("*") if path.is_file()):
        name = str(path.relative_to(dataset))
        found[name] = path.read_bytes() if path.suffix != ".tsv" else [
            {key: value for key, value in row.items() if key not in OWN_CLOCK} for row in rows(path)]
    return found


def opened(path: Path, arm: Arm) -> Path:
    """An allocation that has the subject in this arm, opened."""
    seed = next(seed for seed in range(50) if _made(seed).arm_of("sub-00") == arm)
    write_allocation(path, _made(seed).unblinded(Opening("2030-01-01T00:00:00+00:00", "a", "the study is over")))
    return path


def _made(seed: int) -> Allocation:
    return allocate(["sub-00", "sub-01"], ARMS, seed)


def test_before_the_allocation_is_opened_both_arms_give_the_same_data_set(exports: dict[Arm, Path],
                                                                          sessions: dict[Arm, Path]) -> None:
    real, shuffled = (contents(exports[arm]) for arm in ARMS)
    assert real == shuffled
    assert [step for step in (sessions["real"] / "record.jsonl").read_text().splitlines() if '"doc":"cue"' in step] != [
        step for step in (sessions["shuffled"] / "record.jsonl").read_text().splitlines() if '"doc":"cue"' in step]
    for path in exports["shuffled"].rglob("*"):
        if path.is_file() and path.suffix in (".json", ".tsv", ""):
            assert not re.search(r"shuffled|yoked|sealed_arm", path.read_text(encoding="utf-8")), path


def test_before_it_is_opened_both_arms_have_the_same_report(sessions: dict[Arm, Path], tmp_path: Path) -> None:
    pages = []
    for arm, session in sessions.items():
        write_report(session, tmp_path / f"{arm}.html")
        run_id = next(read_documents(session / "record.jsonl"))["run"]["run_id"]
        page = re.sub(r"data:image/[^\"]+", "", (tmp_path / f"{arm}.html").read_text(encoding="utf-8"))
        pages.append(page.replace(run_id, "run"))
    assert pages[0] == pages[1]
    assert "A blinded run" in pages[0]
    assert "identification" not in pages[0]
    assert "innerear report" in (sessions["real"] / "report.html").read_text(encoding="utf-8")  # made by itself


def test_checklists_of_a_blinded_session_are_the_same_in_both_arms(sessions: dict[Arm, Path], tmp_path: Path) -> None:
    for arm, session in sessions.items():
        write_checklists(session, ("cred_nf", "cobidas"), tmp_path / f"{arm}.html")
    real, shuffled = (json.loads((tmp_path / f"{arm}.json").read_text()) for arm in ARMS)
    assert real == shuffled
    states = {item["number"]: item["state"] for item in real["cred_nf"]["items"]}
    assert [states[number] for number in ("2b", "4a", "4d", "5a")] == ["filled", "withheld", "withheld", "withheld"]
    allocation = opened(tmp_path / "allocation.json", "shuffled")
    write_checklists(sessions["shuffled"], ("cred_nf",), tmp_path / "opened.html", allocation)
    assert "shuffled" in (tmp_path / "opened.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    complaint = asyncio.run(make_report(tmp_path))
    assert "no session to report" in complaint
    assert f"make it with: innerear report {tmp_path}" in complaint


def test_what_the_design_played_is_told_with_its_clock(exports: dict[Arm, Path], sessions: dict[Arm, Path]) -> None:
    for export in exports.values():
        events = rows(export / "sub-00" / "ses-session" / "func" / f"{STEM}_events.tsv")
        assert {row["sound"] for row in events if row["trial_type"] == "feedback"} == {"n/a"}
    phases = read_run_design(sessions["shuffled"] / "design.json").phases
    assert [row["trial_type"] for row in events] == [phase.kind for phase in phases]
    listened = [row for row in events if row["trial_type"] == "listen"]
    assert listened
    for row in listened:
        assert row["sound"] == row["clip_id"]
        assert float(row["planned_onset"]) <= float(row["onset"]) < float(row["planned_onset"]) + 4.0
        assert int(row["sample"]) > 0


def test_once_it_was_opened_everything_is_told(sessions: dict[Arm, Path], tmp_path: Path) -> None:
    allocation = opened(tmp_path / "allocation.json", "shuffled")
    export_bids(sessions["shuffled"], tmp_path / "out", ExportSettings(allocation=allocation))
    assert rows(tmp_path / "out" / "participants.tsv")[0]["arm"] == "shuffled"
    func = tmp_path / "out" / "derivatives" / "innerear" / "sub-00" / "ses-session" / "func"
    played = rows(func / f"{STEM}_desc-played_timeline.tsv")
    clock = json.loads((func / f"{STEM}_desc-played_audio.json").read_text())
    assert len(played) > 1
    assert clock["VolumesKnownBy"] == "due"
    assert clock["RateRatio"] == pytest.approx(SPEED, rel=0.05)
    for row in played:
        at = clock["StartTime"] + clock["RateRatio"] * int(row["sample"]) / clock["SamplingFrequency"]
        assert float(row["onset"]) == pytest.approx(at, abs=0.5)
    if VALIDATOR:
        assert not [name for severity, name in validate(tmp_path / "out") if severity == "error"]


@pytest.mark.skipif(not VALIDATOR, reason=NO_VALIDATOR)
def test_a_blinded_data_set_is_valid(exports: dict[Arm, Path]) -> None:
    for part in ("", "derivatives/innerear"):
        assert not [name for severity, name in validate(exports["real"] / part) if severity == "error"]


def test_a_sealed_allocation_opens_nothing(sessions: dict[Arm, Path], tmp_path: Path) -> None:
    write_allocation(tmp_path / "allocation.json", _made(0))
    with pytest.raises(SessionError, match="sealed"):
        export_bids(sessions["real"], tmp_path / "out", ExportSettings(allocation=tmp_path / "allocation.json"))


def test_the_allocation_of_another_study_is_refused(sessions: dict[Arm, Path], tmp_path: Path) -> None:
    allocation = opened(tmp_path / "allocation.json", "shuffled")
    with pytest.raises(SessionError, match="in another arm"):
        export_bids(sessions["real"], tmp_path / "out", ExportSettings(allocation=allocation))
