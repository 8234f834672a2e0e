"""Bars of decoding that need response arrays of simulated people only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from offline_training.evaluation.leakage import fold_checks
from offline_training.person_calibration import fit_published, main_figures, rows_of, targets_of
from offline_training.ridge import fit_kernel_ridge
from offline_training.simulation.array_scaling import filtered_as_published
from offline_training.simulation.session_responses import (
    DS003720,
    ResponseSettings,
    SimulatedResponses,
    simulate_responses,
    simulate_samples,
)
from offline_training.simulation.settings import ScannerSettings, SubjectSettings
from offline_training.splits import deal_folds
from realtime.scoring import identification_accuracy, permutation_band

Tell = Callable[[str], None]
PAPER_ID, PAPER_R = 0.876, 0.307
_T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
SMALL_HEAD = ScannerSettings(shape=(32, 32, 18), voxel_mm=(6.0, 6.0, 7.0), tr_s=1.5, multiband=3)
DEAF = ResponseSettings(replace(DS003720, scanner=SMALL_HEAD, subject=SubjectSettings(
    stimulus_fraction=0.0, n_auditory=150)))
"""Somebody who hears nothing, in the whole experiment, seen by 150 voxels in six regions."""


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean and its 95 % interval (Student's t) over people."""
    mean, n = float(np.mean(values)), len(values)
    half = _T95.get(n, 2.0) * float(np.std(values, ddof=1)) / np.sqrt(n) if n > 1 else float("nan")
    return {"value": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def paper_recipe(n_people: int, tell: Tell) -> dict[str, Any]:
    """The published recipe on the calibrated person, filtered as published; and the same of r."""
    settings, people = ResponseSettings(), []
    for seed in range(n_people):
        tell(f"the published recipe, person {seed + 1} of {n_people}")
        sampled = simulate_samples(settings, seed)
        responses = filtered_as_published(sampled.runs, sampled.parcels.regions, sampled.parcels.names, 1.5)
        people.append(main_figures(responses, sampled.person.music)[1])
    identification = over_seeds([person["id4"] for person in people])
    correlation = over_seeds([person["r_test"] for person in people])
    single = over_seeds([person["id1"] for person in people])
    met = abs(identification["value"] - PAPER_ID) <= 0.02 and abs(correlation["value"] - PAPER_R) <= 0.05
    return {**identification, "r_test": correlation, "single_trial": single, "seeds": list(range(n_people)), "n": 60,
            "bar": "0.876 ± 0.02, r 0.307 ± 0.05", "met": met}


def pure_noise(n_runs: int, tell: Tell) -> dict[str, Any]:
    """How often somebody who hears nothing stays inside the 99 % band: simulation, scaler, ridge, permutations."""
    inside, scores = [], []
    for seed in range(n_runs):
        if seed % 10 == 0:
            tell(f"pure noise, {seed} of {n_runs}")
        score, p99 = _single_trial(simulate_responses(DEAF, seed))
        inside.append(score <= p99)
        scores.append(score)
    return {"value": int(sum(inside)), "of": n_runs, "mean_identification": float(np.mean(scores)),
            "sd_identification": float(np.std(scores)), "seeds": list(range(n_runs)), "n": 240,
            "bar": "at least 95 of 100 inside", "met": sum(inside) >= 0.95 * n_runs,
            "scaled_down": "150 voxels of a head at 6×6×7 mm"}


def planted_split(tell: Tell) -> dict[str, Any]:
    """Volumes dealt into folds by lot score high on pure noise; the check has to name that split, and no honest one."""
    tell("a split of volumes by lot, planted on purpose")
    made = simulate_responses(DEAF, 0)
    rows, targets, runs, clips = _volumes(made)
    rng = np.random.default_rng(0)
    by_lot = rng.integers(5, size=len(rows))
    honest = deal_folds(runs, clips, 5)
    scores = {}
    for name, fold in (("by_lot", by_lot), ("whole_runs", honest)):
        predicted = fit_kernel_ridge(rows, targets, fold, (1e1, 1e2, 1e3, 1e4)).predictions
        band = permutation_band(predicted, targets, clips, runs, n_permutations=1000)
        named = [check.what for check in fold_checks(fold, runs, clips) if not check.holds]
        scores[name] = {"identification": identification_accuracy(predicted, targets, clips).mean, "p99": band.p99,
                        "named": named}
    met = (scores["by_lot"]["identification"] > scores["by_lot"]["p99"] and bool(scores["by_lot"]["named"])
           and scores["whole_runs"]["identification"] <= scores["whole_runs"]["p99"]
           and not scores["whole_runs"]["named"])
    return {"value": scores["by_lot"]["identification"], "splits": scores, "seeds": [0], "n": len(rows),
            "bar": "a split of volumes by lot is named, one by runs is not", "met": met}


def _single_trial(made: SimulatedResponses) -> tuple[float, float]:
    """Identification accuracy of the test trials and the 99 % point of exchanging the clips of each run."""
    decoder, test = fit_published(made.responses, made.music), rows_of(made.responses.test, made.responses.tr_s)
    predicted, targets, clips = decoder.predict(test.features), targets_of(test, made.music), test.heard.clip_ids
    band = permutation_band(predicted, targets, clips, test.heard.run_ids, n_permutations=1000)
    return identification_accuracy(predicted, targets, clips).mean, band.p99


def _volumes(made: SimulatedResponses) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Every usable volume of the first six training runs as a row, with the clip that was heard then."""
    rows, clips, runs = [], [], []
    for run in made.responses.training[:6]:
        heard = [event.clip_id for event in run.events for _ in range(10)]
        heard[:10] = [""] * 10  # the dummy
        for volume in np.flatnonzero(run.usable):
            if heard[volume]:
                rows.append(run.responses[volume])
                clips.append(heard[volume])
                runs.append(run.run_id)
    targets = np.stack([made.music.embedding(clip) for clip in clips])
    return np.stack(rows), targets, runs, clips
