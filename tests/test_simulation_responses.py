"""Simulated response arrays: the published experiment, causal features, and the same person as the volumes show."""

from dataclasses import replace

import numpy as np
import pytest

from offline_training.simulation.anatomy import PAD
from offline_training.simulation.array_scaling import filtered_as_published
from offline_training.simulation.music import embedded_music
from offline_training.simulation.person import make_person
from offline_training.simulation.scanner import record_run
from offline_training.simulation.session_responses import (
    DS003720,
    ResponseSettings,
    sample_responses,
    simulate_responses,
    simulate_samples,
)
from offline_training.simulation.settings import MotionSettings, ScannerSettings, SimulationSettings, SubjectSettings

STILL = MotionSettings(0, 0, 0, 0, 0, 0, session_mm=0)
COARSE = ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), tr_s=1.5, multiband=3)
SMALL = ResponseSettings(SimulationSettings(
    clip_s=15.0, n_training_runs=2, n_test_runs=1, blocks_per_training_run=1, cycles_per_test_run=1, tail_volumes=0,
    n_sessions=2, subject=SubjectSettings(n_auditory=120), scanner=COARSE), n_other_regions=3,
    voxels_per_other_region=20)


@pytest.fixture(scope="module")
def published():
    return simulate_responses(ResponseSettings(replace(
        DS003720, scanner=COARSE, subject=SubjectSettings(n_auditory=120))))


def test_the_default_is_the_published_experiment(published):
    runs = published.responses.runs
    assert len(runs) == 18
    assert {run.responses.shape for run in runs} == {(410, 120)}
    assert [run.session for run in runs] == [0] * 6 + [1] * 6 + [2] * 6
    assert [run.run_id for run in runs[:3]] == ["task-Training_run-01", "task-Training_run-02", "task-Test_run-01"]
    training = [event.clip_id for run in published.responses.training for event in run.events if not event.is_dummy]
    test = [event.clip_id for run in published.responses.test for event in run.events if not event.is_dummy]
    assert (len(training), len(set(training)), len(test), len(set(test))) == (480, 480, 240, 60)
    assert not set(training) & set(test)
    for run in runs:
        assert [event.onset_s for event in run.events] == [15.0 * i for i in range(41)]
        assert [event.is_dummy for event in run.events] == [True] + [False] * 40
    assert published.music.embeddings.shape == (540, 128)


def test_regions_of_the_published_sizes_come_first():
    sizes = np.bincount(simulate_samples(ResponseSettings(replace(
        DS003720, n_training_runs=1, n_test_runs=0, n_sessions=1)), 0).parcels.regions)
    assert sorted(sizes) == [61, 70, 109, 218, 296, 706]


def test_the_start_of_a_run_and_jumps_of_the_head_are_not_usable(published):
    for run in published.responses.runs:
        assert not run.usable[:4].any()
        assert not run.usable[run.displacement_mm > 0.5].any()
        assert run.usable.mean() > 0.9
        assert np.isfinite(run.responses).all()


def test_what_comes_later_does_not_change_what_was(published):
    """Of a longer session the first runs, and of a run the first volumes, are the same bits."""
    samples = simulate_samples(SMALL, 3)
    person, plan = samples.person, samples.person.plans[0]
    whole = sample_responses(person, plan, person.seeds()[0], samples.parcels.voxels)
    np.testing.assert_array_equal(samples.runs[plan.place].samples, whole.samples)


def test_other_regions_hold_no_music():
    made = simulate_responses(SMALL, 1)
    other = made.responses.regions >= 6
    assert other.sum() == 60
    assert (made.fraction[other] == 0).all()
    assert (made.fraction[~other] > 0).all()
    assert np.isnan(made.peak_s[other]).all()
    assert len(made.responses.region_names) == 9


def test_a_weaker_test_signal_leaves_the_training_runs_as_they_are():
    strong, weak = (simulate_samples(replace(SMALL, gain=gain), 0) for gain in (1.0, 0.3))
    for one, other in zip(strong.runs, weak.runs, strict=True):
        assert np.array_equal(one.samples, other.samples) == (not one.is_test)


def test_the_published_filter_gives_unit_variance_and_no_drift():
    samples = simulate_samples(SMALL, 0)
    made = filtered_as_published(samples.runs, samples.parcels.regions, samples.parcels.names, 1.5)
    for run in made.runs:
        np.testing.assert_allclose(run.responses.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(run.responses.std(axis=0), 1, atol=1e-3)
        assert run.usable.all()


def still_person(**changes):
    subject = SubjectSettings(n_auditory=120, **changes)
    session = replace(SMALL.session, subject=subject, motion=STILL)
    return make_person(embedded_music(session), session)


def volumes_at(person, plan, seed, voxels):
    settings = (person.settings.subject, person.settings.motion, person.settings.scanner)
    z, y, x = (axis - PAD for axis in np.unravel_index(voxels, person.head.grey.shape))
    return record_run(person.phantom, person.evoked(plan), settings, seed, person.rest(plan)).volumes[:, z, y, x]


def test_without_noise_and_movement_arrays_and_volumes_are_equal_but_for_rounding():
    person = still_person(noise_percent=0.01, thermal_noise=0.0, shared_noise=1.0)  # no draws of a voxel's own
    plan = person.plans[1]
    arrays = sample_responses(person, plan, person.seeds()[1], person.head.auditory).samples
    volumes = volumes_at(person, plan, person.seeds()[1], person.head.auditory)
    np.testing.assert_allclose(volumes, arrays, atol=0.6)


def test_noise_of_arrays_and_volumes_has_the_same_size_and_the_same_shared_part():
    person = still_person()
    plan = person.plans[0]
    arrays = sample_responses(person, plan, person.seeds()[0], person.head.auditory).samples[12:]
    volumes = volumes_at(person, plan, person.seeds()[0], person.head.auditory)[12:].astype(float)
    np.testing.assert_allclose(volumes.std(axis=0), arrays.std(axis=0), rtol=0.35)
    np.testing.assert_allclose(volumes.std(axis=0).mean(), arrays.std(axis=0).mean(), rtol=0.02)
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(volumes.T, arrays.T, strict=True)]
    assert 0.5 < np.mean(alike) < 0.95  # the shared noise, drift, physiology and music are the same; the rest is not
