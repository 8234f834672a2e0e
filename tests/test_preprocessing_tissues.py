"""Means of white matter and fluid: read where the head is, removed from the decoder's voxels, carried by a bundle."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.material import choose_place
from offline_training.runs import read_dataset
from offline_training.segmentation import find_segmentations, read_tissues
from offline_training.simulation.anatomy import PAD, build_head
from offline_training.simulation.settings import ScannerSettings, SubjectSettings
from realtime.bundle import read_bundle, write_bundle
from realtime.errors import BundleError, VolumeError
from realtime.preprocessing import (
    CausalScaler,
    PreprocessedVolume,
    Preprocessor,
    PreprocessorSettings,
    PreprocessorState,
)
from tests.preprocessing_phantom import make_phantom, rigid
from tests.test_bundle import bundle
from tests.test_training_pipeline import SETTINGS as TRAINING
from tests.test_training_pipeline import SHAPE, write_run, write_segmentation

PHANTOM = make_phantom((18, 20, 12), (9.0, 9.0, 10.0))
HEAD = PHANTOM.head_voxels(600)
VOXELS = HEAD[:60]
LABELS = np.zeros(PHANTOM.shape, np.uint8)
LABELS[tuple(HEAD[60:260].T)] = np.repeat([1, 2], 100)
OFF = PreprocessorSettings(tr_s=1.0, drift_tau_s=60.0, settle_s=2.0, alignment_fwhm_mm=12.0, alignment_points=300)
ON = replace(OFF, nuisance_tissues=True)
N_VOLUMES = 90
FLUCTUATION = np.random.default_rng(5).normal(0.0, 1.0, N_VOLUMES)
"""Percent, of the fluid, and of the decoder's voxels that follow it."""


def preprocessor(settings: PreprocessorSettings, tissues: NDArray[np.uint8] | None = LABELS) -> Preprocessor:
    return Preprocessor(PHANTOM.still, PHANTOM.affine, VOXELS, settings, np.full(60, 0.005, np.float32), tissues)


def breathing() -> list[NDArray[np.float64]]:
    """A still head with noise of 0.5 %, whose fluid and whose decoder's voxels rise and fall together."""
    rng, following = np.random.default_rng(6), np.zeros(PHANTOM.shape)
    following[LABELS == 2] = following[tuple(VOXELS.T)] = 0.01
    return [PHANTOM.still * (1.0 + following * change + rng.normal(0.0, 0.005, PHANTOM.shape))
            for change in FLUCTUATION]


def played(pre: Preprocessor, volumes: list[NDArray[np.float64]]) -> list[PreprocessedVolume]:
    return [pre.push(volume) for volume in volumes]


def test_a_fluctuation_that_fluid_and_the_decoders_voxels_share_is_removed() -> None:
    volumes = breathing()
    shared = {}
    for settings in (OFF, ON):
        features = np.array([step.features.mean() for step in played(preprocessor(settings), volumes)])[30:]
        shared[settings] = np.cov(features, FLUCTUATION[30:])[0, 1]
    assert shared[OFF] > 0.8
    assert abs(shared[ON]) < 0.2 * shared[OFF]


def test_means_are_those_of_the_tissue_wherever_the_head_moved() -> None:
    pre = preprocessor(replace(ON, smoothing_fwhm_mm=20.0, slice_times_s=(0.0, 0.5) * 6))  # neither changes them
    for motion in (np.eye(4), rigid((1.0, -1.0, 2.0), (2.0, -1.0, 1.5))):
        volume = PHANTOM.volume(motion)
        step = pre.push(volume)
        assert step.tissue_percent is not None
        np.testing.assert_allclose(step.tissue_percent, 100.0, atol=1.0)
    twice = preprocessor(ON).push(np.where(LABELS == 1, 1.05, 1.0) * PHANTOM.still).tissue_percent
    assert twice is not None
    assert twice[0] == pytest.approx(105.0, abs=0.5)
    assert twice[1] == pytest.approx(100.0, abs=0.5)


def test_not_asked_for_they_change_nothing() -> None:
    with_labels, without = preprocessor(OFF), preprocessor(OFF, None)
    for volume in breathing()[:8]:
        one, other = with_labels.push(volume), without.push(volume)
        assert one.tissue_percent is None
        np.testing.assert_array_equal(one.features, other.features)
    assert with_labels.state().to_bytes() == without.state().to_bytes()


def test_a_restored_run_goes_on_with_its_tissues_bit_for_bit() -> None:
    volumes, pre = breathing()[:20], preprocessor(ON)
    played(pre, volumes[:9])
    pre.skip()
    restored = Preprocessor.restore(PreprocessorState.from_bytes(pre.state().to_bytes()))
    for one, other in zip(played(pre, volumes[9:]), played(restored, volumes[9:]), strict=True):
        np.testing.assert_array_equal(one.features, other.features)
        assert one.features.any()
    assert pre.state().to_bytes() == restored.state().to_bytes()


@pytest.mark.parametrize(("tissues", "sentence"), [
    (None, "ask for tissue means .* no tissues are given"),
    (LABELS[:, :, 1:], r"tissues have shape \(18, 20, 11\)"),
    (LABELS.astype(np.float32), "type float32, wanted integers"),
    (np.minimum(LABELS, 1), r"hold labels \[0, 1\], wanted 1"),
    (LABELS + np.uint8(1), r"hold labels \[1, 2, 3\]"),
])
def test_tissues_that_are_none_are_refused(tissues: NDArray[np.uint8] | None, sentence: str) -> None:
    with pytest.raises(VolumeError, match=sentence):
        preprocessor(ON, tissues)


