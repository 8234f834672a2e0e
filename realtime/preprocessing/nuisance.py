"""What the signal follows besides the music, trend, movement and other tissues, learnt and removed causally."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.nuisance_kernels import learn_regressors, regression_gains
from realtime.preprocessing.settings import PreprocessorSettings
from realtime.preprocessing.tissues import TISSUES

_RADIUS_MM = 50.0           # turns count as the way of a point this far from the axis, as in framewise displacement
_TREND_RIDGE = 10.0         # In volumes: the noise variance over the expected variance of a coefficient, of the change
_MOTION_RIDGE = 100.0       # per time constant and per mm. On simulated runs smaller ones cost accuracy: slow movement
                            # and the slow part of the response resemble each other (docs/decisions/0008).
_TISSUE_RIDGE = 1.0         # Per percent: a voxel is expected to follow it by about one SD of its noise.


@dataclass(frozen=True, eq=False)
class NuisanceState:
    """Everything a `Nuisance` remembers.

    Attributes
    ----------
    mean : float64 array of shape (k,)
        Weighted mean of the regressors.
    cross : float64 array of shape (k, k)
        Their weighted covariance.
    voxel_cross : float64 array of shape (k, n_voxels)
        Their weighted covariance with the samples.
    poses : float64 array of shape (2, 6) or None
        The run's first trusted pose and the last one; None before there is one.
    """

    mean: NDArray[np.float64]
    cross: NDArray[np.float64]
    voxel_cross: NDArray[np.float64]
    poses: NDArray[np.float64] | None


class Nuisance:
    """Regressors of the volumes of a run, and the covariances that predict a voxel's signal from them.

    Recursive least squares with forgetting, in its information form: what is kept are covariances,
    not coefficients and the inverse matrix P. The regressors are common to all voxels, so one small
    system is solved per volume. A ridge that is never forgotten keeps a still head from winding the
    estimate up, as it does where P is kept; it stands for the coefficients expected beforehand.

    * "trend": time, so that the baseline is a weighted regression line instead of a mean.
    * Tissues: means of white matter and cerebrospinal fluid (`TissueSampler`).
    * 6 motion regressors: translations of the head's centre (mm) and turns (2·tan(θ/2), in mm at
      50 mm), against the run's first trusted pose.
    * 12: and their changes since the last volume; 24: and the squares of those 12 (Friston et al.
      1996, Magn. Reson. Med. 35:346, with changes in place of the previous values as in
      Satterthwaite et al. 2013, NeuroImage 64:240).

    Parameters
    ----------
    n_voxels : int
    settings : PreprocessorSettings
    state : NuisanceState or None
        Where to go on; None at the start of a run.
    """

    def __init__(self, n_voxels: int, settings: PreprocessorSettings, state: NuisanceState | None = None) -> None:
        self._settings = settings
        n_trend, n_motion = int(settings.drift == "trend"), settings.nuisance_motion
        n_tissues = len(TISSUES) if settings.nuisance_tissues else 0
        k = n_trend + n_tissues + n_motion
        self.ridge = np.array([_TREND_RIDGE] * n_trend + [_TISSUE_RIDGE] * n_tissues + [_MOTION_RIDGE] * n_motion)
        self._tissues = slice(n_trend, n_trend + n_tissues)
        state = state or NuisanceState(np.zeros(k), np.zeros((k, k)), np.zeros((k, n_voxels)), None)
        self._mean, self._cross = state.mean.copy(), state.cross.copy()
        self.voxel_cross = state.voxel_cross.copy()
        self._poses = None if state.poses is None else state.poses.copy()

    def regressors(self, pose: NDArray[np.float64] | None, elapsed: int, trusted: bool,
                   tissue_percent: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Regressors (k,) of a volume, and its pose becomes the last one.

        Parameters
        ----------
        pose : float64 array of shape (6,) or None
            Of `pose_parameters`; None only where no motion is regressed out.
        elapsed : int
            Volumes since the run's start.
        trusted : bool
            False: the pose is held from an earlier volume and starts no run.
        tissue_percent : float64 array of shape (2,) or None
            Of `TissueSampler`; None only where no tissue is regressed out.

        Raises
        ------
        VolumeError
            The pose or the tissues' means are missing or have another shape.
        """
        settings = self._settings
        out = np.zeros(len(self._mean))
        if settings.drift == "trend":
            out[0] = elapsed * settings.tr_s / settings.drift_tau_s
        if settings.nuisance_tissues:
            out[self._tissues] = _checked_means(tissue_percent)
        if not settings.nuisance_motion:
            return out
        if pose is None or pose.shape != (6,):
            raise VolumeError(f"pose has shape {None if pose is None else pose.shape}, wanted (6,): "
                              f"{settings.nuisance_motion} motion regressors need it with every volume")
        if self._poses is None and trusted:
            self._poses = np.stack([pose, pose])
        if self._poses is not None:
            motion = np.concatenate([pose - self._poses[0], pose - self._poses[1]])
            motion = np.concatenate([motion, motion * motion])
            out[len(out) - settings.nuisance_motion:] = motion[:settings.nuisance_motion]
            self._poses[1] = pose
        return out

    def gains(self, regressors: NDArray[np.float64], count: float) -> NDArray[np.float64]:
        """What to multiply `voxel_cross` with to predict the samples' deviation from their mean, shape (k,)."""
        out = np.empty(len(self._mean))
        regression_gains(self._cross, self.ridge, count, regressors - self._mean, out)
        return out

    def learn(self, regressors: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
        """Take the regressors into their mean and covariance; how far they lay from the mean before, shape (k,)."""
        step = regressors - self._mean
        learn_regressors(self._mean, self._cross, step, weight)
        return step

    def state(self) -> NuisanceState:
        """Everything remembered, as copies."""
        return NuisanceState(self._mean.copy(), self._cross.copy(), self.voxel_cross.copy(),
                             None if self._poses is None else self._poses.copy())


def _checked_means(tissue_percent: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if tissue_percent is None or tissue_percent.shape != (len(TISSUES),):
        shape = None if tissue_percent is None else tissue_percent.shape
        raise VolumeError(f"tissue_percent has shape {shape}, wanted ({len(TISSUES)},): the means of "
                          f"{' and '.join(TISSUES)} are needed with every volume")
    return tissue_percent


def pose_parameters(motion: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the head is: translation of its centre and turn about x, y, z, all in mm, shape (6,).

    Parameters
    ----------
    motion : float64 array of shape (4, 4)
        Millimetres to millimetres, reference to volume.
    centre : float64 array of shape (3,)
        The head's centre in the reference's world.

    Notes
    -----
    A turn is 2·tan(θ/2) at 50 mm, for 1 degree 3e-5 more than θ: no arctangent is called.
    """
    r = motion
    scale = max(1.0 + r[0, 0] + r[1, 1] + r[2, 2], 1e-6)
    turn = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) * (2.0 * _RADIUS_MM / scale)
    moved = r[:3, 0] * centre[0] + r[:3, 1] * centre[1] + r[:3, 2] * centre[2] + r[:3, 3]
    return np.concatenate([moved - centre, turn])
