"""From a BIDS folder to a bundle and its figures, on a small head with music planted in it."""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.design import Frame, feature_scale, sample_run, scaled_features
from offline_training.errors import DatasetError, FitError
from offline_training.evaluate import decode_run, evaluate
from offline_training.export import check_parity, export_bundle, untrained_bundle
from offline_training.fit_settings import FitSettings
from offline_training.reference import brain_voxels, make_reference
from offline_training.runs import Dataset, read_dataset, read_volumes
from offline_training.train import Trained, train
from offline_training.train_settings import TrainSettings
from offline_training.windows import Window, schedule_of, trial_means
from realtime.bundle import read_bundle
from realtime.decoding.evidence import RunningMean
from realtime.errors import SpaceMismatchError
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.preprocessing import PreprocessorSettings
from scanner_bridge.volume import scanner_units

SHAPE, TR_S, CLIP_S, DIM = (22, 24, 14), 1.0, 6.0, 8
PREPROCESSING = PreprocessorSettings(tr_s=TR_S, settle_s=3.0, drift_tau_s=60.0, alignment_points=600)
SETTINGS = TrainSettings(preprocessing=PREPROCESSING, fit=FitSettings(
    n_regions=(6, 0), lags_s=(3.0,), alphas=(1.0, 30.0, 1e3, 3e4)))
GENRES = ("rock", "jazz", "pop", "blues")


def catalogue() -> Catalogue:
    embeddings = np.random.default_rng(7).normal(size=(50, DIM)).astype(np.float32)
    clips = [Clip(f"clip-{i:02d}", Path(f"{i}.ogg"), GENRES[i % 4]) for i in range(50)]
    return Catalogue(EmbeddingSpace("planted", DIM, "a" * 64), clips, embeddings, embeddings.mean(axis=0))


