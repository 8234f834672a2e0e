"""From an embedding to the space of a text encoder: what a model that was made for words is told instead of words.

An adapter is an .npz: `spec` (JSON: embedding space, text encoder's checksum, how it was fitted),
`mean` and `scale` of the embeddings, shape (dim,), `weights` (dim, width) and `bias` (width,).
"""

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.atomic import write_bytes
from realtime.errors import GeneratorError
from realtime.messages import EmbeddingSpace


@dataclass(frozen=True, eq=False)
class TextAdapter:
    """A linear map; implements nothing, is asked by workers.

    Attributes
    ----------
    space : EmbeddingSpace
        Of the embeddings.
    encoder : str
        Checksum of the text encoder's weights that it was fitted to.
    mean, scale : float32 arrays of shape (dim,)
        What embeddings are standardised by.
    weights : float32 array of shape (dim, width)
        From the standardised embedding...
    bias : float32 array of shape (width,)
        ...to what the encoder says of the piece's caption on average.
    about : dict
        How it was fitted and how good it is, for people.
    """

    space: EmbeddingSpace
    encoder: str
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    about: dict[str, Any]

    def tell(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the text encoder would have said, shape (width,), for an embedding of shape (dim,)."""
        standard = (embedding.astype(np.float64) - self.mean) / self.scale
        told: NDArray[np.float32] = (standard @ self.weights + self.bias).astype(np.float32)
        return told

    def save(self, path: Path) -> None:
        """Write as .npz, atomically."""
        buffer = BytesIO()
        spec = {"space": asdict(self.space), "encoder": self.encoder, "about": self.about}
        np.savez(buffer, allow_pickle=False, spec=np.array(json.dumps(spec)), mean=self.mean, scale=self.scale,
                 weights=self.weights, bias=self.bias)
        write_bytes(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> "TextAdapter":
        """Read what `save` wrote; GeneratorError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                spec = json.loads(str(arrays["spec"]))
                read = TextAdapter(EmbeddingSpace(**spec["space"]), str(spec["encoder"]), arrays["mean"],
                                   arrays["scale"], arrays["weights"], arrays["bias"], dict(spec["about"]))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise GeneratorError(f"no adapter in {path} ({exc}); fit one with: innerear generator adapt") from exc
        width, dim = read.bias.shape, read.space.dim
        arrays_ = (read.mean, read.scale, read.weights, read.bias)
        shapes = [array.shape for array in arrays_]
        if shapes != [(dim,), (dim,), (dim, *width), width] or not all(np.isfinite(array).all() for array in arrays_):
            raise GeneratorError(f"the adapter in {path} has arrays of shapes {shapes} or holds NaN, wanted finite "
                                 f"ones for {read.space}; fit it again with: innerear generator adapt")
        return read
