"""Regions of a simulated head: auditory cortex in six, as the published decoder's, and the rest of the grey matter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from offline_training.errors import SimulationError
from offline_training.simulation.anatomy import PAD, Head

PUBLISHED_SIZES = (296, 70, 61, 109, 218, 706)
"""Voxels of the six regions of Brain2Music's first subject (arXiv 2307.11078, appendix), 1460 in all."""

_GREY = 0.4


@dataclass(frozen=True, eq=False)
class Parcels:
    """Voxels and the region of each.

    Attributes
    ----------
    voxels : int64 array of shape (n_voxels,)
        Flat indices into the head's grid; the auditory ones first, in the head's order.
    regions : intp array of shape (n_voxels,)
        Index into `names`.
    names : tuple of str
    """

    voxels: NDArray[np.int64]
    regions: NDArray[np.intp]
    names: tuple[str, ...]


def parcellate(head: Head, seed: int, n_others: int = 0, voxels_each: int = 100) -> Parcels:
    """Divide auditory cortex in proportion to `PUBLISHED_SIZES`, and cut other regions from the grey matter.

    Auditory regions are slabs along the Sylvian fissure, one hemisphere after the other. Other regions
    are compact, hold `voxels_each` voxels, and respond to nothing.

    Raises
    ------
    SimulationError
        There is too little grey matter for so many regions.
    """
    shape = head.grey.shape
    z, y, x = np.unravel_index(head.auditory, shape)
    along = np.lexsort((z, y, x > np.median(x)))
    edges = np.round(np.cumsum(PUBLISHED_SIZES) / sum(PUBLISHED_SIZES) * len(along)).astype(int)
    regions = np.empty(len(along), np.intp)
    regions[along] = np.searchsorted(edges, np.arange(len(along)), side="right")
    names = [f"auditory-{k + 1}" for k in range(len(PUBLISHED_SIZES))]
    voxels = [head.auditory]
    free = np.zeros(shape, bool)
    free[PAD:-PAD, PAD:-PAD, PAD:-PAD] = (head.grey > _GREY)[PAD:-PAD, PAD:-PAD, PAD:-PAD]
    free.reshape(-1)[head.auditory] = False
    left = np.flatnonzero(free)
    if len(left) < n_others * voxels_each:
        raise SimulationError(f"{n_others} regions of {voxels_each} voxels need {n_others * voxels_each} voxels of "
                              f"grey matter outside auditory cortex, there are {len(left)}; ask for fewer or smaller "
                              "ones")
    rng = np.random.default_rng([seed, 10])
    for k in range(n_others):
        at = np.stack(np.unravel_index(left, shape), axis=1)
        _, nearest = cKDTree(at).query(at[rng.integers(len(at))], voxels_each)
        nearest = np.atleast_1d(nearest)
        voxels.append(np.sort(left[nearest]).astype(np.int64))
        left = np.delete(left, nearest)
        regions = np.append(regions, np.full(voxels_each, len(names), np.intp))
        names.append(f"other-{k + 1:03d}")
    return Parcels(np.concatenate(voxels), regions, tuple(names))
