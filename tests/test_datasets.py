"""ds003720 as OpenNeuro ships it, and other BIDS data sets with sound: read whole, or refused in a sentence."""

import json
import shutil
import tracemalloc
from itertools import islice
from pathlib import Path

import nibabel as untyped_nibabel
import numpy as np
import pytest

from offline_training.corpus_excerpts import read_excerpts
from offline_training.corpus_sources import Wanted, find_tracks
from offline_training.errors import DatasetError
from offline_training.material import check_clips
from offline_training.recordings import read_recordings
from offline_training.runs import read_dataset, read_volumes
from offline_training.scan_order import Scan, scan_order
from offline_training.splits import border_crossings, deal_folds
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
        check_clips([run.events for run in dataset.runs], builders.catalogue())
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
