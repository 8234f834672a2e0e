"""The calibration of the simulated person as one HTML page: a picture, and a table of every row."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes

from offline_training.report_figures import ACCENT, INK, WARN, as_svg, blank_figure
from realtime.atomic import write_bytes

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Calibration of the simulated person</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
img { width: 100%; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #e4e7ee; }
th.n, td.n { text-align: right; } p { max-width: 46rem; }
</style></head><body>
<h1>Calibration of the simulated person</h1>
<p>{{ n_people }} simulated people (seeds {{ seeds }}), {{ n_training }} training and {{ n_test }} test trials each,
music as vectors in an overlapping space of 128 dimensions, decoded by Brain2Music's recipe (six regions averaged, lag
of three volumes, mean of ten). “Known” are figures of real people, or of a prototype of the same simulation where
nothing is published. Nobody was measured for the simulated column.</p>
<img alt="Known and simulated figures over lag, volumes, and strength of the signal" src="{{ picture }}">
<table><thead><tr><th>figure</th><th>known from</th><th class="n">known</th><th class="n">simulated</th>
<th class="n">SD over people</th><th class="n">difference</th></tr></thead><tbody>
{% for row in rows %}<tr><td>{{ row.what }}</td><td>{{ row.source }}</td>
<td class="n">{{ "%.3f"|format(row.known) }}</td><td class="n">{{ "%.3f"|format(row.mean) }}</td>
<td class="n">{{ "–" if row.sd is none else "%.3f"|format(row.sd) }}</td>
<td class="n">{{ "%+.3f"|format(row.mean - row.known) }}</td></tr>
{% endfor %}</tbody></table></body></html>
"""


def write_calibration_page(report: dict[str, Any], path: Path) -> None:
    """Write the report of `calibrate` as a page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = environment.from_string(_PAGE).render(
        picture=_picture(report["rows"]), rows=report["rows"], n_people=len(report["seeds"]),
        seeds=", ".join(map(str, report["seeds"])), n_training=report["n_training_trials"],
        n_test=report["n_test_trials"])
    write_bytes(path, text.encode())


def _picture(rows: list[dict[str, Any]]) -> str:
    figure = blank_figure(6.4)
    figure.set_layout_engine("constrained", h_pad=0.14)  # else a title sits on the axis above it
    panels = figure.subplots(2, 2).ravel()
    _curve(panels[0], rows, "id4_lag_", "lag in volumes", "4 repeats averaged")
    _curve(panels[1], rows, "id1_volume_", "volume after onset, alone", "single trial")
    _curve(panels[2], rows, "id4_volume_", "volume after onset, own decoder", "4 repeats averaged")
    _curve(panels[3], rows, "id1_gain_", "strength of the test signal", "single trial")
    return as_svg(figure)


def _curve(axes: Axes, rows: list[dict[str, Any]], prefix: str, label: str, title: str) -> None:
    chosen = [row for row in rows if row["key"].startswith(prefix)]
    at = [float(row["key"].removeprefix(prefix)) for row in chosen]
    mean = np.array([row["mean"] for row in chosen])
    spread = np.array([row["sd"] or 0.0 for row in chosen])
    axes.fill_between(at, mean - spread, mean + spread, color=ACCENT, alpha=0.2, linewidth=0)
    axes.plot(at, mean, "-o", color=ACCENT, markersize=4, label="simulated, ± SD over people")
    axes.plot(at, [row["known"] for row in chosen], "--s", color=WARN, markersize=4,
              label=f"known ({chosen[0]['source']})")
    axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    axes.set_ylim(0.4, 0.95)
    axes.set_xlabel(label)
    axes.set_title(f"identification, {title}", fontsize=10)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right" if "gain" not in prefix else "upper left")
