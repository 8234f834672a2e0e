"""How far apart two sets of music lie: the kernel audio distance, and what chance makes of it.

The kernel audio distance (KAD, arXiv 2502.15602, equations 4 and 5) is the unbiased squared maximum mean
discrepancy of two sets of embeddings under a Gaussian kernel whose width is the median distance within the
reference, times 100. Unlike Fréchet's it is not biased by how few pieces there are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SCALE = 100.0


@dataclass(frozen=True)
class KernelDistance:
    """A distance beside the same with the sets shuffled.

    Attributes
    ----------
    value : float
        Near 0, and below it as often as above, where both sets are of one kind.
    permuted_p95 : float
        95 % of random divisions of all pieces into two sets stay at or below it.
    p_value : float
        Share of divisions, this one counted, that reach `value`.
    n_reference, n : int
    """

    value: float
    permuted_p95: float
    p_value: float
    n_reference: int
    n: int


def kernel_distance(reference: NDArray[np.floating], music: NDArray[np.floating], n_permutations: int = 1000,
                    seed: int = 0) -> KernelDistance:
    """KAD of music to a reference.

    Parameters
    ----------
    reference, music : float arrays of shapes (n, dim) and (m, dim)
        Finite embeddings of one space; at least two rows each.
    n_permutations : int
        Divisions drawn for the null.
    seed : int
        Of the draw.

    Raises
    ------
    ValueError
        Fewer than two rows, other dimensions, or NaN.
    """
    rows = [np.asarray(part, np.float64) for part in (reference, music)]
    if any(part.ndim != 2 or len(part) < 2 for part in rows) or rows[0].shape[1] != rows[1].shape[1] or not all(
            np.isfinite(part).all() for part in rows):
        raise ValueError(f"sets of shapes {rows[0].shape} and {rows[1].shape} have no kernel distance; wanted finite "
                         "(n, d) and (m, d) with at least two rows each")
    n = len(rows[0])
    pooled = np.concatenate(rows)
    squares = np.square(pooled).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2.0 * pooled @ pooled.T, 0.0)
    width = float(np.median(distances[:n, :n][np.triu_indices(n, 1)])) or 1.0
    kernel = np.exp(-distances / (2.0 * width))
    np.fill_diagonal(kernel, 0.0)
    value = _discrepancy(kernel, np.arange(len(pooled)) < n)
    rng = np.random.default_rng(seed)
    null = np.array([_discrepancy(kernel, rng.permutation(len(pooled)) < n) for _ in range(n_permutations)])
    reached = int((null >= value - 1e-12).sum())
    return KernelDistance(value, float(np.quantile(null, 0.95)), (1 + reached) / (1 + n_permutations), n, len(rows[1]))


def _discrepancy(kernel: Floats, first: NDArray[np.bool_]) -> float:
    n, m = int(first.sum()), int((~first).sum())
    inside = kernel @ first
    same = float(inside[first].sum()) / (n * (n - 1))
    across = float(inside[~first].sum()) / (n * m)
    other = float((kernel.sum(axis=1) - inside)[~first].sum()) / (m * (m - 1))
    return SCALE * (same + other - 2.0 * across)