def head() -> NDArray[np.float64]:
    """An ellipsoid with smooth texture, about 1000 bright, 20 dark around it."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    texture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), 1.5)
    inside = (((grid / 0.75) ** 2).sum(axis=0) < 1).astype(float)
    return 20 + 900 * ndimage.gaussian_filter(inside, 0.7) * (1 + texture)


def write_run(folder: Path, name: str, clip_rows: list[int], seed: int, gain: float = 1.0) -> None:
    """10 clips after a dummy (the last one's repeat), back to back, answered 3 volumes later by two blobs."""
    rng, music = np.random.default_rng(seed), catalogue()
    order = [clip_rows[-1], *clip_rows]
    n_volumes = int(len(order) * CLIP_S / TR_S)
    embeddings = np.stack([music.embedding(f"clip-{row:02d}") for row in order]).repeat(int(CLIP_S / TR_S), axis=0)
    heard = np.concatenate([np.zeros((3, DIM)), embeddings])[:n_volumes]
    brain = head()
    tuning = np.zeros((*SHAPE, DIM))
    for centre in ((6, 12, 7), (16, 12, 7)):
        blob = (slice(centre[0] - 2, centre[0] + 2), slice(centre[1] - 3, centre[1] + 3), slice(5, 9))
        tuning[blob] = np.random.default_rng(3).normal(size=(4, 6, 4, DIM))
    signal = np.einsum("xyzd,td->xyzt", tuning, heard) * 2.5 * gain
    drift = 15 * np.linspace(0, 1, n_volumes) * np.sin(np.arange(n_volumes) / 40)
    volumes = brain[..., None] + signal + drift + rng.normal(size=(*SHAPE, n_volumes)) * 8
    image = nibabel.Nifti1Image(np.round(volumes).astype(np.int16), np.diag([4.0, 4, 5, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((4.0, 4.0, 5.0, TR_S))
    func = folder / "sub-01" / "func"
    func.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, func / f"sub-01_{name}_bold.nii.gz")
    lines = [f"{i * CLIP_S:g}\t{CLIP_S:g}\t{GENRES[row % 4]}\tclip-{row:02d}" for i, row in enumerate(order)]
    (func / f"sub-01_{name}_events.tsv").write_text("\n".join(["onset\tduration\tgenre\tclip_id", *lines]) + "\n")
    (func / f"sub-01_{name}_bold.json").write_text(json.dumps({"RepetitionTime": TR_S}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bids")
    for run in range(4):
        write_run(path, f"task-Training_run-{run + 1:02d}", list(range(10 * run, 10 * run + 10)), seed=run)
    write_run(path, "task-Test_run-01", list(range(40, 50)), seed=99)
    return path


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return read_dataset(folder)


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def trained(dataset: Dataset, executor: Executor, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(dataset, catalogue(), tmp_path_factory.mktemp("out") / "planted", executor, SETTINGS, made_by="a test")


def test_runs_are_read_with_their_events_and_split_by_task(dataset: Dataset) -> None:
    assert [run.run_id for run in dataset.training] == [f"sub-01_task-Training_run-{k:02d}" for k in range(1, 5)]
    assert [run.run_id for run in dataset.test] == ["sub-01_task-Test_run-01"]
    run = dataset.test[0]
    assert (run.tr_s, run.n_volumes, run.shape, run.subject) == (1.0, 66, SHAPE, "01")
    assert [event.is_dummy for event in run.events] == [True] + [False] * 10
    volumes = list(read_volumes(run))
    assert [volume.index for volume in volumes] == list(range(66))
    assert volumes[5].data.dtype == np.int16


def test_the_held_out_run_is_decoded_above_chance_and_the_manifest_says_so(trained: Trained) -> None:
    evaluation = trained.evaluation
    assert evaluation is not None
    assert evaluation.identification_accuracy > evaluation.chance_p95
    assert evaluation.identification_accuracy > 0.85
    assert "lies above the chance band" in evaluation.verdict
    assert (evaluation.n_trials, evaluation.n_clips, evaluation.n_runs) == (10, 10, 1)
    assert evaluation.repeats_averaged == pytest.approx(evaluation.identification_accuracy)
    assert len(evaluation.identification_by_volumes) == 6
    assert min(evaluation.identification_by_volumes[2:]) > 0.7
    assert trained.bundle.manifest.accuracy["identification_accuracy"] == evaluation.identification_accuracy
    assert trained.bundle.manifest.accuracy["n_training_trials"] == 40
    assert trained.fit.identification > 0.8


def test_the_bundle_holds_the_planted_voxels_lag_and_window(trained: Trained) -> None:
    manifest, voxels = trained.bundle.manifest, trained.bundle.voxels
    assert (manifest.lag_volumes, manifest.window_volumes, manifest.subject) == (3, 6, "sub-01")
    assert manifest.space == catalogue().space
    assert trained.bundle.clip_map.shape[::2] == (6, DIM)
    spread = np.square(trained.bundle.clip_map).sum(axis=(1, 2))
    assert (spread > 0).all()
    # More volumes tell clips apart more surely along as many axes. The last trial of a run ends after three volumes,
    # so from the fourth on 36 trials are left, which is one axis less (one per eight) and less sure for that alone.
    assert spread[0] < spread[2]
    planted = (np.isin(voxels[:, 0], [4, 5, 6, 7, 14, 15, 16, 17]) & (9 <= voxels[:, 1]) & (voxels[:, 1] < 15)
               & (5 <= voxels[:, 2]) & (voxels[:, 2] < 9))
    power = np.square(trained.fit.decoder.weights).sum(axis=1)
    assert power[planted].mean() > 3 * power[~planted].mean()
    np.testing.assert_allclose(trained.bundle.embedding_mean,
                               np.mean([catalogue().embedding(f"clip-{i:02d}") for i in range(40)], axis=0), atol=1e-6)
    assert trained.parity.largest_difference < 1e-5


def test_rows_of_training_are_the_features_of_a_live_run_with_the_bundle(
        trained: Trained, dataset: Dataset, tmp_path: Path) -> None:
    """Samples kept on disk and scaled again afterwards equal pushing volumes with the final bundle, bit for bit."""
    bundle, run = trained.bundle, dataset.training[1]
    frame = Frame(bundle.reference, bundle.affine, bundle.voxels, bundle.manifest.preprocessing, bundle.tissues)
    schedule = schedule_of(run.events, TR_S, Window(bundle.manifest.lag_volumes, bundle.manifest.window_volumes))
    sampled = sample_run(run, frame, tmp_path / "run.npy")
    features = scaled_features(sampled, frame, bundle.feature_scale, tmp_path / "features.npy")
    means = trial_means(features, sampled.usable, schedule)
    pre = bundle.preprocessor()
    running, compared = RunningMean(schedule), 0
    for volume in read_volumes(run):
        step = pre.push(volume.data, affine=volume.affine)
        mean = running.push(volume.index, step.features, step.ready and not step.censored)
        if mean is not None:
            np.testing.assert_array_equal(means[mean.n_volumes - 1, mean.trial], mean.features)
            compared += 1
    assert compared > 50


def write_segmentation(folder: Path, affine: NDArray[np.float64], name: str = "sub-01_space-boldref_dseg.nii.gz",
                       shape: tuple[int, ...] = SHAPE) -> Path:
    """Two cubes of 5 voxels between the responding blobs, white matter (2) and fluid (3); the rest is grey (1)."""
    labels = np.ones(shape, np.uint8)
    labels[9:14, 4:9, 5:10], labels[9:14, 15:20, 5:10] = 2, 3
    path = folder / "derivatives" / "segmentation" / "sub-01" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine), path)
    return path


def test_every_option_of_the_preprocessing_reaches_the_bundle_and_the_live_path(
        dataset: Dataset, executor: Executor, tmp_path: Path) -> None:
    times_s = tuple(round(0.8 * z / SHAPE[2], 3) for z in range(SHAPE[2]))
    told = replace(dataset, training=tuple(replace(run, slice_times_s=times_s) for run in dataset.training),
                   test=tuple(replace(run, slice_times_s=times_s) for run in dataset.test),
                   segmentations=(write_segmentation(tmp_path, dataset.training[0].affine),))
    chosen = replace(PREPROCESSING, drift="trend", nuisance_motion=6, nuisance_tissues=True, smoothing_fwhm_mm=5.0)
    options = train(told, catalogue(), tmp_path / "b", executor,
                    replace(SETTINGS, preprocessing=chosen, slice_timing=True))
    assert options.bundle.manifest.preprocessing == replace(chosen, slice_times_s=times_s)
    assert options.bundle.tissues is not None
    assert np.bincount(options.bundle.tissues.ravel()).tolist() == [np.prod(SHAPE) - 54, 27, 27]  # less a voxel around
    assert options.evaluation is not None
    assert options.evaluation.identification_accuracy > 0.7
    test_rows_of_training_are_the_features_of_a_live_run_with_the_bundle(options, told, tmp_path)


def test_slice_timing_needs_the_same_slice_times_in_every_run(dataset: Dataset, executor: Executor,
                                                              tmp_path: Path) -> None:
    slicewise = replace(SETTINGS, slice_timing=True)
    with pytest.raises(DatasetError, match="5 of 5 runs have no slice times or others than the first"):
        train(dataset, catalogue(), tmp_path / "b", executor, slicewise)
    first = replace(dataset.training[0], slice_times_s=(0.0,) * SHAPE[2])
    one_knows = replace(dataset, training=(first, *dataset.training[1:]))
    with pytest.raises(DatasetError, match=r"4 of 5 runs.*the first is sub-01_task-Training_run-02"):
        train(one_knows, catalogue(), tmp_path / "b", executor, slicewise)


def test_a_run_without_music_in_it_scores_inside_the_chance_band(
        trained: Trained, executor: Executor, tmp_path: Path) -> None:
    write_run(tmp_path, "task-Test_run-01", list(range(40, 50)), seed=5, gain=0.0)
    runs = read_dataset(tmp_path).test
    evaluation = evaluate(trained.bundle, runs, catalogue(), executor)
    assert evaluation.identification_accuracy <= evaluation.chance_p99
    assert "does not show" in evaluation.verdict


def test_training_on_runs_without_music_makes_no_claim(executor: Executor, tmp_path: Path) -> None:
    for run in range(3):
        write_run(tmp_path, f"task-Training_run-{run}", list(range(10 * run, 10 * run + 10)), seed=20 + run, gain=0.0)
    result = train(read_dataset(tmp_path), catalogue(), tmp_path / "noise", executor, SETTINGS)
    assert result.evaluation is None
    assert result.fit.identification < 0.5 + 3 * 0.055  # 30 trials against 9 rivals each: SD .055
    assert result.bundle.manifest.accuracy["cross_validated_identification"] == result.fit.identification


def test_a_reference_is_sharp_and_its_brain_is_the_head(dataset: Dataset) -> None:
    reference = make_reference(read_volumes(dataset.training[0]), PREPROCESSING)
    truth = head()
    inside = brain_voxels(reference)
    assert np.corrcoef(reference.ravel(), truth.ravel())[0, 1] > 0.99
    assert (truth[tuple(inside.T)] > 300).all()
    assert len(inside) > 0.6 * (truth > 500).sum()


def test_an_export_that_differs_from_the_fit_leaves_no_bundle(trained: Trained, tmp_path: Path) -> None:
    bundle = trained.bundle
    frame = Frame(bundle.reference, bundle.affine, bundle.voxels, bundle.manifest.preprocessing)
    rows = np.random.default_rng(0).normal(size=(4, len(bundle.voxels)))
    tiny = replace(trained.fit.decoder, sigma=np.full_like(trained.fit.decoder.sigma, 1e-60))  # 0 in float32
    with pytest.raises(FitError, match="not the fitted one"):
        export_bundle(tmp_path / "bad", bundle.manifest, frame, bundle.feature_scale, bundle.reliability, tiny, rows)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FitError, match="differ by"):
        check_parity(bundle, replace(trained.fit.decoder, weights=trained.fit.decoder.weights * 1.001), rows)
    with pytest.raises(FitError, match="no row"):
        check_parity(bundle, trained.fit.decoder, rows[:0])


def test_an_untrained_bundle_fits_the_run_and_says_that_it_is_noise(
        dataset: Dataset, executor: Executor, tmp_path: Path) -> None:
    music = catalogue()
    run = dataset.test[0]
    untrained_bundle(tmp_path / "plumbing", read_volumes(run), music.space, preprocessing=PREPROCESSING,
                     window_volumes=6, n_voxels=300, made_by="a test")
    bundle = read_bundle(tmp_path / "plumbing")
    assert bundle.manifest.accuracy["untrained"] is True
    assert "noise" in bundle.manifest.accuracy["note"]
    assert len(bundle.voxels) == 300
    decoded = decode_run(run, bundle)
    assert np.isfinite(decoded.embeddings[0]).all()
    with pytest.raises(SpaceMismatchError, match="index the catalogue"):
        evaluate(replace(bundle, manifest=replace(bundle.manifest, space=EmbeddingSpace("other", DIM, "b" * 64))),
                 [run], music, executor)


def test_scaled_images_give_the_intensities_the_live_session_sees(dataset: Dataset) -> None:
    volume = next(read_volumes(dataset.test[0]))
    assert scanner_units(volume) is volume.data
    scaled = scanner_units(replace(volume, slope=2.0, inter=3.0))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, volume.data * np.float32(2) + np.float32(3))


def write_region(folder: Path, name: str, inside: tuple[slice, ...], affine: NDArray[np.float64]) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[inside] = 1
    path = folder / "derivatives" / "regions" / "sub-01" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), path)


