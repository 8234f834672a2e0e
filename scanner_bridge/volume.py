"""What travels from the scanner to the live program: RunHeader, Volume, RunEnd."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

WIRE_DTYPES = ("<i2", "<u2", "<i4", "<u4", "<f4", "<f8", "|u1", "|i1")
"""The closed set of voxel types that may cross the wire (numpy type strings, little-endian)."""


@dataclass(frozen=True, eq=False)
class RunHeader:
    """What is known of a run before its first volume.

    Attributes
    ----------
    run_id : str
        Names the acquisition: a restarted scan has another, a restarted bridge sends the same, so that
        what it sends again is known.
    shape : tuple of int
        (nx, ny, nz) of every volume.
    dtype : str
        One of `WIRE_DTYPES`: the type of the voxels as acquired.
    affine : float64 array of shape (4, 4)
        Voxel index to millimetres, RAS+ (nibabel's convention).
    tr_s : float
        Repetition time.
    n_volumes : int or None
        How many volumes the protocol announces; None when the scanner does not say.
    slice_times_s : tuple of float or None
        Acquisition time of each slice after the volume's start, when known.
    source : str
        Where the volumes come from, for people; never a patient's name.
    clock_id : str
        Names the monotonic clock that `start_s` and `Volume.due_s` were read from (host boot id).
    start_s : float
        Monotonic time at which the run's first volume began.
    """

    run_id: str
    shape: tuple[int, int, int]
    dtype: str
    affine: NDArray[np.float64]
    tr_s: float
    n_volumes: int | None = None
    slice_times_s: tuple[float, ...] | None = None
    source: str = ""
    clock_id: str = ""
    start_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Volume:
    """One image of the run, as acquired.

    Attributes
    ----------
    index : int
        Number of the volume in its run, from 0, taken from the image's own header,
        never from arrival order or a file name.
    data : array of shape (nx, ny, nz)
        Voxels in their own dtype; stored values, before `slope` and `inter`.
    affine : float64 array of shape (4, 4)
        Voxel index to millimetres, RAS+.
    tr_s : float
        Repetition time.
    run_id : str
        The run it belongs to.
    due_s : float
        Monotonic time (clock of `RunHeader.clock_id`) at which the scanner completes this
        volume: the start of every latency figure. NaN when unknown.
    slope, inter : float
        Scanner units = slope × stored value + inter.
    """

    index: int
    data: NDArray[Any]
    affine: NDArray[np.float64]
    tr_s: float
    run_id: str = ""
    due_s: float = float("nan")
    slope: float = 1.0
    inter: float = 0.0


@dataclass(frozen=True)
class TriggerSummary:
    """The run's trigger pulses beside its volumes.

    Attributes
    ----------
    n_pulses : int
        How many came.
    n_missing : int
        Volumes that came without one.
    n_extra : int
        Pulses beyond the one of a volume.
    n_before, n_after : int
        Pulses before the first volume (dummy scans) and after the last.
    offset_s, jitter_s : float or None
        Median time from a pulse to its volume, and half the range that holds the middle 68 % of these times; None
        without a pair.
    sentence : str
        The same for people, with the volumes' indices.
    """

    n_pulses: int
    n_missing: int
    n_extra: int
    n_before: int
    n_after: int
    offset_s: float | None
    jitter_s: float | None
    sentence: str


@dataclass(frozen=True)
class RunEnd:
    """The run is over.

    Attributes
    ----------
    run_id : str
        The run that ended.
    n_volumes : int
        How many volumes the bridge sent.
    status : {"complete", "aborted"}
        Whether the run reached its announced length.
    reason : str
        A sentence for people when it did not.
    trigger : TriggerSummary or None
        None when nobody listened to the scanner's trigger.
    """

    run_id: str
    n_volumes: int
    status: Literal["complete", "aborted"] = "complete"
    reason: str = ""
    trigger: TriggerSummary | None = None


Message = RunHeader | Volume | RunEnd
"""What the wire carries."""


def scanner_units(volume: Volume) -> NDArray[Any]:
    """The voxels in scanner units: as they came where slope and intercept change nothing, else float32.

    What no float32 can hold becomes infinite, for the preprocessor to judge.
    """
    if (volume.slope, volume.inter) == (1.0, 0.0):
        return volume.data
    with np.errstate(over="ignore", invalid="ignore"):
        slope, inter = np.float32(volume.slope), np.float32(volume.inter)
        scaled: NDArray[np.float32] = volume.data.astype(np.float32) * slope + inter
    return scaled


def has_signal(volume: Volume) -> bool:
    """Whether its voxels differ: where all are the same it stands for an image that is not there."""
    return bool(volume.data.min() != volume.data.max())
