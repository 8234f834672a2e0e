"""What the decoder's voxels read: smoothed or not, from wherever the head is."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from realtime.preprocessing.filters import smoothing_filter
from realtime.preprocessing.interpolation_kernels import sample_splines
from realtime.preprocessing.sampling import VoxelSampler
from tests.preprocessing_phantom import make_phantom, rigid

PHANTOM = make_phantom((40, 44, 24), (3.0, 3.0, 3.5))
MOTION = rigid((3.0, -2.0, 4.0), (4.0, -3.0, 5.0))
FWHM_MM = 6.0
SMALL_REGION = np.argwhere(np.ones((6, 5, 4))).astype(np.int32) + np.array([10, 20, 9], np.int32)


def canonical(noise=20.0):
    return np.ascontiguousarray(PHANTOM.volume(noise=noise).T.astype(np.float32))


@pytest.mark.parametrize("voxels", [SMALL_REGION, PHANTOM.head_voxels(500)], ids=["a region", "the head"])
@pytest.mark.parametrize("motion", [np.eye(4), MOTION, rigid((0.0, 0.0, 0.0), (50.0, -20.0, 40.0))],
                         ids=["still", "moved", "half out of the grid"])
def test_smoothing_a_box_gives_the_bits_of_smoothing_the_whole_volume(voxels, motion):
    sampler = VoxelSampler(PHANTOM.affine, voxels, FWHM_MM)
    got = sampler.sample_in_place(canonical(), PHANTOM.affine, motion)
    whole = smoothing_filter((3.0, 3.0, 3.5), FWHM_MM, 1e-5).apply(canonical())
    wanted = np.empty(len(voxels), np.float32)
    transform = sampler.transform(PHANTOM.affine, motion)
    sample_splines(whole, transform, voxels, wanted)
    np.testing.assert_array_equal(got, wanted)


def test_smoothed_samples_are_scipys_gaussian_at_the_moved_places():
    voxels = PHANTOM.head_voxels(500)
    got = VoxelSampler(PHANTOM.affine, voxels, FWHM_MM).sample_in_place(canonical(), PHANTOM.affine, MOTION)
    sigma = FWHM_MM / np.sqrt(8 * np.log(2)) / np.array([3.5, 3.0, 3.0])
    smooth = gaussian_filter(canonical().astype(float), sigma, mode="mirror", truncate=6.0)
    to_voxel = np.linalg.inv(PHANTOM.affine) @ MOTION @ PHANTOM.affine
    places = voxels @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    inside = (places > 2).all(axis=1) & (places < np.array(PHANTOM.shape) - 3).all(axis=1)
    wanted = map_coordinates(smooth, places[:, ::-1].T, order=3, mode="mirror")
    assert inside.sum() > 300
    np.testing.assert_allclose(got[inside], wanted[inside], rtol=1e-4, atol=0.05)


def test_smoothing_averages_noise_away():
    rng = np.random.default_rng(0)
    noise = (800.0 + 20.0 * rng.standard_normal(canonical().shape)).astype(np.float32)
    sharp, smooth = (VoxelSampler(PHANTOM.affine, PHANTOM.head_voxels(500), fwhm_mm)
                     .sample_in_place(noise.copy(), PHANTOM.affine, np.eye(4)) for fwhm_mm in (0.0, 6.0))
    assert smooth.mean() == pytest.approx(800.0, abs=2.0)
    assert smooth.std() < 0.35 * sharp.std()


def test_a_region_that_left_the_grid_still_reads_numbers():
    far = rigid((0.0, 0.0, 0.0), (500.0, 0.0, 0.0))
    got = VoxelSampler(PHANTOM.affine, SMALL_REGION, FWHM_MM).sample_in_place(canonical(), PHANTOM.affine, far)
    assert np.isfinite(got).all()
