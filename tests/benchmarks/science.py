"""The decoder's bars on simulated people and a real brain: one key per bar, with value, interval, seeds and n.

Run with `innerear bench science --json FILE`. Whoever is simulated was calibrated by published figures
(`innerear calibration`), never measured.
"""

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from tests import haxby
from tests.benchmarks import decoder, free_run
from tests.benchmarks.science_live import QUICK, WHOLE, live_path
from tests.benchmarks.science_simulated import paper_recipe, planted_split, pure_noise

Tell = Callable[[str], None]
Bar = dict[str, Any]


def _bars(quick: bool, tell: Tell) -> dict[str, Callable[[], dict[str, Bar]]]:
    return {
        "paper_recipe": lambda: {"paper_recipe": paper_recipe(2 if quick else 8, tell)},
        "pure_noise": lambda: {"pure_noise": pure_noise(10 if quick else 100, tell)},
        "decoder": lambda: decoder.bars(2 if quick else 8, quick, tell),
        "decoder_pure_noise": lambda: {"decoder_pure_noise": decoder.pure_noise(10 if quick else 100, tell)},
        "free_run": lambda: free_run.bars(2 if quick else 10, tell),
        "planted_split": lambda: {"planted_split": planted_split(tell)},
        "haxby": lambda: {"haxby": _haxby(tell)},
        "live": lambda: live_path(QUICK if quick else WHOLE, tell),
    }


def _haxby(tell: Tell) -> Bar:
    if not haxby.available():
        return {"value": None, "bar": "above the p99 of its band", "met": None,
                "reason": "the recorded data are not beside this folder (shared/data)"}
    tell("a real brain: Haxby's categories")
    figures = haxby.figures()
    return {**figures, "seeds": [figures["seed"]], "bar": "above the p99 of its band", "met": figures["held"]}


def measure(quick: bool, only: str, tell: Tell) -> dict[str, Any]:
    """The report, ready for JSON; `only` names one measurement, "" for all."""
    began_s, report = time.monotonic(), {}
    for name, bar in _bars(quick, tell).items():
        if only in ("", name):
            report |= bar()
    return {"benchmark": "science", "quick": quick, "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.machine(), "cores": os.cpu_count(), "load_after": os.getloadavg()[0],
            "seconds": round(time.monotonic() - began_s, 1), "bars": report}


def measurements() -> tuple[str, ...]:
    """Names that `only` may have."""
    return tuple(_bars(True, lambda _text: None))


def show(report: dict[str, Any]) -> None:
    """Print the report as a table."""
    table = Table(title=f"science{', quick: shows that it runs, no more' if report['quick'] else ''} "
                        f"({report['seconds']:.0f} s)")
    for heading in ("bar", "wanted", "value", "95 %", "n", "met"):
        table.add_column(heading)
    for name, bar in report["bars"].items():
        value = bar["value"]
        interval = f"{bar['low']:.3f} to {bar['high']:.3f}" if "low" in bar else ""
        table.add_row(name, bar["bar"], "–" if value is None else f"{value:.3f}" if isinstance(value, float)
                      else f"{value} of {bar['of']}", interval, str(bar.get("n", "")), str(bar["met"]))
    Console().print(table)