def test_a_region_of_the_data_set_bounds_where_the_decoder_looks(executor: Executor, tmp_path: Path) -> None:
    for run in range(2):
        write_run(tmp_path, f"task-Training_run-{run}", list(range(10 * run, 10 * run + 10)), seed=run)
    affine, left = read_dataset(tmp_path).training[0].affine, (slice(0, 11),)
    write_region(tmp_path, "sub-01_desc-left_mask.nii.gz", left, affine)
    result = train(read_dataset(tmp_path), catalogue(), tmp_path / "b", executor, SETTINGS)
    assert (result.bundle.voxels[:, 0] < 11).all()
    write_region(tmp_path, "sub-01_desc-left_mask.nii.gz", left, affine + np.diag([0, 0, 2.0, 0]))
    with pytest.raises(DatasetError, match="affine that is not the runs'"):
        train(read_dataset(tmp_path), catalogue(), tmp_path / "b", executor, SETTINGS)
    write_region(tmp_path, "sub-01_desc-left_mask.nii.gz", (slice(0, 1), slice(0, 1), slice(0, 1)), affine)
    with pytest.raises(DatasetError, match="outside the head"):
        train(read_dataset(tmp_path), catalogue(), tmp_path / "b", executor, SETTINGS)
    write_region(tmp_path, "sub-01_desc-left_mask.nii.gz", (slice(0, 0),), affine)
    with pytest.raises(DatasetError, match="is empty"):
        train(read_dataset(tmp_path), catalogue(), tmp_path / "b", executor, SETTINGS)
    write_region(tmp_path, "sub-01_desc-right_mask.nii.gz", left, affine)
    with pytest.raises(DatasetError, match="2 region masks"):
        read_dataset(tmp_path)


