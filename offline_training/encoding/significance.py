"""Whether a voxel is predicted better than chance: shuffled clips, false discovery rate, noise ceiling.

Brain2Music tested against a Gaussian null over voxels' correlations, which is not the null of the question: clips, not
voxels, are what was drawn. Here the clips that predictions belong to are shuffled, with the design kept
(`offline_training.scores.shuffling`), the same shuffles for all voxels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from offline_training.scores.repeats import unit_columns

Floats = NDArray[np.float64]
LEVEL = 0.05
_BLOCK_VOXELS = 4096
_LOWEST_CEILING = 0.1  # of a correlation: dividing by less says more of the ceiling's noise than of the voxel


@dataclass(frozen=True, eq=False)
class VoxelScores:
    """How well each voxel is predicted.

    Attributes
    ----------
    r : float64 array of shape (n_voxels,)
        Pearson's correlation of predicted and measured responses over clips; NaN where either does not vary.
    p, q : float64 arrays of shape (n_voxels,)
        (1 + b) / (1 + n), b of n shuffles reaching r; and that adjusted for the false discovery rate (Benjamini and
        Hochberg 1995). 1 where r is NaN.
    p_family : float64 array of shape (n_voxels,)
        Share of shuffles whose best voxel reaches r: error anywhere in the brain is controlled (Nichols & Holmes 2002).
    ceiling : float64 array of shape (n_voxels,)
        Largest correlation that the repeats allow any model, the root of their reliability; NaN where it is not known.
    null_p95 : float64 array of shape (n_voxels,)
        95 % of shuffles stay below.
    n_rows, n_permutations, seed : int
    """

    r: Floats
    p: Floats
    q: Floats
    p_family: Floats
    ceiling: Floats
    null_p95: Floats
    n_rows: int
    n_permutations: int
    seed: int

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Voxels at a false discovery rate of 0.05."""
        return np.asarray(self.q <= LEVEL)

    @property
    def normalised(self) -> Floats:
        """Correlation over its ceiling; NaN where the ceiling is below 0.1 or not known."""
        return self.r / np.where(self.ceiling >= _LOWEST_CEILING, self.ceiling, np.nan)

    @property
    def fewest(self) -> int:
        """Voxels that must reach the smallest possible p before any can be significant."""
        return int(np.ceil(np.isfinite(self.r).sum() / (1 + self.n_permutations) / LEVEL))


def score_voxels(predicted: NDArray[np.float32], measured: NDArray[np.float32], assigned: NDArray[np.intp], seed: int,
                 ceiling: Floats | None = None) -> VoxelScores:
    """Correlate, and test by shuffles.

    Parameters
    ----------
    predicted, measured : float32 arrays of shape (n_rows, n_voxels)
        Rows are clips, or trials of clips that were heard once.
    assigned : intp array of shape (n_permutations, n_rows)
        Row whose prediction each row gets, of `shuffles` over a design whose clips are the rows.
    seed : int
        Of the shuffles, to be named.
    ceiling : float64 array of shape (n_voxels,), optional

    Notes
    -----
    Voxels are taken in blocks: memory beyond the two arrays is that of a block, however many voxels there are.
    """
    n_voxels = predicted.shape[1]
    r, p, p95 = np.full(n_voxels, np.nan), np.ones(n_voxels), np.full(n_voxels, np.nan)
    best = np.full(len(assigned), -np.inf)
    for start in range(0, n_voxels, _BLOCK_VOXELS):
        columns = slice(start, start + _BLOCK_VOXELS)
        a, b = unit_columns(predicted[:, columns]), unit_columns(measured[:, columns])
        varies = (np.abs(a).max(axis=0) > 0) & (np.abs(b).max(axis=0) > 0)
        drawn = np.stack([np.einsum("ij,ij->j", a[rows], b) for rows in assigned])
        own = np.einsum("ij,ij->j", a, b)
        r[columns] = np.where(varies, own, np.nan)
        reached = (drawn >= own - 1e-6).sum(axis=0)
        p[columns] = np.where(varies, (1 + reached) / (1 + len(assigned)), 1.0)
        p95[columns] = np.where(varies, np.quantile(drawn, 0.95, axis=0), np.nan)
        if varies.any():
            best = np.maximum(best, drawn[:, varies].max(axis=1))
    there, q = np.isfinite(r), np.ones(n_voxels)
    q[there] = false_discovery_control(p[there]) if there.any() else 1.0
    ordered = np.sort(best)
    family = (1 + len(best) - np.searchsorted(ordered, r - 1e-6, side="left")) / (1 + len(best))
    ceiling = np.full(n_voxels, np.nan) if ceiling is None else ceiling
    return VoxelScores(r, p, q, np.where(there, family, 1.0), ceiling, p95, len(predicted), len(assigned), seed)
