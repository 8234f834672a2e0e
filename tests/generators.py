"""Small, real generators for tests: themes strewn over the space of `builders`, tones as clips."""

import atexit
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from realtime.generators.themes import Themes, theme_of
from realtime.generators.token_model import ModelSpec, TokenModel
from realtime.messages import Condition, EmbeddingSpace
from realtime.music.synth_score import compose
from realtime.music.synth_styles import GENRES
from tests.builders import DIM, SPACE

RATE_HZ = 48000


@cache
def themes() -> Themes:
    """A library of thirty pieces, strewn at random over the space of `builders`."""
    rng = np.random.default_rng(0)
    made = [theme_of(compose(GENRES[number % 10], number, 4.0, 0.5).band) for number in range(30)]
    return Themes(SPACE, made, rng.standard_normal((30, DIM)).astype(np.float32))


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


def write_untrained(folder: Path, space: EmbeddingSpace = SPACE) -> Path:
    """A generator's folder in a space of as many dimensions as that of `builders`, with random weights."""
    torch = pytest.importorskip("torch", reason="making a network needs the extra 'embedder'")

    from offline_training.generator.export import write_generator
    from offline_training.generator.network import Network, NetworkSize

    torch.manual_seed(0)
    network = Network(DIM, NetworkSize(1, 2, 8, 64), torch.zeros(DIM), torch.ones(DIM))
    write_generator(folder, Themes(space, themes().themes, themes().embeddings), network, {"made_by": "a test"})
    return folder
