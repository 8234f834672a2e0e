"""Settings of the preprocessor: what a bundle stores, so that live and training agree."""

from dataclasses import dataclass, fields
from typing import Literal

from realtime.errors import ConfigError


@dataclass(frozen=True)
class PreprocessorSettings:
    """How volumes become features.

    Attributes
    ----------
    tr_s : float
        Repetition time.
    drift_tau_s : float
        Time constant of the running mean and variance (exponential, causal).
    settle_s : float
        Length of the run's start that is aligned but gives no features (T1 transient).
    censor_fd_mm : float
        Framewise displacement above which a volume does not update mean and variance.
    alignment_fwhm_mm : float
        Smoothing applied for the estimate of motion only; at least 2.5 voxels along each axis.
    alignment_points : int
        Off-grid sample points of the motion estimate.
    max_iterations : int
        Gauss-Newton steps per volume.
    stop_mm : float
        A step that moves the head's surface less than this ends the iteration. What is left after it
        is a tenth of it: each step takes nine tenths of the way.
    scale_prior_s : float
        How much scanning the seeded standard deviation counts for against the run's own.
    seed : int
        Of the jittered sample points.
    feature_limit : float
        Features are cut to ± this many standard deviations.
    repairable_fraction : float
        Share of a volume's voxels that may be NaN or infinite: they are filled from the reference,
        and the volume is censored. With more, the volume is refused.
    drift : {"mean", "trend"}
        What stands for the slow drift: a running mean, or a running regression line over the same
        time constant.
    nuisance_motion : {0, 6, 12, 24}
        Motion regressors removed from every voxel (`Nuisance`).
    nuisance_tissues : bool
        Whether the means of white matter and cerebrospinal fluid are removed likewise.
    smoothing_fwhm_mm : float
        Gaussian smoothing of what the decoder's voxels read; 0 for none.
    slice_times_s : tuple of float
        When each slice is acquired after the start of its volume, in order of the third axis: every
        voxel is then read as of its volume's start (`at_volume_start`). Empty for no such shift.

    Raises
    ------
    ConfigError
        Values out of range; all are named at once.
    """

    tr_s: float = 1.5
    drift_tau_s: float = 120.0
    settle_s: float = 6.0
    censor_fd_mm: float = 0.5
    alignment_fwhm_mm: float = 5.0
    alignment_points: int = 24000
    max_iterations: int = 12
    stop_mm: float = 0.02
    scale_prior_s: float = 60.0
    seed: int = 0
    feature_limit: float = 10.0
    repairable_fraction: float = 0.01
    drift: Literal["mean", "trend"] = "mean"
    nuisance_motion: int = 0
    nuisance_tissues: bool = False
    smoothing_fwhm_mm: float = 0.0
    slice_times_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        lowest = {"settle_s": 0.0, "alignment_fwhm_mm": 0.0, "alignment_points": 100, "max_iterations": 1, "seed": 0,
                  "repairable_fraction": 0.0, "smoothing_fwhm_mm": 0.0}
        choices = {"drift": ("mean", "trend"), "nuisance_motion": (0, 6, 12, 24),
                   "nuisance_tissues": (False, True)}
        problems = [f"{name} is {getattr(self, name)!r}, wanted one of {', '.join(map(str, allowed))}"
                    for name, allowed in choices.items() if getattr(self, name) not in allowed]
        object.__setattr__(self, "slice_times_s", tuple(float(time_s) for time_s in self.slice_times_s))
        problems += [f"slice_times_s holds {time_s!r}, wanted 0 to the TR" for time_s in self.slice_times_s
                     if not 0.0 <= time_s <= self.tr_s][:1]
        for name in (field.name for field in fields(self) if field.name not in {*choices, "slice_times_s"}):
            value = getattr(self, name)
            if name in lowest and not lowest[name] <= value < float("inf"):
                problems.append(f"{name} is {value!r}, wanted at least {lowest[name]:g}")
            if name not in lowest and not 0.0 < value < float("inf"):
                problems.append(f"{name} is {value!r}, wanted a positive number")
        if problems:
            raise ConfigError(f"preprocessing settings out of range: {'; '.join(problems)}")

    @property
    def has_regression(self) -> bool:
        """Whether more than a running mean is removed from the samples."""
        return self.drift == "trend" or self.nuisance_motion > 0 or self.nuisance_tissues
