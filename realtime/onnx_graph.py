"""Opening of ONNX graphs: the only owner of onnxruntime."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from realtime.errors import RealtimeError


class OnnxGraph:
    """A network that runs on one thread without spinning: a pool would steal cores from the audio.

    Outputs repeat bit for bit on one build and CPU; nothing is promised across CPUs.

    Parameters
    ----------
    graph : bytes
        The ONNX file, weights inside.
    owner : str
        Whose graph it is, for messages, such as "the decoder of bundle 'sub-01'".
    error : type of RealtimeError
        Raised when the graph cannot be loaded or does not fit.
    remedy : str
        What to do then.
    """

    def __init__(self, graph: bytes, owner: str, error: type[RealtimeError], remedy: str) -> None:
        self._owner, self._error, self._remedy = owner, error, remedy
        # A tensor stored outside the graph names its file under the key "location", and the runtime
        # would read that path; our graphs hold their weights, so the word has no business in one.
        if b"location" in graph:
            raise error(f"{owner} refers to data outside its file; that is refused, since no checksum can cover it; "
                        f"{remedy}")
        self._session = self._open(graph)
        self._inputs = [port.name for port in self._session.get_inputs()]
        self._outputs = [port.name for port in self._session.get_outputs()]

    def insist(self, inputs: dict[str, list[int | None]], outputs: dict[str, list[int | None]]) -> None:
        """Check names, shapes and types; a name of "" matches any, a size of None is one that may vary.

        Raises
        ------
        RealtimeError
            Of the class given to the constructor; inputs must be tensor(float), or tensor(int64) when
            the name starts with "tokens".
        """
        self._insist_on("input", self._session.get_inputs(), inputs)
        self._insist_on("output", self._session.get_outputs(), outputs)

    def run(self, *arrays: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """All outputs, new arrays, for the inputs in the graph's order."""
        feeds = dict(zip(self._inputs, arrays, strict=True))
        results: list[NDArray[np.float32]] = self._session.run(self._outputs, feeds)
        return results

    def _open(self, graph: bytes) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # the runtime's own exceptions share no base class of its own
            raise self._error(f"{self._owner} is not a graph that onnxruntime {onnxruntime.__version__} can run "
                              f"({str(exc).splitlines()[0]}); {self._remedy}") from exc

    def _insist_on(self, kind: str, ports: list[onnxruntime.NodeArg], wanted: dict[str, list[int | None]]) -> None:
        fits = len(ports) == len(wanted) and all(
            _fits(port, name, shape) for port, (name, shape) in zip(ports, wanted.items(), strict=True))
        if not fits:
            got = ", ".join(f"{port.name} {port.type} {port.shape}" for port in ports)
            need = ", ".join(f"{name} {_type(name)} {shape}".strip() for name, shape in wanted.items())
            raise self._error(f"{self._owner} has {kind} {got}, wanted {need}; {self._remedy}")


def _type(name: str) -> str:
    return "tensor(int64)" if name.startswith("tokens") else "tensor(float)"


def _fits(port: onnxruntime.NodeArg, name: str, shape: list[int | None]) -> bool:
    sizes = len(port.shape) == len(shape) and all(
        not isinstance(got, int) if size is None else got == size for got, size in zip(port.shape, shape, strict=True))
    return sizes and port.type == _type(name) and name in ("", port.name)
