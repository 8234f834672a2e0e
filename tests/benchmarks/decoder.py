"""The decoder against the paper's recipe, each choice by itself and all together, on the calibrated people.

Part of `innerear bench science`; alone with `--only decoder`. Both are fitted to the same features of the same person,
as the live scaler makes them, and again as the paper filters them. The baseline is the recipe by which people were
calibrated.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.compare import (
    EARLY_VOLUMES,
    Comparison,
    HeldOut,
    Person,
    compare_decoders,
    decode_held_out,
    pooled,
    surest_gain,
)
from offline_training.fit import fit_decoder
from offline_training.fit_settings import BRAIN2MUSIC, FitSettings
from offline_training.simulation.session_responses import (
    SimulatedResponses,
    simulate_published_responses,
    simulate_responses,
)
from realtime.scoring import identification_accuracy, permutation_band
from tests.benchmarks.science_simulated import DEAF

Tell = Callable[[str], None]
Floats = NDArray[np.float64]

RECIPES: dict[str, FitSettings] = {
    "paper": BRAIN2MUSIC,
    "paper, spread restored": replace(BRAIN2MUSIC, restore_spread=True),
    "paper, components": replace(BRAIN2MUSIC, targets="components"),
    "paper, regions joined": replace(BRAIN2MUSIC, regions="joint"),
    "all, one lag": replace(FitSettings(), lags_s=(4.5,)),
    "all": FitSettings(),
}
QUICK = ("paper", "all")
SOURCES: dict[str, Callable[..., SimulatedResponses]] = {"causal": simulate_responses,
                                                         "published": simulate_published_responses}
FIGURES = ("averaged", "single")


def bars(n_people: int, quick: bool, tell: Tell) -> dict[str, Any]:
    """The bars of the decoder: gain over the paper's recipe, calibration, what sureness is worth."""
    recipes = {name: RECIPES[name] for name in QUICK} if quick else RECIPES
    seeds = list(range(n_people))
    compared = {source: _compared(source, seeds, recipes, tell) for source in SOURCES}
    made = compared["causal"]
    whole, early = made.scores["all"], made.early["all"]
    return {
        "best_against_paper": _against_paper(compared, seeds, recipes),
        "calibration_ece": {**_over_people(expected_error, whole, seeds), "if_calibrated": _if_calibrated(whole),
                            "early": expected_error(*pooled(early)), "bar": "at most 0.05",
                            "met": expected_error(*pooled(whole)) <= 0.05},
        "surest_40_gain": {**_surest(whole, seeds), "bar": "at least 1.5"},
        "surest_40_gain_early": {**_surest(early, seeds), "bar": f"at least 1.5, after {EARLY_VOLUMES} volumes"},
    }


def _surest(people: Sequence[HeldOut], seeds: Sequence[int]) -> dict[str, Any]:
    """What the surest 40 % gain, beside the most that any order of these trials could."""
    found, right = _over_people(surest_gain, people, seeds), pooled(people)[1]
    return {**found, "most_possible": 1 / max(float(right.mean()), 0.4), "met": found["value"] >= 1.5}


def _over_people(figure: Callable[[Floats, NDArray[np.bool_]], float], people: Sequence[HeldOut],
                 seeds: Sequence[int]) -> dict[str, Any]:
    """A figure of all people's trials together, with a 95 % bootstrap over people."""
    rng, right = np.random.default_rng(0), pooled(people)[1]
    drawn = [figure(*pooled([people[k] for k in rng.integers(len(people), size=len(people))])) for _ in range(1000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": figure(*pooled(people)), "low": float(low), "high": float(high), "seeds": list(seeds),
            "n": len(right), "top1": float(right.mean())}


def _if_calibrated(people: Sequence[HeldOut]) -> dict[str, float]:
    """Calibration error that chance alone would give a posterior that is as sure as it is right."""
    confidence, rng = pooled(people)[0], np.random.default_rng(0)
    drawn = [expected_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(1000)]
    return {"mean": float(np.mean(drawn)), "p95": float(np.quantile(drawn, 0.95))}


def pure_noise(n_runs: int, tell: Tell) -> dict[str, Any]:
    """How often the decoder of somebody who hears nothing stays inside the 99 % band."""
    inside, scores = [], []
    for seed in range(n_runs):
        if seed % 10 == 0:
            tell(f"pure noise through the decoder, {seed} of {n_runs}")
        made = simulate_responses(DEAF, seed)
        decoded = decode_held_out(fit_decoder(made.responses, made.music.embedding), made.responses)
        targets = np.stack([made.music.embedding(clip) for clip in decoded.clip_ids])
        band = permutation_band(decoded.predictions, targets, decoded.clip_ids, decoded.run_ids, n_permutations=1000)
        scores.append(identification_accuracy(decoded.predictions, targets, decoded.clip_ids).mean)
        inside.append(scores[-1] <= band.p99)
    return {"value": int(sum(inside)), "of": n_runs, "mean_identification": float(np.mean(scores)),
            "sd_identification": float(np.std(scores)), "seeds": list(range(n_runs)), "n": 240,
            "bar": "at least 95 of 100 inside", "met": sum(inside) >= 0.95 * n_runs,
            "scaled_down": "150 voxels of a head at 6×6×7 mm"}


def expected_error(confidence: Floats, right: NDArray[np.bool_], n_bins: int = 10) -> float:
    """Expected calibration error over bins of equal mass."""
    parts = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    return float(sum(len(rows) * abs(confidence[rows].mean() - right[rows].mean()) for rows in parts) / len(right))


def _compared(source: str, seeds: Sequence[int], recipes: dict[str, FitSettings], tell: Tell) -> Comparison:
    """Every recipe on every person."""
    def person(seed: int) -> Person:
        made = SOURCES[source](seed=seed)
        return Person(made.responses, made.music.embedding)

    return compare_decoders(map(person, seeds), recipes, lambda text: tell(f"{source}: {text}"))


def _against_paper(compared: dict[str, Comparison], seeds: list[int],
                   recipes: dict[str, FitSettings]) -> dict[str, Any]:
    tables, met = {}, True
    for source, made in compared.items():
        gains = [made.gain("all", "paper", figure) for figure in FIGURES]
        met &= min(gain.mean for gain in gains) >= 0.02 and min(gain.low for gain in gains) > 0
        tables[source] = {name: _row(made, name) for name in recipes}
    gain = compared["causal"].gain("all", "paper", "averaged")
    return {"value": gain.mean, "low": gain.low, "high": gain.high, "seeds": seeds, "n": gain.n, "data": tables,
            "bar": "+ ≥ 0.02, 95 % above 0, averaged and single, on either features", "met": met}


def _row(made: Comparison, name: str) -> dict[str, Any]:
    scores, (confidence, right) = made.scores[name], pooled(made.scores[name])
    row: dict[str, Any] = {figure: float(np.mean([getattr(one, figure) for one in scores]))
                           for figure in (*FIGURES, "by_likelihood")}
    if name != "paper":
        row["gain"] = {figure: asdict(made.gain(name, "paper", figure)) for figure in FIGURES}
    return {**row, "top1": float(right.mean()), "ece": expected_error(confidence, right),
            "surest_40_gain": surest_gain(confidence, right)}
