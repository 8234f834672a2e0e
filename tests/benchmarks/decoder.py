"""The decoder against the paper's recipe, each choice by itself and all together, on simulated people.

Run it with: python -m tests.benchmarks decoder --json FILE [--seeds N]
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.compare import Comparison, Person, compare_decoders, surest_gain
from offline_training.fit_settings import BRAIN2MUSIC, FitSettings
from offline_training.simulation.session_responses import simulate_responses

RECIPES: dict[str, FitSettings] = {
    "paper": BRAIN2MUSIC,
    "paper, spread restored": replace(BRAIN2MUSIC, restore_spread=True),
    "paper, components": replace(BRAIN2MUSIC, targets="components"),
    "paper, regions joined": replace(BRAIN2MUSIC, regions="joint"),
    "all, one lag": replace(FitSettings(), lags_s=(4.5,)),
    "all": FitSettings(),
}
QUICK = ("paper", "all")


def people(seeds: range) -> Iterator[Person]:
    for seed in seeds:
        made = simulate_responses(seed=seed)
        yield Person(made.responses, made.music.embedding)


def figures(seeds: range, quick: bool = False, say: Any = print) -> dict[str, Any]:
    recipes = {name: RECIPES[name] for name in QUICK} if quick else RECIPES
    made = compare_decoders(people(seeds), recipes, say)
    rows = {name: _row(made, name) for name in recipes}
    gains = {figure: asdict(made.gain("all", "paper", figure)) for figure in ("averaged", "single")}
    confidence, right = made.pooled("all")
    return {
        "recipes": rows,
        "best_against_paper": {**gains, "value": gains["averaged"]["mean"], "seeds": list(seeds),
                               "held": min(gain["mean"] for gain in gains.values()) >= 0.02
                               and min(gain["low"] for gain in gains.values()) > 0},
        "calibration_ece": {"value": expected_error(confidence, right), "n": len(right), "seeds": list(seeds),
                            "held": expected_error(confidence, right) <= 0.05},
        "surest_40_gain": {"value": surest_gain(confidence, right), "n": len(right), "seeds": list(seeds),
                           "top1": float(right.mean()), "held": surest_gain(confidence, right) >= 1.5},
    }


def expected_error(confidence: Any, right: Any, n_bins: int = 10) -> float:
    """Expected calibration error over bins of equal mass."""
    parts = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    return float(sum(len(rows) * abs(confidence[rows].mean() - right[rows].mean()) for rows in parts) / len(right))


def _row(made: Comparison, name: str) -> dict[str, Any]:
    scores, (confidence, right) = made.scores[name], made.pooled(name)
    row: dict[str, Any] = {figure: float(np.mean([getattr(one, figure) for one in scores]))
                           for figure in ("averaged", "single", "by_likelihood")}
    if name != "paper":
        row["gain"] = {figure: asdict(made.gain(name, "paper", figure)) for figure in ("averaged", "single")}
    return {**row, "top1": float(right.mean()), "ece": expected_error(confidence, right),
            "surest_40_gain": surest_gain(confidence, right)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="decoder", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args(arguments)
    report = figures(range(chosen.seeds), chosen.quick)
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n")
    return 0 if all(report[key]["held"] for key in ("best_against_paper", "calibration_ece", "surest_40_gain")) else 1
