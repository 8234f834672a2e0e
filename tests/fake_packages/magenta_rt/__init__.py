"""What magenta-rt 2.0.3 documents of itself, and noise for music: for tests of the worker that asks it.

`MagentaRT2Jax(size, temperature, top_k)`, `tokenize_style(embedding)` to twelve whole numbers, and
`generate(conditioning, cfg_scales, frames, state)` to a waveform of 48 kHz stereo, 1920 samples a
frame, and the state to go on from; a state that was handed in is used up, as there.
"""

import os
import time
import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Waveform:
    samples: np.ndarray
    sample_rate: int


class MagentaRT2Jax:
    def __init__(self, size: str = "mrt2_base", style_model: object = None, checkpoint: str | None = None,
                 temperature: float = 1.3, top_k: int = 40, cfg_scales: dict[str, float] | None = None) -> None:
        if size not in ("mrt2_base", "mrt2_small"):
            message = f"No default checkpoint for size '{size}'."
            raise ValueError(message)
        self._used: list[object] = []
        self._made = 0

    def tokenize_style(self, embedding: np.ndarray) -> np.ndarray:
        assert embedding.dtype == np.float32
        assert embedding.shape == (768,)
        rng = np.random.default_rng(zlib.crc32(np.round(embedding, 4).tobytes()))
        return rng.integers(0, 1024, 12).astype(np.int32)

    def generate(self, conditioning=None, cfg_scales=None, temperature=None, top_k=None, frames=25, state=None):
        tokens = list((conditioning or {})["mulan_tokens_25hz"])
        assert len(tokens) == 12
        assert all(isinstance(token, int) and -1 <= token < 1024 for token in tokens)
        assert not any(state is used for used in self._used)  # its buffers were given away
        self._used = [*self._used[-3:], state] if state is not None else self._used
        self._made += 1
        if self._made == int(os.environ.get("FAKE_MAGENTA_STALLS_AT", "-1")):
            time.sleep(1.5)
        count, (memory,) = (np.int32(0), (np.zeros(4, np.float32),)) if state is None else state
        made = []
        for _ in range(frames):
            rng = np.random.default_rng([int(count), *(token + 1 for token in tokens), int(1e6 * abs(memory[0]))])
            made.append(0.1 * rng.standard_normal((1920, 2)))
            count, memory = np.int32(count + 1), (0.5 * memory + made[-1][:4, 0]).astype(np.float32)
        return Waveform(np.concatenate(made).astype(np.float32), 48000), (count, (memory,))
