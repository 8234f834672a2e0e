"""A live session by its real programs becomes a BIDS data set, and the data set the same features again."""

import csv
import json
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from offline_training.bids.dataset import ExportSettings, export_bids
from offline_training.checklists.page import write_checklists
from offline_training.design import Frame, sample_run, scaled_features
from offline_training.errors import DatasetError
from offline_training.runs import read_dataset
from realtime.bundle import read_bundle
from realtime.decoding.evidence import TrialEvidence
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import RealtimeError
from realtime.session.folder import SessionFolder
from realtime.session.kept import read_parts
from realtime.session.lock import held
from realtime.session.record import encode_vector
from tests import bids_room, builders
from tests.bids_room import CONSTANT, LATE, LOST, NO_VALIDATOR, NOT_NUMBERS, VALIDATOR, steps_of, stream_awkward
from tests.processes import World, command, make_world

N_VOLUMES = 40
STEM = "sub-00_ses-visit1_task-music_run-01"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("bids"), N_VOLUMES)


@pytest.fixture(scope="module")
def session(world: World) -> Path:
    path = world.folder / "visit-1"
    stream_awkward(world, path)
    return path


@pytest.fixture(scope="module")
def dataset(world: World, session: Path) -> Path:
    out = world.folder / "exports" / "dataset"
    subprocess.run(command("export", "bids", session, out, "--json", world.folder / "exported.json"), check=True,
                   stdout=subprocess.DEVNULL)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def func(dataset: Path, derived: bool = False) -> Path:
    return dataset / ("derivatives/innerear" if derived else ".") / "sub-00" / "ses-visit1" / "func"


@pytest.mark.skipif(not VALIDATOR, reason=NO_VALIDATOR)
@pytest.mark.parametrize("part", ["", "derivatives/innerear"])
def test_the_validator_finds_no_error(dataset: Path, part: str) -> None:
    found = bids_room.validate(dataset / part)
    assert [name for (severity, name) in found if severity == "error"] == []


@pytest.mark.skipif(not VALIDATOR, reason=NO_VALIDATOR)
def test_the_validator_finds_what_is_wrong(dataset: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", dataset, tmp_path / "broken"], check=True)
    (func(tmp_path / "broken") / f"{STEM}_bold.json").unlink()
    assert any(severity == "error" for severity, _ in bids_room.validate(tmp_path / "broken"))


def test_training_reads_the_features_that_were_decoded_live_bit_by_bit(dataset: Path, session: Path,
                                                                       tmp_path: Path) -> None:
    run, bundle = read_dataset(dataset).runs[0], read_bundle(session / "bundle")
    frame = Frame(bundle.reference, bundle.affine, bundle.voxels, bundle.manifest.preprocessing)
    sampled = sample_run(run, frame, tmp_path / "samples.npy")
    features = scaled_features(sampled, frame, bundle.feature_scale, tmp_path / "features.npy")
    parts = read_parts(SessionFolder(session))
    evidence = TrialEvidence(parts.schedule(), OnnxDecoder(bundle))
    recorded = steps_of(session, 2)
    assert len(recorded) == N_VOLUMES
    compared = 0
    for step, row, usable, lost in zip(recorded, features, sampled.usable, sampled.lost, strict=True):
        said = evidence.push(step["volume"], None if lost else row, usable=bool(usable))
        assert lost == (step["status"] in ("GAP", "REJECTED"))
        if step["embedding"] is not None:
            assert said is not None
            assert encode_vector(said.embedding) == step["embedding"]
            compared += 1
    assert compared > 20
    assert [step["fd_mm"] for step in recorded if step["fd_mm"] is not None] == \
        sampled.displacement_mm[~sampled.lost].tolist()


def test_images_hold_what_was_used_and_zeros_where_nothing_came(dataset: Path) -> None:
    image = nibabel.load(func(dataset) / f"{STEM}_bold.nii.gz")
    header, sent = bids_room.awkward_run(N_VOLUMES, "second")
    np.testing.assert_array_equal(image.affine, header.affine.astype(np.float32))
    np.testing.assert_array_equal(read_dataset(dataset).runs[0].affine, header.affine)
    data = np.asarray(image.dataobj)
    assert data.shape == (*builders.SHAPE, N_VOLUMES)
    assert not data[..., [LATE, LOST]].any()
    for volume in (volume for volume in sent if volume.index != LATE):
        wanted = volume.data * np.float32(volume.slope)
        np.testing.assert_array_equal(data[..., volume.index], wanted)
    sidecar = json.loads((func(dataset) / f"{STEM}_bold.json").read_text())
    assert sidecar["LostVolumes"] == [LATE, LOST, CONSTANT, NOT_NUMBERS]
    assert sidecar["RepetitionTime"] == builders.TR_S
    assert sidecar["SliceTiming"] == list(header.slice_times_s or ())


def test_an_aborted_attempt_is_no_run_and_is_kept_with_its_reason(dataset: Path, world: World) -> None:
    kept, _ = rows(dataset / "sourcedata" / "innerear" / "excluded.tsv")
    assert (kept["status"], kept["reason"], kept["volumes"]) == ("aborted", "the subject moved", "9")
    assert nibabel.load(dataset / "sourcedata" / "innerear" / kept["file"]).shape[-1] == 9
    assert len(list(dataset.glob("sub-*/**/*_bold.nii.gz"))) == 1
    assert json.loads((world.folder / "exported.json").read_text()) == {"runs": 1, "excluded": 2, "blinded": False}


def test_a_volume_that_came_late_is_kept_beside_the_run_that_had_given_it_up(dataset: Path) -> None:
    _, kept = rows(dataset / "sourcedata" / "innerear" / "excluded.tsv")
    told = f"came when they had been given up: volumes {LATE}"
    assert (kept["attempt"], kept["status"], kept["reason"], kept["volumes"]) == ("2", "late", told, "1")
    image = nibabel.load(dataset / "sourcedata" / "innerear" / kept["file"])
    _, sent = bids_room.awkward_run(N_VOLUMES, "second")
    late = next(volume for volume in sent if volume.index == LATE)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0], late.data * np.float32(late.slope))


