"""How a decoder is trained."""

from dataclasses import dataclass, field
from pathlib import Path

from offline_training.fit_settings import FitSettings
from realtime.preprocessing import PreprocessorSettings


@dataclass(frozen=True)
class TrainSettings:
    """How a bundle is made.

    Attributes
    ----------
    region : Path or None
        Mask of where the decoder may look; the data set's own when left out, the whole brain when
        it has none.
    atlas : Path or None
        Label image of the regions; the data set's own when left out, parcels of the region when it has none.
    preprocessing : PreprocessorSettings
        Its `tr_s` is replaced by the data set's, and with `slice_timing` its slice times.
    slice_timing : bool
        Read every voxel as of its volume's start, by the slice times of the runs' sidecars.
    fit : FitSettings
        The recipe, lag and window with it.
    """

    region: Path | None = None
    atlas: Path | None = None
    preprocessing: PreprocessorSettings = field(default_factory=PreprocessorSettings)
    slice_timing: bool = False
    fit: FitSettings = field(default_factory=FitSettings)
