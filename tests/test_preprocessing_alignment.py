"""Alignment on a phantom whose motion is known exactly."""

import numpy as np
import pytest

from realtime.errors import VolumeError
from realtime.preprocessing import Preprocessor, PreprocessorSettings
from realtime.preprocessing.rigid import Pose, framewise_displacement_mm
from tests import naive
from tests.preprocessing_phantom import make_phantom, rigid, wandering

NOISE = 10.0  # mean 800: tSNR 80
SETTINGS = PreprocessorSettings(tr_s=1.0)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom()


@pytest.fixture(scope="module")
def reference(phantom):
    return phantom.volume(noise=NOISE, seed=99).astype(np.float32)


def fresh(phantom, reference):
    return Preprocessor(reference, phantom.affine, phantom.head_voxels(2000), SETTINGS)


def test_motion_error_is_below_three_hundredths_of_a_millimetre(phantom, reference):
    pre, errors = fresh(phantom, reference), []
    for t, truth in enumerate(wandering(10)):
        step = pre.push(phantom.volume(truth, NOISE, seed=t, gain=1.0 + 0.001 * t).astype(np.int16))
        assert step.converged
        assert step.gain == pytest.approx(1.0 + 0.001 * t, abs=0.003)
        errors.append(phantom.error_mm(step.motion, truth))
    # measured 0.012 mean, 0.02 largest, half of it the noise of the one-volume reference
    assert np.mean(errors) <= 0.03
    assert max(errors) <= 0.05


def test_motion_points_from_the_reference_to_the_volume(phantom, reference):
    truth = rigid((2.0, -3.0, 4.0), (1.0, -2.0, 3.0))
    step = fresh(phantom, reference).push(phantom.volume(truth))
    nose = np.array([10.0, 60.0, -20.0, 1.0])
    np.testing.assert_allclose(step.motion @ nose, truth @ nose, atol=0.1)
    assert phantom.error_mm(step.motion, np.linalg.inv(truth)) > 1.0


def test_samples_follow_the_tissue(phantom, reference):
    truth = rigid((1.0, -2.0, 3.0), (1.5, -1.0, 2.0))
    voxels = phantom.head_voxels(2000)
    step = fresh(phantom, reference).push(phantom.volume(truth))
    still = phantom.volume()[tuple(voxels.T)]
    moved = phantom.volume(truth)[tuple(voxels.T)]
    assert np.abs(step.samples - still).mean() < 0.02 * np.abs(moved - still).mean()


@pytest.mark.parametrize("size", [5.0, 10.0])
def test_a_run_may_start_with_the_head_far_from_the_reference(phantom, reference, size):
    random = np.random.default_rng(int(size))
    for seed in range(3):
        turn, shift = random.normal(size=(2, 3))
        truth = rigid(size * turn / np.linalg.norm(turn), size * shift / np.linalg.norm(shift))
        step = fresh(phantom, reference).push(phantom.volume(truth, NOISE, seed, gain=1.85))
        assert step.trusted
        assert step.gain == pytest.approx(1.85, rel=0.01)
        assert phantom.error_mm(step.motion, truth) < 0.1


def test_a_jerk_within_a_run_is_followed_and_censored(phantom, reference):
    pre = fresh(phantom, reference)
    pre.push(phantom.volume(noise=NOISE, seed=1))
    truth = rigid((6.0, -5.0, 5.0), (-6.0, 5.0, 4.0))
    step = pre.push(phantom.volume(truth, NOISE, seed=2))
    assert phantom.error_mm(step.motion, truth) < 0.05
    assert step.censored
    assert step.framewise_displacement_mm > 10.0
    assert not pre.push(phantom.volume(truth, NOISE, seed=3)).censored


def test_another_field_of_view_is_found_through_its_affine(phantom, reference):
    shifted = rigid((5.0, 0.0, -8.0), (4.0, -3.0, 5.0)) @ phantom.affine
    truth = rigid((1.0, 0.5, -1.0), (0.5, -0.5, 1.0))
    step = fresh(phantom, reference).push(phantom.volume(truth, NOISE, affine=shifted), shifted)
    assert phantom.error_mm(step.motion, truth) < 0.05


def test_a_table_moved_between_sessions_is_found_from_the_same_voxels(phantom, reference):
    table = rigid((0.0, 0.0, 0.0), (0.0, 0.0, 300.0))
    step = fresh(phantom, reference).push(phantom.volume(noise=NOISE), table @ phantom.affine)
    assert phantom.error_mm(step.motion, table) < 0.05


