"""The shipped decoder: parity with NumPy, and what it refuses."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from realtime.bundle import Bundle, Manifest
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.errors import BundleError
from realtime.messages import EmbeddingSpace
from realtime.preprocessing.settings import PreprocessorSettings
from tests.builders import alike

N_VOXELS, DIM = 40, 6


def graph(weights: NDArray[np.float32], n_in: int, n_out: int, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["features", "w"], ["embedding"])
    return helper.make_model(
        helper.make_graph([node], "decoder", [helper.make_tensor_value_info("features", kind, [1, n_in])],
                          [helper.make_tensor_value_info("embedding", kind, [1, n_out])],
                          [numpy_helper.from_array(weights, "w")]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def weights(n_in: int = N_VOXELS, n_out: int = DIM) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n_in, n_out)).astype(np.float32)


def bundle_of(payload: bytes) -> Bundle:
    space = EmbeddingSpace("test", DIM, "0" * 64)
    manifest = Manifest("test", "sub-x", space, PreprocessorSettings(), 3, 2)
    return Bundle(manifest, np.ones((8, 8, 4), np.float32), np.eye(4), np.zeros((N_VOXELS, 3), np.int32),
                  np.ones(N_VOXELS, np.float32), np.zeros(DIM, np.float32), *alike(DIM, (1.0, 2.0)), payload)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-3, 1.0, 1e3]))
def test_decoding_is_the_matrix_product(seed: int, size: float) -> None:
    decoder = OnnxDecoder(bundle_of(graph(weights(), N_VOXELS, DIM).SerializeToString()))
    row = (size * np.random.default_rng(seed).normal(size=N_VOXELS)).astype(np.float32)
    got = decoder.decode(row)
    assert got.dtype == np.float32
    assert got.shape == (DIM,)
    # float32 sums of 40 terms: 40 × 6e-8 × the largest terms, about 10 × size
    np.testing.assert_allclose(got, row.astype(np.float64) @ weights().astype(np.float64), atol=3e-5 * size)


def test_the_same_features_give_the_same_bits_and_a_new_array() -> None:
    decoder = OnnxDecoder(bundle_of(graph(weights(), N_VOXELS, DIM).SerializeToString()))
    row = np.random.default_rng(2).normal(size=N_VOXELS).astype(np.float32)
    first = decoder.decode(row)
    kept = first.copy()
    decoder.decode(-row)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(decoder.decode(np.ascontiguousarray(row[::-1])[::-1]), kept)


def external(model: onnx.ModelProto) -> onnx.ModelProto:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../etc/passwd"), ("offset", "0"), ("length", "960")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


@pytest.mark.parametrize(("model", "sentence"), [
    (graph(weights(N_VOXELS + 1), N_VOXELS + 1, DIM), r"input features tensor\(float\) \[1, 41\], wanted .*\[1, 40\]"),
    (graph(weights(n_out=DIM + 1), N_VOXELS, DIM + 1), r"output embedding tensor\(float\) \[1, 7\], wanted .*\[1, 6\]"),
    (graph(weights().astype(np.float64), N_VOXELS, DIM, TensorProto.DOUBLE), r"tensor\(double\)"),
    (graph(np.full((N_VOXELS, DIM), np.nan, np.float32), N_VOXELS, DIM), "gives NaN"),
    (external(graph(weights(), N_VOXELS, DIM)), "outside its file"),
], ids=["voxels", "dim", "type", "nan", "external data"])
def test_a_graph_that_does_not_fit_is_refused(model: onnx.ModelProto, sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        OnnxDecoder(bundle_of(model.SerializeToString()))


@pytest.mark.parametrize("payload", [b"", b"not a graph", b"\x00" * 100])
def test_bytes_that_are_no_graph_are_refused(payload: bytes) -> None:
    with pytest.raises(BundleError, match="not a graph"):
        OnnxDecoder(bundle_of(payload))


def test_the_space_is_the_manifests() -> None:
    bundle = bundle_of(graph(weights(), N_VOXELS, DIM).SerializeToString())
    space = EmbeddingSpace("another", DIM, "1" * 64)
    assert OnnxDecoder(replace(bundle, manifest=replace(bundle.manifest, space=space))).space == space
