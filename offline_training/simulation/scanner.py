"""One simulated run: a moving, breathing head in a noisy scanner, volume by volume.

What is left out: movement within a volume and geometric distortion. What distortion and the history of the spins
do to the signal after a movement is a pattern at the edges, in proportion to the movement (`artefact_percent`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.courses import RunCourses, run_courses
from offline_training.simulation.kernels import acquire, detect, sum_maps
from offline_training.simulation.settings import MotionSettings, ScannerSettings, SubjectSettings

AR_OWN = 0.4  # AR(1) of each voxel's own noise, at any TR
T1_VOLUMES = 12


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
    gain, noise_level : float32 arrays of shape (nz, ny, nx)
        Receive field, and size of each voxel's own noise relative to the brain's; fixed in the scanner.
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
    noise_level: NDArray[np.float32]
    pad: int


@dataclass(frozen=True, eq=False)
class Recording:
    """What a run gave: int16 volumes of shape (n_volumes, nz, ny, nx), and the true motion (n_volumes, 4, 4)."""

    volumes: NDArray[np.int16]
    motion: NDArray[np.float64]


def record_run(
    phantom: Phantom, signal: NDArray[np.float32], settings: tuple[SubjectSettings, MotionSettings, ScannerSettings],
    seed: np.random.SeedSequence, rest: NDArray[np.float64],
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
    rest : float64 array of shape (6,)
        Where the head lies in this session, see `courses.session_rest`.
    """
    subject, motion, scanner = settings
    slow, noise_rng = run_generators(seed)
    n_volumes = len(signal)
    courses = run_courses(slow, n_volumes, phantom.affine, motion, scanner, rest)
    weights = np.ascontiguousarray(courses.weights[:, : len(phantom.maps)])
    shape = (scanner.shape[2], scanner.shape[1], scanner.shape[0])
    volumes = np.empty((n_volumes, *shape), np.int16)
    noise = _VoxelNoise(noise_rng, phantom.noise_level, subject, scanner)
    image, field = np.empty(shape, np.float32), np.zeros(phantom.coefficients.shape, np.float32)
    scratch = np.empty(len(phantom.brain), np.float32)
    for t in range(n_volumes):
        sum_maps(field.reshape(-1), phantom.brain, phantom.maps, weights[t], scratch)
        _add_fast_changes(field, phantom, signal[t], courses, t)
        acquire(image, phantom.coefficients, field, _to_head(phantom, courses.transforms[t]))
        own, thermal = noise.draw()
        detect(volumes[t], image, phantom.gain, own, thermal)
        field[...] = 0.0
    return Recording(volumes, courses.transforms)


def run_generators(seed: np.random.SeedSequence) -> tuple[np.random.Generator, np.random.Generator]:
    """Chance of a run's courses, and of what is drawn for each voxel."""
    slow, fast = (np.random.default_rng(child) for child in seed.spawn(2))
    return slow, fast


def _to_head(phantom: Phantom, transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxel of the scanner to voxel of the head's grid, shape (3, 4)."""
    to_head = np.linalg.inv(phantom.affine) @ np.linalg.inv(transform) @ phantom.affine
    to_head[:3, 3] += phantom.pad
    return np.ascontiguousarray(to_head[:3])


def _add_fast_changes(field: NDArray[np.float32], phantom: Phantom, signal: NDArray[np.float32],
                      courses: RunCourses, t: int) -> None:
    """Add music, breathing, pulse and the approach to the steady state of the first volumes, in place."""
    field.reshape(-1)[phantom.auditory] += signal
    slices = np.clip(np.arange(field.shape[0]) - phantom.pad, 0, courses.pulse.shape[1] - 1)
    field += phantom.respiration * courses.respiration[t, slices][:, None, None]
    field += phantom.pulse * courses.pulse[t, slices][:, None, None]
    if t < T1_VOLUMES:  # fluid has the longer T1: brighter at first, and for longer
        field += fresh_magnetisation(phantom.fluid, t) * (1 + field)


def fresh_magnetisation(fluid: NDArray[np.float32], t: int) -> NDArray[np.float32]:
    """How much brighter than in the steady state volume `t` of a run is, for a share `fluid` of fluid; relative."""
    fresh: NDArray[np.float32] = ((0.7 * 0.25**t) * (1 - fluid) + (1.6 * 0.45**t) * fluid).astype(np.float32)
    return fresh


class _VoxelNoise:
    """Noise of each voxel on its own: AR(1), relative, and thermal, in the scanner's units."""

    def __init__(self, rng: np.random.Generator, level: NDArray[np.float32], subject: SubjectSettings,
                 scanner: ScannerSettings) -> None:
        self._rng, shape = rng, level.shape
        total = 0.01 * subject.noise_percent
        own_share = max(0.0, 1 - subject.shared_noise - subject.thermal_noise)
        self._own_sd = np.float32(total * np.sqrt(own_share)) * level
        self._thermal_sd = np.float32(total * np.sqrt(subject.thermal_noise) * scanner.intensity)
        self._own = self._own_sd * rng.standard_normal(shape, np.float32)
        self._fresh = np.empty(shape, np.float32)
        self._thermal = np.empty((2, *shape), np.float32)

    def draw(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Noise of the next volume; both arrays are overwritten by the next call."""
        self._rng.standard_normal(out=self._fresh, dtype=np.float32)
        self._own *= np.float32(AR_OWN)
        self._fresh *= self._own_sd * np.float32(np.sqrt(1 - AR_OWN**2))
        self._own += self._fresh
        self._rng.standard_normal(out=self._thermal, dtype=np.float32)
        self._thermal *= self._thermal_sd
        return self._own, self._thermal
