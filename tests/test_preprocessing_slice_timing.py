"""Slice timing: every voxel as of its volume's start, from this volume and the last one that came."""

import numpy as np
import pytest

from realtime.errors import ConfigError, VolumeError
from realtime.preprocessing import Preprocessor, PreprocessorSettings
from realtime.preprocessing.slice_timing import acquired_after, at_volume_start
from tests.preprocessing_phantom import make_phantom

PHANTOM = make_phantom((18, 20, 12), (9.0, 9.0, 10.0))
VOXELS = PHANTOM.head_voxels(60)
TIMES_S = tuple((k % 4) * 0.5 for k in range(12))  # interleaved, three slices at once, TR 2 s
SETTINGS = PreprocessorSettings(tr_s=2.0, settle_s=0.0, alignment_fwhm_mm=12.0, alignment_points=300,
                                slice_times_s=TIMES_S)


def brightening(at_s):
    """The phantom as scanned slice by slice while everything grows brighter by 2 % of the start per second."""
    return PHANTOM.still * (1.0 + 0.02 * (at_s + np.array(TIMES_S)))


def brightness(pre, at_s):
    samples = pre.push(brightening(at_s)).samples.astype(float)
    return samples / Preprocessor(PHANTOM.still, PHANTOM.affine, VOXELS, SETTINGS).push(PHANTOM.still).samples


def test_all_slices_are_read_as_of_the_volumes_start_also_across_a_gap():
    pre = Preprocessor(PHANTOM.still, PHANTOM.affine, VOXELS, SETTINGS)
    first = brightness(pre, 0.0)
    assert first.mean() > 1.01  # no volume before it: as acquired
    # splines mix neighbouring slices, whose times differ, and stripes look a little like movement
    np.testing.assert_allclose(brightness(pre, 2.0), 1.04, atol=0.01)
    pre.skip()
    pre.skip()
    across = brightness(pre, 8.0)
    np.testing.assert_allclose(across, 1.16, atol=0.01)
    assert across.mean() == pytest.approx(1.16, abs=0.002)


def test_a_straight_line_is_read_exactly():
    slopes, after_s = np.linspace(-3.0, 3.0, 7), np.linspace(0.0, 2.0, 7)
    before, now = 100.0 + slopes * after_s, 100.0 + slopes * (4.0 + after_s)
    got = at_volume_start(now.astype(np.float32), before.astype(np.float32), after_s, 4.0)
    np.testing.assert_allclose(got, 100.0 + slopes * 4.0, rtol=1e-6)


def test_a_head_that_moved_along_the_slices_takes_their_times():
    voxels = np.array([[3, 3, 0], [3, 3, 5], [3, 3, 11]], np.int32)
    moved = np.hstack([np.eye(3), [[0.0], [0.0], [1.6]]])
    np.testing.assert_array_equal(acquired_after(np.arange(12.0), moved, voxels), [2.0, 7.0, 11.0])


def test_slice_times_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"slice_times_s holds 2\.5, wanted 0 to the TR"):
        PreprocessorSettings(tr_s=2.0, slice_times_s=(0.0, 2.5))
    with pytest.raises(VolumeError, match="2 slice times for 12 slices"):
        Preprocessor(PHANTOM.still, PHANTOM.affine, VOXELS, PreprocessorSettings(tr_s=2.0, slice_times_s=(0.0, 1.0)))
