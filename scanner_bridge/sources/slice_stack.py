"""Slices in the scanner's patient coordinates to one stack of voxels with an affine.

Voxels come out as dcm2niix stores them: columns, rows from the last to the first, slices along the
normal of rows and columns, so that a live run and its converted recording share one grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import UnfinishedError
from scanner_bridge.sources.dicom_image import Acquisition

_PATIENT_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE_MM = 0.01
"""Headers repeat a slice's position to the digit; what lies further away is another slice."""
_EVEN_MM = 0.1


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Where the slices of a series lie.

    Attributes
    ----------
    positions_mm : float64 array of shape (n_slices, 3)
        Of the slices' first pixels, along the normal, DICOM patient coordinates.
    affine : float64 array of shape (4, 4)
        Voxel index to millimetres, RAS+.
    """

    positions_mm: NDArray[np.float64]
    affine: NDArray[np.float64]

    def holds(self, position_mm: NDArray[np.float64]) -> bool:
        """Whether one of its slices lies there."""
        return bool(np.abs(self.positions_mm - position_mm).max(axis=1).min() <= SAME_PLACE_MM)


def normal_of(acquisition: Acquisition) -> NDArray[np.float64]:
    """Direction across the slices: the right-handed normal of row and column."""
    row, column = np.reshape(acquisition.orientation, (2, 3))
    return np.cross(row, column)


def stack_of(acquisition: Acquisition, positions_mm: NDArray[np.float64]) -> SliceStack:
    """The stack that all slices of a volume make.

    Parameters
    ----------
    acquisition : Acquisition
        Orientation and spacing.
    positions_mm : float64 array of shape (n_slices, 3)
        In any order.

    Raises
    ------
    UnfinishedError
        They do not lie behind each other at even distances: some are missing.
    """
    normal = normal_of(acquisition)
    positions = positions_mm[np.argsort(positions_mm @ normal, kind="stable")]
    n_slices = len(positions)
    step = (positions[-1] - positions[0]) / (n_slices - 1) if n_slices > 1 else normal
    if n_slices > 1 and (step @ normal < SAME_PLACE_MM or not _even(positions, step, normal)):
        raise UnfinishedError(f"its {n_slices} slices do not lie at even distances behind each other: some are missing")
    row, column = np.reshape(acquisition.orientation, (2, 3))
    between_rows_mm, between_columns_mm = acquisition.spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = row * between_columns_mm
    affine[:3, 1] = -column * between_rows_mm
    affine[:3, 2] = step
    affine[:3, 3] = positions[0] + column * between_rows_mm * (acquisition.rows - 1)
    return SliceStack(positions, _PATIENT_TO_RAS @ affine)


def is_even(acquisition: Acquisition, positions_mm: NDArray[np.float64]) -> bool:
    """Whether slices lie behind each other at even distances."""
    try:
        stack_of(acquisition, positions_mm)
    except UnfinishedError:
        return False
    return True


def _even(positions: NDArray[np.float64], step: NDArray[np.float64], normal: NDArray[np.float64]) -> bool:
    expected = positions[0] + np.outer(np.arange(len(positions)), step)
    across = np.linalg.norm(step - (step @ normal) * normal)
    return bool(np.abs(positions - expected).max() <= _EVEN_MM and across <= _EVEN_MM)
