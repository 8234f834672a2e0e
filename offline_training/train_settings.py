"""How a decoder is trained."""

from dataclasses import dataclass, field
from pathlib import Path

from offline_training.fit import FitSettings
from realtime.preprocessing import PreprocessorSettings


@dataclass(frozen=True)
class TrainSettings:
    """How a bundle is made.

    Attributes
    ----------
    lag_s : float
        Haemodynamic lag, rounded to volumes; 4.5 s is 3 volumes at TR 1.5 s.
    window_s : float
        Stretch of a trial that carries its evidence; 0 takes the clips' median duration.
    smallest_share : float
        A training trial counts with at least this share of its window usable.
    region : Path or None
        Mask of where the decoder may look; the data set's own when left out, the whole brain when
        it has none.
    preprocessing : PreprocessorSettings
        Its `tr_s` is replaced by the data set's, and with `slice_timing` its slice times.
    slice_timing : bool
        Read every voxel as of its volume's start, by the slice times of the runs' sidecars.
    fit : FitSettings
    """

    lag_s: float = 4.5
    window_s: float = 0.0
    smallest_share: float = 0.5
    region: Path | None = None
    preprocessing: PreprocessorSettings = field(default_factory=PreprocessorSettings)
    slice_timing: bool = False
    fit: FitSettings = field(default_factory=FitSettings)
