"""The page of many people: every measure over them, what controls leave, and two groups compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from offline_training.evaluation_page.drawing import ACCENT, FAINT, INK, WARN, as_svg, blank_figure
from offline_training.evaluation_page.page import render
from offline_training.evaluation_page.part import Figures, Part, Table, number, spread
from offline_training.group_figures import CARDS, MEASURES
from offline_training.report_figures import style
from realtime.atomic import write_bytes


def write_group_page(figures: Figures, target: Path) -> None:
    """Write the page of `offline_training.group_figures`, atomically."""
    with matplotlib.rc_context(style()):
        parts = [part for section in (_measures, _controls, _groups) if (part := section(figures)) is not None]
        first = figures["measures"]["single_trials.identification"]
        page = render(title=f"{len(figures['subjects'])} people", parts=parts, tiles=_tiles(figures),
                      subtitle=f"{figures['n_evaluations']} evaluations in {figures['space']['name']}",
                      verdict=verdict(figures), facts=[
                          ("people", ", ".join(figures["subjects"])),
                          ("embedding", f"{figures['space']['name']}, {figures['space']['dim']} dimensions, sha256 "
                                        f"{figures['space']['sha256']}"),
                          ("drawn", f"people, seed {figures['seed']}; n = {first['n']}")])
    write_bytes(target, page.encode())


def verdict(figures: Figures) -> str:
    """The main figure in a sentence."""
    one = figures["measures"]["single_trials.identification"]
    return (f"Identification of single trials over {one['n']} people: mean {number(one['value'])}, SD "
            f"{number(one['sd'])}, 95 % {number(one['low'])} to {number(one['high'])} (chance {number(one['chance'])}; "
            f"sign-flip p = {number(one['p_value'])}, two-sided, Cohen's d {number(one['cohens_d'], '.2f')}).")


def _tiles(figures: Figures) -> list[tuple[str, str]]:
    measures = figures["measures"]
    shown = [("single_trials.identification", "identification, single trials, mean over people"),
             ("clips_averaged.identification", "identification, hearings averaged"),
             ("single_trials.within_genre", "within genre, single trials"),
             ("single_trials.top1", "top-1, single trials")]
    return [(number(measures[name]["value"], ".2f"), label) for name, label in shown if name in measures]


def _measures(figures: Figures) -> Part:
    names = [name for name in figures["measures"] if not name.endswith("median_rank")]
    figure = blank_figure(1.0 + 0.36 * max(sum(name.startswith(card) for name in names) for card in CARDS))
    for axes, (card, title) in zip(figure.subplots(1, 2), CARDS.items(), strict=True):
        own = [name for name in names if name.startswith(card)]
        _forest(axes, [MEASURES[name.split(".")[1]] for name in own], [figures["measures"][name] for name in own])
        axes.set(xlim=(0, 1.12), xlabel="share right", title=title)
        if card != next(iter(CARDS)):
            axes.tick_params(labelleft=False)
    rows = tuple((_label(name), spread(one), number(one["sd"]), number(one["chance"]), number(one["p_value"]),
                  number(one["cohens_d"], ".2f"), str(one["n"])) for name, one in figures["measures"].items())
    text = ("A dot is the mean over people, its line the 95 % bootstrap interval over people, a small mark each "
            "person, a short upright line chance. p is of a two-sided sign-flip test of people's figures less chance, "
            "exact up to 12 people, of whom the smallest possible p is 2 / 2ⁿ; it is not corrected for the number of "
            "measures. Cohen's d: mean less chance over the SD.")
    return Part("Over people", text, ((as_svg(figure), "Every measure over people"),),
                Table(("measure", "mean [95 %]", "SD", "chance", "p", "d", "people"), rows))


def _controls(figures: Figures) -> Part | None:
    found: Mapping[str, Any] = figures["controls"]
    if not found:
        return None
    figure = blank_figure(0.85 + 0.36 * len(found))
    axes = figure.subplots()
    _forest(axes, list(found), list(found.values()))
    axes.set(xlabel="identification with hearings averaged, decoder less control")
    rows = tuple((name, spread(one), number(one["sd"]), number(one["p_value"]), number(one["cohens_d"], ".2f"),
                  str(one["n"])) for name, one in found.items())
    text = ("Paired within each person: what the decoder reaches beyond a decoder that has no music in its data. A "
            "difference below zero says that the control alone would do better.")
    return Part("Beyond the controls", text, ((as_svg(figure), "Decoder less control, paired over people"),),
                Table(("control", "difference [95 %]", "SD", "p", "d", "people"), rows))


def _groups(figures: Figures) -> Part | None:
    found = figures.get("groups")
    if not found:
        return None
    one, other = found["first"], found["second"]
    shown = {name: each for name, each in found["differences"].items()
             if each["difference"] is not None and not name.endswith("median_rank")}
    figure = blank_figure(1.0 + 0.36 * len(shown))
    axes = figure.subplots()
    places = np.arange(len(shown))[::-1]
    for place, name in zip(places, shown, strict=True):
        for group, colour, shift, marker in ((one, ACCENT, 0.16, "o"), (other, WARN, -0.16, "s")):
            values = _of(figures, name, found["members"][group])
            axes.plot(values, np.full(len(values), place + shift), marker, color=colour, markersize=4, alpha=0.45)
            axes.plot(np.mean(values), place + shift, marker, color=colour, markersize=8,
                      label=group if place == places[0] else None)
    axes.set_yticks(places, [_label(name) for name in shown])
    axes.set(xlabel="share right", ylim=(-0.6, len(shown) - 0.4), xlim=(0, 1.02))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    axes.grid(axis="x", color="#eef0f4", zorder=-1)
    rows = tuple((_label(name), spread(each | {"value": each["difference"]}), number(each["p_value"]),
                  number(each["hedges_g"], ".2f"), f"{each[f'n_{one}']} and {each[f'n_{other}']}")
                 for name, each in found["differences"].items())
    text = (f"{one} less {other}: difference of means with its 95 % bootstrap over people, p of exchanging people "
            "between the groups (two-sided, not corrected for the number of measures), and Hedges' g. Large marks are "
            "means.")
    return Part(f"{one} against {other}", text, ((as_svg(figure), f"{one} and {other}, person by person"),),
                Table(("measure", "difference [95 %]", "p", "g", "people"), rows))


def _of(figures: Figures, name: str, members: Sequence[str]) -> list[float]:
    people = dict(zip(figures["subjects"], figures["measures"][name]["people"], strict=True))
    return [people[subject] for subject in members if people[subject] is not None]


def _label(name: str) -> str:
    card, measure = name.split(".")
    return f"{MEASURES[measure]}, {CARDS[card]}"


def _forest(axes: Any, names: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> None:
    """Means with intervals over each person's mark, the first on top."""
    places = np.arange(len(names))[::-1]
    for place, one in zip(places, samples, strict=True):
        people = [each for each in one["people"] if each is not None]
        axes.plot(people, np.full(len(people), place - 0.2), "|", color=FAINT, markersize=7, zorder=1)
        axes.plot([one["chance"]] * 2, [place - 0.31, place + 0.31], color=FAINT, linewidth=1.4, zorder=1)
        if one["low"] is not None:
            axes.plot([one["low"], one["high"]], [place + 0.06] * 2, color=ACCENT, linewidth=2, zorder=2)
        axes.plot(one["value"], place + 0.06, "o", color=ACCENT, markersize=7, zorder=3)
        axes.annotate(f"{one['value']:.2f}", (max(*people, one["value"]), place), xytext=(9, 0), va="center",
                      fontsize=9.5, textcoords="offset points", color=INK)
    axes.set_yticks(places, list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eef0f4", zorder=-1)
