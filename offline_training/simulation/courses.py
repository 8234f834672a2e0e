"""What a run's noise does over time, the same at every voxel: movement, breathing, pulse, shared noise, drift."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.motion import head_motion, pose_changes
from offline_training.simulation.settings import MotionSettings, ScannerSettings

_AR_SHARED_S = 1.5
_SHARED_KEPT = 0.7  # of the shared noise, after so many seconds
_RESPIRATION_HZ, _HEART_HZ = 0.27, 1.17
_FD_RADIUS_MM = 50.0
N_SHARED = 60  # courses of noise that many voxels have in common


@dataclass(frozen=True, eq=False)
class RunCourses:
    """Everything of a run that is not music and is not drawn for each voxel.

    Attributes
    ----------
    respiration, pulse : float32 arrays of shape (n_volumes, nz)
        Breathing and heart beat at the time of every slice, amplitude 1.
    transforms : float64 array of shape (n_volumes, 4, 4)
        mm to mm: a point of the head in its reference position to where it is now.
    weights : float32 array of shape (n_volumes, N_SHARED + 14)
        Of a phantom's maps: shared noise, two drifts, six movements and their changes.
    displacement_mm : float64 array of shape (n_volumes,)
        Framewise displacement (Power et al. 2012).
    """

    respiration: NDArray[np.float32]
    pulse: NDArray[np.float32]
    transforms: NDArray[np.float64]
    weights: NDArray[np.float32]
    displacement_mm: NDArray[np.float64]


def run_courses(rng: np.random.Generator, n_volumes: int, affine: NDArray[np.float64], motion: MotionSettings,
                scanner: ScannerSettings, rest: NDArray[np.float64]) -> RunCourses:
    """Draw the courses of one run.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of this run.
    n_volumes : int
    affine : float64 array of shape (4, 4)
        Voxel of the scanner's grid to mm.
    motion : MotionSettings
    scanner : ScannerSettings
    rest : float64 array of shape (6,)
        Where the head lies in this session: mm, then degrees.
    """
    respiration, pulse = _physiology(rng, n_volumes, scanner)
    centre_mm = affine[:3, :3] @ ((np.array(scanner.shape) - 1) / 2) + affine[:3, 3]
    transforms = head_motion(motion, respiration[:, 0].astype(np.float64), scanner.tr_s, centre_mm, rng, rest)
    slow = _slow_weights(rng, n_volumes, scanner.tr_s)
    changes = pose_changes(transforms, centre_mm)
    moved = np.abs(changes[:, 6:9]).sum(axis=1) + _FD_RADIUS_MM * np.deg2rad(np.abs(changes[:, 9:])).sum(axis=1)
    weights = np.concatenate([slow, changes], axis=1).astype(np.float32)
    return RunCourses(respiration, pulse, transforms, weights, moved)


def session_rest(seed: int, session: int, motion: MotionSettings) -> NDArray[np.float64]:
    """Where the head lies in a session, (6,) in mm and degrees; the first is the reference."""
    if session == 0:
        return np.zeros(6)
    return np.asarray(np.random.default_rng([seed, 7, session]).normal(0, motion.session_mm, 6))


def _physiology(rng: np.random.Generator, n_volumes: int,
                scanner: ScannerSettings) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Phases that wander: nobody breathes like a metronome."""
    step_s = 0.05
    n_steps = int(np.ceil(n_volumes * scanner.tr_s / step_s)) + 1
    times_s = np.arange(n_volumes)[:, None] * scanner.tr_s + np.array(scanner.slice_times_s())

    def wave(hertz: float, wander: float) -> NDArray[np.float32]:
        rate = rng.uniform(0.9, 1.1) * hertz
        phase = 2 * np.pi * (rate * step_s * np.arange(n_steps) + rng.random())
        phase += wander * np.sqrt(step_s) * 2 * np.pi * np.cumsum(rng.standard_normal(n_steps)) * 0.5
        return np.asarray(np.interp(times_s, step_s * np.arange(n_steps), np.sin(phase)), np.float32)

    return wave(_RESPIRATION_HZ, 0.12), wave(_HEART_HZ, 0.25)


def _slow_weights(rng: np.random.Generator, n_volumes: int, tr_s: float) -> NDArray[np.float64]:
    """AR(1) courses of the shared noise, then a line and a cosine for the drifts; (n_volumes, N_SHARED + 2)."""
    kept = _SHARED_KEPT ** (tr_s / _AR_SHARED_S)
    course = rng.standard_normal((n_volumes, N_SHARED))
    for t in range(1, n_volumes):
        course[t] = kept * course[t - 1] + np.sqrt(1 - kept**2) * course[t]
    line = np.linspace(-1, 1, n_volumes) * np.sqrt(3.0)
    wave = np.sqrt(2.0) * np.cos(np.pi * np.linspace(0, 2, n_volumes) + rng.uniform(0, 2 * np.pi))
    drift = np.stack([line, wave], axis=1) * rng.choice([-1.0, 1.0], 2)
    return np.concatenate([course, drift], axis=1)
