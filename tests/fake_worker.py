"""A worker that is a real process and no large model: noise whose every sample follows from seed, chunk and condition.

    python -m tests.fake_worker N [FAULT AFTER]

binds N endpoints, each with a model of its own, and prints them, one a line. After so many chunks
it has its fault: late, garbage, nan, short, long, raise, other (answers another number), foreign
(introduces itself as of another space).
"""

import json
import os
import sys
import threading
import zlib
from dataclasses import dataclass, replace

import numpy as np
import zmq

from realtime.generators import worker_server
from realtime.generators.worker_protocol import Make, decode_request, encode_message
from realtime.messages import EmbeddingSpace
from tests.builders import SPACE

CHUNK_FRAMES = 4800


@dataclass
class NoiseModel:
    """Colours noise by the hash of its condition."""

    fault: str = ""
    after: int = 0
    seed: int = 0
    made: int = 0
    colour: int = 0
    name: str = "noise"
    space: EmbeddingSpace = SPACE
    rate_hz: int = 48000
    chunk_frames: int = CHUNK_FRAMES

    def begin(self, seed: int) -> None:
        self.seed, self.made, self.colour = seed, 0, 0

    def condition(self, embedding: np.ndarray) -> None:
        self.colour = zlib.crc32(embedding.tobytes())

    def chunk(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self.made, self.colour])
        self.made += 1
        frames = (0.1 * rng.standard_normal((self.chunk_frames, 2))).astype(np.float32)
        if self.after and self.made > self.after:
            frames = self._spoil(frames)
        return frames

    def _spoil(self, frames: np.ndarray) -> np.ndarray:
        if self.fault == "late":
            threading.Event().wait(0.4)
        if self.fault == "raise":
            message = "out of memory"
            raise RuntimeError(message)
        if self.fault == "nan":
            frames[7] = np.nan
        return frames[:-1] if self.fault == "short" else frames

    def state(self) -> bytes:
        return json.dumps([self.seed, self.made, self.colour]).encode()

    def restore(self, state: bytes) -> None:
        self.seed, self.made, self.colour = json.loads(state)


def _lying(model: NoiseModel, frames: list[bytes]) -> list[bytes]:
    """The honest answer, except for faults of the wire."""
    answer = honest(model, frames)
    if model.after and model.made > model.after and model.fault in ("garbage", "other", "long"):
        request, _ = decode_request(frames)
        if isinstance(request, Make):
            return {"garbage": [b"\xff\x00junk", b""], "other": encode_message(replace_number(request), answer[1]),
                    "long": [answer[0], answer[1] * 3]}[model.fault]
    return answer


def replace_number(request: Make):
    from realtime.generators.worker_protocol import Made

    return Made(request.number + 1000)


honest = worker_server._answer


def _tell(bound: str) -> None:
    os.write(1, f"{bound}\n".encode())  # at once: threads tell of their endpoints side by side


def main() -> None:
    n_endpoints = int(sys.argv[1])
    fault, after = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else ("", 0)
    worker_server._answer = _lying
    endpoint = sys.argv[4] if len(sys.argv) > 4 else "tcp://127.0.0.1:*"
    for _ in range(n_endpoints):
        model = NoiseModel(fault, after)
        if fault == "foreign":
            model = replace(model, space=EmbeddingSpace("other", SPACE.dim, "2" * 64))
        threading.Thread(target=worker_server.serve, daemon=True,
                         args=(model, endpoint, _tell)).start()
    threading.Event().wait()


if __name__ == "__main__":
    assert zmq.zmq_version_info() >= (4, 3)
    main()
