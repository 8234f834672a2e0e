"""Rigid motion and affines, bit for bit the same on every machine: no BLAS, no LAPACK, no trigonometry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.rigid_kernels import multiply

_FD_RADIUS_MM = 50.0


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the head is, in the world of one volume.

    Attributes
    ----------
    rotation : float64 array of shape (3, 3)
        Turns directions of the reference's world into the volume's.
    position : float64 array of shape (3,)
        Millimetres; where the head's centre (a fixed point of the reference's world) has gone.
    """

    rotation: NDArray[np.float64]
    position: NDArray[np.float64]

    def motion(self, centre: NDArray[np.float64]) -> NDArray[np.float64]:
        """Matrix of shape (4, 4): a point of the reference's world to the same tissue in the volume's."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.position - apply(self.rotation, centre)
        return matrix


def product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix product (n, m) of (n, k) and (k, m), summed in index order."""
    out = np.empty((left.shape[0], right.shape[1]))
    multiply(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return out


def apply(rotation: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of a (3, 3) matrix and a (3,) vector."""
    return product(rotation, point.reshape(3, 1)).reshape(3)


def voxel_sizes(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Millimetres per voxel along x, y, z of a (4, 4) affine."""
    squares = affine[:3, :3] * affine[:3, :3]
    x, y, z = np.sqrt(squares[0] + squares[1] + squares[2]).tolist()
    return x, y, z


def checked_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxel-to-mm matrix as a new float64 array.

    Raises
    ------
    VolumeError
        It has another shape, holds NaN or infinity, or cannot be inverted.
    """
    matrix = np.array(affine, np.float64)
    if matrix.shape != (4, 4):
        raise VolumeError(f"affine has shape {matrix.shape}, wanted (4, 4): pass the image's voxel-to-mm matrix")
    if not np.isfinite(matrix).all():
        raise VolumeError("affine holds NaN or infinity; read the image's geometry again")
    sizes = voxel_sizes(matrix)
    if abs(_determinant(matrix)) < 1e-6 * sizes[0] * sizes[1] * sizes[2] or min(sizes) < 1e-3:
        raise VolumeError(f"affine cannot be inverted (voxel sizes {sizes} mm); read the image's geometry again")
    return matrix


def inverse_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a (4, 4) affine by cofactors."""
    a = affine
    inverse = np.eye(4)
    for i in range(3):
        for j in range(3):
            i1, i2, j1, j2 = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            inverse[j, i] = a[i1, j1] * a[i2, j2] - a[i1, j2] * a[i2, j1]
    inverse[:3, :3] /= _determinant(a)
    inverse[:3, 3] = -apply(np.ascontiguousarray(inverse[:3, :3]), np.ascontiguousarray(a[:3, 3]))
    return inverse


def framewise_displacement_mm(before: Pose, after: Pose) -> float:
    """Sum of three absolute translations of the head's centre and three absolute rotations at 50 mm.

    Power et al. 2012, NeuroImage 59:2142. The angles are 2·tan(θ/2), for 1 degree 3e-5 more
    than θ, so that no arctangent is called.
    """
    relative = product(after.rotation, np.ascontiguousarray(before.rotation.T))
    skew = np.array([relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]])
    scale = max(1.0 + relative[0, 0] + relative[1, 1] + relative[2, 2], 1e-6)
    shift = np.abs(after.position - before.position)
    turn = np.abs(2.0 * skew / scale)
    return float(shift[0] + shift[1] + shift[2] + _FD_RADIUS_MM * (turn[0] + turn[1] + turn[2]))


def _determinant(a: NDArray[np.float64]) -> float:
    return float(a[0, 0] * (a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1])
                 - a[0, 1] * (a[1, 0] * a[2, 2] - a[1, 2] * a[2, 0])
                 + a[0, 2] * (a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0]))
