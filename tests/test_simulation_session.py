"""A simulated session on disk: BIDS that others read, the truth that fits it, the same bytes every time."""

import csv
import hashlib
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from offline_training.corpus_composed import CorpusSettings, make_corpus
from offline_training.errors import SimulationError
from offline_training.simulation.dataset import simulate_session
from offline_training.simulation.settings import MotionSettings, ScannerSettings, SimulationSettings, SubjectSettings

SETTINGS = SimulationSettings(
    n_training_runs=2, blocks_per_training_run=1, clip_s=4.0, extra_clips_per_genre=0, tail_volumes=3, n_workers=1,
    subject=SubjectSettings(n_auditory=120), motion=MotionSettings(offset_mm=1.5, jerk_mm=1.0),
    scanner=ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), tr_s=2.0, multiband=3))


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    out = tmp_path_factory.mktemp("session")
    made = CorpusSettings(n_per_genre=3, n_test_per_genre=1, duration_s=4.0, rate_hz=16000)
    make_corpus(out / "stimuli", made)  # a corpus that is there already is used: this one is cheap
    return simulate_session(out, SETTINGS)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_dataset_has_the_files_bids_asks_for(session):
    func = session.folder / "sub-simulated" / "func"
    names = {path.name for path in func.iterdir()}
    for run in ("Training_run-01", "Training_run-02", "Test_run-01"):
        stem = f"sub-simulated_task-{run}"
        assert {f"{stem}_bold.nii", f"{stem}_bold.json", f"{stem}_events.tsv"} <= names
    assert len(names) == 9
    description = json.loads((session.folder / "dataset_description.json").read_text())
    assert description["BIDSVersion"]
    assert (session.folder / "participants.tsv").read_text().split() == ["participant_id", "sub-simulated"]


def test_images_say_their_size_time_and_place(session):
    for run in session.runs:
        image = nibabel.load(run.bold)
        sidecar = json.loads(run.bold.with_suffix(".json").read_text())
        assert image.shape == (32, 32, 18, 25) == (*SETTINGS.scanner.shape, run.n_volumes)
        assert image.get_data_dtype() == np.int16
        assert image.header.get_zooms() == pytest.approx((6.0, 6.0, 7.0, 2.0))
        assert image.header.get_xyzt_units() == ("mm", "sec")
        np.testing.assert_allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-4)
        assert sidecar["RepetitionTime"] == 2.0
        assert len(sidecar["SliceTiming"]) == 18
        assert max(sidecar["SliceTiming"]) < 2.0
        assert sidecar["TaskName"] == run.task


def test_events_name_stimuli_that_exist_back_to_back(session):
    before = {("Training", 1): 1, ("Training", 2): 0, ("Test", 1): 2}  # whose last clip a run begins with
    last = [run.events.read_text().splitlines()[-1].split("\t")[3] for run in session.runs]
    for run in session.runs:
        with run.events.open() as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert [float(row["onset"]) for row in rows] == [4.0 * i for i in range(11)]
        assert {float(row["duration"]) for row in rows} == {4.0}
        assert rows[0]["clip_id"] == last[before[run.task, run.number]]
        for row in rows:
            assert (session.folder / "stimuli" / row["stim_file"]).exists()
            assert row["clip_id"].startswith(row["genre"])


def test_the_true_motion_brings_every_volume_onto_the_first(session):
    """Oracle: resampling by the truth undoes the movement; by its inverse it makes it worse."""
    run = session.runs[0]
    image = nibabel.load(run.bold)
    data = np.asarray(image.dataobj, np.float64)
    motion = np.load(run.truth)["motion"]
    reference = data[..., 12]
    edge = np.zeros(reference.shape, bool)
    edge[4:-4, 4:-4, 4:-4] = True

    def error(volume, transform):
        to_voxel = np.linalg.inv(image.affine) @ transform @ image.affine
        moved = ndimage.affine_transform(volume, to_voxel[:3, :3], to_voxel[:3, 3], order=3)
        return np.sqrt(((moved - reference)[edge] ** 2).mean())

    moved_most = np.argsort(np.abs(motion - motion[12]).max(axis=(1, 2)) * (np.arange(25) > 6))[-5:]
    for t in moved_most:
        relative = motion[t] @ np.linalg.inv(motion[12])
        assert error(data[..., t], relative) < error(data[..., t], np.eye(4)) < error(
            data[..., t], np.linalg.inv(relative))


def test_the_first_volume_is_brighter_than_the_steady_state(session):
    means = np.asarray(nibabel.load(session.runs[0].bold).dataobj).mean(axis=(0, 1, 2))
    assert means[0] > 1.5 * means[10]
    assert np.std(means[8:]) < 0.01 * means[10]


def test_noise_has_the_size_that_was_asked_for(session):
    data = np.asarray(nibabel.load(session.runs[0].bold).dataobj, np.float64)[..., 8:]
    x, y, z = np.load(session.truth)["auditory_voxels"].T
    differences = np.diff(data[x, y, z], axis=1).std(axis=1) / np.sqrt(2) / data[x, y, z].mean(axis=1)
    # Differences see the white part of 1.4 %, less what is autocorrelated, plus movement.
    assert 0.006 < np.median(differences) < 0.03


def test_the_truth_names_responding_voxels_inside_the_image(session):
    truth = np.load(session.truth)
    assert truth["auditory_voxels"].shape == (120, 3)
    assert (truth["auditory_voxels"] >= 0).all()
    assert (truth["auditory_voxels"] < SETTINGS.scanner.shape).all()
    assert truth["brain"].shape == SETTINGS.scanner.shape
    assert truth["brain"][tuple(truth["auditory_voxels"].T)].mean() > 0.95
    np.testing.assert_allclose(truth["affine"], nibabel.load(session.runs[0].bold).affine, atol=1e-4)


def test_two_worker_processes_give_the_same_bytes_as_none(session, tmp_path):
    (tmp_path / "stimuli").symlink_to(session.corpus)
    done = []
    again = simulate_session(tmp_path, replace(SETTINGS, n_workers=2), lambda what, n, total: done.append((n, total)))
    func = ("sub-simulated", "func")
    assert digests(again.folder.joinpath(*func)) == digests(session.folder.joinpath(*func))
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_another_seed_moves_another_head_to_other_music(session, tmp_path):
    (tmp_path / "stimuli").symlink_to(session.corpus)
    other = simulate_session(tmp_path, replace(SETTINGS, seed=1))
    assert other.runs[0].bold.read_bytes() != session.runs[0].bold.read_bytes()
    assert other.runs[0].events.read_text() != session.runs[0].events.read_text()
    np.testing.assert_array_equal(np.load(other.truth)["auditory_voxels"], np.load(session.truth)["auditory_voxels"])


def test_a_folder_that_holds_a_dataset_is_not_overwritten(session):
    before = digests(session.folder / "sub-simulated" / "func")
    with pytest.raises(SimulationError, match="already holds a dataset"):
        simulate_session(session.folder, SETTINGS)
    assert digests(session.folder / "sub-simulated" / "func") == before


@pytest.mark.parametrize("clip_s", [2.0, 8.0])
def test_a_corpus_of_clips_of_another_length_is_refused(session, tmp_path, clip_s):
    (tmp_path / "stimuli").symlink_to(session.corpus)
    with pytest.raises(SimulationError, match=rf"clips of 4 s, wanted {clip_s:g} s"):
        simulate_session(tmp_path, replace(SETTINGS, clip_s=clip_s))
