"""What every `realtime.ports.Decoder` must do. A new implementation is one more line in `decoders`."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from realtime.bundle import Bundle, Manifest
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.messages import EmbeddingSpace
from realtime.ports import Decoder
from realtime.preprocessing.settings import PreprocessorSettings
from tests.builders import alike

N_VOXELS, DIM = 200, 16
SPACE = EmbeddingSpace("conformance", DIM, "c" * 64)
WEIGHTS = np.random.default_rng(0).normal(size=(N_VOXELS, DIM)).astype(np.float32)
INTERCEPT = np.linspace(-1, 1, DIM, dtype=np.float32)


@dataclass(frozen=True)
class NumpyDecoder:
    """Oracle: float64 matrix product."""

    space: EmbeddingSpace = SPACE

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return (features.astype(np.float64) @ WEIGHTS + INTERCEPT).astype(np.float32)


def onnx_decoder() -> OnnxDecoder:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "decoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, N_VOXELS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, DIM])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(INTERCEPT, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    manifest = Manifest("test", "", SPACE, PreprocessorSettings(), 3, 1)
    return OnnxDecoder(Bundle(manifest, np.ones((4, 4, 4), np.float32), np.eye(4), np.zeros((N_VOXELS, 3), np.int32),
                              np.ones(N_VOXELS, np.float32), np.zeros(DIM, np.float32), *alike(DIM, (1.0,)),
                              model.SerializeToString()))


decoders = pytest.mark.parametrize("make", [NumpyDecoder, onnx_decoder], ids=["numpy", "onnx"])


def rows(n: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(n, N_VOXELS)).astype(np.float32)


@decoders
def test_it_names_its_space_and_answers_in_it(make: type[Decoder]) -> None:
    decoder = make()
    got = decoder.decode(rows(1)[0])
    assert decoder.space == SPACE
    assert got.shape == (decoder.space.dim,)
    assert got.dtype == np.float32


@decoders
def test_it_is_the_linear_map_within_float32(make: type[Decoder]) -> None:
    decoder = make()
    for row in rows(20):
        wanted = row.astype(np.float64) @ WEIGHTS + INTERCEPT
        np.testing.assert_allclose(decoder.decode(row), wanted, atol=200 * 6e-8 * 10)  # n × eps × largest term


@decoders
def test_the_same_features_give_the_same_bits_in_any_company(make: type[Decoder]) -> None:
    first, second = make(), make()
    row, other = rows(2)
    alone = first.decode(row)
    second.decode(other)
    np.testing.assert_array_equal(alone, second.decode(row))
    np.testing.assert_array_equal(alone, first.decode(row.copy()))


@decoders
def test_it_neither_keeps_nor_changes_what_it_is_given(make: type[Decoder]) -> None:
    decoder, row = make(), rows(1)[0]
    before = row.copy()
    got = decoder.decode(row)
    kept = got.copy()
    np.testing.assert_array_equal(row, before)
    row[:] = 0
    np.testing.assert_array_equal(got, kept)
    row.flags.writeable = False
    decoder.decode(row)
