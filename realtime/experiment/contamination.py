"""How much sound lies in what was measured: masks for volumes, and the played sound as a regressor. Pure.

A decoder that hears the feedback decodes the feedback. Between measurements it may sound; what remains is told here,
so that an analysis can leave such volumes out, or regress the sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.experiment.acquisition import Acquisition


@dataclass(frozen=True)
class Sounded:
    """A stretch with sound; an `end_s` of infinity for one that goes on."""

    start_s: float
    end_s: float
    clip_id: str


def sounded(cues: Sequence[tuple[float, str]], end_s: float = float("inf")) -> tuple[Sounded, ...]:
    """Stretches with sound, from (time, clip) of the cues in order; a cue for "" ends one."""
    stretches = []
    for (start_s, clip_id), until in zip(cues, [*(time_s for time_s, _ in cues[1:]), end_s], strict=False):
        if clip_id:
            stretches.append(Sounded(start_s, until, clip_id))
    return tuple(stretches)


def is_contaminated(volume: int, acquisition: Acquisition, stretches: Sequence[Sounded], washout_s: float) -> bool:
    """Whether sound was on during a volume, or within `washout_s` before it."""
    start_s = acquisition.start_s(volume)
    end_s = start_s + acquisition.tr_s - acquisition.silence_s
    return any(stretch.start_s < end_s - 1e-9 and stretch.end_s > start_s - washout_s + 1e-9 for stretch in stretches)


def sound_share(n_volumes: int, acquisition: Acquisition, stretches: Sequence[Sounded]) -> NDArray[np.float64]:
    """Of the time from each volume to the next, the share with sound, shape (n_volumes,): for a regressor."""
    starts = np.array([acquisition.start_s(volume) for volume in range(n_volumes + 1)])
    share = np.zeros(n_volumes)
    for stretch in stretches:
        share += np.clip(np.minimum(starts[1:], stretch.end_s) - np.maximum(starts[:-1], stretch.start_s), 0.0, None)
    spans: NDArray[np.float64] = np.minimum(share / np.diff(starts), 1.0)
    return spans
