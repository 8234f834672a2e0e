"""The shipped decoder: a bundle's linear ONNX graph."""

import numpy as np
from numpy.typing import NDArray

from realtime.bundle import Bundle
from realtime.errors import BundleError
from realtime.messages import EmbeddingSpace
from realtime.onnx_graph import OnnxGraph


class OnnxDecoder:
    """Implements `realtime.ports.Decoder` for a bundle's `decoder.onnx`.

    A 6000 × 128 product takes 0.1 ms. Outputs repeat as `OnnxGraph` promises.

    Parameters
    ----------
    bundle : Bundle
        Its graph must take (1, n_voxels) float32 and give (1, dim) float32.

    Raises
    ------
    BundleError
        The graph cannot be loaded, wants files beside it, has other shapes, or gives NaN.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._space = bundle.manifest.space
        self._n_voxels = len(bundle.voxels)
        name = bundle.manifest.name
        self._graph = OnnxGraph(bundle.onnx, f"the decoder of bundle {name!r}", BundleError, "export the bundle again")
        self._graph.insist({"": [1, self._n_voxels]}, {"": [1, self._space.dim]})
        if not np.isfinite(self.decode(np.zeros(self._n_voxels, np.float32))).all():
            raise BundleError(f"the decoder of bundle {name!r} gives NaN for features of zero; its weights are "
                              "damaged, train again")

    @property
    def space(self) -> EmbeddingSpace:
        """The space it predicts in."""
        return self._space

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding of shape (dim,) for finite features of shape (n_voxels,); a new array."""
        row = np.ascontiguousarray(features, np.float32).reshape(1, self._n_voxels)
        embedding: NDArray[np.float32] = self._graph.run(row)[0][0]
        return embedding