def test_feature_scale_is_the_noise_as_a_fraction_of_the_mean(dataset: Dataset, tmp_path: Path) -> None:
    reference = make_reference(read_volumes(dataset.training[0]), PREPROCESSING)
    voxels = np.array([[11, 12, 10], [10, 10, 3]], np.int32)  # outside the blobs
    frame = Frame(reference, dataset.training[0].affine, voxels, PREPROCESSING)
    sampled = [sample_run(dataset.training[0], frame, tmp_path / "run.npy")]
    np.testing.assert_allclose(feature_scale(sampled, PREPROCESSING), 8 / reference[tuple(voxels.T)], rtol=0.35)


def test_what_is_wrong_with_a_data_set_is_said(folder: Path, dataset: Dataset, executor: Executor,
                                              tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        read_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="no run in"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="holds subjects 01; choose"):
        read_dataset(folder, "sub-02")
    with pytest.raises(DatasetError, match="no training run"):
        train(Dataset("01", (), dataset.test), catalogue(), tmp_path / "b", executor)
    unknown = replace(dataset.training[0], events=(replace(dataset.training[0].events[0], clip_id="song"),))
    with pytest.raises(DatasetError, match=r"1 of \d+ clips.*'song'"):
        train(Dataset("01", (unknown, *dataset.training[1:]), ()), catalogue(), tmp_path / "b", executor)


