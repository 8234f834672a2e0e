"""What a section of the page is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first column is a name, the others are figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """One section.

    Attributes
    ----------
    heading, text : str
    images : tuple of (str, str)
        Address of an image, and what it shows in words.
    table : Table or None
    lines : tuple of str
        A list after the text.
    captions : bool
        Whether the words are shown below each image.
    """

    heading: str
    text: str
    images: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    lines: tuple[str, ...] = ()
    captions: bool = False


Section = Callable[[Figures], Part | None]


def number(value: float | None, form: str = ".3f") -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:{form}}"


def spread(estimate: Mapping[str, Any], form: str = ".3f") -> str:
    """Value with its 95 % interval."""
    if estimate["value"] is None:
        return "–"
    return f"{estimate['value']:{form}} [{number(estimate['low'], form)}, {number(estimate['high'], form)}]"


def p_of(estimate: Mapping[str, Any]) -> str:
    """The p of its null, bounded by the number of shuffles."""
    null = estimate.get("null")
    if null is None or estimate["value"] is None:
        return "–"
    smallest = 1 / (1 + null["n_permutations"])
    return f"≤ {smallest:.4f}" if null["p_value"] <= smallest * 1.0001 else f"{null['p_value']:.3f}"
