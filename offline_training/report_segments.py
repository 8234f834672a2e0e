"""The part of a session's page that a free run has in place of trials: its segments."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from offline_training.report_blocks import Tile
from offline_training.session_view import Segment, SessionView


@dataclass(frozen=True)
class SegmentRow:
    """One line of the table of segments."""

    number: int
    begins: str
    lasts: str
    seen: str
    clip_id: str
    posterior: str
    genre: str
    colour: str
    genre_posterior: str
    n_volumes: int
    remark: str


def cut(view: SessionView) -> str:
    """What the program made of a run without onsets, in a sentence; empty for a run of trials."""
    if not view.is_free_run:
        return ""
    n = len(view.segments)
    return (f"Nobody told it when music began or what it was: it cut the run into {n} segment{'s' * (n != 1)}, a new "
            "one wherever what it decoded changed or an operator set a mark. ")


def free_run_tiles(view: SessionView) -> list[Tile]:
    """Number of segments, how many of them were decided, and how long they were."""
    lengths_s = [length * view.tr_s for length in _lengths(view)]
    decided = sum(not segment.abstained for segment in view.segments)
    return [Tile(str(len(view.segments)), "segments"),
            Tile(f"{decided} of {len(view.segments)}", "of them sure enough to decide"),
            Tile(f"{np.median(lengths_s):.0f} s" if lengths_s else "–", "length of a segment, median")]


def segment_rows(view: SessionView, colours: dict[str, str]) -> list[SegmentRow]:
    """The table, a line for each segment; empty for a run of trials."""
    return [_row(segment, length, view.tr_s, colours)
            for segment, length in zip(view.segments, _lengths(view), strict=True)]


def _row(segment: Segment, length: int, tr_s: float, colours: dict[str, str]) -> SegmentRow:
    after = segment.told_volume - segment.first_volume
    return SegmentRow(
        number=segment.number + 1, begins=f"{segment.first_volume * tr_s:.0f} s", lasts=f"{length * tr_s:.0f} s",
        seen=f"{after} volume{'s' * (after != 1)} later" if after else "at once", clip_id=segment.clip_id,
        posterior=f"{segment.posterior:.2f}", genre=segment.genre or "–",
        colour=colours.get(segment.genre, "transparent"), genre_posterior=f"{segment.genre_posterior:.2f}",
        n_volumes=segment.n, remark="abstained" if segment.abstained else "")


def _lengths(view: SessionView) -> list[int]:
    """Volumes of each segment, up to the next one's first or the end of the run."""
    begun = [segment.first_volume for segment in view.segments]
    end = int(view.steps.volume[-1]) + 1 if len(view.steps.volume) else 0
    return [later - first for first, later in pairwise([*begun, end])]
