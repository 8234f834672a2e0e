"""Evidence without onsets: imagery or free listening, cut into segments where what is decoded changes.

A segment's evidence is the mean of what its last volumes decode to. A border is seen some volumes late, then the
volumes since it are already evidence of the new segment. Pure: no clock, no I/O; the same pushes give the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.decoding.change import (
    APART,
    LONGEST_RECENT,
    NoiseLevel,
    SeenVolume,
    evoked_spread,
    likeliest_change,
    steady,
)
from realtime.decoding.evidence import checked_features
from realtime.decoding.settings import FreeRunSettings
from realtime.errors import EventsError
from realtime.messages import Evidence, Segment
from realtime.ports import Decoder, MusicIndex
from realtime.reliability import HEARD, Reliability


@dataclass(frozen=True, eq=False)
class FreeRunState:
    """Everything a `FreeRunEvidence` knows; a copy, safe to keep.

    Attributes
    ----------
    last_volume : int
        Last index pushed; -1 before the first.
    segment, first_volume : int
        Number of the present segment and its first volume; -1 before any.
    marked : int
        Volume at which a segment was marked to begin, that has not come yet; -1 for none.
    volumes : intp array of shape (n,)
        Usable ones that are still remembered.
    decoded : float32 array of shape (n, dim)
        What they decode to.
    noise : NoiseLevel
        Measured so far.
    """

    last_volume: int
    segment: int
    first_volume: int
    marked: int
    volumes: NDArray[np.intp]
    decoded: NDArray[np.float32]
    noise: NoiseLevel


class FreeRunEvidence:
    """Segments of a run, found while it goes on; implements `EvidenceSource`.

    Parameters
    ----------
    settings : FreeRunSettings
        Length of the window, and how sure a change must be.
    decoder : Decoder
        Features to embedding; linear, so that means of what it decodes are what it decodes of means.
    reliability : Reliability
        The bundle's.
    index : MusicIndex
        The music that may be heard or imagined.
    sizes : sequence of float
        Of responses against hearing's, `Reliability.log_odds`.
    """

    def __init__(self, settings: FreeRunSettings, decoder: Decoder, reliability: Reliability, index: MusicIndex,
                 sizes: Sequence[float] = HEARD) -> None:
        self._settings, self._decoder, self._steady = settings, decoder, steady(reliability)
        self._spread = float(np.square(sizes).mean()) * evoked_spread(self._steady, index)
        self._log_odds_wanted = float(np.log(settings.change_odds))
        self._heard: list[SeenVolume] = []
        self._noise = NoiseLevel()
        self._last_volume, self._segment, self._first_volume, self._marked = -1, -1, -1, -1

    def trial_of(self, volume_index: int) -> int:
        """-1: there are no trials."""
        return -1

    def push(self, volume_index: int, features: NDArray[np.float32] | None, usable: bool) -> Evidence | None:
        """Take one volume; give what the present segment says, or None while its window holds no usable volume.

        Parameters and errors as `RunningMean.push`. Indices left out are lost volumes: the window goes on over them.
        """
        counted = checked_features(volume_index, self._last_volume, features if usable else None)
        self._last_volume = volume_index
        if 0 <= self._marked <= volume_index:
            self._begin(self._marked)
            self._marked = -1
        odds = 0.0
        if counted is not None and counted.any():  # all zeros: it was its own baseline, and tells nothing
            decoded = self._decoder.decode(counted)
            self._hear(SeenVolume(volume_index, decoded, self._seen(decoded)))
            odds = self._look(volume_index)
        kept_from = volume_index + 1 - self._settings.window_volumes
        self._heard = [one for one in self._heard if one.volume >= kept_from - LONGEST_RECENT]
        inside = [one.decoded for one in self._heard if one.volume >= max(self._first_volume, kept_from)]
        if not inside:
            return None
        mean = np.mean(np.asarray(inside, np.float64), axis=0).astype(np.float32)
        return Evidence(-1, len(inside), mean, Segment(self._segment, self._first_volume, odds))

    def mark(self, volume_index: int) -> None:
        """Begin a segment at `volume_index`, by an operator's mark.

        Raises
        ------
        EventsError
            That volume has come already.
        """
        if volume_index <= self._last_volume:
            raise EventsError(f"a segment cannot be marked at volume {volume_index}: volume {self._last_volume} has "
                              "come; mark before the volume that begins it")
        self._marked = volume_index

    def state(self) -> FreeRunState:
        """Exact state; the decoder has none."""
        dim = self._decoder.space.dim
        return FreeRunState(self._last_volume, self._segment, self._first_volume, self._marked,
                            np.array([one.volume for one in self._heard], np.intp),
                            np.array([one.decoded for one in self._heard], np.float32).reshape(-1, dim), self._noise)

    @classmethod
    def restore(cls, state: FreeRunState, settings: FreeRunSettings, decoder: Decoder, reliability: Reliability,
                index: MusicIndex, sizes: Sequence[float] = HEARD) -> "FreeRunEvidence":
        """The object whose `state()` this was, with the same parts."""
        evidence = cls(settings, decoder, reliability, index, sizes)
        evidence._last_volume, evidence._marked = state.last_volume, state.marked
        evidence._segment, evidence._first_volume = state.segment, state.first_volume
        evidence._noise = state.noise
        evidence._heard = [SeenVolume(int(volume), decoded.copy(), evidence._seen(decoded))
                           for volume, decoded in zip(state.volumes, state.decoded, strict=True)]
        return evidence

    def _seen(self, decoded: NDArray[np.float32]) -> NDArray[np.float64]:
        return self._steady.seen(decoded, 1).astype(np.float64)

    def _hear(self, heard: SeenVolume) -> None:
        for before in self._heard[-APART:]:
            if before.volume == heard.volume - APART:
                self._noise = self._noise.after(heard.seen, before.seen)
        self._heard.append(heard)

    def _look(self, volume_index: int) -> float:
        """Begin the first segment, or another where a change is seen; the log odds of one."""
        if self._segment < 0:
            self._begin(volume_index)
        change = likeliest_change(self._heard, self._first_volume, self._spread, self._noise.variance)
        if change is None:
            return 0.0
        if change.log_odds > self._log_odds_wanted:
            self._begin(change.first_volume)
        return change.log_odds

    def _begin(self, volume_index: int) -> None:
        self._segment, self._first_volume = self._segment + 1, volume_index
