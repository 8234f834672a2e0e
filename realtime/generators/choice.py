"""Which theme a condition asks for: the retrieved clip's own, or the library's nearest."""

from collections.abc import Mapping

from realtime.generators.themes import Theme, Themes
from realtime.messages import Condition, EmbeddingSpace

Anchors = Mapping[str, Theme]
"""Themes of the clips that music may begin from, by clip id."""


class ThemeChoice:
    """Remembers what plays, so that a little noise changes nothing.

    Parameters
    ----------
    themes : Themes
        The library.
    anchors : mapping of str to Theme
        Where a condition names one of these clips, its theme is played whatever is decoded; empty for never.
    """

    def __init__(self, themes: Themes, anchors: Anchors | None = None) -> None:
        self._themes, self._anchors = themes, anchors or {}
        self.place = -1

    @property
    def space(self) -> EmbeddingSpace:
        """Of conditions."""
        return self._themes.space

    def theme(self, condition: Condition) -> Theme:
        """What to play from now on."""
        anchor = self._anchors.get(condition.clip_id)
        if anchor is not None:
            self.place = -1
            return anchor
        self.place = self._themes.nearest(condition.embedding, self.place)
        return self._themes.themes[self.place]
