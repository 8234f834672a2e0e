"""Evidence over a trial: the running mean of its usable features, decoded at every volume.

The decoder is linear, so decoding the mean equals the mean of decodings; the mean is kept
because its noise falls with n. Pure: no clock, no I/O; the same pushes give the same bits.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.errors import EventsError, VolumeError
from realtime.messages import Evidence
from realtime.ports import Decoder


class Trials(Protocol):
    """Which volumes are the evidence of which trial."""

    def trial_of(self, volume_index: int) -> int:
        """Number of the trial, from 0; -1 for none."""
        ...

    def with_mark(self, volume_index: int) -> "Trials":
        """The same with one more trial from this volume on; EventsError when it cannot be."""
        ...


class EvidenceSource(Protocol):
    """Gathers a run's volumes into evidence: over trials that are known or marked, or over segments it finds itself."""

    def trial_of(self, volume_index: int) -> int:
        """Trial whose evidence the volume is, or would be; -1 for none."""
        ...

    def push(self, volume_index: int, features: NDArray[np.float32] | None, usable: bool) -> Evidence | None:
        """Take one volume; give what was gathered so far. Parameters and errors as `RunningMean.push`."""
        ...

    def mark(self, volume_index: int) -> None:
        """Something begins at `volume_index`, by an operator's mark; EventsError when it cannot."""
        ...