def test_a_git_annex_pointer_is_named_as_one(tmp_path: Path) -> None:
    write_run(tmp_path, "task-Test_run-01", list(range(40, 50)), seed=1)
    image = next(tmp_path.rglob("*_bold.nii.gz"))
    image.write_text("/annex/objects/MD5E-s513884512--0123.nii.gz\n")
    with pytest.raises(DatasetError, match="datalad get"):
        read_dataset(tmp_path)


def test_plain_pairs_need_no_bids_and_take_the_headers_repetition_time(tmp_path: Path) -> None:
    write_run(tmp_path / "bids", "task-Test_run-01", list(range(40, 50)), seed=1)
    image, events = (next((tmp_path / "bids").rglob(f"*_{kind}")) for kind in ("bold.nii.gz", "events.tsv"))
    plain = tmp_path / "plain"
    plain.mkdir()
    image.rename(plain / "morning.nii.gz")
    events.rename(plain / "morning_events.tsv")
    found = read_dataset(plain)
    assert [run.run_id for run in found.training] == ["morning"]
    assert found.training[0].tr_s == 1.0


def test_runs_of_two_protocols_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path, "task-Training_run-01", list(range(10)), seed=1)
    write_run(tmp_path, "task-Training_run-02", list(range(10, 20)), seed=2)
    sidecar = next(tmp_path.rglob("*run-02_bold.json"))
    sidecar.write_text(json.dumps({"RepetitionTime": 1.5}))
    with pytest.raises(DatasetError, match=r"TR 1.5 s, .* and 1 s; train on runs of one protocol"):
        read_dataset(tmp_path)


def test_a_first_clip_that_ends_another_run_is_a_dummy(tmp_path: Path) -> None:
    """As in ds003720: training run k begins with the last clip of run k-1."""
    write_run(tmp_path, "task-Training_run-01", list(range(10)), seed=1)
    write_run(tmp_path, "task-Training_run-02", list(range(10, 20)), seed=2)
    events = next(tmp_path.rglob("*run-02_events.tsv"))
    lines = events.read_text().splitlines()
    lines[1] = lines[1].replace("clip-19", "clip-09")
    events.write_text("\n".join(lines) + "\n")
    runs = read_dataset(tmp_path).training
    assert runs[1].events[0].clip_id == "clip-09"
    assert runs[1].events[0].is_dummy


def test_a_spawned_worker_decodes_the_same(trained: Trained, dataset: Dataset) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(decode_run, dataset.test[0], trained.bundle).result()
    np.testing.assert_array_equal(there.embeddings, decode_run(dataset.test[0], trained.bundle).embeddings)


def test_a_failing_worker_is_not_swallowed(dataset: Dataset, tmp_path: Path) -> None:
    class Broken(ThreadPoolExecutor):
        def submit(self, *_args: object, **_kwargs: object) -> Future[object]:  # type: ignore[override]
            future: Future[object] = Future()
            future.set_exception(OSError("disk full"))
            return future

    with Broken(1) as pool, pytest.raises(OSError, match="disk full"):
        train(dataset, catalogue(), tmp_path / "b", pool, SETTINGS)
    assert not (tmp_path / "b").exists()
