"""The token model's network: one token in, scores of the next one out, on ONNX.

A model is a folder that `innerear generator train` makes::

    spec.json       embedding space, sizes, sha256 of the graph and the themes, how it was made
    model.onnx      one step: token, condition, cache and the cache's ages in; scores and a new entry out
    themes.npz      the library of themes for the same space
    report.json     how good it is
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import GeneratorError
from realtime.generators.state import Memory
from realtime.generators.tokens import VOCABULARY
from realtime.messages import EmbeddingSpace
from realtime.onnx_graph import OnnxGraph

FORMAT_VERSION = 3
_NEVER = np.float32(1e6)  # the age of what is not there: no attention reaches so far
_REMEDY = "train it again with: innerear generator train"


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of the network and identity of its conditions.

    Attributes
    ----------
    space : EmbeddingSpace
        Of its conditions.
    n_layers, n_heads, head_size, window : int
        Of its attention; `window` tokens are remembered.
    """

    space: EmbeddingSpace
    n_layers: int
    n_heads: int
    head_size: int
    window: int

    @property
    def cache_shape(self) -> tuple[int, int, int, int, int]:
        """Keys and values of every layer and head, slot by slot."""
        return (self.n_layers, 2, self.n_heads, self.window, self.head_size)


class TokenModel:
    """The network with its memory of the last tokens, a ring.

    Parameters
    ----------
    spec : ModelSpec
        Sizes.
    graph : bytes
        The ONNX file.
    owner : str
        Whose it is, for messages.
    """

    def __init__(self, spec: ModelSpec, graph: bytes, owner: str) -> None:
        self.spec = spec
        self.sha256 = hashlib.sha256(graph).hexdigest()
        self._graph = OnnxGraph(graph, owner, GeneratorError, _REMEDY)
        entry = [size for place, size in enumerate(spec.cache_shape) if place != 3]
        self._graph.insist({"tokens": [1], "condition": [1, spec.space.dim], "cache": list(spec.cache_shape),
                            "ages": [spec.window]}, {"scores": [1, VOCABULARY.size], "entry": list(entry)})
        self._cache = np.zeros(spec.cache_shape, np.float32)
        self._ages = np.full(spec.window, _NEVER)
        self._slot = 0

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions."""
        return self.spec.space

    def step(self, token: int, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of every token that may follow, shape (VOCABULARY.size,), under an embedding of shape (dim,)."""
        self._ages = np.minimum(self._ages + np.float32(1), _NEVER)
        scores, entry = self._graph.run(np.array([token], np.int64), embedding[None], self._cache, self._ages)
        self._cache[:, :, :, self._slot] = entry
        self._ages[self._slot] = 0.0
        self._slot = (self._slot + 1) % self.spec.window
        row: NDArray[np.float32] = scores[0]
        return row

    def memory(self) -> Memory:
        """The last tokens, as the network keeps them."""
        return {"cache": self._cache, "ages": self._ages, "slot": self._slot}

    def remember(self, memory: Memory) -> None:
        """Go on from what `memory` gave."""
        self._cache, self._ages, self._slot = memory["cache"], memory["ages"], memory["slot"]


def read_token_model(folder: Path) -> TokenModel:
    """The model in a folder; GeneratorError when there is none, or its files are not what its spec says."""
    spec = read_spec(folder)
    graph = _checked(folder, "model.onnx", spec)
    try:
        sizes = ModelSpec(EmbeddingSpace(**spec["space"]), *(int(spec[name]) for name in (
            "n_layers", "n_heads", "head_size", "window")))
    except (KeyError, TypeError, ValueError) as exc:
        raise GeneratorError(f"{folder / 'spec.json'} does not describe a token model ({exc!r}); {_REMEDY}") from exc
    if spec.get("n_tokens") != VOCABULARY.size:
        raise GeneratorError(f"the token model in {folder} knows {spec.get('n_tokens')} tokens, this program has "
                             f"{VOCABULARY.size}; {_REMEDY}")
    return TokenModel(sizes, graph, f"the token model in {folder}")


def read_spec(folder: Path) -> dict[str, Any]:
    """The spec of a generator's folder; GeneratorError when there is none of this version."""
    path = folder / "spec.json"
    try:
        spec = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise GeneratorError(f"no generator in {folder}: {path} cannot be read ({exc}); {_REMEDY}") from exc
    version = spec.get("format_version") if isinstance(spec, dict) else None
    if version != FORMAT_VERSION:
        raise GeneratorError(f"{path} has format version {version!r}, this program reads {FORMAT_VERSION}; {_REMEDY}")
    return dict(spec)


def _checked(folder: Path, name: str, spec: dict[str, Any]) -> bytes:
    """A file whose bytes are those that its spec names."""
    try:
        content = (folder / name).read_bytes()
    except OSError as exc:
        raise GeneratorError(f"{folder / name} cannot be read ({exc.strerror}); {_REMEDY}") from exc
    wanted = spec.get("sha256", {}).get(name)
    got = hashlib.sha256(content).hexdigest()
    if got != wanted:
        raise GeneratorError(f"{folder / name} has sha256 {got[:16]}, its spec says {str(wanted)[:16]}: the file has "
                             f"changed; {_REMEDY}")
    return content
