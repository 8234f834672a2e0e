"""Sections: how decoding grows with volumes and with repeats, and whether it is as sure as it is right."""

import math
from typing import Any

import numpy as np

from offline_training.evaluation_page.drawing import FAINT, as_svg, blank_figure, course
from offline_training.evaluation_page.part import Figures, Part, number, spread
from offline_training.report_figures import ACCENT, WARN


def over_time(figures: Figures) -> Part | None:
    """Identification at every volume after the onset."""
    found = figures["time_course"]
    figure = blank_figure(3.2)
    axes = figure.subplots()
    single = [one for one in found["single_volume"] if one["value"] is not None]
    cumulative = [one for one in found["cumulative"] if one["value"] is not None]
    if not single:
        return None
    course(axes, [one["seconds"] for one in single], single, "each volume alone", WARN, "s")
    if cumulative:
        course(axes, [one["seconds"] for one in cumulative], cumulative, "all volumes so far", ACCENT, "o", False)
    axes.axhline(0.5, color=FAINT, linewidth=1)
    axes.set(xlabel="seconds after the clip's onset at which the volume is complete", ylabel="identification",
             ylim=(min(0.3, axes.get_ylim()[0]), 1.0))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    about = figures["about"]
    text = (f"Single trials; evidence is counted from volume {about['lag_volumes']} after the onset on. The first "
            "volumes still answer to the clip before. Where clips follow each other without a pause and neighbours "
            "are never of one genre, they lie below chance for that reason. Grey: shuffled clips; shaded: intervals.")
    return Part("Over the trial", text, ((as_svg(figure), "Identification over time after the onset"),))


def repeats(figures: Figures) -> Part | None:
    """Identification from the mean of k hearings."""
    found = figures["repeats"]
    if len(found["curve"]) < 2:
        return None
    figure = blank_figure(3.0)
    axes = figure.subplots()
    course(axes, [one["repeats"] for one in found["curve"]], found["curve"], "decoded, mean of k hearings", ACCENT, "o")
    if found["between_halves"] is not None:
        axes.axhline(found["between_halves"], color=WARN, linestyle="--", linewidth=1.4,
                     label="one half of the hearings found by the other")
    axes.axhline(0.5, color=FAINT, linewidth=1)
    axes.set(xlabel="hearings averaged", ylabel="identification", xticks=[one["repeats"] for one in found["curve"]],
             ylim=(min(0.4, axes.get_ylim()[0]), 1.0))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    text = (f"Averaged over all choices of k of {found['n_repeats']} hearings. Reliability of the decoded dimensions "
            f"(split halves, Spearman-Brown): median {number(found['embedding_reliability'], '.2f')}; their "
            f"correlation with the clips' own {number(found['embedding_r'], '.2f')}, which is "
            f"{number(found['embedding_r_of_ceiling'], '.2f')} of what that reliability allows.")
    return Part("With repeats", text, ((as_svg(figure), "Identification against the number of hearings averaged"),))


def sureness(figures: Figures) -> Part | None:
    """Reliability curves and accuracy against coverage."""
    found = figures.get("sureness")
    if not found:
        return None
    figure = blank_figure(3.4)
    left, right = figure.subplots(1, 2)
    for what, colour, marker in (("clip", ACCENT, "o"), ("genre", WARN, "s")):
        _reliability(left, found[what]["calibration"], what, colour, marker)
        cover = found[what]["coverage"]
        right.plot(cover["coverage"], cover["accuracy"], marker=marker, color=colour, markersize=4, label=what)
    sure = [one["confidence"] for what in ("clip", "genre") for one in found[what]["calibration"]["bins"]]
    right_of = [one["accuracy"] for what in ("clip", "genre") for one in found[what]["calibration"]["bins"]]
    left.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    left.set(xlim=(0, min(1.0, 1.15 * max(sure))), ylim=(-0.02, min(1.02, 1.25 * max(*right_of, *sure))))
    left.set(xlabel="said to be probable", ylabel="was heard", title="Reliability")
    right.set(xlim=(0, 1.02), ylim=(0, None), xlabel="share of trials kept, the surest first",
              ylabel="best candidate is right", title="Accuracy and coverage")
    right.legend(frameon=False)
    lines = tuple(_sentence(what, found[what]) for what in ("clip", "genre"))
    text = (f"The posterior over the {figures['about']['n_catalogue']} clips of the catalogue, and over its genres, "
            "when a trial's last volume was in. Tenths of the trials by confidence; a bar holds two standard errors.")
    return Part("As sure as it is right?", text, ((as_svg(figure), "Reliability curves, and accuracy over coverage"),),
                lines=lines)


def _reliability(axes: Any, found: dict[str, Any], what: str, colour: str, marker: str) -> None:
    bins = found["bins"]
    said, right, n = (np.array([one[key] for one in bins], np.float64) for key in ("confidence", "accuracy", "n"))
    axes.errorbar(said, right, yerr=2 * np.sqrt(right * (1 - right) / n), fmt=marker, color=colour, markersize=5,
                  elinewidth=1, ecolor="#c9c2e0" if what == "clip" else "#ecc4ca", label=what)


def _sentence(what: str, found: dict[str, Any]) -> str:
    one, cover = found["calibration"], found["coverage"]
    return (f"{what}: expected calibration error {one['ece']:.3f} (a perfectly calibrated decoder would show "
            f"{one['ece_if_calibrated']:.3f} with {one['n_trials']} trials, 95 % of them at most "
            f"{one['ece_if_calibrated_p95']:.3f}); Brier score {one['brier']:.3f}, {one['brier_uniform']:.3f} when "
            f"everything is equally probable; the surest 40 % are right {number(cover['gain_at_40'], '.2f')} times as "
            f"often as all; [decoding] least_confidence = {_least(cover, 0.4):.2f} with sure_of = \"{what}\" keeps "
            "them.")


def _least(cover: dict[str, Any], share: float) -> float:
    """The threshold that keeps this share of the trials, rounded down so that it does."""
    nearest = min(range(len(cover["coverage"])), key=lambda k: abs(cover["coverage"][k] - share))
    return math.floor(100 * float(cover["smallest_confidence"][nearest])) / 100


def live(figures: Figures) -> Part | None:
    """Offline against live."""
    found = figures.get("live")
    if not found:
        return None
    text = (f"Run {found['run_id']} was decoded live, and again offline from its images. "
            f"{found['n_vectors']} decoded vectors have a twin; the largest difference of any of their entries is "
            f"{number(found['largest_difference'], '.3g')}. {found['n_only_live']} exist only live, "
            f"{found['n_only_offline']} only offline. Identification live "
            f"{number(found['identification_live'])}, offline {number(found['identification_offline'])}; live minus "
            f"offline {spread(found['live_minus_offline'])}.")
    return Part("Live against offline", text)
