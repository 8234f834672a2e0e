"""The evaluation on a simulated session of the published design, as response arrays: it finds what is there."""

from dataclasses import replace

import numpy as np
import pytest

from offline_training.encoding.model import Answers, EncodingSettings, encode
from offline_training.evaluation.controls import Known, controls
from offline_training.evaluation.courses import repeat_figures
from offline_training.evaluation.leakage import leakage
from offline_training.evaluation.refits import Recipe, judged_of, refit
from offline_training.evaluation.scorecard import Draws, identification_of, scorecard
from offline_training.evaluation.trial_rows import trial_rows
from offline_training.simulation.session_responses import DS003720, ResponseSettings, simulate_published_responses
from offline_training.simulation.settings import ScannerSettings, SubjectSettings

FEW = Draws(1000, 500, 0)
COARSE = ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), tr_s=1.5, multiband=3)


@pytest.fixture(scope="module")
def session():
    """300 auditory voxels and 300 others; 480 training clips, 60 test clips heard four times."""
    settings = ResponseSettings(replace(DS003720, scanner=COARSE, subject=SubjectSettings(n_auditory=300)),
                                n_other_regions=5, voxels_per_other_region=60)
    made = simulate_published_responses(settings, 0)
    responses = made.responses
    training, test = (trial_rows(runs, responses.tr_s, 3, 10) for runs in (responses.training, responses.test))
    return made, training, test


def targets(made, rows):
    return np.stack([made.music.embedding(clip) for clip in rows.heard.clip_ids]).astype(float)


def test_all_trials_of_the_design_are_rows_and_no_leak_is_found(session):
    _, training, test = session
    assert (len(training.features), len(test.features)) == (480, 240)
    assert leakage(training.heard, test.heard)["holds"]


def test_music_is_decoded_within_genre_too_and_better_with_repeats(session):
    made, training, test = session
    known, asked = targets(made, training), targets(made, test)
    judged = judged_of(test, refit(training, known, test.features, Recipe()).held, asked)
    card = scorecard(judged.averaged(), FEW)
    assert 0.7 < card["identification"]["value"] < 0.93  # fewer voxels than the published 0.876
    assert card["identification"]["null"]["p95"] == pytest.approx(0.561, abs=0.015)
    assert card["within_genre"]["value"] > card["within_genre"]["null"]["p95"]
    curve = [one["value"] for one in repeat_figures(judged, FEW)["curve"]]
    assert len(curve) == 4
    assert curve[0] + 0.02 < curve[3]


def test_controls_without_music_stay_in_their_bands(session):
    made, training, test = session
    known, asked = (Known(rows.heard, targets(made, rows), rows.motion) for rows in (training, test))
    found = controls(known, asked)
    judged = judged_of(test, asked.targets, asked.targets)
    for name in ("mean vector", "random vector", "time only", "motion only"):
        one = identification_of(judged.with_predictions(found[name]).averaged(), FEW)
        assert one.null.p_value > 0.005, name
    assert identification_of(judged.with_predictions(found["genre only"]).averaged(), FEW).value > 0.8


def test_voxels_that_music_drives_are_predicted_and_others_are_not(session):
    made, training, test = session
    answers = [Answers(rows.heard.clip_ids, rows.heard.genres, rows.heard.run_ids, rows.heard.tracks, rows.features)
               for rows in (training, test)]
    vectors = {clip: made.music.embedding(clip) for rows in (training, test) for clip in rows.heard.clip_ids}
    found = encode(answers[0], answers[1], vectors, EncodingSettings(n_permutations=1000))
    driven = made.fraction > 0
    # Of a voxel's variance 4 % is the music's on average, and a fifth of that is in the embedding: most are too weak.
    assert np.mean(found.p[driven] <= 0.05) > 0.12
    assert np.mean(found.p[~driven] <= 0.05) < 0.10  # 0.05 expected; the voxels share their noise
    strong = made.fraction > np.quantile(made.fraction[driven], 0.9)
    assert np.median(found.r[strong]) > np.median(found.r[driven]) + 0.05
