"""One volume in, decoder features out: align, sample, remove drift, score."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.alignment import Aligner, Alignment
from realtime.preprocessing.kernels import repair
from realtime.preprocessing.nuisance import pose_parameters
from realtime.preprocessing.quality import dvars_percent, tsnr
from realtime.preprocessing.rigid import Pose, checked_affine, framewise_displacement_mm, voxel_sizes
from realtime.preprocessing.sampling import VoxelSampler
from realtime.preprocessing.scaling import CausalScaler
from realtime.preprocessing.settings import PreprocessorSettings
from realtime.preprocessing.slice_timing import acquired_after, at_volume_start
from realtime.preprocessing.state import PreprocessorState
from realtime.preprocessing.tissues import TissueSampler, checked_tissues

_LARGEST_INTENSITY = 1e30   # beyond it, float32 sums of a few voxels may overflow


@dataclass(frozen=True, eq=False)
class PreprocessedVolume:
    """What one volume became. All arrays are the caller's to keep; nothing in them is NaN.

    Attributes
    ----------
    features : float32 array of shape (n_voxels,)
        Z-scores; zeros while settling.
    samples : float32 array of shape (n_voxels,)
        Motion-corrected intensities before drift removal, scanner units; with slice times, as of the
        volume's start.
    motion : float64 array of shape (4, 4)
        Millimetres to millimetres: a point of the reference's world to the same tissue in this
        volume's world.
    framewise_displacement_mm : float
        Against the last volume whose alignment could be trusted; 0 for a run's first volume, and
        when this volume's could not (`trusted` False).
    censored : bool
        Nothing was learnt from this volume: it moved too far, its alignment cannot be trusted, or
        voxels had to be repaired.
    ready : bool
        Features carry signal: the run has settled and a baseline exists.
    gain : float
        Volume / reference intensity of the head.
    iterations : int
        Gauss-Newton steps.
    converged : bool
        The last of them was smaller than `stop_mm`.
    trusted : bool
        `motion` is this volume's own. False: no estimate explained the volume, and `motion` and
        `gain` are those of the last volume that was trusted.
    repaired_voxels : int
        Voxels that were NaN or infinite.
    pose : float64 array of shape (6,)
        `motion` as translations of the head's centre and turns, mm (`pose_parameters`).
    dvars_percent : float or None
        Root mean square change of the decoder's voxels since the last volume that came, in percent
        of their mean intensity, before any slice timing; None for the first.
    tsnr : float or None
        Temporal signal-to-noise ratio of the decoder's voxels, median, over what the run's
        statistics stand for; None while they stand for too little.
    tissue_percent : float64 array of shape (2,) or None
        Mean of white matter and of cerebrospinal fluid, percent of the reference's (`TissueSampler`);
        None where they are not asked for.
    """

    features: NDArray[np.float32]
    samples: NDArray[np.float32]
    motion: NDArray[np.float64]
    framewise_displacement_mm: float
    censored: bool
    ready: bool
    gain: float
    iterations: int
    converged: bool
    trusted: bool
    repaired_voxels: int
    pose: NDArray[np.float64]
    dvars_percent: float | None
    tsnr: float | None
    tissue_percent: NDArray[np.float64] | None


class Preprocessor:
    """Turns the volumes of one run into decoder features, each from itself and the past alone.

    The same class serves the scanner and the training. The output is a function of the sequence
    of calls: no clock, no random source, and the same bits on any x86-64 machine.

    Parameters
    ----------
    reference : real array of shape (nx, ny, nz)
        Image that volumes are aligned to; scanner units, finite. Copied.
    affine : array of shape (4, 4)
        Voxel to mm of the reference.
    voxels : integer array of shape (n_voxels, 3)
        The decoder's voxels, indices into the reference.
    settings : PreprocessorSettings
    feature_scale : float32 array of shape (n_voxels,) or None
        SD of each voxel in training as a fraction of its mean; None while it is not known.
    tissues : integer array of shape (nx, ny, nz) or None
        0, 1 white matter, 2 cerebrospinal fluid; looked at only with `nuisance_tissues`.

    Raises
    ------
    VolumeError
        An argument does not fit the others, or the reference has nothing to align to.
    """

    def __init__(self, reference: NDArray[Any], affine: NDArray[Any], voxels: NDArray[Any],
                 settings: PreprocessorSettings, feature_scale: NDArray[Any] | None = None,
                 tissues: NDArray[Any] | None = None) -> None:
        self._settings = settings
        self._reference = _canonical(reference, "reference")
        if not (np.abs(self._reference) <= _LARGEST_INTENSITY).all():
            raise VolumeError("the reference holds NaN, infinity or voxels beyond 1e30; make it again from whole "
                              "volumes")
        self._affine = checked_affine(affine)
        self._voxels = _checked_voxels(voxels, self._reference.shape[::-1])
        self._feature_scale = None if feature_scale is None else np.array(feature_scale, np.float32)
        self._scaler = CausalScaler(len(self._voxels), settings, self._feature_scale)
        self._aligner = Aligner(self._reference, self._affine, settings)
        self._sampler = VoxelSampler(self._affine, self._voxels, settings.smoothing_fwhm_mm)
        self._tissues = self._tissue_sampler = None
        if settings.nuisance_tissues:
            self._tissues = checked_tissues(tissues, self._reference.shape[::-1])
            self._tissue_sampler = TissueSampler(self._tissues, self._reference, self._affine)
        self._last: Alignment | None = None
        self._buffer = np.empty_like(self._reference)  # fresh pages for every volume cost 0.9 ms at 96 x 96 x 72
        self._last_samples: NDArray[np.float32] | None = None
        self._volumes_since = 0
        self._slice_times_s = np.array(settings.slice_times_s)
        if len(self._slice_times_s) not in (0, self._reference.shape[0]):
            raise VolumeError(f"{len(self._slice_times_s)} slice times for {self._reference.shape[0]} slices; give one "
                              "per slice, or none")

    def push(self, volume: NDArray[Any], affine: NDArray[Any] | None = None) -> PreprocessedVolume:
        """Features of the next volume.

        Parameters
        ----------
        volume : real array of shape (nx, ny, nz)
            Any integer or float type, byte order and memory order; unchanged. Some voxels may be
            NaN or infinite (`repairable_fraction`).
        affine : array of shape (4, 4) or None
            The volume's own voxel-to-mm matrix where it differs from the reference's.

        Returns
        -------
        step : PreprocessedVolume

        Raises
        ------
        VolumeError
            Wrong shape, type or voxel size, or too many voxels without a value. The state is
            unchanged: treat the volume as lost (`skip`).
        """
        canonical = _canonical(volume, "volume", self._buffer)
        if canonical.shape != self._reference.shape:
            raise VolumeError(f"volume has shape {canonical.shape[::-1]}, wanted {self._reference.shape[::-1]} as the "
                              "reference; use the protocol the reference was made with")
        own_affine = self._affine if affine is None else self._checked_own_affine(affine)
        last_gain = 1.0 if self._last is None else self._last.gain
        n_repaired = 0
        if np.asarray(volume).dtype.kind == "f":  # no integer is damaged, or larger
            n_repaired = int(repair(canonical, self._reference, last_gain, _LARGEST_INTENSITY))
        if n_repaired > self._settings.repairable_fraction * canonical.size:
            raise VolumeError(f"{n_repaired} of {canonical.size} voxels are NaN or infinite, at most "
                              f"{self._settings.repairable_fraction:.2%} can be filled; treat the volume as lost")
        return self._process(canonical, own_affine, n_repaired)

    def _process(self, volume: NDArray[np.float32], affine: NDArray[np.float64],
                 n_repaired: int) -> PreprocessedVolume:
        found = self._aligner.align(volume, affine, self._last)
        displacement_mm = 0.0
        if found.trusted:
            if self._last is not None:
                displacement_mm = framewise_displacement_mm(self._last.pose, found.pose)
            self._last = found
        held = self._last
        motion = np.eye(4) if held is None else held.pose.motion(self._aligner.centre)
        tissue_percent = None  # read first: smoothing for the decoder's voxels changes the volume
        if self._tissue_sampler is not None:
            tissue_percent = self._tissue_sampler.percent(volume, affine, motion)
        read = self._sampler.sample_in_place(volume, affine, motion)
        samples = self._at_volume_start(read, affine, motion)
        censored = not found.trusted or n_repaired > 0 or displacement_mm > self._settings.censor_fd_mm
        settling = self._scaler.settling
        pose = pose_parameters(motion, self._aligner.centre)
        features = self._scaler.push(samples, censored, pose, tissue_percent)
        change = None if self._last_samples is None else dvars_percent(read, self._last_samples)
        self._last_samples, self._volumes_since = read.copy(), 0
        return PreprocessedVolume(
            features=features, samples=samples, motion=motion, framewise_displacement_mm=displacement_mm,
            censored=censored, ready=not settling and self._scaler.has_baseline,
            gain=1.0 if held is None else held.gain, iterations=found.iterations, converged=found.converged,
            trusted=found.trusted, repaired_voxels=n_repaired, pose=pose, dvars_percent=change,
            tsnr=self._scaler.tsnr, tissue_percent=tissue_percent)

    def _at_volume_start(self, read: NDArray[np.float32], affine: NDArray[np.float64],
                         motion: NDArray[np.float64]) -> NDArray[np.float32]:
        """What was read, less the change since the volume's start where slice times are known."""
        if self._last_samples is None or not len(self._slice_times_s):
            return read
        after_s = acquired_after(self._slice_times_s, self._sampler.transform(affine, motion), self._voxels)
        apart_s = (self._volumes_since + 1) * self._settings.tr_s
        return at_volume_start(read, self._last_samples, after_s, apart_s)

    def skip(self) -> None:
        """Let the time of one lost volume pass.

        The head is looked for next where it last was; the baseline ages by one volume
        (`CausalScaler`); no value is made up.
        """
        self._scaler.skip()
        self._volumes_since += 1

    def state(self) -> PreprocessorState:
        """Everything that decides what comes next, as copies."""
        scaler = self._scaler.state()
        scale = None if self._feature_scale is None else self._feature_scale.copy()
        nuisance = scaler.nuisance
        seen = self._last_samples
        last = self._last or Alignment(Pose(np.eye(3), self._aligner.centre), 1.0, 0.0, 0.0, 0, False)
        return PreprocessorState(
            settings=self._settings, reference=self._reference.T.copy(), affine=self._affine.copy(),
            voxels=self._voxels.copy(), feature_scale=scale,
            rotation=last.pose.rotation.copy(), position=last.pose.position.copy(), gain=last.gain,
            residual=last.residual, aligned=self._last is not None, mean=scaler.mean, spread=scaler.spread,
            count=scaler.count, elapsed=scaler.elapsed, last_samples=None if seen is None else seen.copy(),
            volumes_since=self._volumes_since,
            regressor_mean=None if nuisance is None else nuisance.mean,
            regressor_cross=None if nuisance is None else nuisance.cross,
            voxel_cross=None if nuisance is None else nuisance.voxel_cross,
            poses=None if nuisance is None else nuisance.poses,
            tissues=None if self._tissues is None else self._tissues.copy())

    @classmethod
    def restore(cls, state: PreprocessorState) -> "Preprocessor":
        """A preprocessor that goes on exactly where `state` was taken, bit for bit."""
        restored = cls(state.reference, state.affine, state.voxels, state.settings, state.feature_scale, state.tissues)
        if state.aligned:
            pose = Pose(state.rotation.copy(), state.position.copy())
            restored._last = Alignment(pose, state.gain, state.residual, 1.0, 0, True)
        restored._scaler = CausalScaler(len(state.voxels), state.settings, state.feature_scale, state.scaler())
        restored._last_samples = None if state.last_samples is None else state.last_samples.copy()
        restored._volumes_since = state.volumes_since
        return restored

    def warm_up(self) -> None:
        """Compile every kernel on a throwaway copy; the state stays as it is.

        What a run's header announces makes no difference: volumes of every type and memory order
        are copied to one layout of float32 before a kernel sees them.

        The first call in a process takes 0.5 s with numba's cache and about 14 s without.
        """
        copy = Preprocessor(self._reference.T, self._affine, self._voxels, self._settings, self._feature_scale,
                            self._tissues)
        volumes_to_first_score = math.ceil(self._settings.settle_s / self._settings.tr_s) + 1
        for _ in range(max(volumes_to_first_score, 2)):  # the second is the first that can be compared with one before
            copy.push(self._reference.T)
        copy.skip()
        ones = np.ones(len(self._voxels))
        tsnr(ones, ones, 1000.0)  # a run asks for it only once enough volumes stand behind it

    def _checked_own_affine(self, affine: NDArray[Any]) -> NDArray[np.float64]:
        own = checked_affine(affine)
        got, wanted = voxel_sizes(own), voxel_sizes(self._affine)
        if any(abs(a - b) > 0.01 * b for a, b in zip(got, wanted, strict=True)):
            raise VolumeError(f"volume has voxels of {got} mm, wanted {wanted} mm as the reference; use the protocol "
                              "the reference was made with")
        return own


def _canonical(volume: NDArray[Any], name: str, buffer: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """A float32 copy in layout (nz, ny, nx), x fastest, the one the kernels know; in `buffer` if that fits."""
    array = np.asarray(volume)
    if array.ndim != 3 or array.dtype.kind not in "iufb":
        raise VolumeError(f"{name} has shape {array.shape} and type {array.dtype}, wanted three dimensions of real "
                          "numbers; pass one 3-D magnitude image")
    if buffer is None or buffer.shape != array.T.shape:
        buffer = np.empty(array.T.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(buffer, array.T, casting="unsafe")
    return buffer


def _checked_voxels(voxels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int32]:
    array = np.asarray(voxels)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0 or array.dtype.kind not in "iu":
        raise VolumeError(f"voxels have shape {array.shape} and type {array.dtype}, wanted (n, 3) integers, n ≥ 1")
    if (array < 0).any() or (array >= np.array(shape)).any():
        raise VolumeError(f"voxels lie outside the reference of shape {shape}; take both from the same bundle")
    return np.array(array, np.int32, order="C")
