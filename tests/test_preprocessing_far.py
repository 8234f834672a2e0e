"""A session far from the training reference, and a head that jerks: real anatomy, other contrast, lost signal."""

import time

import numpy as np
import pytest

from offline_training.simulation.motion import rigid
from realtime.preprocessing import Preprocessor, PreprocessorSettings
from tests.benchmarks.motion_series import STANDARD, moving_head

LARGEST_SHIFT_MM, LARGEST_TURN_DEG = 15.0, 10.0


@pytest.fixture(scope="module")
def head():
    return moving_head(STANDARD)


@pytest.fixture(scope="module")
def reference(head):
    return head.scan(np.eye(4), seed=1)


def fresh(head, reference):
    return Preprocessor(reference, head.affine, head.decoder_voxels(500), PreprocessorSettings(tr_s=1.0))


def other_session(head, seed):
    """A volume up to 15 mm and 10 degrees away, of another contrast and gain, a fifth of the brain without signal."""
    random = np.random.default_rng([seed, 5])
    turn, shift = random.normal(size=(2, 3))
    turn *= LARGEST_TURN_DEG / np.linalg.norm(turn) * random.random() ** (1 / 3)
    shift *= LARGEST_SHIFT_MM / np.linalg.norm(shift) * random.random() ** (1 / 3)
    motion = rigid(shift, np.deg2rad(turn), head.centre_mm)
    brightness = head.anatomy / 900.0  # of grey matter
    white, fluid = random.uniform(0.55, 0.85), random.uniform(1.1, 1.8)
    tissue = 900.0 * np.interp(brightness, [0.0, 0.72, 1.0, 1.45, 3.0], [0.0, white, 1.0, fluid, 3.0])
    corner_mm = np.array([-98.0, -134.0, -72.0])
    away = np.stack(np.indices(tissue.shape, np.float32), axis=-1) + np.float32(
        corner_mm - head.brain_mm[random.integers(len(head.brain_mm))])
    distance_mm = np.sqrt((away**2).sum(axis=-1))
    radius_mm = np.quantile(distance_mm[brightness > 0.5], 0.2)
    tissue *= 1.0 - 0.9 / (1.0 + np.exp(np.clip((distance_mm - radius_mm) / 2.0, -40.0, 40.0)))
    volume = head.scan(motion, 1000 + seed, gain=random.uniform(0.6, 1.8), tissue=tissue.astype(np.float32))
    return volume, motion


def errors_of_sessions(head, reference, seeds):
    """Error of each session's first volume, mm; each must be trusted and found within a second."""
    fresh(head, reference).warm_up()
    errors_mm = []
    for seed in seeds:
        volume, truth = other_session(head, seed)
        pre = fresh(head, reference)
        start = time.process_time()
        step = pre.push(volume)
        assert time.process_time() - start < 1.0, seed
        assert step.trusted, seed
        errors_mm.append(head.error_mm(step.motion, truth))
    return np.array(errors_mm)


def test_a_session_far_from_the_reference_is_found(head, reference):
    assert errors_of_sessions(head, reference, range(8)).max() <= 0.1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_sessions_far_from_the_reference_are_found(head, reference):
    errors_mm = errors_of_sessions(head, reference, range(200))
    # measured: the largest 0.091, 95 % within 0.065: what is left is the other contrast's bias, not a lost head
    assert errors_mm.max() <= 0.1


def test_a_jerk_of_one_volume_is_followed_and_the_next_volume_is_as_good_as_ever(head, reference):
    pre, random = fresh(head, reference), np.random.default_rng(8)
    rest = rigid(np.array([0.3, -0.2, 0.4]), np.deg2rad([0.2, 0.3, -0.2]), head.centre_mm)
    pre.push(head.scan(rest, seed=2))
    for seed in range(3):
        shift, turn = random.normal(size=(2, 3))
        jerk = rigid(3.0 * shift / np.linalg.norm(shift), np.deg2rad(3.0 * turn / np.linalg.norm(turn)), head.centre_mm)
        step = pre.push(head.scan(jerk @ rest, seed=10 + seed))
        assert head.error_mm(step.motion, jerk @ rest) <= 0.03
        assert step.censored
        after = pre.push(head.scan(rest, seed=20 + seed))
        assert head.error_mm(after.motion, rest) <= 0.015
        assert after.trusted


@pytest.mark.parametrize("kind", ["half missing", "saturated", "lower half doubled", "noise"])
def test_bad_volumes_are_flagged_or_right_and_the_next_volume_is_right(head, reference, kind):
    pre = fresh(head, reference)
    good = head.scan(np.eye(4), seed=3)
    pre.push(good)
    bad = good.copy()
    if kind == "half missing":
        bad[32:] = 0
    elif kind == "saturated":
        bad = np.minimum(bad, 300)
    elif kind == "lower half doubled":
        bad[:, :, :18] *= 2
    else:
        bad = np.random.default_rng(0).integers(0, 1500, bad.shape).astype(np.int16)
    step = pre.push(bad)
    assert not step.trusted or head.error_mm(step.motion, np.eye(4)) < 0.5
    assert np.isfinite(step.features).all()
    after = pre.push(head.scan(np.eye(4), seed=4))
    assert after.trusted
    assert head.error_mm(after.motion, np.eye(4)) < 0.015
