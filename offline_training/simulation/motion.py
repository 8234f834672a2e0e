"""Rigid movement of a simulated head."""

import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.settings import MotionSettings

_JERK_RECOVERY_S = 4.0


def head_motion(
    settings: MotionSettings, respiration: NDArray[np.float64], tr_s: float, centre_mm: NDArray[np.float64],
    rng: np.random.Generator, rest: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Where the head is at each volume of a run; it does not move within a volume.

    Parameters
    ----------
    settings : MotionSettings
        How much it moves.
    respiration : float64 array of shape (n_volumes,)
        Breathing at each volume, amplitude 1.
    tr_s : float
        Repetition time.
    centre_mm : float64 array of shape (3,)
        Point the head turns about, scanner world.
    rng : numpy.random.Generator
        Chance.
    rest : float64 array of shape (6,), optional
        Where the head lies in this session, in mm and degrees; in its reference position when left out.

    Returns
    -------
    transforms : float64 array of shape (n_volumes, 4, 4)
        mm to mm: a point of the head in its reference position to where it is now.
    """
    n = len(respiration)
    pose = np.tile(rng.normal(0, settings.offset_mm, 6), (n, 1))  # three translations in mm, three rotations in degrees
    ramp = np.linspace(0, 1, n)[:, None]
    bend = np.sin(np.pi * ramp * rng.uniform(0.5, 2.0, 6))
    pose += settings.drift_mm * (ramp * rng.normal(0, 1, 6) + 0.5 * bend * rng.normal(0, 1, 6))
    pose += np.cumsum(rng.normal(0, settings.walk_mm * np.sqrt(tr_s), (n, 6)), axis=0)
    for start in np.flatnonzero(rng.random(n) < settings.jerks_per_min * tr_s / 60):
        direction = rng.normal(0, 1, 6)
        size = rng.exponential(settings.jerk_mm) * direction / np.linalg.norm(direction)
        since_s = np.arange(n - start)[:, None] * tr_s
        pose[start:] += size * (0.5 + 0.5 * np.exp(-since_s / _JERK_RECOVERY_S))
    if settings.nod_mm > 0:
        pose += _nods(settings, n, tr_s, rng)
    pose[:, 2] += settings.breathing_mm * respiration
    pose += np.zeros(6) if rest is None else rest
    return np.stack([rigid(row[:3], np.deg2rad(row[3:]), centre_mm) for row in pose])


def _nods(settings: MotionSettings, n_volumes: int, tr_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A movement in one direction, of another size each time, at the start of every clip; (n_volumes, 6)."""
    direction = rng.normal(0, 1, 6)
    since_s = np.arange(n_volumes) * tr_s % settings.nod_every_s
    clip = (np.arange(n_volumes) * tr_s / settings.nod_every_s).astype(int)
    size = rng.exponential(settings.nod_mm, clip[-1] + 1)[clip] * np.exp(-since_s / _JERK_RECOVERY_S)
    return np.asarray(size[:, None] * direction / np.linalg.norm(direction))


def pose_changes(transforms: NDArray[np.float64], centre_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift of the centre (mm) and turn (degrees) of each volume, then their change since the one before; (n, 12)."""
    shift = transforms[:, :3, :3] @ centre_mm + transforms[:, :3, 3] - centre_mm
    r = transforms[:, :3, :3]
    turn = np.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1) / 2
    pose = np.concatenate([shift, np.rad2deg(turn)], axis=1)
    return np.concatenate([pose, np.diff(pose, axis=0, prepend=pose[:1])], axis=1)


def rigid(
    translation_mm: NDArray[np.float64], rotation_rad: NDArray[np.float64], centre_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Transform (4, 4) that turns about `centre_mm` by a rotation vector (Rodrigues), then shifts."""
    angle = float(np.linalg.norm(rotation_rad))
    x, y, z = rotation_rad / angle if angle > 0 else np.zeros(3)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    transform = np.eye(4)
    transform[:3, :3] += np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    transform[:3, 3] = centre_mm + translation_mm - transform[:3, :3] @ centre_mm
    return transform