@pytest.mark.parametrize("kind", ["zero", "constant", "noise", "negative", "huge"])
def test_a_volume_without_a_head_keeps_the_last_motion_and_is_flagged(phantom, reference, kind):
    pre = fresh(phantom, reference)
    held = pre.push(phantom.volume(rigid((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), NOISE))
    volume = {"zero": np.zeros(phantom.shape), "constant": np.full(phantom.shape, 700),
              "noise": np.random.default_rng(0).normal(500.0, 100.0, phantom.shape),
              "negative": -phantom.volume(), "huge": np.full(phantom.shape, 9e29)}[kind]
    step = pre.push(volume)
    assert not step.trusted
    assert step.censored
    np.testing.assert_array_equal(step.motion, held.motion)
    assert step.gain == held.gain
    assert np.isfinite(step.samples).all()
    assert np.isfinite(step.features).all()
    after = pre.push(phantom.volume(rigid((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), NOISE, seed=5))
    assert after.trusted
    assert after.framewise_displacement_mm < 0.2


def test_a_few_damaged_voxels_are_repaired_and_the_volume_censored(phantom, reference):
    pre, whole = fresh(phantom, reference), phantom.volume(noise=NOISE)
    pre.push(whole)
    damaged = whole.copy()
    damaged[30:33, 30:33, 18], damaged[5, 5, 5] = np.nan, np.inf
    step = pre.push(damaged)
    assert step.repaired_voxels == 10
    assert step.censored
    assert np.isfinite(step.samples).all()
    assert phantom.error_mm(step.motion, np.eye(4)) < 0.05


def test_a_volume_that_cannot_be_used_is_refused_and_changes_nothing(phantom, reference):
    pre = fresh(phantom, reference)
    pre.push(phantom.volume())
    before = pre.state().to_bytes()
    bad = [(np.full(phantom.shape, np.nan), None, "NaN or infinite, at most 1.00%"),
           (np.zeros((64, 64, 35)), None, r"shape \(64, 64, 35\), wanted \(64, 64, 36\)"),
           (np.zeros(phantom.shape, complex), None, "complex128, wanted three dimensions of real numbers"),
           (phantom.volume(), np.diag([2.0, 3.0, 3.5, 1.0]), "volume has voxels of"),
           (phantom.volume(), np.zeros((4, 4)), "affine cannot be inverted"),
           (phantom.volume(), np.full((4, 4), np.nan), "affine holds NaN")]
    for volume, affine, message in bad:
        with pytest.raises(VolumeError, match=message):
            pre.push(volume, affine)
    assert pre.state().to_bytes() == before


@pytest.mark.parametrize(("change", "message"), [
    ({"reference": np.ones((20, 20, 20))}, "constant: nothing to align to"),
    ({"reference": np.random.default_rng(0).normal(size=(20, 20, 3))}, "at least 4 voxels along each axis"),
    ({"reference": np.full((20, 20, 20), np.nan)}, "reference holds NaN"),
    ({"voxels": np.array([[0, 0, 64]])}, "voxels lie outside"),
    ({"voxels": np.zeros((0, 3), int)}, r"wanted \(n, 3\) integers"),
    ({"feature_scale": np.ones(7)}, r"feature_scale has shape \(7,\)"),
])
def test_arguments_that_do_not_fit_are_refused(phantom, reference, change, message):
    arguments = {"reference": reference, "affine": phantom.affine, "voxels": np.array([[1, 1, 1]]),
                 "settings": SETTINGS} | change
    with pytest.raises(VolumeError, match=message):
        Preprocessor(**arguments)


def test_framewise_displacement_equals_the_definition_with_true_angles():
    centre = np.array([3.0, -12.0, 20.0])
    before, after = rigid((1.0, 2.0, -1.0), (0.2, 0.4, -0.3)), rigid((1.5, 1.2, -0.8), (0.5, 0.1, 0.0))
    poses = [Pose(np.ascontiguousarray(m[:3, :3]), m[:3, :3] @ centre + m[:3, 3]) for m in (before, after)]
    # 2·tan(θ/2) against θ: 1e-4 at 2 degrees
    wanted = naive.framewise_displacement_mm(before, after, centre)
    assert framewise_displacement_mm(*poses) == pytest.approx(wanted, rel=1e-3)


def test_the_estimate_equals_a_forward_registration_over_all_voxels(phantom, reference):
    truth = rigid((0.4, -0.3, 0.5), (0.3, 0.2, -0.4))
    volume = phantom.volume(truth, NOISE)
    step = fresh(phantom, reference).push(volume)
    assert phantom.error_mm(step.motion, naive.register(reference, volume, phantom.affine)) < 0.03