def test_a_tissue_outside_the_head_and_missing_means_are_refused() -> None:
    reference = np.where(LABELS == 2, 0.0, PHANTOM.still)
    with pytest.raises(VolumeError, match="the cerebrospinal fluid of the tissues has mean intensity 0 "):
        Preprocessor(reference, PHANTOM.affine, VOXELS, ON, tissues=LABELS)
    scaler, row = CausalScaler(5, ON), np.ones(5, np.float32)
    for means, shape in ((None, "None"), (np.ones(3), r"\(3,\)")):
        with pytest.raises(VolumeError, match=f"tissue_percent has shape {shape}, wanted"):
            scaler.push(row, False, tissue_percent=means)


def test_a_bundle_brings_its_tissues_and_is_refused_without(tmp_path: Path) -> None:
    asking = replace(bundle().manifest, preprocessing=replace(ON, tr_s=1.0))
    labels = np.random.default_rng(0).integers(0, 3, (8, 9, 7)).astype(np.uint8)
    write_bundle(tmp_path / "with", bundle(manifest=asking, tissues=labels))
    read = read_bundle(tmp_path / "with")
    assert read.tissues is not None
    np.testing.assert_array_equal(read.tissues, labels)
    assert read.tissues.dtype == np.uint8
    assert bundle().tissues is None
    for name, tissues in (("without", None), ("elsewhere", labels[1:])):
        write_bundle(tmp_path / name, bundle(manifest=asking, tissues=tissues))
        with pytest.raises(BundleError, match=r"is inconsistent: .*tissues"):
            read_bundle(tmp_path / name)


def test_training_asked_for_tissue_means_without_a_segmentation_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, "task-Training_run-01", list(range(3)), seed=0)
    affine = read_dataset(tmp_path).training[0].affine
    asking = replace(TRAINING, preprocessing=replace(TRAINING.preprocessing, nuisance_tissues=True))
    with pytest.raises(DatasetError, match=r"needs one segmentation .* got 0 of 0; resample"):
        choose_place(read_dataset(tmp_path), asking)
    write_segmentation(tmp_path, affine + np.diag([0, 0, 2.0, 0]))
    with pytest.raises(DatasetError, match="got 0 of 1"):
        choose_place(read_dataset(tmp_path), asking)
    write_segmentation(tmp_path, affine)
    write_segmentation(tmp_path, affine, "sub-01_space-T1w_dseg.nii.gz", (30, 30, 30))      # another grid: left out
    write_segmentation(tmp_path, affine, "sub-01_desc-aparcaseg_dseg.nii.gz")               # other labels: left out
    write_segmentation(tmp_path, affine, "sub-012_space-boldref_dseg.nii.gz")               # another person
    frame = choose_place(read_dataset(tmp_path), asking).frame
    assert frame.tissues is not None
    assert np.argwhere(frame.tissues == 1).min(axis=0).tolist() == [10, 5, 6]
    assert np.argwhere(frame.tissues == 2).max(axis=0).tolist() == [12, 18, 8]
    assert choose_place(read_dataset(tmp_path), TRAINING).frame.tissues is None
    write_segmentation(tmp_path, affine, "sub-01_space-other_dseg.nii.gz")
    with pytest.raises(DatasetError, match="got 2 of 3"):
        choose_place(read_dataset(tmp_path), asking)


def test_shares_of_tissues_serve_as_well_and_damaged_or_thin_ones_do_not(tmp_path: Path) -> None:
    affine, folder = np.diag([4.0, 4.0, 5.0, 1.0]), tmp_path / "derivatives"
    folder.mkdir()
    for label, place in (("WM", slice(4, 9)), ("CSF", slice(12, 17))):
        share = np.full(SHAPE, 0.3, np.float32)
        share[place, place, 3:8] = 0.95
        nibabel.save(nibabel.Nifti1Image(share, affine), folder / f"sub-01_label-{label}_probseg.nii.gz")
    found = find_segmentations(tmp_path, "01")
    assert np.bincount(read_tissues(found, SHAPE, affine).ravel()).tolist()[1:] == [27, 27]
    thin = np.zeros(SHAPE, np.uint8)
    thin[4:9, 4:9, 3:8], thin[12:14] = 2, 3
    nibabel.save(nibabel.Nifti1Image(thin, affine), folder / "sub-01_dseg.nii.gz")
    with pytest.raises(DatasetError, match=r"sub-01_dseg\.nii\.gz holds no fluid with that"):
        read_tissues(find_segmentations(tmp_path, "01"), SHAPE, affine)
    (folder / "sub-01_dseg.nii.gz").write_bytes(b"none")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_tissues(find_segmentations(tmp_path, "01"), SHAPE, affine)


def test_a_large_tissue_is_read_at_voxels_spread_over_it(tmp_path: Path) -> None:
    labels = np.full((32, 32, 24), 2, np.uint8)
    labels[:, :5] = 3
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "sub-01_dseg.nii.gz")
    white = np.argwhere(read_tissues([tmp_path / "sub-01_dseg.nii.gz"], labels.shape, np.eye(4)) == 1)
    assert 1000 <= len(white) <= 2000
    assert white.min(axis=0).tolist() == [1, 6, 1]
    assert (white.max(axis=0) >= [30, 29, 21]).all()


def test_the_simulated_heads_segmentation_is_its_anatomy() -> None:
    head = build_head(SubjectSettings(n_auditory=120), ScannerSettings((32, 32, 18), (6.0, 6.0, 7.0), 2.0, multiband=3))
    inside = (slice(PAD, -PAD),) * 3
    assert np.unique(head.tissues[inside]).tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(head.tissues > 0, head.brain)
    assert head.fluid[head.tissues == 3].min() > head.fluid[head.tissues == 2].mean()
    assert head.grey[head.tissues == 1].mean() > 2 * head.grey[head.tissues == 2].mean()
