"""One simulated run: a moving, breathing head in a noisy scanner, volume by volume.

What is left out: movement within a volume and geometric distortion. What distortion and the history of the spins
do to the signal after a movement is a pattern at the edges, in proportion to the movement (`artefact_percent`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.kernels import acquire, detect, sum_maps
from offline_training.simulation.motion import head_motion, pose_changes
from offline_training.simulation.settings import MotionSettings, ScannerSettings, SubjectSettings

_AR_OWN, _AR_SHARED_S = 0.4, 1.5  # AR(1) at any TR; the shared noise keeps 0.7 of its value for 1.5 s
_SHARED_KEPT = 0.7
_RESPIRATION_HZ, _HEART_HZ = 0.27, 1.1
_T1_VOLUMES = 12
N_SHARED = 60  # courses of noise that many voxels have in common


@dataclass(frozen=True, eq=False)
class Phantom:
    """A person as the scanner meets them; everything a worker process needs. Head arrays are (mz, my, mx).

    Attributes
    ----------
    affine : float64 array of shape (4, 4)
        Voxel of the scanner's grid to mm.
    coefficients : float32 array of shape (mz, my, mx)
        B-spline coefficients of the anatomy.
    brain, auditory : int64 arrays of shape (n_brain,) and (n_auditory,)
        Flat indices into the head's grid.
    maps : float32 array of shape (n_maps, n_brain)
        Patterns of 60 courses of shared noise, of linear and of periodic drift, and, for a person with
        artefacts, of 12 movements; relative signal change.
    respiration, pulse, fluid : float32 arrays of shape (mz, my, mx)
        Amplitude of physiological noise, relative; share of cerebrospinal fluid.
    gain : float32 array of shape (nz, ny, nx)
        Receive field, fixed in the scanner.
    pad : int
        Voxels that the head's grid extends beyond the scanner's on every side.
    """

    affine: NDArray[np.float64]
    coefficients: NDArray[np.float32]
    brain: NDArray[np.int64]
    auditory: NDArray[np.int64]
    maps: NDArray[np.float32]
    respiration: NDArray[np.float32]
    pulse: NDArray[np.float32]
    fluid: NDArray[np.float32]
    gain: NDArray[np.float32]
    pad: int


@dataclass(frozen=True, eq=False)
class Recording:
    """What a run gave: int16 volumes of shape (n_volumes, nz, ny, nx), and the true motion (n_volumes, 4, 4)."""

    volumes: NDArray[np.int16]
    motion: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Physiology:
    """Breathing and pulse at the time of every slice: float32 arrays of shape (n_volumes, nz)."""

    respiration: NDArray[np.float32]
    pulse: NDArray[np.float32]


def record_run(
    phantom: Phantom, signal: NDArray[np.float32], settings: tuple[SubjectSettings, MotionSettings, ScannerSettings],
    seed: np.random.SeedSequence,
) -> Recording:
    """Scan one run.

    Parameters
    ----------
    phantom : Phantom
        The person.
    signal : float32 array of shape (n_volumes, n_auditory)
        Relative signal change that music evokes.
    settings : tuple
        Of subject, motion and scanner.
    seed : numpy.random.SeedSequence
        Of this run.
    """
    subject, motion, scanner = settings
    slow_rng, noise_rng = (np.random.default_rng(child) for child in seed.spawn(2))
    n_volumes = len(signal)
    physiology = _physiology(slow_rng, n_volumes, scanner)
    centre_mm = phantom.affine[:3, :3] @ ((np.array(scanner.shape) - 1) / 2) + phantom.affine[:3, 3]
    transforms = head_motion(motion, physiology.respiration[:, 0].astype(np.float64), scanner.tr_s, centre_mm, slow_rng)
    weights = _slow_weights(slow_rng, n_volumes, scanner.tr_s)
    if len(phantom.maps) > weights.shape[1]:
        weights = np.concatenate([weights, pose_changes(transforms, centre_mm).astype(np.float32)], axis=1)
    shape = (scanner.shape[2], scanner.shape[1], scanner.shape[0])
    volumes = np.empty((n_volumes, *shape), np.int16)
    noise = _VoxelNoise(noise_rng, shape, subject, scanner)
    image, field = np.empty(shape, np.float32), np.zeros(phantom.coefficients.shape, np.float32)
    scratch = np.empty(len(phantom.brain), np.float32)
    for t in range(n_volumes):
        sum_maps(field.reshape(-1), phantom.brain, phantom.maps, weights[t], scratch)
        _add_fast_changes(field, phantom, signal[t], physiology, t)
        acquire(image, phantom.coefficients, field, _to_head(phantom, transforms[t]))
        own, thermal = noise.draw()
        detect(volumes[t], image, phantom.gain, own, thermal)
        field[...] = 0.0
    return Recording(volumes, transforms)


def _to_head(phantom: Phantom, transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxel of the scanner to voxel of the head's grid, shape (3, 4)."""
    to_head = np.linalg.inv(phantom.affine) @ np.linalg.inv(transform) @ phantom.affine
    to_head[:3, 3] += phantom.pad
    return np.ascontiguousarray(to_head[:3])


