"""Whether the last volumes speak of something new, or the same goes on: a Bayes factor, causal. Pure, numpy only.

Decoded volumes are looked at where their noise has unit variance (`Reliability.seen`, one volume). What a piece of
music evokes there is a point, drawn from the spread of what the corpus evokes. The same goes on: the recent mean lies
about the point that the volumes before have told. Something new began: it lies anywhere in that spread. Every border
within the last `LONGEST_RECENT` usable volumes is asked, and the best one counts. Noise remembers: means of n volumes
scatter as those of an autoregressive process do, of coefficient `NOISE_MEMORY`. How it was chosen: ADR 0037.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.ports import MusicIndex
from realtime.reliability import Reliability

Floats = NDArray[np.float64]

NOISE_MEMORY = 0.6
"""Correlation of decoding noise from one volume to the next; 0.63 and 0.68 in two calibrated people."""
SHORTEST_RECENT, LONGEST_RECENT = 2, 8
FEWEST_BEFORE = 3
N_CLIPS = 2000
"""Of a larger corpus so many clips, evenly spaced, stand for all."""


@dataclass(frozen=True, eq=False)
class SeenVolume:
    """A usable volume: its index, what was decoded of it (dim,), and where that lies among the seen directions (k,)."""

    volume: int
    decoded: NDArray[np.float32]
    seen: Floats


@dataclass(frozen=True)
class Change:
    """The likeliest border: first volume of what is new, and log odds that there is something new."""

    first_volume: int
    log_odds: float


def evoked_spread(reliability: Reliability, index: MusicIndex) -> Floats:
    """Variance (k,) of what the clips of a corpus evoke, in units of the noise of one volume."""
    clips = index.clips
    chosen = clips if len(clips) <= N_CLIPS else [clips[len(clips) * k // N_CLIPS] for k in range(N_CLIPS)]
    evoked = reliability.evoked(index.embeddings([clip.clip_id for clip in chosen]), 1)
    spread: Floats = evoked.astype(np.float64).var(axis=0)
    return spread


def likeliest_change(heard: Sequence[SeenVolume], first_volume: int, spread: Floats) -> Change | None:
    """The border that divides best what was heard since `first_volume`; None while there are too few volumes.

    Parameters
    ----------
    heard : sequence of SeenVolume
        Usable volumes in order, the latest last.
    first_volume : int
        Of what goes on.
    spread : float64 array of shape (k,)
        `evoked_spread`.
    """
    present = [one for one in heard if one.volume >= first_volume]
    found = [Change(present[-n].volume, log_odds_of_new([one.seen for one in present[:-n]],
                                                        [one.seen for one in present[-n:]], spread))
             for n in range(SHORTEST_RECENT, LONGEST_RECENT + 1) if len(present) - n >= FEWEST_BEFORE]
    return max(found, key=lambda change: change.log_odds, default=None)


def log_odds_of_new(before: Sequence[Floats], recent: Sequence[Floats], spread: Floats) -> float:
    """Log odds that `recent` volumes are of something new, against that they are of what `before` was of."""
    known, now = np.mean(before, axis=0), np.mean(recent, axis=0)
    noise_before, noise_now = mean_variance(len(before)), mean_variance(len(recent))
    weight = spread / (spread + noise_before)
    same = spread * noise_before / (spread + noise_before) + noise_now
    new = spread + noise_now
    return float(0.5 * (np.square(now - weight * known) / same - np.square(now) / new + np.log(same / new)).sum())


def mean_variance(n: int) -> float:
    """Variance of the mean of n neighbouring values of unit variance and correlation `NOISE_MEMORY`."""
    apart = np.arange(1, n)
    return float((1.0 + 2.0 * ((1.0 - apart / n) * NOISE_MEMORY ** apart).sum()) / n)
