"""How long work tells how far it is."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""

_Item = TypeVar("_Item")


def counted(items: Iterable[_Item], what: str, total: int, progress: Progress | None) -> Iterator[_Item]:
    """The same items; each is told of as done when it comes."""
    for done, item in enumerate(items, start=1):
        if progress is not None:
            progress(what, done, total)
        yield item