def test_tables_say_what_the_record_says(dataset: Path, session: Path) -> None:
    told, recorded = rows(func(dataset, True) / f"{STEM}_desc-nfb_timeseries.tsv"), steps_of(session, 2)
    assert len(told) == len(recorded) == N_VOLUMES
    for row, step in zip(told, recorded, strict=True):
        assert (int(row["volume"]), row["status"], row["decision"]) == (step["volume"], step["status"],
                                                                      step["decision"])
        assert row["framewise_displacement"] == ("n/a" if step["fd_mm"] is None else str(step["fd_mm"]))
        assert row["top1_clip"] == (step["top"][0]["clip_id"] if step["top"] else "n/a")
    vectors = {int(row["volume"]): row for row in rows(func(dataset, True) / f"{STEM}_desc-embedding_timeseries.tsv")}
    for step in recorded:
        assert (step["volume"] in vectors) == (step["embedding"] is not None)
        if step["embedding"] is not None:
            values = [vectors[step["volume"]][f"dim_{place:03}"] for place in range(builders.DIM)]
            assert encode_vector(np.array(values, np.float32)) == step["embedding"]
    wrong = {row["trial_type"] for row in rows(func(dataset, True) / f"{STEM}_desc-faults_timeline.tsv")}
    assert {"gap", "rejected"} <= wrong
    events = rows(func(dataset) / f"{STEM}_events.tsv")
    assert [row["clip_id"] for row in events] == [f"clip{number:02}" for number in range(N_VOLUMES // 5)]


def test_the_sound_comes_with_its_clock(dataset: Path, session: Path) -> None:
    wav = func(dataset, True) / f"{STEM}_desc-played_audio.wav"
    told = json.loads(wav.with_suffix(".json").read_text())
    assert wav.read_bytes()[56:] == (session / "played.wav").read_bytes()[56:]
    assert told["SamplingFrequency"] == 48000
    assert told["Samples"] == (wav.stat().st_size - 56) // 8


def test_the_same_session_gives_the_same_images(dataset: Path, session: Path, tmp_path: Path) -> None:
    export_bids(session, tmp_path / "again", ExportSettings())
    for name in (f"{STEM}_bold.nii.gz", f"{STEM}_events.tsv"):
        assert (func(tmp_path / "again") / name).read_bytes() == (func(dataset) / name).read_bytes()


def test_a_target_that_holds_something_is_refused(session: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DatasetError, match="not empty"):
        export_bids(session, tmp_path / "mine", ExportSettings())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_session_that_is_being_recorded_is_refused(session: Path, tmp_path: Path) -> None:
    with held(SessionFolder(session)), pytest.raises(DatasetError, match="is being recorded by process"):
        export_bids(session, tmp_path / "out", ExportSettings())


def test_a_session_whose_record_was_changed_leaves_nothing_behind(session: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    subprocess.run(["cp", "-r", session, changed], check=True)
    record = changed / "record.jsonl"
    record.write_text(record.read_text().replace('"status":"OK"', '"status":"ok"', 1))
    with pytest.raises(RealtimeError, match="replay differs"):
        export_bids(changed, tmp_path / "out", ExportSettings())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed"]


def test_a_folder_without_a_complete_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no session in"):
        export_bids(tmp_path, tmp_path / "out", ExportSettings())


def test_both_checklists_are_filled_as_far_as_the_record_goes(session: Path, tmp_path: Path) -> None:
    counted = write_checklists(session, ("cred_nf", "cobidas"), tmp_path / "checklists.html")
    document = json.loads((tmp_path / "checklists.json").read_text())
    items = {item["number"]: item for item in document["cred_nf"]["items"]}
    assert list(items) == ("1a 1b 2a 2b 2c 2d 2e 3a 3b 3c 3d 3e 4a 4b 4c 4d 4e 5a 5b 5c 6a 6b 7a").split()
    assert counted["cred_nf"].get("withheld", 0) == 0
    assert counted["cred_nf"]["filled"] + counted["cred_nf"]["partly"] >= 10
    assert read_bundle(session / "bundle").sha256[:16] in items["4a"]["answer"]
    assert "4 lost" in items["3e"]["answer"]
    for item in (*items.values(), *document["cobidas"]["items"]):
        assert bool(item["answer"]) == bool(item["stands_in"]) == (item["state"] != "asked")
        assert item["question"] or item["state"] == "filled"
    left_out = next(item for item in document["cobidas"]["items"] if item["what"] == "Attempts that were left out")
    assert left_out["answer"] == "1 aborted"
    scrubbing = next(item for item in document["cobidas"]["items"] if item["what"] == "Scrubbing")
    assert scrubbing["answer"].startswith(f"volumes beyond {bids_room.A_LIMIT_MM} mm")  # the session's own
    assert f"moved more than {bids_room.A_LIMIT_MM} mm" in items["3d"]["answer"]
    assert items["1a"]["question"] in (tmp_path / "checklists.html").read_text(encoding="utf-8")
