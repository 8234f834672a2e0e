"""Sections: was the music decoded, which genres were, and what controls reach."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from offline_training.evaluation_page.drawing import SOFT, WARN, as_svg, blank_figure, forest, forest_picture
from offline_training.evaluation_page.part import Figures, Part, Table, number, p_of, spread
from offline_training.report_figures import ACCENT, MUTED

_NAMES = {"identification": "identification accuracy", "within_genre": "identification within genre", "top1": "top-1",
          "top3": "top-3", "top5": "top-5", "way2": "best of 2", "way5": "best of 5", "way10": "best of 10",
          "way50": "best of 50", "genre_top1": "genre of the best clip", "mean_rank": "mean rank",
          "median_rank": "median rank"}
_DRAWN = tuple(name for name in _NAMES if not name.endswith("_rank"))


def measures(figures: Figures) -> Part | None:
    """Every measure, trial by trial and with the hearings of a clip averaged."""
    single, averaged = figures["single_trials"], figures["clips_averaged"]
    names = [name for name in _DRAWN if single[name]["value"] is not None]
    figure = blank_figure(1.0 + 0.33 * len(names))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, card, title in ((left, single, "single trials"), (right, averaged, "hearings of a clip averaged")):
        forest(axes, [_NAMES[name] for name in names], [card[name] for name in names])
        axes.set(xlim=(0, 1.12), xlabel="share right", title=title)
    right.tick_params(labelleft=False)
    rows = tuple((_NAMES[name], spread(single[name]), spread(averaged[name]), number(single[name]["chance"]),
                  number((single[name]["null"] or {}).get("p05" if name.endswith("_rank") else "p95")),
                  p_of(single[name]), p_of(averaged[name]))
                 for name in _NAMES if single.get(name) and single[name]["value"] is not None)
    head = ("measure", "single trials", "averaged", "chance", "95 % of chance", "p single", "p averaged")
    first, null = single["identification"], single["null"]
    text = (f"{first['n_trials']} trials of {first['n_clips']} clips. A dot is the figure, its line the 95 % bootstrap "
            "interval over clips; grey holds nine in ten of "
            f"{null['n_permutations']} shuffles of the clips within runs, every block still holding each genre once "
            f"(10^{null['log10_arrangements']:.0f} arrangements), and a short line marks chance. Identification "
            "accuracy is Brain2Music's, ties half, a clip's repeats no rivals; within genre, rivals are of the same "
            "genre, and clips are shuffled within it. “Best of n” draws n − 1 rivals.")
    return Part("Was the music decoded?", text, ((as_svg(figure), "Measures over their bands of chance"),),
                Table(head, rows))


def genres(figures: Figures) -> Part | None:
    """Identification of each genre's clips, and the confusion of genres."""
    card = figures["clips_averaged"]
    names = sorted(card["by_genre"])
    counts = np.array(card["confusion"]["counts"], np.float64)
    labels = card["confusion"]["genres"]
    if len(names) < 2 or not counts.size:
        return None
    figure = blank_figure(1.1 + 0.33 * max(len(names), 6))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    forest(left, names, [card["by_genre"][name] for name in names])
    left.set(xlim=(0, 1.12), xlabel="identification accuracy", title="clips of each genre")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shown = right.imshow(share, cmap="Purples", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(share):
        if counts[i, j]:
            right.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=9,
                       color="white" if value > 0.5 else "#1d2433")
    right.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    right.set_yticks(range(len(labels)), labels)
    right.set(xlabel="genre of the most similar clip", ylabel="heard", title="confusion")
    right.spines[:].set_visible(False)
    figure.colorbar(shown, ax=right, shrink=0.8, label="share of the genre heard")
    text = ("Hearings of a clip averaged. On the left, each genre's clips among all clips; on the right, the genre of "
            "the most similar clip (numbers are clips). Genres alone can carry identification far: the accuracy "
            "within genre says what is decoded besides.")
    return Part("Which genres?", text, ((as_svg(figure), "Identification by genre, and confusion of genres"),))


def controls(figures: Figures) -> Part | None:
    """The decoder beside decoders that have no music in their data."""
    found: Mapping[str, Any] = figures.get("controls") or {}
    if not found:
        return None
    names = ["decoder", *found]
    cards = [figures["clips_averaged"], *found.values()]
    colours = [ACCENT] + [SOFT] * len(found)
    kinds = {"identification": "identification accuracy", "within_genre": "identification within genre"}
    pictures = tuple((forest_picture(names, [card[key] for card in cards], label, (0, 1.12), colours=colours),
                      f"Controls: {label}") for key, label in kinds.items())
    text = ("Each control passes the same evaluation, hearings averaged. Mean and random vector know nothing; time "
            "only and motion only are ridges from when a clip came, and from how the head moved; genre only and "
            "previous clip are told by an oracle: what knowing the genre would give, and what still hearing the clip "
            "before would. A control above its band points to the design, not to the brain.")
    return Part("What controls reach", text, pictures)


def classes(figures: Figures) -> Part | None:
    """Agreement of genre, instruments and mood."""
    found = figures.get("classes")
    if not found:
        return None
    names = [f"{kind}, top-{one['top']} of {one['n_labels']}" for kind, one in found.items()]
    picture = forest_picture(names, list(found.values()), "labels shared", (0, 1.12),
                             colours=[MUTED[i] for i in range(len(names))])
    text = ("Read off the decoded vector and off the clip's own by the embedder's read-outs: of the n most probable "
            "labels of each, the number in both, over n (Brain2Music, appendix A.1.3, names the overlap and leaves its "
            "formula open). A short line marks independent choices; grey is what shuffled clips share.")
    return Part("Genre, instruments and mood", text, ((picture, "Agreement of classes over chance"),))


def left_out(figures: Figures) -> Part | None:
    """Genres that the decoder never heard."""
    card = figures.get("leave_one_genre_out")
    if not card or len(card["by_genre"]) < 2:
        return None
    names = ["all", "within genre", *sorted(card["by_genre"])]
    estimates = [card["identification"], card["within_genre"], *(card["by_genre"][name] for name in names[2:])]
    picture = forest_picture(names, estimates, "identification accuracy", (0, 1.12),
                             colours=[ACCENT, ACCENT] + [WARN] * (len(names) - 2))
    text = ("Every clip decoded by a decoder that never heard its genre, hearings averaged. Such predictions lean "
            "towards the genres that were heard, which are the rivals here: noise would score below 0.5, so what lies "
            "above the band has generalised to music of a kind it does not know.")
    return Part("A genre left out", text, ((picture, "Identification of genres never trained on"),))
