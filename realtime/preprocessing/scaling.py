"""Causal drift removal and z-scoring: running statistics that only ever see the past and the present."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.kernels import scale_samples
from realtime.preprocessing.nuisance import Nuisance, NuisanceState
from realtime.preprocessing.nuisance_kernels import scale_residuals
from realtime.preprocessing.quality import tsnr
from realtime.preprocessing.settings import PreprocessorSettings

_UNSEEDED_SCALE = 0.01      # typical for one voxel after alignment at 3 T: tSNR 100
_SMALLEST_SCALE = 1e-4      # keeps a constant training voxel from turning rounding into signal


@dataclass(frozen=True, eq=False)
class ScalerState:
    """Everything a `CausalScaler` remembers.

    Attributes
    ----------
    mean, spread : float64 arrays of shape (n_voxels,)
        Running mean and mean squared deviation, scanner units.
    count : float
        Volumes the statistics stand for, at most drift_tau_s / tr_s.
    elapsed : int
        Volumes since the run's start, lost ones included.
    nuisance : NuisanceState or None
        Of the regression; None without one.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    count: float
    elapsed: int
    nuisance: NuisanceState | None = None


class CausalScaler:
    """Samples to features, one volume at a time.

    The feature of a voxel is (sample - mean) / SD, which is the percent signal change over its SD,
    cut to ± `feature_limit`. Mean and variance are cumulative averages until they stand for
    `drift_tau_s`, and exponential ones from then on. They include the volume being scored: its
    deviation is thereby shrunk by 1 - 1/count, which is what a baseline known from `count` volumes
    deserves (the first scored volume gives zeros), and no score can exceed √count run SDs.

    The variance starts from `feature_scale`, which counts for `scale_prior_s` of scanning.

    With `drift` "trend", `nuisance_motion` or `nuisance_tissues`, sample - mean is replaced by the
    residual of a weighted regression (`Nuisance`) that forgets as the mean does and includes the volume
    being scored: the mean is the regression on a constant alone. The variance is then that of the residuals.

    * The first `settle_s` of a run give zeros and enter no statistics.
    * A censored volume is scored, but enters no statistics: it is predicted from what was learnt.
    * A lost volume (`skip`) takes its time: what was learnt ages by one volume, none is added.
      A censored volume ages it too.

    Parameters
    ----------
    n_voxels : int
    settings : PreprocessorSettings
    feature_scale : float array of shape (n_voxels,) or None
        SD of each voxel in training as a fraction of its mean; None means 1 % everywhere.
    state : ScalerState or None
        Where to go on; None at the start of a run.

    Raises
    ------
    VolumeError
        `feature_scale` has another shape, or is not finite and ≥ 0.
    """

    def __init__(self, n_voxels: int, settings: PreprocessorSettings,
                 feature_scale: NDArray[np.float32] | None = None, state: ScalerState | None = None) -> None:
        self._settings = settings
        self._window = max(settings.drift_tau_s / settings.tr_s, 1.0)
        self._prior_count = settings.scale_prior_s / settings.tr_s
        self._settle_volumes = math.ceil(settings.settle_s / settings.tr_s - 1e-9)
        scale = np.full(n_voxels, _UNSEEDED_SCALE) if feature_scale is None else np.array(feature_scale, np.float64)
        if scale.shape != (n_voxels,) or not np.isfinite(scale).all() or (scale < 0.0).any():
            raise VolumeError(f"feature_scale has shape {scale.shape}, wanted ({n_voxels},) finite values ≥ 0; "
                              "take it from the bundle that names these voxels")
        self._prior_variance = np.square(np.maximum(scale, _SMALLEST_SCALE))
        state = state or ScalerState(np.zeros(n_voxels), np.zeros(n_voxels), 0.0, 0)
        self._mean, self._spread = state.mean.copy(), state.spread.copy()
        self._count, self._elapsed = state.count, state.elapsed
        self._nuisance = Nuisance(n_voxels, settings, state.nuisance) if settings.has_regression else None
        self._scratch = np.empty((3, n_voxels))

    @property
    def settling(self) -> bool:
        """Whether the next volume still belongs to the run's start."""
        return self._elapsed < self._settle_volumes

    @property
    def has_baseline(self) -> bool:
        """Whether any volume has been learnt from."""
        return self._count > 0.0

    @property
    def tsnr(self) -> float | None:
        """Temporal signal-to-noise ratio of the run so far; None while it has too few volumes."""
        return tsnr(self._mean, self._spread, self._count)

    def push(self, samples: NDArray[np.float32], censored: bool,
             pose: NDArray[np.float64] | None = None,
             tissue_percent: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Features of one volume.

        Parameters
        ----------
        samples : float32 array of shape (n_voxels,)
            Motion-corrected intensities, finite.
        censored : bool
            Score the volume, but learn nothing from it.
        pose : float64 array of shape (6,) or None
            Of `pose_parameters`; may be left out where no motion is regressed out.
        tissue_percent : float64 array of shape (2,) or None
            Of `TissueSampler`; may be left out where no tissue is regressed out.

        Returns
        -------
        features : float32 array of shape (n_voxels,)
            Z-scores, finite; zeros while settling or before any volume was learnt from. A new array.

        Raises
        ------
        VolumeError
            `samples`, or the pose or means that the settings ask for, have another shape.
        """
        if samples.shape != self._mean.shape:
            raise VolumeError(f"samples have shape {samples.shape}, wanted {self._mean.shape}: one per decoder voxel")
        features = np.zeros(samples.shape, np.float32)
        nuisance = self._nuisance
        regressors = None
        if nuisance is not None:
            regressors = nuisance.regressors(pose, self._elapsed, not censored, tissue_percent)
        settling, before = self.settling, self._count
        self._elapsed += 1
        if settling:
            return features
        if censored:
            self._age()
        else:
            self._count = min(self._count + 1.0, self._window)
        if not self.has_baseline:
            return features
        weight = 0.0 if censored else 1.0 / self._count
        samples = np.ascontiguousarray(samples, np.float32)
        if nuisance is None or regressors is None:
            scale_samples(samples, self._mean, self._spread, self._prior_variance, self._count, weight,
                          self._prior_count, self._settings.feature_limit, features)
        else:
            ahead = nuisance.gains(regressors, before)
            step = nuisance.learn(regressors, weight)
            scale_residuals(samples, self._mean, self._spread, nuisance.voxel_cross, self._prior_variance, step, ahead,
                            nuisance.gains(regressors, self._count), self._count, weight, self._prior_count,
                            self._settings.feature_limit, self._scratch, features)
        return features

    def skip(self) -> None:
        """Let the time of one lost volume pass; nothing takes its place."""
        self._elapsed += 1
        self._age()

    def state(self) -> ScalerState:
        """Everything remembered, as copies."""
        nuisance = None if self._nuisance is None else self._nuisance.state()
        return ScalerState(self._mean.copy(), self._spread.copy(), self._count, self._elapsed, nuisance)

    def _age(self) -> None:
        self._count *= 1.0 - 1.0 / self._window