def checked_features(volume_index: int, last_volume: int,
                     counted: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """The features that count, None for none; VolumeError where the order or they are wrong."""
    if volume_index <= last_volume:
        raise VolumeError(f"volume {volume_index} comes after volume {last_volume}: its evidence is past; "
                          "push volumes in order")
    if counted is not None and not np.isfinite(counted).all():
        raise VolumeError(f"volume {volume_index} has features with NaN or infinity; it cannot be evidence, mark "
                          "it unusable")
    return counted


@dataclass(frozen=True)
class Schedule:
    """When trials begin, in volumes.

    Attributes
    ----------
    onset_volumes : tuple of int
        First volume acquired while the trial's music played, strictly increasing.
    lag_volumes : int
        The response comes late: this many volumes after an onset still belong to what came before.
    window_volumes : int
        Volumes of a trial that carry its evidence, from `lag_volumes` on; fewer when the next
        trial's begin earlier.
    """

    onset_volumes: tuple[int, ...]
    lag_volumes: int
    window_volumes: int

    def __post_init__(self) -> None:
        if self.lag_volumes < 0 or self.window_volumes < 1:
            raise EventsError(f"lag is {self.lag_volumes} and window {self.window_volumes} volumes, wanted at least "
                              "0 and 1; correct the bundle or the settings")
        late = [b for a, b in zip(self.onset_volumes, self.onset_volumes[1:], strict=False) if b <= a]
        if late:
            raise EventsError(f"the trial that begins at volume {late[0]} does not begin after the one before it; two "
                              "trials need at least one volume between their onsets, correct the events or the marks")

    @classmethod
    def from_onsets(cls, onsets_s: Sequence[float], tr_s: float, lag_volumes: int, window_volumes: int) -> "Schedule":
        """Schedule for onsets in seconds after the run's first volume; each goes to the nearest volume's start."""
        return cls(tuple(int(np.floor(onset_s / tr_s + 0.5)) for onset_s in onsets_s), lag_volumes, window_volumes)

    def trial_of(self, volume_index: int) -> int:
        """Trial whose evidence the volume is: -1 before the first and after a window's end."""
        trial = bisect_right(self.onset_volumes, volume_index - self.lag_volumes) - 1
        if trial < 0 or volume_index >= self.onset_volumes[trial] + self.lag_volumes + self.window_volumes:
            return -1
        return trial

    def with_mark(self, volume_index: int) -> "Schedule":
        """The schedule with one more trial, which begins at `volume_index`, after all others.

        Raises
        ------
        EventsError
            A trial begins there or later.
        """
        return replace(self, onset_volumes=(*self.onset_volumes, volume_index))


@dataclass(frozen=True, eq=False)
class TrialMean:
    """Mean feature of a trial so far.

    Attributes
    ----------
    trial : int
        Number of the trial in the run, from 0.
    n_volumes : int
        Usable volumes in it.
    features : float32 array of shape (n_voxels,)
        Their mean.
    """

    trial: int
    n_volumes: int
    features: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MeanState:
    """Everything a `RunningMean` knows; a copy, safe to keep.

    Attributes
    ----------
    schedule : Trials
        With the marks made so far.
    last_volume : int
        Last index pushed; -1 before the first.
    trial : int
        Trial the sum belongs to; -1 for none.
    n_volumes : int
        Usable volumes in the sum.
    total : float64 array of shape (n_voxels,) or (0,) before the first usable volume
        Sum of the trial's features in order of acquisition.
    """

    schedule: Trials
    last_volume: int
    trial: int
    n_volumes: int
    total: NDArray[np.float64]


class RunningMean:
    """Mean of a trial's usable features; training and the live program share it.

    Parameters
    ----------
    schedule : Trials
        The run's trials.
    """

    def __init__(self, schedule: Trials) -> None:
        self._schedule = schedule
        self._last_volume = -1
        self._trial = -1
        self._n = 0
        self._total = np.zeros(0)

    @property
    def schedule(self) -> Trials:
        """The run's trials, marks included."""
        return self._schedule

    def push(self, volume_index: int, features: NDArray[np.float32] | None, usable: bool) -> TrialMean | None:
        """Take one volume; give the mean of its trial so far, or None outside trials and before usable volumes.

        Parameters
        ----------
        volume_index : int
            Larger than the last one pushed. Indices left out are lost volumes: nothing is put in
            their place.
        features : float32 array of shape (n_voxels,) or None
            None for a lost volume.
        usable : bool
            False for a volume that must not count (gap, settling, censored).

        Raises
        ------
        VolumeError
            The index does not increase, or usable features hold NaN; the state is unchanged.
        """
        counted = checked_features(volume_index, self._last_volume, features if usable else None)
        self._last_volume = volume_index
        trial = self._schedule.trial_of(volume_index)
        if trial != self._trial:
            self._trial, self._n, self._total = trial, 0, np.zeros(0)
        if trial < 0:
            return None
        if counted is not None:
            wide = np.asarray(counted, np.float64)
            self._total = self._total + wide if self._n else wide.copy()
            self._n += 1
        return TrialMean(trial, self._n, (self._total / self._n).astype(np.float32)) if self._n else None

    def mark(self, volume_index: int) -> None:
        """Open a trial at `volume_index`, by an operator's or a stimulus computer's mark.

        Raises
        ------
        EventsError
            A trial begins there or later.
        """
        self._schedule = self._schedule.with_mark(volume_index)

    def state(self) -> MeanState:
        """Exact state."""
        return MeanState(self._schedule, self._last_volume, self._trial, self._n, self._total.copy())

    @classmethod
    def restore(cls, state: MeanState) -> "RunningMean":
        """The object whose `state()` this was: it goes on bit for bit."""
        mean = cls(state.schedule)
        mean._last_volume, mean._trial, mean._n = state.last_volume, state.trial, state.n_volumes
        mean._total = state.total.copy()
        return mean


class TrialEvidence:
    """Running mean of a trial, decoded; implements `EvidenceSource`.

    Parameters
    ----------
    schedule : Trials
        The run's trials.
    decoder : Decoder
        Features to embedding.
    """

    def __init__(self, schedule: Trials, decoder: Decoder) -> None:
        self._mean = RunningMean(schedule)
        self._decoder = decoder

    @property
    def schedule(self) -> Trials:
        """The run's trials, marks included."""
        return self._mean.schedule

    def trial_of(self, volume_index: int) -> int:
        """Trial whose evidence the volume is, or would be; -1 for none."""
        return self._mean.schedule.trial_of(volume_index)

    def push(self, volume_index: int, features: NDArray[np.float32] | None, usable: bool) -> Evidence | None:
        """Take one volume; give what its trial says so far. Parameters and errors as `RunningMean.push`.

        A volume that does not count leaves `n_volumes` and the embedding as they were.
        """
        mean = self._mean.push(volume_index, features, usable)
        return None if mean is None else Evidence(mean.trial, mean.n_volumes, self._decoder.decode(mean.features))

    def mark(self, volume_index: int) -> None:
        """Open a trial at `volume_index`; errors as `RunningMean.mark`."""
        self._mean.mark(volume_index)

    def state(self) -> MeanState:
        """Exact state; the decoder has none."""
        return self._mean.state()

    @classmethod
    def restore(cls, state: MeanState, decoder: Decoder) -> "TrialEvidence":
        """The object whose `state()` this was, with the same decoder."""
        evidence = cls(state.schedule, decoder)
        evidence._mean = RunningMean.restore(state)
        return evidence