def _add_fast_changes(field: NDArray[np.float32], phantom: Phantom, signal: NDArray[np.float32],
                      physiology: Physiology, t: int) -> None:
    """Add music, breathing, pulse and the approach to the steady state of the first volumes, in place."""
    field.reshape(-1)[phantom.auditory] += signal
    slices = np.clip(np.arange(field.shape[0]) - phantom.pad, 0, physiology.pulse.shape[1] - 1)
    field += phantom.respiration * physiology.respiration[t, slices][:, None, None]
    field += phantom.pulse * physiology.pulse[t, slices][:, None, None]
    if t < _T1_VOLUMES:  # fluid has the longer T1: brighter at first, and for longer
        fresh = (0.7 * 0.25**t) * (1 - phantom.fluid) + (1.6 * 0.45**t) * phantom.fluid
        field += fresh.astype(np.float32) * (1 + field)


def _physiology(rng: np.random.Generator, n_volumes: int, scanner: ScannerSettings) -> Physiology:
    """Phases that wander: nobody breathes like a metronome."""
    step_s = 0.05
    n_steps = int(np.ceil(n_volumes * scanner.tr_s / step_s)) + 1
    times_s = np.arange(n_volumes)[:, None] * scanner.tr_s + np.array(scanner.slice_times_s())
    waves = []
    for hertz, wander in ((_RESPIRATION_HZ, 0.12), (_HEART_HZ, 0.25)):
        rate = rng.uniform(0.9, 1.1) * hertz
        phase = 2 * np.pi * (rate * step_s * np.arange(n_steps) + rng.random())
        phase += wander * np.sqrt(step_s) * 2 * np.pi * np.cumsum(rng.standard_normal(n_steps)) * 0.5
        waves.append(np.interp(times_s, step_s * np.arange(n_steps), np.sin(phase)).astype(np.float32))
    return Physiology(*waves)


def _slow_weights(rng: np.random.Generator, n_volumes: int, tr_s: float) -> NDArray[np.float32]:
    """AR(1) courses of the shared noise, then a line and a cosine for the drifts; (n_volumes, N_SHARED + 2)."""
    kept = _SHARED_KEPT ** (tr_s / _AR_SHARED_S)
    course = rng.standard_normal((n_volumes, N_SHARED))
    for t in range(1, n_volumes):
        course[t] = kept * course[t - 1] + np.sqrt(1 - kept**2) * course[t]
    line = np.linspace(-1, 1, n_volumes) * np.sqrt(3.0)
    wave = np.sqrt(2.0) * np.cos(np.pi * np.linspace(0, 2, n_volumes) + rng.uniform(0, 2 * np.pi))
    drift = np.stack([line, wave], axis=1) * rng.choice([-1.0, 1.0], 2)
    return np.concatenate([course, drift], axis=1).astype(np.float32)


class _VoxelNoise:
    """Noise of each voxel on its own: AR(1), relative, and thermal, in the scanner's units."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], subject: SubjectSettings,
                 scanner: ScannerSettings) -> None:
        self._rng = rng
        total = 0.01 * subject.noise_percent
        own_share = max(0.0, 1 - subject.shared_noise - subject.thermal_noise)
        self._own_sd = np.float32(total * np.sqrt(own_share))
        self._thermal_sd = np.float32(total * np.sqrt(subject.thermal_noise) * scanner.intensity)
        self._own = self._own_sd * rng.standard_normal(shape, np.float32)
        self._fresh = np.empty(shape, np.float32)
        self._thermal = np.empty((2, *shape), np.float32)

    def draw(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Noise of the next volume; both arrays are overwritten by the next call."""
        self._rng.standard_normal(out=self._fresh, dtype=np.float32)
        self._own *= np.float32(_AR_OWN)
        self._fresh *= self._own_sd * np.float32(np.sqrt(1 - _AR_OWN**2))
        self._own += self._fresh
        self._rng.standard_normal(out=self._thermal, dtype=np.float32)
        self._thermal *= self._thermal_sd
        return self._own, self._thermal
