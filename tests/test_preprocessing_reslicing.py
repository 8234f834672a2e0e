"""Whole volumes resliced, against SciPy."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from realtime.errors import VolumeError
from realtime.preprocessing.reslicing import reslice
from tests.preprocessing_phantom import make_phantom, rigid

PHANTOM = make_phantom((20, 18, 14), (8.0, 8.0, 9.0))
MOTION = rigid((2.0, -3.0, 1.0), (6.0, -5.0, 9.0))


def test_reslicing_equals_scipy_and_is_zero_where_the_volume_did_not_reach():
    volume = PHANTOM.volume(MOTION).astype(np.int16)
    got = reslice(volume, PHANTOM.affine, MOTION, PHANTOM.affine, PHANTOM.shape)
    to_voxel = np.linalg.inv(PHANTOM.affine) @ MOTION @ PHANTOM.affine
    places = to_voxel[:3, :3] @ np.indices(PHANTOM.shape).reshape(3, -1) + to_voxel[:3, 3:]
    wanted = map_coordinates(volume.astype(float), places, order=3, mode="mirror")
    reached = ((places >= -0.5) & (places <= np.array(PHANTOM.shape)[:, None] - 0.5)).all(axis=0)
    np.testing.assert_allclose(got.ravel(), np.where(reached, wanted, 0.0), atol=0.02)
    assert 0.5 < reached.mean() < 0.98


def test_a_resliced_head_lies_where_the_reference_lies():
    moved, still = PHANTOM.volume(MOTION), PHANTOM.volume()
    got = reslice(moved, PHANTOM.affine, MOTION, PHANTOM.affine, PHANTOM.shape)
    inner = (slice(4, -4),) * 3
    assert np.abs(got - still)[inner].mean() < 0.25 * np.abs(moved - still)[inner].mean()


def test_reslicing_refuses_what_is_no_volume():
    with pytest.raises(VolumeError, match="cannot reslice"):
        reslice(np.zeros((4, 4)), np.eye(4), np.eye(4), np.eye(4), (4, 4, 4))
