"""Section: what decoded vectors become as music, judged by an embedder that chose nothing; sessions show it, too."""

from typing import Any

from offline_training.evaluation_page.drawing import as_svg, blank_figure, forest
from offline_training.evaluation_page.part import Figures, Part, Table, number, p_of, spread

HEADING = "Is it the music that was heard?"
_MEASURES = {"identification": "identification", "genre": "genre", "lead": "lead instrument", "mood": "mood"}


def music(figures: Figures) -> Part | None:
    """Decoded, retrieved and generated music of held-out trials."""
    found = figures.get("music")
    return music_part(found) if found else None


def music_part(found: dict[str, Any]) -> Part:
    """The section of one set of sources; where they are missing, the reason."""
    if "missing" in found:
        return Part(HEADING, found["missing"])
    sources: dict[str, Any] = found["sources"]
    shown = [kind for kind in _MEASURES if any(card.get(kind) for card in sources.values())]
    figure = blank_figure(1.05 + 0.36 * len(sources))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, shown, strict=True):
        there = {name: card.get(kind) or _NOTHING for name, card in sources.items()}
        forest(axes, list(there), list(there.values()))
        axes.set(xlim=(0, 1.25), xticks=(0, 0.5, 1), title=_MEASURES[kind])
        axes.tick_params(labelleft=axes is panels[0])
    head = ("music", "judged in", "n", *(_MEASURES[kind] for kind in shown), "KAD", "p of KAD")
    rows = tuple((name, card["space"], str(card["identification"]["n_trials"]),
                  *(_cell(card.get(kind)) for kind in shown), *_distance(card["kernel_distance"]))
                 for name, card in sources.items())
    return Part(HEADING, _text(found), ((as_svg(figure), "Measures of each kind of music over their bands of chance"),),
                Table(head, rows))


_NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "chance": None, "null": None}


def _text(found: dict[str, Any]) -> str:
    n, there = found["n_trials"], found["n_there"]
    drawn = f"{n} trials" if n == there else f"{n} of {there} trials, drawn by lot"
    return (f"{drawn}. Whatever is sound was embedded again by {found['scorer']}, which chose none of it; decoded "
            "vectors are no sound and are judged in their own space, by read-outs of their own where there are any. "
            "Genre, lead instrument and mood: how often the read-outs find the same most probable label in the music "
            "and in what was heard. Grey, and the figure in round brackets: shuffled clips, 95 % of which stay at or "
            "below it; square brackets: 95 % bootstrap interval over clips. KAD is the kernel audio distance to the "
            "clips heard (unbiased, near 0 for one kind of music), beside its 95 % for pieces dealt by lot.")


def _cell(estimate: dict[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "–"
    return f"{spread(estimate, '.2f')} ({number((estimate['null'] or {}).get('p95'), '.2f')}), p {p_of(estimate)}"


def _distance(found: dict[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    return f"{found['value']:.1f} ({found['permuted_p95']:.1f})", f"{found['p_value']:.3f}"
