"""The shipped decoder: a bundle's linear ONNX graph. The only owner of onnxruntime in decoding."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from realtime.bundle import Bundle
from realtime.errors import BundleError
from realtime.messages import EmbeddingSpace


class OnnxDecoder:
    """Implements `realtime.ports.Decoder` for a bundle's `decoder.onnx`.

    One thread, no spinning: a 6000 × 128 product takes 0.1 ms, and a pool would steal cores from
    the audio. Outputs repeat bit for bit on one build and CPU; nothing is promised across CPUs.

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
        # A tensor stored outside the graph names its file under the key "location", and the runtime
        # would read that path; our graphs hold their weights, so the word has no business in one.
        if b"location" in bundle.onnx:
            raise BundleError(f"the decoder of bundle {name!r} refers to data outside its file; that is refused, since "
                              "the manifest's checksums cannot cover it; export the bundle again")
        self._session = _session(bundle.onnx, name)
        self._input = _only(self._session.get_inputs(), "input", [1, self._n_voxels], name)
        self._output = _only(self._session.get_outputs(), "output", [1, self._space.dim], name)
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
        embedding: NDArray[np.float32] = self._session.run([self._output], {self._input: row})[0][0]
        return embedding


def _session(graph: bytes, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # the runtime's own exceptions share no base class of its own
        raise BundleError(f"the decoder of bundle {name!r} is not a graph that onnxruntime {onnxruntime.__version__} "
                          f"can run ({str(exc).splitlines()[0]}); export the bundle again") from exc


def _only(ports: list[onnxruntime.NodeArg], kind: str, shape: list[int], bundle: str) -> str:
    if len(ports) != 1 or ports[0].type != "tensor(float)" or ports[0].shape != shape:
        got = ", ".join(f"{port.type} {port.shape}" for port in ports)
        raise BundleError(f"the decoder of bundle {bundle!r} has {kind} {got}, wanted one tensor(float) {shape} as the "
                          "manifest's voxels and space say; export the bundle again")
    return str(ports[0].name)
