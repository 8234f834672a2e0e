"""Whether the last volumes speak of something new, or the same goes on: a Bayes factor, causal. Pure, numpy only.

Decoded volumes are looked at in the directions that the decoder sees (`steady`). What a piece of music evokes there is
a point, drawn from the spread of what the corpus evokes. The same goes on: the recent mean lies about the point that
the volumes before have told. Something new began: it lies anywhere in that spread. Every border within the last
`LONGEST_RECENT` usable volumes is asked, and the best one counts. Noise remembers: means of n volumes scatter as those
of an autoregressive process do, of coefficient `NOISE_MEMORY`. How large it is the run itself tells (`NoiseLevel`).
How it was chosen: ADR 0037.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from realtime.ports import MusicIndex
from realtime.reliability import Reliability

Floats = NDArray[np.float64]

NOISE_MEMORY = 0.6
"""Correlation of decoding noise from one volume to the next; 0.60 to 0.72 in seven calibrated people."""
APART = 4
"""Volumes between two that are compared to measure the noise: by then little of it is remembered, in whatever way."""
_FORGOTTEN = 1.0 - NOISE_MEMORY**APART
PRIOR_VOLUMES = 10
"""For so many volumes the noise that the reliability promises counts as measured."""
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


@dataclass(frozen=True)
class NoiseLevel:
    """Variance of the noise of one volume, a mean over directions, from how volumes differ that lie `APART` apart.

    By then noise has forgotten most, however well it remembers; and a change of the music is few of the differences.

    Attributes
    ----------
    differences : float
        Sum of half the mean squares of differences.
    n : int
        How many of them.
    """

    differences: float = PRIOR_VOLUMES * _FORGOTTEN
    n: int = PRIOR_VOLUMES

    def after(self, volume: Floats, before: Floats) -> "NoiseLevel":
        """The same after another volume (k,) and the one `APART` volumes before it."""
        told = max(int(np.count_nonzero(volume)), 1)  # directions that nothing is seen along are exact zeros
        return NoiseLevel(self.differences + 0.5 * float(np.square(volume - before).sum()) / told, self.n + 1)

    @property
    def variance(self) -> float:
        """1 where there is as much as the reliability promises."""
        return self.differences / self.n / _FORGOTTEN


def steady(reliability: Reliability) -> Reliability:
    """What one volume tells while music goes on, noise of about unit variance.

    Taken from what all volumes of a trial tell together: the first of a trial is no such volume, for the response to it
    has only begun.
    """
    scale = np.float32(np.sqrt(mean_variance(len(reliability.evidence_map))))
    return replace(reliability, evidence_map=scale * reliability.evidence_map[-1:],
                   clip_map=scale * reliability.clip_map[-1:])


def evoked_spread(reliability: Reliability, index: MusicIndex) -> Floats:
    """Variance (k,) of what the clips of a corpus evoke in one volume."""
    clips = index.clips
    chosen = clips if len(clips) <= N_CLIPS else [clips[len(clips) * k // N_CLIPS] for k in range(N_CLIPS)]
    evoked = reliability.evoked(index.embeddings([clip.clip_id for clip in chosen]), 1)
    spread: Floats = evoked.astype(np.float64).var(axis=0)
    return spread


def likeliest_change(heard: Sequence[SeenVolume], first_volume: int, spread: Floats,
                     noise: float) -> Change | None:
    """The border that divides best what was heard since `first_volume`; None while there are too few volumes.

    Parameters
    ----------
    heard : sequence of SeenVolume
        Usable volumes in order, the latest last.
    first_volume : int
        Of what goes on.
    spread : float64 array of shape (k,)
        `evoked_spread`.
    noise : float
        Variance of one volume's noise, `NoiseLevel`.
    """
    present = [one for one in heard if one.volume >= first_volume]
    found = [Change(present[-n].volume, log_odds_of_new([one.seen for one in present[:-n]],
                                                        [one.seen for one in present[-n:]], spread, noise))
             for n in range(SHORTEST_RECENT, LONGEST_RECENT + 1) if len(present) - n >= FEWEST_BEFORE]
    return max(found, key=lambda change: change.log_odds, default=None)


def log_odds_of_new(before: Sequence[Floats], recent: Sequence[Floats], spread: Floats, noise: float) -> float:
    """Log odds that `recent` volumes are of something new, against that they are of what `before` was of."""
    known, now = np.mean(before, axis=0), np.mean(recent, axis=0)
    noise_before, noise_now = noise * mean_variance(len(before)), noise * mean_variance(len(recent))
    weight = spread / (spread + noise_before)
    same = spread * noise_before / (spread + noise_before) + noise_now
    new = spread + noise_now
    return float(0.5 * (np.square(now - weight * known) / same - np.square(now) / new + np.log(same / new)).sum())


def mean_variance(n: int) -> float:
    """Variance of the mean of n neighbouring values of unit variance and correlation `NOISE_MEMORY`."""
    apart = np.arange(1, n)
    return float((1.0 + 2.0 * ((1.0 - apart / n) * NOISE_MEMORY ** apart).sum()) / n)
