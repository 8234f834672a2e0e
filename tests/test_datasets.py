"""ds003720 as OpenNeuro ships it, other BIDS data sets with sound, and ready-made arrays: read whole, or refused."""

import json
import shutil
import tracemalloc
from itertools import islice
from pathlib import Path

import nibabel as untyped_nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus_excerpts import read_excerpts
from offline_training.corpus_sources import Wanted, find_tracks
from offline_training.errors import DatasetError
from offline_training.material import check_clips
from offline_training.recordings import Recordings, read_recordings
from offline_training.response_arrays import read_arrays
from offline_training.response_trials import Window, trial_rows, trials_of
from offline_training.runs import read_dataset, read_volumes
from offline_training.scan_order import Scan, scan_order
from offline_training.splits import border_crossings, deal_folds
from realtime.errors import EventsError
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from tests import builders
from tests.recorded_series import DATA

nibabel = untyped_nibabel
BIDS = DATA / "bids"
ORDER = ["Training1A Training2A Test1A Training3A Training4A Test2A", "Training5B Test3B Training6B Training7B Test4B "
         "Training8B", "Test5C Training9C Training10C Test6C Training11C Training12C"]


def sparse_run(path: Path, shape: tuple[int, int, int, int] = (96, 96, 68, 410)) -> None:
    """An image of the true geometry whose voxels are a hole in the file: 514 MB that take no room."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header.set_zooms((2, 2, 2, 1.5))
    header.set_xyzt_units("mm", "sec")
    image = nibabel.Nifti1Image(np.broadcast_to(np.int16(0), shape), np.diag([2, 2, 2, 1]), header)
    with path.open("wb") as file:
        file.write(image.header.binaryblock + bytes(4))
        file.truncate(352 + 2 * int(np.prod(shape)))


@pytest.fixture(scope="module")
def ds003720(tmp_path_factory) -> Path:
    if not BIDS.is_dir():
        pytest.skip(f"no recorded data in {BIDS}")
    folder = tmp_path_factory.mktemp("bids") / "ds003720"
    for source in sorted((BIDS / "ds003720").rglob("*")):
        target = folder / source.relative_to(BIDS / "ds003720")
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            if source.name.endswith("_bold.json"):
                sparse_run(target.with_name(target.name.replace("_bold.json", "_bold.nii")))
    return folder


@pytest.mark.data
def test_ds003720_is_read_as_it_ships_sessions_dummies_and_repeats(ds003720) -> None:
    with pytest.raises(DatasetError, match="holds subjects 001, 002, 003; choose one"):
        read_dataset(ds003720)
    for subject in ("001", "sub-002", "003"):
        dataset = read_dataset(ds003720, subject)
        assert (len(dataset.training), len(dataset.test), dataset.n_sessions) == (12, 6, 3)
        named = {run.run_id: f"{run.task}{int(run.run_id[-2:])}{'ABC'[run.session]}" for run in dataset.runs}
        for session in range(3):
            assert {named[run.run_id] for run in dataset.runs if run.session == session} == set(ORDER[session].split())
        assert {(run.shape, run.n_volumes, run.tr_s) for run in dataset.runs} == {((96, 96, 68), 410, 1.5)}
        assert all(run.events[0].is_dummy and not any(event.is_dummy for event in run.events[1:])
                   for run in dataset.runs)
        clips = [event.clip_id for run in dataset.training for event in run.events if not event.is_dummy]
        tests = [event.clip_id for run in dataset.test for event in run.events if not event.is_dummy]
        assert (len(clips), len(set(clips)), len(tests), len(set(tests))) == (480, 480, 240, 60)
        assert not set(clips) & set(tests)
        runs = [run.run_id for run in dataset.runs for event in run.events if not event.is_dummy]
        assert border_crossings(deal_folds(runs, clips + tests, 6), runs, clips + tests) == ()


@pytest.mark.data
def test_a_run_of_half_a_gigabyte_is_read_a_volume_at_a_time(ds003720) -> None:
    run = read_dataset(ds003720, "001").training[0]
    assert run.bold.stat().st_size == 513_884_512
    tracemalloc.start()
    volumes = list(islice(read_volumes(run), 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volumes[0].data.shape == (96, 96, 68)
    assert volumes[0].data.dtype == np.int16
    assert peak < 8e6, "one volume is 1.25 MB"


@pytest.mark.data
def test_pointers_in_place_of_images_are_named(ds003720, tmp_path) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(BIDS / "ds003720" / "sub-001", folder / "sub-001")
    with pytest.raises(DatasetError, match=r"18 events files without an image.* datalad get"):
        read_dataset(folder)
    for sidecar in sorted((folder / "sub-001" / "func").glob("*_bold.json")):
        sidecar.parent.chmod(0o755)
        image = sidecar.with_name(sidecar.name.replace(".json", ".nii.gz"))
        image.symlink_to("../../.git/annex/objects/x3/MD5E-s417")  # as a clone without content has them
    with pytest.raises(DatasetError, match=r"18 problems .*datalad get"):
        read_dataset(folder)
    for image in sorted((folder / "sub-001" / "func").glob("*.nii.gz")):
        image.unlink()
        image.write_text("/annex/objects/MD5E-s417--0e.nii.gz\n")
    with pytest.raises(DatasetError, match="is a pointer, not an image; fetch the data"):
        read_dataset(folder)


@pytest.mark.data
def test_ds000171_has_events_and_no_names_of_music(tmp_path) -> None:
    if not BIDS.is_dir():
        pytest.skip(f"no recorded data in {BIDS}")
    shutil.copytree(BIDS / "ds000171", tmp_path / "ds000171")
    functional = tmp_path / "ds000171" / "sub-control01" / "func"
    functional.chmod(0o755)
    for events in sorted(functional.glob("*_events.tsv")):
        image = nibabel.Nifti1Image(np.zeros((4, 4, 50, 105), np.int16), np.eye(4))
        nibabel.save(image, functional / events.name.replace("_events.tsv", "_bold.nii.gz"))
    dataset = read_dataset(tmp_path / "ds000171", "control01")
    assert [run.tr_s for run in dataset.training] == [3.0] * 5  # of the sidecars at the top
    assert {event.trial_type for run in dataset.runs for event in run.events} >= {"positive_music", "tones", "response"}
    with pytest.raises(DatasetError, match="no event of 5 runs names what was played, only negative_music"):
        check_clips([run.events for run in dataset.runs], catalogue(["a"]))
    assert dataset.n_sessions == 1


def test_stimulus_files_are_taken_as_they_were_played(tmp_path) -> None:
    (tmp_path / "sub-1_task-listen_events.tsv").write_text(
        "onset\tduration\tstim_file\n0\t12\tsongs/one.wav\n12\t12\tn/a\n24\t20\ttwo.ogg\n")
    heard = read_excerpts(tmp_path)
    assert {name: (said.excerpt.start_s, said.excerpt.end_s, said.excerpt.fade_s) for name, said in heard.items()} == {
        "one": (0.0, 12.0, 0.0), "two": (0.0, 20.0, 0.0)}
    (tmp_path / "sub-1_task-other_events.tsv").write_text("onset\tduration\tstim_file\n0\t9\tone.wav\n")
    with pytest.raises(DatasetError, match="one was heard from 0 to 9 s, another events file from 0 s to 12 s"):
        read_excerpts(tmp_path)


def test_events_longer_than_the_run_are_refused(tmp_path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 10), np.int16), np.eye(4)), tmp_path / "run.nii")
    (tmp_path / "run.json").write_text(json.dumps({"RepetitionTime": 1.5}))
    (tmp_path / "run_events.tsv").write_text("onset\tduration\tclip_id\n0\t15\ta\n15\t15\tb\n")
    with pytest.raises(DatasetError, match=r"1 of 2 events in .* lie outside the run"):
        read_dataset(tmp_path)


def test_sessions_are_told_by_labels_or_by_what_falls_back_and_never_guessed() -> None:
    clock = [Scan(f"task-a_run-{n}", "a", "", n, s, t) for n, s, t in [(1, 5, 100.0), (2, 6, 200.0), (3, 5, 300.0)]]
    assert scan_order(clock).sessions == (0, 0, 1)
    other = [Scan(f"task-b_run-{n}", "b", "", n, s, t) for n, s, t in [(1, 7, 250.0), (2, 8, 260.0)]]
    assert set(scan_order([*clock, *other]).sessions) == {0}  # the tasks disagree on how many there were
    labelled = [Scan(f"ses-{label}_run-{n}", "a", label, n, np.nan, np.nan) for label, n in [("2", 1), ("1", 1)]]
    assert scan_order(labelled).run_ids == ("ses-1_run-1", "ses-2_run-1")
    assert scan_order(labelled).sessions == (0, 1)


CLIPS = [f"g{k % 3}.{k:05d}" for k in range(8)]


def catalogue(clips: list[str]) -> Catalogue:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(clips), 4)).astype(np.float32)
    return Catalogue(EmbeddingSpace("random", 4, "0" * 64), [Clip(clip, Path("/none"), clip.split(".")[0])
                                                             for clip in clips], vectors, vectors.mean(axis=0))


def array_folder(folder: Path, n_voxels: int = 30, layout: str = "voxels first", dtype: type = np.float32) -> Path:
    """Two training runs of four new clips, one test run of two clips four times; first clips dropped in the arrays."""
    folder.mkdir(exist_ok=True)

    def events(name: str, clips: list[str]) -> None:
        lines = [f"{15 * k}\t15\t'{clip.split('.')[0]}'\t{int(clip.split('.')[1])}\t0\t15"
                 for k, clip in enumerate(clips)]
        (folder / f"sub-001_{name}_events.tsv").write_text(
            "onset\tduration\tgenre\ttrack\tstart\tend\n" + "\n".join(lines) + "\n")

    tests = ["g7.00070", "g8.00080"]
    events("task-Training_run-01", [CLIPS[7], *CLIPS[:4]])
    events("task-Training_run-02", [CLIPS[3], *CLIPS[4:]])
    events("task-Test_run-01", [tests[1], *tests * 4])
    rng = np.random.default_rng(1)
    for name, n_clips in (("Training", 8), ("Test", 8)):
        array = rng.standard_normal((n_clips * 10, n_voxels)).astype(dtype)
        shaped = {"voxels first": array.T, "volumes first": array, "clips": array.reshape(n_clips, 10, -1)}[layout]
        np.save(folder / f"sub-001_Resp_{name}.npy", shaped)
    return folder


@pytest.mark.parametrize("layout", ["voxels first", "volumes first", "clips"])
def test_arrays_of_every_layout_become_the_same_runs_mapped_from_disk(tmp_path, layout) -> None:
    arrays = read_arrays(array_folder(tmp_path / "arrays", layout=layout))
    wanted = np.load(array_folder(tmp_path / "wanted", layout="volumes first") / "sub-001_Resp_Training.npy")
    responses = arrays.responses
    assert responses.tr_s == 1.5
    assert [(run.run_id[8:], len(run.responses), len(run.events)) for run in responses.runs] == [
        ("task-Test_run-01", 80, 8), ("task-Training_run-01", 40, 4), ("task-Training_run-02", 40, 4)]
    np.testing.assert_array_equal(np.concatenate([run.responses for run in responses.training]), wanted)
    assert all(isinstance(run.responses, np.memmap) for run in responses.runs)
    assert [event.onset_s for event in responses.training[0].events] == [0.0, 15.0, 30.0, 45.0]
    assert [event.clip_id for event in responses.training[1].events] == CLIPS[4:]
    assert arrays.notes == ("all 3 runs of sub-001 count as one session: no sidecar tells them apart",)


def test_the_last_clip_of_a_run_has_seven_of_its_ten_volumes_at_a_lag_of_three(tmp_path) -> None:
    run = read_arrays(array_folder(tmp_path / "arrays")).responses.training[0]
    kept, rows = trial_rows(run, 1.5, Window())
    assert kept.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(rows[0], run.responses[3:13].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows[3], run.responses[33:40].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert trial_rows(run, 1.5, Window(smallest_share=0.8))[0].tolist() == [0, 1, 2]
    trials = trials_of([run], 1.5, Window(), catalogue(CLIPS).embedding, Recordings({CLIPS[0]: "x"}).track)
    assert trials.tracks == ("x", *CLIPS[1:4])


def test_a_mean_over_repeats_is_one_cycle_of_each_test_run(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    whole = np.load(folder / "sub-001_Resp_Test.npy")
    (folder / "sub-001_Resp_Test.npy").unlink()
    np.save(folder / "sub-001_Resp_Test_Mean.npy", whole.reshape(30, 4, 20).mean(axis=1))
    test, = read_arrays(folder).responses.test
    assert [event.clip_id for event in test.events] == ["g7.00070", "g8.00080"]
    assert test.responses.shape == (20, 30)


@pytest.mark.parametrize(("shape", "sentence"), [
    ((30, 81), r"has shape \(30, 81\), wanted \(n_voxels, 80\), \(80, n_voxels\) or \(8, 10, n_voxels\): 8 clips"),
    ((80, 80), "as many voxels as volumes"), ((10, 8, 30), r"has shape \(10, 8, 30\)"), ((80,), r"has shape \(80,\)"),
    ((31, 80), "has 30 voxels, sub-001_Resp_Training.npy 31"),
])
def test_shapes_that_do_not_fit_are_refused(tmp_path, shape, sentence) -> None:
    folder = array_folder(tmp_path / "arrays")
    np.save(folder / "sub-001_Resp_Training.npy", np.ones(shape, np.float32) * np.arange(shape[-1]))
    with pytest.raises(DatasetError, match=sentence):
        read_arrays(folder)


def test_constant_voxels_are_named_and_left_out_and_nothing_but_them_is_refused(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays", dtype=np.float64)
    array = np.load(folder / "sub-001_Resp_Training.npy")
    array[4, :40], array[7, 3] = 2.5, np.nan
    np.save(folder / "sub-001_Resp_Training.npy", array)
    arrays = read_arrays(folder)
    assert arrays.notes[0] == ("2 of 30 voxels are constant in a training run or hold NaN, the first is voxel 4: they "
                               "are left out")
    assert arrays.responses.runs[0].responses.shape == (80, 28)
    assert arrays.responses.runs[0].responses.dtype == np.float32
    np.save(folder / "sub-001_Resp_Training.npy", np.zeros((30, 80)))
    with pytest.raises(DatasetError, match=r"none of the 30 voxels .* varies"):
        read_arrays(folder)


def test_regions_come_from_a_table_with_a_row_per_voxel(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    table = folder / "sub-001_regions.tsv"
    table.write_text("region\n" + "\n".join(["STG", "n/a", "HG"] * 10) + "\n")
    responses = read_arrays(folder).responses
    assert responses.region_names == ("STG", "HG")
    assert responses.regions.tolist() == [0, -1, 1] * 10
    table.write_text("region\nSTG\n")
    with pytest.raises(DatasetError, match="has 1 rows, wanted a column 'region' and a row for each of the 30 voxels"):
        read_arrays(folder)


def test_arrays_without_events_or_of_somebody_else_are_refused(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    with pytest.raises(DatasetError, match="holds response arrays of subjects 001; choose one of them, got '002'"):
        read_arrays(folder, "002")
    (folder / "sub-001_task-Training_run-01_events.tsv").write_text("onset\tduration\tgenre\ttrack\n0\tx\t'a'\t1\n")
    with pytest.raises(EventsError, match="not a usable events file"):
        read_arrays(folder)
    for events in folder.glob("*.tsv"):
        events.unlink()
    with pytest.raises(DatasetError, match="do not say what was heard"):
        read_arrays(folder)


def test_a_decoder_of_arrays_comes_from_the_command_line_and_bad_input_leaves_nothing(tmp_path) -> None:
    folder, corpus = array_folder(tmp_path / "arrays", n_voxels=40), builders.write_corpus(tmp_path / "corpus")
    names = dict(zip([*CLIPS, "g7.00070", "g8.00080"], [f"clip{k:02d}" for k in range(10)], strict=True))
    vectors = dict(zip(names.values(), np.load(corpus / "embeddings.npy"), strict=False))
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((builders.DIM, 40))
    for task in ("Training", "Test"):
        array = []
        for path in sorted(folder.glob(f"*task-{task}*_events.tsv")):
            lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
            clips = [names[f"{line[2].strip(chr(39))}.{int(line[3]):05d}"] for line in lines]
            path.write_text("onset\tduration\tclip_id\n" + "".join(
                f"{line[0]}\t{line[1]}\t{clip}\n" for line, clip in zip(lines, clips, strict=True)))
            signal = np.repeat([vectors[clip] for clip in clips[1:]], 10, axis=0) @ mixing
            array.append(np.roll(signal, 3, axis=0) + rng.standard_normal(signal.shape))
        np.save(folder / f"sub-001_Resp_{task}.npy", np.concatenate(array).T)
    out, figures = tmp_path / "decoder", tmp_path / "figures.json"
    arguments = ["train", str(folder), str(out), "--catalogue", str(corpus), "--json", str(figures)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "it cannot run live" in done.output
    assert sorted(path.name for path in out.iterdir()) == ["decoder.npz", "figures.json"]
    said = json.loads(figures.read_text())
    assert (said["n_training_trials"], said["n_trials"], said["n_clips"], said["n_sessions"]) == (8, 8, 2, 1)
    assert said == json.loads((out / "figures.json").read_text())
    shutil.rmtree(out)
    (folder / "sub-001_task-Training_run-02_events.tsv").write_text("onset\tduration\tclip_id\n0\t15\tclip00\n")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code != 0
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()
    assert not out.with_name("decoder.part").exists()


def test_one_recording_under_two_names_is_named_and_never_on_both_sides_of_a_border(tmp_path) -> None:
    corpus = builders.write_corpus(tmp_path / "corpus", 4)
    document = json.loads((corpus / "corpus.json").read_text())
    for entry, recording, source in zip(document["clips"], "xyxz", ("a.wav", "b.wav", "c.wav", "d.wav"), strict=True):
        entry["labels"] = {"recording": recording, "source": source}
    (corpus / "corpus.json").write_text(json.dumps(document))
    recordings = read_recordings(corpus)
    assert recordings.notes() == ("clip00 and clip02 are the same recording: they count as one when runs are split",)
    clips, runs = ["clip00", "clip01", "clip02", "clip03"], ["run-1", "run-2", "run-3", "run-4"]
    tracks = [recordings.track(clip) for clip in clips]
    assert deal_folds([*runs[:3], "run-2"], tracks, 2).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("lines", [
    "genre,track,Caption (EN)\nblues,98,slow and sad\n'disco',9,fast\n",
    "file,caption\nblues.00098,slow and sad\ndisco.00009.wav,fast\n",
])
def test_captions_go_to_the_recordings_they_are_of(tmp_path, lines) -> None:
    for name in ("blues/blues.00098.wav", "disco/disco.00009.wav", "pop/pop.00001.wav"):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True)
        path.touch()
    table = tmp_path / "captions.csv"
    table.write_text(lines)
    tracks = find_tracks(tmp_path / "music", Wanted(table=table)).tracks
    assert [(track.track_id, track.genre, track.labels.get("caption", "")) for track in tracks] == [
        ("blues.00098", "blues", "slow and sad"), ("disco.00009", "disco", "fast"), ("pop.00001", "pop", "")]
