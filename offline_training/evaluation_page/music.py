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
    head = ("music and measure", "judged in", "value", "95 % of shuffles", "p", "n")
    rows = tuple(row for name, card in sources.items() for row in _rows(name, card))
    return Part(HEADING, _text(found), ((as_svg(figure), "Measures of each kind of music over their bands of chance"),),
                Table(head, rows))


_NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "chance": None, "null": None}


def _text(found: dict[str, Any]) -> str:
    n, there = found["n_trials"], found["n_there"]
    drawn = f"{n} trials" if n == there else f"{n} of {there} trials, drawn by lot"
    return (f"{drawn}. Whatever is sound was embedded again by {found['scorer']}, which chose none of it; decoded "
            "vectors are no sound and are judged in their own space, by read-outs of their own where there are any. "
            "Genre, lead instrument and mood: how often the read-outs find the same most probable label in the music "
            "and in what was heard. Lines and brackets are 95 % bootstrap intervals over clips, grey holds nine in ten "
            "shuffles of the clips, a short line marks chance. The kernel audio distance to the clips heard is "
            "unbiased and near 0 for music of one kind; its shuffles deal all pieces into two sets." + _made(found))


def _made(found: dict[str, Any]) -> str:
    """Where generated music is among the sources."""
    if "played" in found["sources"]:
        return f" What was played was made by {found['generator']}."
    if "generator" in found:
        return " Too little was recorded to judge what was played."
    if set(found["sources"]) <= {"decoded", "retrieved"}:
        return " Nothing was generated: no generator that is shipped takes conditions of this space."
    return ""


def _rows(name: str, card: dict[str, Any]) -> list[tuple[str, ...]]:
    """What is said of one kind of music, a line for each measure."""
    found = [(words, card[kind]) for kind, words in _MEASURES.items() if card.get(kind)]
    rows = [(words, spread(one, ".2f"), number((one["null"] or {}).get("p95"), ".2f"), p_of(one), str(one["n_trials"]))
            for words, one in found]
    if far := card["kernel_distance"]:
        rows.append(("kernel audio distance", f"{far['value']:.2f}", f"{far['permuted_p95']:.2f}",
                     f"{far['p_value']:.4f}", str(far["n"])))
    return [(f"{name}, {words}", card["space"], *row) for words, *row in rows]
