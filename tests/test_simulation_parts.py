"""The parts of the simulated scanner against independent oracles."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from offline_training.errors import SimulationError
from offline_training.simulation.anatomy import PAD, build_head
from offline_training.simulation.kernels import acquire, detect, sum_maps
from offline_training.simulation.motion import head_motion, pose_changes, rigid
from offline_training.simulation.phantom import build_phantom
from offline_training.simulation.response import haemodynamic_response
from offline_training.simulation.settings import MotionSettings, ScannerSettings, SimulationSettings, SubjectSettings

COARSE = ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), multiband=3)
STILL = MotionSettings(0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def head():
    return build_head(SubjectSettings(n_auditory=120), COARSE)


def test_acquisition_is_cubic_spline_of_the_anatomy_times_one_plus_the_field():
    rng = np.random.default_rng(0)
    anatomy = rng.uniform(0, 1000, (14, 16, 18))
    field = rng.normal(0, 0.01, anatomy.shape).astype(np.float32)
    coefficients = ndimage.spline_filter(anatomy, 3, mode="mirror").astype(np.float32)
    transform = rigid(np.array([0.3, -0.2, 0.4]), np.deg2rad([2.0, -3.0, 1.0]), np.array([7.0, 6.0, 5.0]))
    transform[:3, 3] += 4
    out = np.empty((6, 8, 10), np.float32)
    acquire(out, coefficients, field, np.ascontiguousarray(transform[:3]))
    k, j, i = np.indices(out.shape)
    at = np.tensordot(transform[:3, :3], np.stack([i, j, k]), 1) + transform[:3, 3][:, None, None, None]
    wanted = ndimage.map_coordinates(anatomy, at[::-1], order=3, mode="mirror")
    wanted *= 1 + ndimage.map_coordinates(field.astype(float), at[::-1], order=1)
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=0.01)  # coefficients are float32


def test_outside_the_head_grid_there_is_nothing():
    out = np.full((4, 4, 4), 7, np.float32)
    away = np.hstack([np.eye(3), [[100.0], [0.0], [0.0]]])
    acquire(out, np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), np.float32), away)
    assert (out == 0).all()


def test_maps_are_summed_at_their_voxels_only():
    rng = np.random.default_rng(1)
    maps, weights = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    field, voxels = np.full(20, 9, np.float32), np.array([1, 3, 4, 8, 10, 15, 19])
    sum_maps(field, voxels, maps, weights, np.empty(7, np.float32))
    np.testing.assert_allclose(field[voxels], weights @ maps, rtol=1e-5)
    assert (np.delete(field, voxels) == 9).all()


def test_magnitude_is_rician_rounded_and_clipped():
    image = np.array([0, 100, 1e6], np.float32).reshape(1, 1, 3)
    ones, none = np.ones_like(image), np.zeros_like(image)
    thermal = np.zeros((2, 1, 1, 3), np.float32)
    thermal[0, 0, 0, 0], thermal[1, 0, 0, 0] = -3, 4
    out = np.empty((1, 1, 3), np.int16)
    detect(out, image, ones, none, thermal)
    assert out.ravel().tolist() == [5, 100, 32767]


@given(st.lists(st.floats(-30, 30), min_size=9, max_size=9))
@settings(deadline=None)
def test_a_rigid_transform_keeps_distances_and_moves_its_centre_by_the_translation(numbers):
    translation, rotation, centre = np.reshape(numbers, (3, 3))
    transform = rigid(translation, rotation, centre)
    np.testing.assert_allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(transform[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(transform[:3, :3] @ centre + transform[:3, 3], centre + translation, atol=1e-9)


def test_a_head_that_is_told_to_lie_still_does():
    motion = head_motion(STILL, np.sin(np.arange(50.0)), 1.0, np.zeros(3), np.random.default_rng(0))
    np.testing.assert_array_equal(motion, np.tile(np.eye(4), (50, 1, 1)))


def test_jerks_are_sudden_and_rarer_than_volumes():
    jerky = MotionSettings(0, 0, 0, jerks_per_min=3.0, jerk_mm=1.0, breathing_mm=0)
    motion = head_motion(jerky, np.zeros(600), 1.0, np.zeros(3), np.random.default_rng(3))
    steps = np.linalg.norm(np.diff(motion[:, :3, 3], axis=0), axis=1)
    assert 10 <= (steps > 0.2).sum() <= 40  # 30 expected, of which some turn rather than shift


def test_nods_come_with_every_clip_and_are_taken_back():
    nodding = MotionSettings(0, 0, 0, jerks_per_min=0, breathing_mm=0, nod_mm=1.0, nod_every_s=10.0)
    motion = head_motion(nodding, np.zeros(200), 1.0, np.zeros(3), np.random.default_rng(3))
    place = np.linalg.norm(motion[:, :3, 3], axis=1).reshape(20, 10)
    assert (place[:, 0] > 5 * place[:, 9]).all()
    np.testing.assert_allclose(place[:, 4] / place[:, 0], np.exp(-1.0), rtol=1e-6)  # four seconds later
    assert place[:, 0].std() > 0.2 * place[:, 0].mean()


def test_pose_changes_are_shift_and_turn_and_their_steps():
    centre = np.array([3.0, -12.0, 20.0])
    transforms = np.stack([rigid(np.array([1.0, 2.0, 3.0]), np.deg2rad([0.0, 0.0, 2.0]), centre), np.eye(4)])
    changes = pose_changes(transforms, centre)
    np.testing.assert_allclose(changes[0], [1, 2, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(changes[1], [0, 0, 0, 0, 0, 0, -1, -2, -3, 0, 0, -2], atol=1e-3)


def test_artefacts_of_movement_are_largest_at_the_edges_of_the_anatomy(head):
    with_artefact = build_phantom(head, SubjectSettings(n_auditory=120, artefact_percent=2.0), COARSE)
    without = build_phantom(head, SubjectSettings(n_auditory=120, artefact_percent=0.0), COARSE)
    np.testing.assert_array_equal(with_artefact.maps[:62], without.maps)
    assert len(without.maps) == 62
    assert len(with_artefact.maps) == 62 + 12
    size = np.sqrt((with_artefact.maps[62:] ** 2).mean(axis=0))
    steep = np.linalg.norm(np.gradient(head.intensity), axis=0).ravel()[with_artefact.brain]
    edges, inside = steep > np.percentile(steep, 90), steep < np.percentile(steep, 10)
    assert size[edges].mean() == pytest.approx(0.02, rel=0.2)
    assert size[inside].mean() < 0.5 * size[edges].mean()


@pytest.mark.parametrize("peak_s", [3.0, 4.2, 6.0])
def test_the_haemodynamic_response_peaks_when_it_should_and_then_undershoots(peak_s):
    at_s = np.arange(0, 32, 0.01)
    response = haemodynamic_response(at_s, peak_s)
    assert at_s[response.argmax()] == pytest.approx(peak_s, abs=0.1)
    assert response[0] == 0
    assert -0.2 < response.min() / response.max() < -0.1


def test_the_brain_has_a_human_size_and_auditory_cortex_lies_on_both_sides(head):
    litres = head.brain.sum() * np.prod(COARSE.voxel_mm) / 1e6
    assert 1.0 < litres < 2.2
    zyx = np.stack(np.unravel_index(head.auditory, head.grey.shape), axis=1) - PAD
    world = nibabel.affines.apply_affine(head.affine, zyx[:, ::-1])
    right, left = world[world[:, 0] > 0], world[world[:, 0] < 0]
    assert len(right) == len(left) == 60
    for side, sign in ((right, 1), (left, -1)):
        # The person's own head lies within a centimetre of the template's.
        np.testing.assert_allclose(side.mean(axis=0), [sign * 52, -20, 8], atol=12)
    assert (head.grey.ravel()[head.auditory] >= 0.4).all()


def test_people_differ_and_the_same_person_does_not(head):
    again = build_head(SubjectSettings(n_auditory=120), COARSE)
    other = build_head(SubjectSettings(n_auditory=120, seed=1), COARSE)
    np.testing.assert_array_equal(again.intensity, head.intensity)
    assert np.corrcoef(other.intensity.ravel(), head.intensity.ravel())[0, 1] < 0.99


def test_a_field_of_view_without_enough_auditory_cortex_is_refused():
    with pytest.raises(SimulationError, match="fewer than 5000 auditory voxels"):
        build_head(SubjectSettings(n_auditory=5000), COARSE)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: SubjectSettings(stimulus_fraction=0.9, hrf_peak_s=1), ("stimulus_fraction", "hrf_peak_s")),
    (lambda: SubjectSettings(shared_noise=0.7, thermal_noise=0.5), ("thermal_noise",)),
    (lambda: MotionSettings(jerk_mm=-1), ("jerk_mm",)),
    (lambda: ScannerSettings(multiband=5), ("5 at a time",)),
    (lambda: ScannerSettings(shape=(2, 64, 36)), ("shape",)),
    (lambda: SimulationSettings(clip_s=10.3), ("whole number of TRs",)),
    (lambda: SimulationSettings(n_training_runs=0, tail_volumes=-1), ("n_training_runs", "tail_volumes")),
])
def test_settings_no_scan_could_have_are_refused_by_name(make, words):
    with pytest.raises(SimulationError) as caught:
        make()
    assert all(word in str(caught.value) for word in words)


def test_simultaneous_slices_share_a_time_and_all_shots_are_spread_over_the_tr():
    times = ScannerSettings().slice_times_s()
    assert len(times) == 36
    assert sorted(set(times)) == pytest.approx([i / 12 for i in range(12)])
    assert times[0] == times[12] == times[24] == 0
    assert times[2] < times[1]  # even shots come first
