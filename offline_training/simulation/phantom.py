"""From a head and its settings to what the simulated scanner needs."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.simulation.anatomy import PAD, Head
from offline_training.simulation.courses import N_SHARED
from offline_training.simulation.scanner import Phantom
from offline_training.simulation.settings import ScannerSettings, SubjectSettings

_SHARED_FWHM_VOXELS = 3.0
_ARTEFACT_SD_VOXELS = 2.0
_N_MOVEMENTS = 12  # three shifts and three turns, and their changes


def build_phantom(head: Head, subject: SubjectSettings, scanner: ScannerSettings) -> Phantom:
    """Spline coefficients, noise maps, physiological maps and receive field of one person in one scanner."""
    brain = np.flatnonzero(head.brain)
    rng = np.random.default_rng([subject.seed, 5])
    breath = ndimage.gaussian_filter(rng.standard_normal(head.grey.shape), 4.0)
    respiration = 0.01 * subject.respiration_percent * head.brain * (0.5 + 0.5 * breath / np.abs(breath).max())
    pulse = 0.01 * subject.cardiac_percent * head.brain * head.fluid
    maps = _noise_maps(rng, head, brain, subject)
    if subject.artefact_percent > 0:
        maps = np.concatenate([maps, _artefact_maps(head, brain, subject)])
    return Phantom(
        affine=head.affine,
        coefficients=np.ascontiguousarray(ndimage.spline_filter(head.intensity, 3, np.float32, mode="constant")),
        brain=brain.astype(np.int64),
        auditory=head.auditory,
        maps=maps,
        respiration=respiration.astype(np.float32),
        pulse=pulse.astype(np.float32),
        fluid=head.fluid,
        gain=_receive_field(scanner),
        noise_level=np.ascontiguousarray(head.noise_level[PAD:-PAD, PAD:-PAD, PAD:-PAD]),
        pad=PAD,
    )


def _artefact_maps(head: Head, brain: NDArray[np.intp], subject: SubjectSettings) -> NDArray[np.float32]:
    """Signal change per mm or degree of each movement, large where the anatomy has edges: (12, n_brain)."""
    rng = np.random.default_rng([subject.seed, 6])
    steep = np.sqrt(sum(np.gradient(head.intensity.astype(np.float64), axis=axis) ** 2 for axis in range(3)))
    edges = steep.reshape(-1)[brain] / np.percentile(steep.reshape(-1)[brain], 95)
    maps = np.empty((_N_MOVEMENTS, len(brain)), np.float32)
    for row in maps:
        smooth = ndimage.gaussian_filter(rng.standard_normal(head.grey.shape, np.float32), _ARTEFACT_SD_VOXELS)
        row[:] = smooth.reshape(-1)[brain]
        row *= 0.01 * subject.artefact_percent * np.minimum(edges, 1.0) / row.std()
    return maps


def _noise_maps(rng: np.random.Generator, head: Head, brain: NDArray[np.intp],
                subject: SubjectSettings) -> NDArray[np.float32]:
    """Patterns of the shared noise, variance falling as 1/k, then of the two drifts: (62, n_brain)."""
    low, high = (edge(np.argwhere(head.brain), axis=0) for edge in (np.min, np.max))
    box = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
    inside = head.brain[box]
    maps = np.empty((N_SHARED + 2, len(brain)), np.float32)
    for row in maps:
        white = rng.standard_normal(inside.shape, np.float32)
        row[:] = ndimage.gaussian_filter(white, _SHARED_FWHM_VOXELS / 2.355, truncate=3.0)[inside]
        row /= row.std()
    sd = 0.01 * subject.noise_percent
    shared = maps[:N_SHARED]
    shared *= (np.arange(1, N_SHARED + 1, dtype=np.float32) ** -0.5)[:, None]
    shared *= np.float32(sd * np.sqrt(subject.shared_noise)) / np.sqrt((shared**2).sum(axis=0))
    maps[N_SHARED:] *= np.float32(sd * subject.drift)
    maps *= head.noise_level.reshape(-1)[brain]
    return maps


def _receive_field(scanner: ScannerSettings) -> NDArray[np.float32]:
    """Brighter towards the coil elements around the head; mean near 1, shape (nz, ny, nx)."""
    nx, ny, nz = scanner.shape
    z, y, x = np.meshgrid(np.linspace(-1, 1, nz), np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    radius = 0.8 * (x**2 + y**2) + 0.3 * z**2
    lopsided = 0.35 * x * (1 + 0.4 * y) - 0.3 * y + 0.2 * z
    return np.asarray(1 + scanner.bias * (radius - 0.35 + 0.5 * lopsided), np.float32)
