"""Settings are compared on the same runs as training would use them, and the defaults stand the comparison."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from offline_training.preprocessing_study import compare_settings
from offline_training.runs import read_dataset
from offline_training.simulation.dataset import simulate_session
from offline_training.simulation.settings import DEMO_SUBJECT, MotionSettings, SimulationSettings
from offline_training.train import train
from offline_training.workers import worker_processes
from realtime.music.catalogue import read_catalogue
from realtime.preprocessing import PreprocessorSettings
from tests.test_training_pipeline import PREPROCESSING, SETTINGS, catalogue, write_run


def test_scores_are_those_of_training_with_each_setting(tmp_path):
    for run in range(3):
        write_run(tmp_path / "bids", f"task-Training_run-{run + 1:02d}", list(range(10 * run, 10 * run + 10)), seed=run)
    write_run(tmp_path / "bids", "task-Test_run-01", list(range(40, 50)), seed=99)
    dataset, variants = read_dataset(tmp_path / "bids"), {
        "plain": PREPROCESSING, "trend": replace(PREPROCESSING, drift="trend"),
        "smooth": replace(PREPROCESSING, smoothing_fwhm_mm=8.0, nuisance_motion=6)}
    with ThreadPoolExecutor(2) as pool:
        scores = compare_settings(dataset, catalogue(), variants, pool, SETTINGS)
        assert list(scores) == list(variants)
        for name in ("plain", "smooth"):
            own = replace(SETTINGS, preprocessing=variants[name])
            trained = train(dataset, catalogue(), tmp_path / name, pool, own)
            assert scores[name].cross_validated == trained.fit.identification
            assert trained.evaluation is not None
            assert scores[name].held_out == pytest.approx(trained.evaluation.identification_accuracy, abs=1e-9)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("motion", [
    MotionSettings(), MotionSettings(drift_mm=1.0, walk_mm=0.05, jerks_per_min=1.0, jerk_mm=0.8, breathing_mm=0.1),
], ids=["moderate", "strong"])
def test_no_other_drift_or_nuisance_setting_is_clearly_better_than_the_default(tmp_path, motion):
    person = replace(DEMO_SUBJECT, artefact_percent=1.0)
    simulated = simulate_session(tmp_path / "data", SimulationSettings(n_test_runs=2, subject=person, motion=motion))
    default = PreprocessorSettings()
    variants = {"default": default, "motion": replace(default, nuisance_motion=6),
                "trend": replace(default, drift="trend"), "short": replace(default, drift_tau_s=30.0),
                "smooth": replace(default, smoothing_fwhm_mm=6.0)}
    with worker_processes() as executor:
        scores = compare_settings(read_dataset(tmp_path / "data"), read_catalogue(simulated.corpus), variants, executor)
    assert scores["default"].cross_validated > 0.75
    assert scores["default"].cross_validated > max(score.cross_validated for score in scores.values()) - 0.04
