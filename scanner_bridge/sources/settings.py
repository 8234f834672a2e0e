"""What can be said about a source of volumes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from scanner_bridge.errors import SourceError

Kind = Literal["auto", "replay", "simulated", "dicom_folder"]


@dataclass(frozen=True)
class SourceSettings:
    """One source. What does not belong to its kind is left alone.

    Attributes
    ----------
    kind : {"auto", "replay", "simulated", "dicom_folder"}
        auto: found out from `path`.
    path : Path or None
        File (replay) or folder (dicom_folder).
    follow_s : float
        dicom_folder: after this long without a new file the run is over; 0 reads only what is there.
    wait_s : float
        dicom_folder, followed: how long to wait for the run's first file.
    poll_s : float
        dicom_folder: how often the folder is listed while it is followed.
    series : int or None
        dicom_folder: SeriesNumber to read; None takes the only one, or the first to appear.
    only_new : bool
        dicom_folder: leave alone the files that are there at the start.
    n_volumes : int
        simulated: length of the run.
    shape : tuple of int
        simulated: (nx, ny, nz).
    voxel_mm : tuple of float
        simulated: size of a voxel.
    tr_s : float
        simulated: repetition time.
    seed : int
        simulated: the same seed gives the same voxels.
    lost_volumes : tuple of int
        simulated: indices that never come, as when a scanner loses them.

    Raises
    ------
    SourceError
        A value that cannot be; all of them are named at once.
    """

    kind: Kind = "auto"
    path: Path | None = None
    follow_s: float = 0.0
    wait_s: float = 600.0
    poll_s: float = 0.05
    series: int | None = None
    only_new: bool = False
    n_volumes: int = 30
    shape: tuple[int, int, int] = (32, 32, 18)
    voxel_mm: tuple[float, float, float] = (3.0, 3.0, 3.5)
    tr_s: float = 1.0
    seed: int = 0
    lost_volumes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        rules = {
            f"kind is one of {', '.join(get_args(Kind))}, got {self.kind!r}": self.kind in get_args(Kind),
            f"a source of kind {self.kind!r} needs a path": self.kind == "simulated" or self.path is not None,
            f"follow_s is 0 or more, got {self.follow_s}": 0 <= self.follow_s < math.inf,
            f"wait_s is 0 or more, got {self.wait_s}": 0 <= self.wait_s < math.inf,
            f"poll_s is between 0.001 and 10, got {self.poll_s}": 0.001 <= self.poll_s <= 10,
            f"n_volumes is between 1 and 32767, got {self.n_volumes}": 1 <= self.n_volumes <= 32767,
            f"shape has three extents of 4 to 512, got {self.shape}": len(self.shape) == 3
            and all(4 <= extent <= 512 for extent in self.shape),
            f"voxel_mm has three positive sizes, got {self.voxel_mm}": len(self.voxel_mm) == 3
            and all(0 < size < math.inf for size in self.voxel_mm),
            f"tr_s is positive, got {self.tr_s}": 0 < self.tr_s < math.inf,
            f"seed is 0 or more, got {self.seed}": self.seed >= 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise SourceError(f"source settings: {'; '.join(broken)}: correct them")
