"""The decoder's fit against scikit-learn, and against leaks: noise must score chance."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from offline_training import calibration
from offline_training.calibration import estimate_reliability, fit_temper
from offline_training.errors import FitError
from offline_training.fit import DecoderFit, fit_decoder
from offline_training.fit_settings import BRAIN2MUSIC, FitSettings
from offline_training.responses import ResponseRun, Responses
from offline_training.windows import Window, find_trials, growing_rows, last_rows, whole_rows
from realtime.reliability import heavy_tailed
from realtime.session.events import Event

DIM, TR_S, CLIP_VOLUMES, LAG = 12, 1.5, 6, 3
GAIN, NOISE = 0.5, 0.6  # of the evidence that is drawn instead of decoded
SETTINGS = FitSettings(alphas=(1.0, 30.0, 1000.0, 30_000.0), lags_s=(4.5,), n_regions=(2, 0))
PAPER = replace(BRAIN2MUSIC, alphas=SETTINGS.alphas, n_regions=(2,))


def music(n: int = 400) -> NDArray[np.float64]:
    return np.random.default_rng(99).normal(size=(n, DIM)) * np.arange(1, DIM + 1) ** -0.5


MUSIC = music()


def embedding(clip_id: str) -> NDArray[np.float64]:
    return MUSIC[int(clip_id.split("-")[1])]


def responses(n_runs: int = 4, per_run: int = 10, n_voxels: int = 120, signal: float = 0.0, seed: int = 0,
              n_regions: int = 4, test_runs: int = 0) -> Responses:
    """`signal` SDs of music in the first 40 voxels, 3 volumes late, noise elsewhere, runs with means of their own."""
    rng = np.random.default_rng(seed)
    tuning = rng.normal(size=(DIM, 40)) / np.sqrt(DIM)
    made = []
    for run in range(n_runs + test_runs):
        clips = [run * per_run + trial for trial in range(per_run)]
        n_volumes = per_run * CLIP_VOLUMES + LAG
        rows = rng.normal(size=(n_volumes, n_voxels)) + 0.3 * rng.normal(size=n_voxels)
        rows[LAG:, :40] += signal * (MUSIC[clips] @ tuning).repeat(CLIP_VOLUMES, axis=0)
        events = tuple(Event(TR_S * CLIP_VOLUMES * k, TR_S * CLIP_VOLUMES, f"clip-{clip}", "rock")
                       for k, clip in enumerate(clips))
        made.append(ResponseRun(f"run-{run}", run % 2, run >= n_runs, rows.astype(np.float32),
                                np.ones(n_volumes, bool), events, np.zeros(n_volumes)))
    regions = np.arange(n_voxels) * n_regions // n_voxels
    return Responses("01", TR_S, tuple(made), regions, tuple(f"region {k}" for k in range(n_regions)))


def with_run(data: Responses, place: int, **changes: object) -> Responses:
    runs = list(data.runs)
    runs[place] = replace(runs[place], **changes)  # type: ignore[arg-type]
    return replace(data, runs=tuple(runs))


def held_out(fit: DecoderFit, data: Responses) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    table = find_trials(data.test, TR_S, [fit.window], 0.5)
    return fit.decoder.predict(whole_rows(table, TR_S, fit.window)), table.clip_ids


def test_rows_are_means_of_the_windows_usable_volumes() -> None:
    data = responses()
    usable = np.ones(len(data.runs[0].responses), bool)
    usable[LAG + 1] = False
    data = with_run(data, 0, usable=usable)
    table, window = find_trials(data.runs, TR_S, [Window(LAG, CLIP_VOLUMES)], 0.5), Window(LAG, CLIP_VOLUMES)
    rows = whole_rows(table, TR_S, window)
    first = data.runs[0].responses[[3, 5, 6, 7, 8]]
    np.testing.assert_allclose(rows[0], first.mean(axis=0), rtol=1e-5, atol=1e-6)
    growing = growing_rows(table, np.arange(3), TR_S, window, np.arange(120))
    np.testing.assert_allclose(growing[1, 0], first[:2].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert np.isnan(growing[5, 0]).all()
    np.testing.assert_allclose(last_rows(growing), rows[:3], rtol=1e-5, atol=1e-6)


def test_the_papers_recipe_is_scikit_learns_ridge_per_region_averaged() -> None:
    data = responses(signal=1.0, n_regions=3)
    fit = fit_decoder(data, embedding, replace(PAPER, n_regions=(3,)))
    rows, targets = whole_rows(fit.trials, TR_S, fit.window).astype(np.float64), fit.targets
    fold = fit.trials.run
    grid = np.array(SETTINGS.alphas)
    wanted = np.zeros_like(targets)
    for region in range(3):
        own = rows[:, data.regions == region]
        for d in range(DIM):
            errors = [sum(np.square(Ridge(alpha=a, solver="svd").fit(own[fold != k], targets[fold != k, d]).predict(
                own[fold == k]) - targets[fold == k, d]).sum() for k in range(4)) for a in grid]
            best = Ridge(alpha=grid[int(np.argmin(errors))], solver="svd").fit(own, targets[:, d])
            wanted[:, d] += best.predict(own) / 3
    np.testing.assert_allclose(fit.decoder.predict(rows), wanted, atol=2e-4)


@pytest.mark.parametrize("settings", [SETTINGS, PAPER], ids=["default", "paper"])
def test_a_held_out_run_changes_nothing_in_the_fold_that_predicts_it(settings: FitSettings) -> None:
    data = responses(signal=1.0)
    rng = np.random.default_rng(9)
    changed = with_run(data, 2, responses=(7 * rng.normal(size=data.runs[2].responses.shape)).astype(np.float32))
    before, after = fit_decoder(data, embedding, settings), fit_decoder(changed, embedding, settings)
    np.testing.assert_array_equal(before.folds["run-2"].decoder.voxels, after.folds["run-2"].decoder.voxels)
    np.testing.assert_allclose(before.folds["run-2"].decoder.weights, after.folds["run-2"].decoder.weights, rtol=1e-9)
    np.testing.assert_allclose(before.folds["run-2"].decoder.intercept, after.folds["run-2"].decoder.intercept,
                               rtol=1e-9)
    assert not np.allclose(before.folds["run-1"].decoder.weights, after.folds["run-1"].decoder.weights, rtol=1e-2)


def test_noise_scores_chance_out_of_fold_and_its_posterior_claims_little() -> None:
    fits = [fit_decoder(responses(seed=seed), embedding, SETTINGS) for seed in range(8)]
    scores = [fit.identification for fit in fits]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.05)  # .045 for four runs of ten clips, .016 for eight of these
    assert max(scores) < 0.5 + 3.5 * 0.045
    odds = [fit.reliability.log_odds(fit.predictions[0].astype(np.float32), MUSIC[:10].astype(np.float32), 6)
            for fit in fits]
    assert np.median([np.exp(one - one.max()).max() / np.exp(one - one.max()).sum() for one in odds]) < 0.3


def test_planted_music_is_decoded_and_its_regions_and_lag_are_found() -> None:
    data = responses(n_runs=6, signal=1.5, test_runs=2)
    fit = fit_decoder(data, embedding, replace(SETTINGS, lags_s=(0.0, 4.5, 9.0), n_regions=(2,)))
    assert fit.window == Window(LAG, CLIP_VOLUMES)
    assert fit.identification > 0.85
    assert set(fit.regions) == {"region 0", "region 1"}  # 30 voxels each, the first 40 tell
    predictions, clips = held_out(fit, data)
    centred = predictions - fit.targets.mean(axis=0)
    own = [np.corrcoef(row, embedding(clip))[0, 1] for row, clip in zip(centred, clips, strict=True)]
    assert np.mean(own) > 0.5


def test_restored_spread_is_that_of_the_targets() -> None:
    data = responses(n_runs=6, signal=0.6)
    shrunk = fit_decoder(data, embedding, replace(SETTINGS, restore_spread=False)).predictions
    restored = fit_decoder(data, embedding, SETTINGS)
    spread = [np.square(rows - rows.mean(axis=0)).sum() for rows in (shrunk, restored.predictions, restored.targets)]
    assert spread[0] < 0.6 * spread[2]
    assert spread[1] == pytest.approx(spread[2], rel=0.3)


def test_a_decoder_reads_no_more_voxels_than_it_may() -> None:
    fit = fit_decoder(responses(signal=1.0), embedding, replace(SETTINGS, most_voxels=65, n_regions=(0,)))
    assert len(fit.decoder.voxels) == 60
    assert len(fit_decoder(responses(signal=1.0), embedding, replace(SETTINGS, most_voxels=5)).decoder.voxels) == 30


def test_music_heard_in_two_runs_is_held_out_together_and_that_of_test_runs_is_left_out() -> None:
    data = responses(n_runs=5, test_runs=1)
    twice = (replace(data.runs[3].events[0], clip_id="clip-0"), *data.runs[3].events[1:])
    fit = fit_decoder(with_run(data, 3, events=twice), embedding, SETTINGS)
    assert fit.folds["run-0"] is fit.folds["run-3"]
    assert fit.folds["run-0"] is not fit.folds["run-1"]
    leaking = (replace(data.runs[1].events[4], clip_id="clip-50"), *data.runs[1].events[5:])
    assert "clip-50" not in fit_decoder(with_run(data, 1, events=leaking), embedding, SETTINGS).trials.clip_ids


def test_two_runs_are_enough() -> None:
    assert fit_decoder(responses(n_runs=2, per_run=40, signal=2.0), embedding, SETTINGS).identification > 0.7


def test_what_cannot_be_fitted_is_refused() -> None:
    data = responses()
    with pytest.raises(FitError, match=r"1 training runs with \[10\] trials"):
        fit_decoder(responses(n_runs=1), embedding, SETTINGS)
    same = with_run(responses(n_runs=2), 1, events=data.runs[0].events)
    with pytest.raises(FitError, match="share music with each other"):
        fit_decoder(same, embedding, SETTINGS)
    with pytest.raises(FitError, match="NaN"):
        fit_decoder(data, lambda clip: np.full(DIM, np.nan), SETTINGS)
    flat = replace(data, runs=tuple(replace(run, responses=np.ones_like(run.responses)) for run in data.runs))
    with pytest.raises(FitError, match="none of the 120 voxels of 4 regions varies"):
        fit_decoder(flat, embedding, SETTINGS)
    with pytest.raises(FitError, match="no training run"):
        fit_decoder(responses(n_runs=0, test_runs=2), embedding, SETTINGS)
    with pytest.raises(FitError, match=r"fit.lags_s is \(\), wanted at least one"):
        FitSettings(lags_s=())


def test_empty_regions_constant_voxels_and_a_single_session_are_named_and_left_out() -> None:
    data = responses(signal=1.0)
    runs = []
    for run in data.runs:
        rows = run.responses.copy()
        rows[:, ::2] = 3.0
        runs.append(replace(run, responses=rows, session=0))
    odd = replace(data, runs=tuple(runs), region_names=(*data.region_names, "nowhere"))
    fit = fit_decoder(odd, embedding, replace(SETTINGS, n_regions=(0,)))
    assert (fit.decoder.voxels % 2 == 1).all()
    assert fit.notes == ("1 of 5 regions hold no voxel and are left out: nowhere",
                         "60 of 120 voxels never vary and are left out",
                         "all training runs are of one session: what changes from session to session was not tested")


def evidence(n_trials: int, seed: int, uneven: float = 0.0) -> NDArray[np.float64]:
    """What was heard, and out-of-fold predictions that see the first three dimensions, `GAIN` times, through noise.

    The noise of a trial is larger or smaller by a factor of its own, `uneven` the SD of its logarithm.
    """
    rng = np.random.default_rng(seed)
    heard = rng.normal(size=(n_trials, DIM)) * np.arange(DIM, 0, -1)
    size = NOISE * np.exp(uneven * rng.normal(size=(n_trials, 1)))
    seen = np.zeros_like(heard)
    seen[:, :3] = GAIN * heard[:, :3] + size * np.arange(DIM, DIM - 3, -1) * rng.normal(size=(n_trials, 3))
    return np.stack([heard, seen])


@dataclass(frozen=True, eq=False)
class Sure:
    """Of trials that reliability was not estimated on: how sure the posterior was, whether right; and what could be."""

    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    best: NDArray[np.bool_]
    tail: float


def sureness(seed: int, uneven: float = 0.0, n_clips: int = 20, n_known: int = 600, n_asked: int = 1200) -> Sure:
    """Reliability from `n_known` trials, and the posterior of others, rivals being the clips of the same run."""
    heard, seen = evidence(n_known + n_asked, seed, uneven)
    runs = [f"run-{k // n_clips}" for k in range(n_known)]
    known = estimate_reliability(seen[None, :n_known], heard[:n_known], [f"clip-{k}" for k in range(n_known)], runs,
                                 np.arange(n_known) // 100)
    sure, right, best = [], [], []
    for first in range(n_known, n_known + n_asked, n_clips):
        rows = np.arange(first, first + n_clips)
        for trial in rows:
            odds = known.log_odds(seen[trial].astype(np.float32), heard[rows].astype(np.float32), 1)
            share = np.exp(odds - odds.max())
            sure.append(share.max() / share.sum())
            right.append(rows[np.argmax(odds)] == trial)
            miss = (seen[trial, :3] - GAIN * heard[rows, :3]) / np.arange(DIM, DIM - 3, -1)
            best.append(rows[np.argmin(np.square(miss).sum(axis=1))] == trial)
    return Sure(np.array(sure), np.array(right), np.array(best), float(known.tail[0]))


def promised_too_much(sure: Sure) -> float:
    """Mean confidence less the share that was right. Of 1200 trials its standard error is .012; over 16 seeds its SD
    was .018, since gain and noise are estimated from 600 others.
    """
    return float(sure.confidence.mean() - sure.right.mean())


@pytest.mark.parametrize("uneven", [0.0, 0.4])
def test_the_posterior_from_estimated_reliability_is_as_sure_as_it_is_right(uneven: float) -> None:
    made = [sureness(seed, uneven) for seed in range(6)]
    # 1 in 20 by chance; through so much noise even who knows gain and noise is right only .27 of the time
    assert min(sure.best.mean() for sure in made) > 0.2
    assert np.mean([sure.right.mean() / sure.best.mean() for sure in made]) > 0.8  # gain and noise are fitted
    gaps = [promised_too_much(sure) for sure in made]
    assert np.mean(gaps) == pytest.approx(0.0, abs=0.04)
    assert max(np.abs(gaps)) < 0.08
    assert all((sure.tail > 0.0) == (uneven > 0.0) for sure in made)


def test_of_unequally_noisy_trials_gaussian_noise_would_promise_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = np.mean([promised_too_much(sureness(seed, uneven=0.8)) for seed in range(3)])
    monkeypatch.setattr(calibration, "_TAILS", (0.0,))
    gaussian = np.mean([promised_too_much(sureness(seed, uneven=0.8)) for seed in range(3)])
    assert abs(trusted) < 0.06
    assert gaussian < -0.12


def test_a_temperature_is_the_one_the_trials_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    for tail, scale in ((0.0, 0.7), (0.2, 1.6)):
        cases = []
        for _ in range(3000):
            distance = np.square(rng.normal(size=(12, 4))).sum(axis=1)
            weights = np.exp(heavy_tailed(scale * distance, tail))
            heard = rng.choice(12, p=weights / weights.sum())
            cases.append(np.concatenate([distance[[heard]], np.delete(distance, heard)]))
        assert fit_temper(cases, tail).scale == pytest.approx(scale, rel=0.1)
    misled = fit_temper([case.max() - case for case in cases])
    assert (misled.scale, misled.log_likelihood) == (0.0, pytest.approx(-3000 * np.log(12)))
    assert fit_temper([]).scale == 0.0
