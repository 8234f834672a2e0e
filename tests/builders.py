"""Small, real parts for tests: a phantom run, a bundle with random weights, a catalogue."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from realtime.bundle import Bundle, Manifest
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.preprocessing import PreprocessorSettings
from realtime.session.events import Event
from realtime.session.parts import Parts
from scanner_bridge.volume import RunHeader, Volume

SHAPE = (24, 22, 14)
TR_S = 1.0
DIM = 6
N_CLIPS = 12
SPACE = EmbeddingSpace("random", DIM, "1" * 64)
AFFINE = np.diag([4.0, 4.0, 4.5, 1.0])
AFFINE[:3, 3] = [-46, -42, -30]


def phantom(seed: int = 0) -> np.ndarray:
    """A smooth head-like blob with texture; float32, scanner units."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    head = 1 / (1 + np.exp(14 * ((grid**2).sum(axis=0) - 0.55)))
    for _ in range(40):
        centre, width = rng.uniform(-0.6, 0.6, 3), rng.uniform(0.08, 0.25)
        head = head + 0.35 * rng.standard_normal() * head * np.exp(
            -((grid - centre[:, None, None, None])**2).sum(axis=0) / width**2)
    return (900 * np.clip(head, 0.02, None)).astype(np.float32)


def volumes(n: int, seed: int = 0) -> list[np.ndarray]:
    """A run of the phantom with noise, int16."""
    rng = np.random.default_rng(seed + 1)
    base = phantom()
    return [np.clip(base + 8 * rng.standard_normal(SHAPE), 0, None).astype(np.int16) for _ in range(n)]


def header(n_volumes: int | None, run_id: str = "run-1") -> RunHeader:
    return RunHeader(run_id, SHAPE, "<i2", AFFINE, TR_S, n_volumes, None, "phantom", "no clock", 0.0)


def run_of(data: list[np.ndarray], run_id: str = "run-1") -> list[Volume]:
    return [Volume(index, voxels, AFFINE, TR_S, run_id) for index, voxels in enumerate(data)]


def linear_onnx(weights: np.ndarray, intercept: np.ndarray) -> bytes:
    """features (1, n) -> features @ weights + intercept."""
    n, dim = weights.shape
    nodes = [helper.make_node("Gemm", ["features", "weights", "intercept"], ["embedding"])]
    tensors = [numpy_helper.from_array(weights.astype(np.float32), "weights"),
               numpy_helper.from_array(intercept.astype(np.float32), "intercept")]
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, n])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, dim])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def alike(dim: int, trust: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence map, clip map and tail that compare every direction alike, with so much trust after n volumes.

    Trust multiplies squared distances of embeddings as long as they are, no cosines: what `bundle` decodes from noise
    has a length of some twenty, and with a trust of 0.5 one clip has 0.99999 of the posterior whatever was heard.
    """
    maps = np.sqrt(np.array(trust, np.float32))[:, None, None] * np.eye(dim, dtype=np.float32)
    return maps, maps, np.zeros(len(trust), np.float32)


def bundle(seed: int = 0, n_voxels: int = 60) -> Bundle:
    rng = np.random.default_rng(seed)
    inside = np.argwhere(phantom() > 500)
    voxels = inside[rng.choice(len(inside), n_voxels, replace=False)].astype(np.int32)
    settings = PreprocessorSettings(tr_s=TR_S, settle_s=2.0, alignment_points=1500)
    manifest = Manifest("test", "sub-00", SPACE, settings, 1, 4, {}, "a test")
    onnx_bytes = linear_onnx(rng.standard_normal((n_voxels, DIM)), rng.standard_normal(DIM))
    return Bundle(manifest, phantom(), AFFINE, voxels, np.full(n_voxels, 0.02, np.float32),
                  np.zeros(DIM, np.float32), *alike(DIM, (0.1, 0.15, 0.2, 0.25)), onnx_bytes)


def catalogue() -> Catalogue:
    rows = np.random.default_rng(5).standard_normal((N_CLIPS, DIM)).astype(np.float32)
    clips = [Clip(f"clip{n:02}", Path("none.wav"), "ab"[n % 2], 10.0, 120.0) for n in range(N_CLIPS)]
    return Catalogue(SPACE, clips, rows, rows.mean(axis=0))


def events(n: int, duration_s: float = 5.0) -> tuple[Event, ...]:
    return tuple(Event(number * duration_s, duration_s, f"clip{number % N_CLIPS:02}", "ab"[number % 2])
                 for number in range(n))


def parts(n_trials: int = 4) -> Parts:
    made = bundle()
    return Parts(made, OnnxDecoder(made), catalogue(), events(n_trials), "events.tsv")


def write_corpus(folder: Path, n_clips: int = N_CLIPS, seconds: float = 2.0, space: EmbeddingSpace = SPACE) -> Path:
    """A catalogue on disk with audible clips."""
    import hashlib

    import soundfile

    rng = np.random.default_rng(9)
    rows = rng.standard_normal((n_clips, space.dim)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(n_clips):
        time_s = np.arange(round(48000 * seconds)) / 48000
        tone = 0.2 * np.sin(2 * np.pi * (220 + 40 * number) * time_s)
        path = folder / f"clip{number:02}.wav"
        soundfile.write(path, np.column_stack([tone, tone]), 48000, subtype="PCM_16")
        entries.append({"clip_id": f"clip{number:02}", "file": path.name, "genre": "ab"[number % 2],
                        "duration_s": seconds, "bpm": 120.0, "first_beat_s": 0.0, "gain_db": 0.0,
                        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    np.save(folder / "embeddings.npy", rows)
    document = {"format_version": 1, "space": vars(space), "centre": rows.mean(axis=0).tolist(), "clips": entries}
    (folder / "corpus.json").write_text(json.dumps(document))
    return folder


def with_data(volume: Volume, data: np.ndarray) -> Volume:
    return replace(volume, data=data)
