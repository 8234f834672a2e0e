"""The preprocessor on a recorded run: GE MR750, 64 x 64 x 18, TR 1 s, 60 volumes, real motion and T1 transient."""

from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest

from realtime.preprocessing import Preprocessor, PreprocessorSettings
from tests import naive

FILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "nifti" / "real_epi_ge_60vol" / "bold.nii.gz"
FIRST_STEADY = 6
pytestmark = [pytest.mark.data, pytest.mark.skipif(not FILE.exists(), reason=f"no recorded run at {FILE}")]


@pytest.fixture(scope="module")
def recorded():
    image = nibabel.load(FILE)
    return np.asanyarray(image.dataobj), image.affine


@pytest.fixture(scope="module")
def steps(recorded):
    data, affine = recorded
    pre = Preprocessor(data[..., 10], affine, bright_voxels(data), PreprocessorSettings(tr_s=1.0))
    return [pre.push(data[..., t]) for t in range(data.shape[3])]


def bright_voxels(data):
    steady = data[..., FIRST_STEADY:].mean(axis=3)
    return np.argwhere(steady > 1.5 * steady.mean())


def test_every_volume_is_aligned_and_the_bright_first_one_shows_in_the_gain(steps):
    assert all(step.trusted and step.converged for step in steps)
    gains = np.array([step.gain for step in steps])
    assert gains[0] > 1.7
    np.testing.assert_allclose(gains[FIRST_STEADY:], 1.0, atol=0.02)


def test_motion_agrees_with_an_independent_registration(recorded, steps):
    data, affine = recorded
    chosen = range(20, 40)
    motions = [naive.register(data[..., 10], data[..., t], affine, steps[t].motion) for t in chosen]
    world = bright_voxels(data) @ affine[:3, :3].T + affine[:3, 3]
    centre = world.mean(axis=0)
    for t, other in zip(chosen, motions, strict=True):
        difference = steps[t].motion - other
        distance_mm = np.sqrt(((world @ difference[:3, :3].T + difference[:3, 3]) ** 2).sum(axis=1).mean())
        assert distance_mm < 0.06  # measured 0.026 mean, 0.041 largest: not least squares
    independent = [naive.framewise_displacement_mm(a, b, centre) for a, b in pairwise(motions)]
    ours = [steps[t].framewise_displacement_mm for t in chosen][1:]
    assert np.corrcoef(ours, independent)[0, 1] > 0.95
    assert np.mean(ours) == pytest.approx(np.mean(independent), rel=0.1)


def test_framewise_displacement_has_the_size_that_was_found_for_this_run(steps):
    displacement_mm = np.array([step.framewise_displacement_mm for step in steps[FIRST_STEADY:]])
    # the data's README gives mean 0.26 and maximum 0.94 from another fit
    assert 0.15 < displacement_mm.mean() < 0.35
    assert displacement_mm.max() < 1.0


def test_alignment_does_not_cost_temporal_signal_to_noise(recorded, steps):
    data, _ = recorded
    raw = data[tuple(bright_voxels(data).T)][:, FIRST_STEADY:].astype(float)
    aligned = np.array([step.samples for step in steps[FIRST_STEADY:]], float).T
    ratios = [np.median(series.mean(axis=1) / series.std(axis=1)) for series in (raw, aligned)]
    assert ratios[1] > 0.98 * ratios[0]


def test_features_wait_for_the_run_to_settle_and_are_then_scores(steps):
    assert not any(step.ready or step.features.any() for step in steps[:6])
    scores = np.array([step.features for step in steps[20:]])
    assert 0.5 < scores.std() < 1.5


def test_quality_of_every_volume_is_what_the_whole_run_gives_afterwards(steps):
    aligned = np.array([step.samples for step in steps], float).T
    dvars = 100 * np.sqrt((np.diff(aligned, axis=1) ** 2).mean(axis=0)) / aligned[:, :-1].mean(axis=0)
    assert steps[0].dvars_percent is None
    np.testing.assert_allclose([step.dvars_percent for step in steps[1:]], dvars, rtol=1e-6)
    learnt = np.array([step.ready and not step.censored for step in steps])
    kept = aligned[:, learnt]
    assert steps[-1].tsnr == pytest.approx(np.median(kept.mean(axis=1) / kept.std(axis=1, ddof=1)), rel=0.01)


def test_motion_agrees_with_spm_wherever_the_head_rests_during_a_volume(recorded, steps):
    pytest.importorskip("rtspm", reason="python-rtspm is not installed: pip install '.[bench]'")
    from tests.benchmarks.preprocessing_peers import registered_by_rtspm

    data, affine = recorded
    register = registered_by_rtspm(affine, data[..., 10])
    motions = [register(data[..., t]) for t in range(data.shape[3])]
    centre = (bright_voxels(data) @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0)
    shifts_mm, angles_deg = [], []
    for step, other in list(zip(steps, motions, strict=True))[FIRST_STEADY:]:
        difference = step.motion - other
        shifts_mm.append(np.linalg.norm(difference[:3, :3] @ centre + difference[:3, 3]))
        between = np.linalg.inv(other) @ step.motion
        angles_deg.append(np.degrees(np.arccos(np.clip((np.trace(between[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))
    agreeing = (np.array(shifts_mm) < 0.05) & (np.array(angles_deg) < 0.05)
    # of 54 volumes 47 agree, and all 54 where SPM's points near the edge are left out (docs/decisions/0036); in the
    # seven, a least-squares fit over all voxels and SimpleITK lie 0.02 and 0.04 mm from ours, and 0.09 mm from
    # SPM's (docs/decisions/0009)
    assert agreeing.mean() > 0.8
    assert np.median(shifts_mm) < 0.02
    assert np.median(angles_deg) < 0.025
