"""The simulated person can be decoded, not too well, and not at all when nothing is heard.

A ridge on the true auditory voxels, one left-out run at a time; no part of the project's own decoder.
Identification accuracy is Brain2Music's (arXiv 2307.11078, section 3.4); chance is 0.5.
"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from offline_training.simulation.anatomy import PAD
from offline_training.simulation.music import EmbeddingSettings, embedded_music
from offline_training.simulation.person import make_person
from offline_training.simulation.scanner import record_run
from offline_training.simulation.settings import (
    DEMO_SUBJECT,
    MotionSettings,
    ScannerSettings,
    SimulationSettings,
    SubjectSettings,
)

N_RUNS, N_BLOCKS, LAG, PER_CLIP = 4, 4, 2, 5  # clips of 10 s at TR 2 s; 4 s to the response


def session(fraction, seed=0):
    return SimulationSettings(
        seed=seed, n_training_runs=N_RUNS, n_test_runs=0, blocks_per_training_run=N_BLOCKS, extra_clips_per_genre=0,
        subject=replace(DEMO_SUBJECT, seed=seed, n_auditory=150, stimulus_fraction=fraction),
        motion=MotionSettings(offset_mm=0, drift_mm=0.1, jerk_mm=0.1),
        scanner=ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), tr_s=2.0, multiband=3))


def trials(fraction, seed=0):
    """Mean response (n_trials, n_voxels), target and run of every clip but the dummies."""
    chosen = session(fraction, seed)
    person = make_person(embedded_music(chosen, EmbeddingSettings(dim=32, spectrum=0.8)), chosen)
    z, y, x = np.array(np.unravel_index(person.head.auditory, person.head.grey.shape)) - PAD
    responses, targets, runs = [], [], []
    for number, plan in enumerate(person.plans):
        recording = record_run(person.phantom, person.evoked(plan), (chosen.subject, chosen.motion, chosen.scanner),
                               np.random.SeedSequence([seed, number]), person.rest(plan))
        course = standardised(recording.volumes[4:, z, y, x].astype(float))
        for i, row in enumerate(plan.clips[1:], start=1):
            responses.append(course[i * PER_CLIP + LAG - 4 :][:PER_CLIP].mean(axis=0))
            targets.append(person.music.embeddings[row])
            runs.append(number)
    return np.array(responses), np.array(targets), np.array(runs)


def standardised(course):
    """Without slow cosines, unit variance."""
    t = np.linspace(0, np.pi, len(course))
    slow = np.stack([np.cos(k * t) for k in range(6)], axis=1)
    course = course - slow @ np.linalg.lstsq(slow, course, rcond=None)[0]
    return course / course.std(axis=0)


def identification(fraction, seed=0):
    responses, targets, runs = trials(fraction, seed)
    scores = []
    for run in np.unique(runs):
        train, test = runs != run, runs == run
        model = RidgeCV(np.logspace(1, 6, 11)).fit(responses[train], targets[train])
        centre = targets[train].mean(axis=0)
        predicted, true = model.predict(responses[test]) - centre, targets[test] - centre
        similarity = np.corrcoef(predicted, true)[: len(true), len(true):]
        scores.append((similarity < np.diag(similarity)[:, None]).sum(axis=1) / (len(true) - 1))
    return float(np.concatenate(scores).mean())


@pytest.fixture(scope="module")
def accuracy():
    return {fraction: identification(fraction) for fraction in (0.0, 0.05, 0.3)}


def test_nobody_can_be_decoded_who_hears_nothing(accuracy):
    assert 0.43 < accuracy[0.0] < 0.57  # 160 clips: the null's standard deviation is 0.02, wider for shared folds


def test_decoding_is_above_chance_and_not_perfect(accuracy):
    assert 0.57 < accuracy[0.05] < 0.95
    assert accuracy[0.3] < 0.99


def test_decoding_improves_with_the_share_of_the_signal(accuracy):
    assert accuracy[0.0] + 0.05 < accuracy[0.05] < accuracy[0.3] - 0.03


@pytest.mark.parametrize("subject", [DEMO_SUBJECT, SubjectSettings()])
def test_the_voxels_explain_the_share_that_was_asked_for(subject):
    """The evoked signal's variance over noise plus signal, averaged over voxels, is the mean of the drawn shares."""
    alone = replace(subject, n_auditory=150, sound_response=0.0, noise_variation=0.0)
    chosen = replace(session(0.05), subject=alone)
    person = make_person(embedded_music(chosen, EmbeddingSettings(dim=32)), chosen)
    signal = np.concatenate([person.evoked(plan) for plan in person.plans])
    variance, noise = signal.var(axis=0), (0.01 * alone.noise_percent) ** 2
    explained = variance / (variance + noise)
    np.testing.assert_allclose(explained.mean(), person.tuning.fraction.mean(), rtol=0.15)
    assert person.tuning.fraction.mean() == pytest.approx(alone.stimulus_fraction, rel=0.3)
    assert np.corrcoef(explained, person.tuning.fraction)[0, 1] > 0.95
