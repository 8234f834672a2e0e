"""What a fit gives and a bundle holds: an affine map from some voxels to an embedding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Features to embedding: ((x − mu) / sigma) @ weights + intercept, everything float64.

    Attributes
    ----------
    voxels : intp array of shape (n_kept,)
        Columns of the responses it reads, increasing.
    mu, sigma : arrays of shape (n_kept,)
        What is taken off those columns, and what they are then divided by; sigma above 0.
    weights : array of shape (n_kept, dim)
    intercept : array of shape (dim,)
    """

    voxels: NDArray[np.intp]
    mu: Floats
    sigma: Floats
    weights: Floats
    intercept: Floats

    def predict(self, features: NDArray[np.floating]) -> Floats:
        """Embeddings (..., dim) of rows (..., n_voxels) of all voxels."""
        return self.apply(features[..., self.voxels])

    def apply(self, chosen: NDArray[np.floating]) -> Floats:
        """Embeddings (..., dim) of rows (..., n_kept) of its own voxels."""
        return ((np.asarray(chosen, np.float64) - self.mu) / self.sigma) @ self.weights + self.intercept
