"""The calibration of the simulated person: the published recipe, its figures, and the page."""

from dataclasses import replace

import numpy as np
import pytest

from offline_training import person_calibration
from offline_training.fit_settings import BRAIN2MUSIC
from offline_training.person_calibration import (
    ROWS,
    calibrate,
    fit_published,
    genre_known,
    rows_of,
    rowwise_correlation,
    targets_of,
)
from offline_training.person_calibration_page import write_calibration_page
from offline_training.simulation.music import embedded_music
from offline_training.simulation.session_responses import DS003720, ResponseSettings, simulate_responses
from offline_training.simulation.settings import DEMO_SUBJECT, ScannerSettings
from offline_training.windows import Window
from realtime.scoring import identification_accuracy

COARSE = ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), tr_s=1.5, multiband=3)
CLEAR = ResponseSettings(replace(DS003720, n_training_runs=4, n_test_runs=2, n_sessions=1, scanner=COARSE,
                                 subject=replace(DEMO_SUBJECT, n_auditory=120, stimulus_fraction=0.3)),
                         n_other_regions=4, voxels_per_other_region=30)


@pytest.fixture(autouse=True)
def few_penalties(monkeypatch):
    """The report alone takes thirty fits."""
    monkeypatch.setattr(person_calibration, "BRAIN2MUSIC", replace(BRAIN2MUSIC, alphas=(1e1, 1e2, 1e3, 1e4, 1e5)))


@pytest.fixture(scope="module")
def clear():
    return simulate_responses(CLEAR, 0)


def test_a_row_is_the_mean_of_the_usable_volumes_of_its_window(clear):
    run = clear.responses.training[0]
    rows = rows_of([run], 1.5, Window(3, 10))
    assert len(rows.features) == 40
    wanted = run.responses[13:23][run.usable[13:23]].mean(axis=0)
    np.testing.assert_allclose(rows.features[0], wanted, rtol=1e-5)
    assert rows.heard.clip_ids[0] == run.events[1].clip_id
    last = run.responses[403:410][run.usable[403:410]].mean(axis=0)  # the run ends before the last window does
    np.testing.assert_allclose(rows.features[-1], last, rtol=1e-5)
    late = rows_of([run], 1.5, Window(13, 1))  # when the next clip is already heard
    np.testing.assert_allclose(late.features[0], run.responses[23], rtol=1e-5)


def test_the_regions_that_respond_are_the_ones_that_are_averaged(clear):
    decoder = fit_published(clear.responses, clear.music)
    assert set(clear.responses.regions[decoder.voxels].tolist()) == set(range(6))


def test_a_clear_person_is_decoded_and_one_whose_labels_are_exchanged_is_not(clear):
    test = rows_of(clear.responses.test, 1.5)
    targets, clips = targets_of(test, clear.music), test.heard.clip_ids
    predicted = fit_published(clear.responses, clear.music).predict(test.features)
    assert identification_accuracy(predicted, targets, clips).mean > 0.8
    dealt = np.random.default_rng(0).permutation(len(clear.music.clip_ids))
    exchanged = replace(clear.music, embeddings=clear.music.embeddings[dealt])
    blind = fit_published(clear.responses, exchanged).predict(test.features)
    assert abs(identification_accuracy(blind, targets, clips).mean - 0.5) < 0.2  # 20 clips only


def test_r_is_pearsons_over_dimensions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 12)), rng.normal(size=(5, 12))
    wanted = np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    assert rowwise_correlation(a, b) == pytest.approx(wanted)


def test_genres_overlap_in_the_drawn_space_as_they_do_in_learnt_ones():
    known = [genre_known(embedded_music(replace(DS003720, seed=seed))) for seed in range(3)]
    assert 0.83 < np.mean(known) < 0.93  # 0.958 where genres are apart


def test_the_report_has_every_row_and_becomes_a_page(tmp_path):
    one_person = replace(CLEAR, n_other_regions=0)
    report = calibrate([0], one_person)
    assert [row["key"] for row in report["rows"]] == [row.key for row in ROWS]
    values = {row["key"]: row["mean"] for row in report["rows"]}
    assert all(np.isfinite(value) for value in values.values())
    assert values["id1_gain_0.7"] > values["id1_gain_0.1"]
    assert values["id1_volume_6"] > values["id1_volume_0"]
    write_calibration_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<tr>") == len(ROWS) + 1
    assert "data:image/svg" in page
