"""A head with exactly known motion: intensity is a formula of position, so no interpolation is in the truth."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHAPE = (64, 64, 36)
VOXEL_MM = (3.0, 3.0, 3.5)


@dataclass(frozen=True, eq=False)
class Phantom:
    """An ellipsoid with a soft rim, filled with smooth blobs.

    Attributes
    ----------
    shape : tuple of int
    affine : float64 array of shape (4, 4)
        Voxel to mm; the world's origin is the middle of the grid.
    semiaxes_mm : float64 array of shape (3,)
    blobs : float64 array of shape (n, 5)
        x, y, z, width (mm) and relative height of each blob.
    """

    shape: tuple[int, int, int]
    affine: Array
    semiaxes_mm: Array
    blobs: Array

    def volume(self, motion: Array | None = None, noise: float = 0.0, seed: int = 0, gain: float = 1.0,
               affine: Array | None = None) -> Array:
        """Image (nx, ny, nz), about 800 inside, of the head moved by `motion` (mm to mm), with Rician noise of this SD.

        Blobs are round, so along the axes of any grid each is a product of three one-dimensional Gaussians.
        """
        own = self.affine if affine is None else affine
        sizes = np.linalg.norm(own[:3, :3], axis=0)
        to_head = np.linalg.inv(np.eye(4) if motion is None else motion) @ own / np.append(sizes, 1.0)
        axes_mm = [size * np.arange(n) for size, n in zip(sizes, self.shape, strict=True)]
        points = np.stack(np.meshgrid(*axes_mm, indexing="ij"), axis=-1) @ to_head[:3, :3].T + to_head[:3, 3]
        radius = np.sqrt(((points / self.semiaxes_mm) ** 2).sum(axis=-1))
        centres = (self.blobs[:, :3] - to_head[:3, 3]) @ to_head[:3, :3]
        x, y, z = (np.exp(-((axis - centre[:, None]) ** 2) / (2.0 * self.blobs[:, 3:4] ** 2))
                   for axis, centre in zip(axes_mm, centres.T, strict=True))
        texture = np.tensordot(np.einsum("b,bx,by->bxy", self.blobs[:, 4], x, y), z, axes=(0, 0))
        image = gain * 800.0 * (1.0 + texture) / (1.0 + np.exp(np.clip(25.0 * (radius - 1.0), -60.0, 60.0)))
        if noise > 0.0:
            random = np.random.default_rng(seed)
            image = np.hypot(image + random.normal(0.0, noise, image.shape), random.normal(0.0, noise, image.shape))
        return np.asarray(image)

    @cached_property
    def still(self) -> Array:
        """The unmoved head without noise."""
        return self.volume()

    def head_voxels(self, n: int, seed: int = 0) -> NDArray[np.int32]:
        """`n` random voxels (n, 3) well inside the head."""
        inside = np.argwhere(self.still > 500.0)
        return np.random.default_rng(seed).permutation(inside)[:n].astype(np.int32)

    def error_mm(self, estimate: Array, truth: Array) -> float:
        """Root mean square distance over the head between two motions."""
        inside = np.argwhere(self.still > 400.0) @ self.affine[:3, :3].T + self.affine[:3, 3]
        difference = estimate - truth
        return float(np.sqrt(((inside @ difference[:3, :3].T + difference[:3, 3]) ** 2).sum(axis=1).mean()))


def make_phantom(shape: tuple[int, int, int] = SHAPE, voxel_mm: tuple[float, float, float] = VOXEL_MM,
                 n_blobs: int = 60, seed: int = 0) -> Phantom:
    """A phantom whose head fills three quarters of the grid."""
    random = np.random.default_rng(seed)
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = -0.5 * np.array(voxel_mm) * (np.array(shape) - 1)
    semiaxes_mm = np.array((0.36, 0.43, 0.42)) * np.array(voxel_mm) * np.array(shape)
    scale = float(semiaxes_mm.mean() / 65.0)
    blobs = np.column_stack([random.uniform(-0.85, 0.85, (n_blobs, 3)) * semiaxes_mm,
                             scale * random.uniform(4.0, 10.0, n_blobs), random.uniform(-0.5, 0.6, n_blobs)])
    return Phantom(shape, affine, semiaxes_mm, blobs)


def rigid(angles_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Array:
    """Motion matrix: rotations about x, then y, then z through the origin, then a translation."""
    matrix = np.eye(4)
    for axis, angle in enumerate(map(math.radians, angles_deg)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[j, i], turn[i, j] = math.sin(angle), -math.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift_mm
    return matrix


def wandering(n_volumes: int, step: float = 0.15, seed: int = 1) -> list[Array]:
    """Motions of a head that drifts: a random walk of this many mm and degrees per volume."""
    walk = np.random.default_rng(seed).normal(0.0, step, (n_volumes, 6)).cumsum(axis=0)
    return [rigid(tuple(row[:3]), tuple(row[3:])) for row in walk]
