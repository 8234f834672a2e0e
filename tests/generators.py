"""Small, real generators for tests: read-outs with random weights in the space of `builders`, tones as clips."""

import atexit
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from realtime.generators.readouts import NUMBERS, STYLE_OF, VOICE_OF, Readouts
from realtime.generators.token_model import ModelSpec, TokenModel
from realtime.messages import Condition
from realtime.music.synth_styles import GENRES, SCALES, STYLES
from realtime.music.synth_voices import VOICES
from tests.builders import DIM, SPACE

RATE_HZ = 48000


def readouts(seed: int = 0) -> Readouts:
    rng = np.random.default_rng(seed)
    classes = {name: GENRES for name in STYLE_OF} | {name: tuple(sorted(VOICES)) for name in VOICE_OF}
    classes |= {name: (name,) for name in NUMBERS} | {
        "scale": tuple(sorted(SCALES)),
        "bass pattern": tuple(sorted({pattern for style in STYLES.values() for pattern in style.bass.patterns})),
        "chord pattern": tuple(sorted({pattern for style in STYLES.values() for pattern in style.chords.patterns})),
        "drum pattern": tuple(f"{genre} {number}" for genre in GENRES for number in range(2))}
    weights = {name: rng.standard_normal((2 * DIM, len(known))).astype(np.float32) for name, known in classes.items()}
    biases = {name: np.full(len(known), {"log2_bpm": 6.8, "lead_notes": 5.0}.get(name, 0.1), np.float32)
              for name, known in classes.items()}
    features = np.hstack([np.eye(DIM), -np.eye(DIM)]).astype(np.float32)
    return Readouts(SPACE, classes, np.zeros(DIM, np.float32), np.ones(DIM, np.float32), features,
                    np.zeros(2 * DIM, np.float32), weights, biases)


def condition(number: int, seed: int | None = None, clip_id: str = "") -> Condition:
    rng = np.random.default_rng(number if seed is None else seed)
    return Condition(number, number, rng.standard_normal(DIM).astype(np.float32), clip_id)


@cache
def _untrained() -> bytes:
    torch = pytest.importorskip("torch", reason="making a network needs the extra 'embedder'")

    from offline_training.generator.network import Network, NetworkSize, to_onnx

    torch.manual_seed(0)
    return to_onnx(Network(DIM, NetworkSize(1, 2, 8, 64), torch.zeros(DIM), torch.ones(DIM)))


def untrained_model() -> TokenModel:
    """A small network with random weights: all of it real but the music."""
    return TokenModel(ModelSpec(SPACE, 1, 2, 8, 64), _untrained(), "the test's model")


ROOT = Path(__file__).resolve().parents[1]
_endpoints: list[str] = []


def start_worker(*arguments: str) -> subprocess.Popen[str]:
    """A fake worker process; its endpoints come line by line on its standard output."""
    process = subprocess.Popen([sys.executable, "-m", "tests.fake_worker", *arguments], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    atexit.register(process.kill)
    return process


def fake_endpoint() -> str:
    """An endpoint of a worker that nobody has used; one process serves many."""
    if not _endpoints:
        n = 16
        pipe = start_worker(str(n)).stdout
        assert pipe is not None
        _endpoints.extend(pipe.readline().strip() for _ in range(n))
    return _endpoints.pop()


def write_untrained(folder: Path) -> Path:
    """A generator's folder in the space of `builders`, with random weights."""
    torch = pytest.importorskip("torch", reason="making a network needs the extra 'embedder'")

    from offline_training.generator.export import write_generator
    from offline_training.generator.network import Network, NetworkSize

    torch.manual_seed(0)
    network = Network(DIM, NetworkSize(1, 2, 8, 64), torch.zeros(DIM), torch.ones(DIM))
    write_generator(folder, readouts(), network, {"made_by": "a test"})
    return folder
