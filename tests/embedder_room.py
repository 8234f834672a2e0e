"""Small, real embedders in folders: graphs that can be checked by hand."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from realtime.music.attributes import KINDS
from realtime.music.embedder_spec import EmbedderSpec, FrontEnd, WaveformSettings
from realtime.music.logmel import LogMelSettings

BANDS = 16
DIM = 8
WORDS = ("calm", "loud", "piano")
FRONT_END = LogMelSettings(n_bands=BANDS)
WAVEFORM = WaveformSettings(16000)


def graph(nodes, inputs, weights, dim=DIM):
    """A model with one input and the output `vector`."""
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, dim])
    model = helper.make_model(
        helper.make_graph(nodes, "tower", [inputs], [vector],
                          [numpy_helper.from_array(value, name) for name, value in weights.items()]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def audio_tower(n_bands=BANDS, seed=0):
    """Mean and spread of the levels over time, times random weights."""
    weights = np.random.default_rng(seed).standard_normal((2 * n_bands, DIM)).astype(np.float32)
    nodes = [helper.make_node("ReduceMean", ["levels"], ["mean"], axes=[1], keepdims=1),
             helper.make_node("Sub", ["levels", "mean"], ["off"]), helper.make_node("Abs", ["off"], ["size"]),
             helper.make_node("ReduceMean", ["size"], ["spread"], axes=[1], keepdims=1),
             helper.make_node("Concat", ["mean", "spread"], ["both"], axis=2),
             helper.make_node("Flatten", ["both"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["vector"])]
    return graph(nodes, helper.make_tensor_value_info("levels", TensorProto.FLOAT, [1, "n_frames", n_bands]),
                 {"w": weights})


def waveform_tower(n_samples):
    """Mean size of the samples of each eighth of the window."""
    nodes = [helper.make_node("Abs", ["samples"], ["size"]),
             helper.make_node("Reshape", ["size", "shape"], ["parts"]),
             helper.make_node("ReduceMean", ["parts"], ["vector"], axes=[2], keepdims=0)]
    return graph(nodes, helper.make_tensor_value_info("samples", TensorProto.FLOAT, [1, n_samples]),
                 {"shape": np.array([1, DIM, n_samples // DIM])})


def text_tower(seed=1):
    """Sum of the words' vectors."""
    table = np.random.default_rng(seed).standard_normal((len(WORDS) + 1, DIM)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["words"], axis=0),
             helper.make_node("ReduceSum", ["words", "axes"], ["vector"], keepdims=0)]
    return graph(nodes, helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n_words"]),
                 {"table": table, "axes": np.array([1])})


def probes(seed=2):
    """Random read-outs."""
    rng = np.random.default_rng(seed)
    names = {"genre": ["rock", "jazz"], "lead": ["piano", "flute", "organ"], "mood": ["calm", "tense"],
             "instruments": ["piano", "flute", "organ"], "tempo": ["bpm"]}
    arrays = {f"{kind}_names": np.array(names[kind]) for kind in KINDS}
    for kind in KINDS:
        arrays[f"{kind}_weight"] = rng.standard_normal((len(names[kind]), DIM)).astype(np.float32)
        arrays[f"{kind}_bias"] = rng.standard_normal(len(names[kind])).astype(np.float32)
    return arrays


def write_embedder(folder: Path, contents: dict[str, bytes], front_end: FrontEnd = FRONT_END, **changes) -> Path:
    """An embedder's folder of these files; `changes` go into spec.json after the fact."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, payload in contents.items():
        (folder / name).write_bytes(payload)
    digests = {name: hashlib.sha256(payload).hexdigest() for name, payload in contents.items()}
    text, probes_file = (name if name in contents else "" for name in ("text.onnx", "probes.npz"))
    spec = EmbedderSpec("tiny", DIM, front_end, 3.0, 1.5, 1.0, digests, "audio.onnx", text, probes_file,
                        WORDS if text else ())
    (folder / "spec.json").write_text(json.dumps(spec.document() | changes))
    return folder


def whole(folder: Path) -> Path:
    """Sound, words and probes."""
    np.savez(folder / "made.npz", **probes())
    made = (folder / "made.npz").read_bytes()
    (folder / "made.npz").unlink()
    return write_embedder(folder, {"audio.onnx": audio_tower(), "text.onnx": text_tower(), "probes.npz": made})
