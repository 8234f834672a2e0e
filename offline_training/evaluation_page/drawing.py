"""Pictures of estimates: dots with intervals, grey where shuffled clips lie, dark where chance is.

Colours are Paul Tol's; marks differ in shape as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from offline_training.report_figures import ACCENT, FAINT, INK, WARN, as_svg, blank_figure

BAND = "#dfe3ea"
SOFT = "#5b6475"


def values(estimates: Sequence[Mapping[str, Any]], key: str = "value") -> np.ndarray[Any, np.dtype[np.float64]]:
    """One key of each, NaN where there is none."""
    return np.array([np.nan if one.get(key) is None else one[key] for one in estimates], np.float64)


def band(estimate: Mapping[str, Any]) -> tuple[float, float]:
    """Where nine in ten shuffles lie."""
    null = estimate.get("null") or {}
    low, high = null.get("p05"), null.get("p95")
    return (np.nan if low is None else low), (np.nan if high is None else high)


def forest(axes: Axes, names: Sequence[str], estimates: Sequence[Mapping[str, Any]],
           colours: Sequence[str] | None = None, form: str = ".2f") -> None:
    """Estimates below each other, the first on top, each over its own band of chance."""
    places = np.arange(len(names))[::-1]
    found, colours = values(estimates), colours or [ACCENT] * len(names)
    for place, one, value, colour in zip(places, estimates, found, colours, strict=True):
        low, high = band(one)
        axes.barh(place, high - low, left=low, height=0.62, color=BAND, zorder=0)
        chance = one.get("chance")
        if chance is not None:
            axes.plot([chance, chance], [place - 0.31, place + 0.31], color=FAINT, linewidth=1.4, zorder=1)
        if np.isfinite(value):
            axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=2, zorder=2)
            axes.plot(value, place, "o", color=colour, markersize=7, zorder=3)
            axes.annotate(f"{value:{form}}", (max(value, one["high"]), place), xytext=(7, 0), va="center", fontsize=9.5,
                          textcoords="offset points", color=INK)
    axes.set_yticks(places, list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eef0f4", zorder=-1)


def forest_picture(names: Sequence[str], estimates: Sequence[Mapping[str, Any]], label: str,
                   limits: tuple[float, float], form: str = ".2f", colours: Sequence[str] | None = None) -> str:
    """`forest` alone, as an image address."""
    figure = blank_figure(0.75 + 0.33 * len(names))
    axes = figure.subplots()
    forest(axes, names, estimates, colours, form)
    axes.set(xlim=limits, xlabel=label)
    return as_svg(figure)


def course(axes: Axes, x: Sequence[float], estimates: Sequence[Mapping[str, Any]], label: str, colour: str,
           marker: str, with_band: bool = True) -> None:
    """Estimates along x with their intervals, over the band of chance."""
    at, found = np.asarray(x, np.float64), values(estimates)
    if with_band:
        bands = np.array([band(one) for one in estimates])
        axes.fill_between(at, bands[:, 0], bands[:, 1], color=BAND, linewidth=0, zorder=0)
    axes.fill_between(at, values(estimates, "low"), values(estimates, "high"), color=colour, alpha=0.18, linewidth=0)
    axes.plot(at, found, marker=marker, color=colour, linewidth=1.8, markersize=5.5, label=label, zorder=3)


__all__ = ["ACCENT", "BAND", "FAINT", "INK", "SOFT", "WARN", "as_svg", "band", "blank_figure", "course", "forest",
           "forest_picture", "values"]
