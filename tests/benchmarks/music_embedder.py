"""The embedder's bar: one hop of sound to the vector of the last ten seconds."""

import time
from typing import Any

import numpy as np

from offline_training.embedders import open_embedder
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.music.synth import ClipSpec, mono, render

RATE_HZ = 48000
HOP_S = 0.04


def embedder_hop(n_hops: int = 500) -> dict[str, dict[str, Any]]:
    """Time from 40 ms of new sound to the vector of the last ten seconds, front end included, one thread."""
    embedder = open_embedder("synth-128")
    assert isinstance(embedder, OnnxEmbedder)
    sound = mono(render(ClipSpec("jazz", 1, 10.0 + n_hops * HOP_S, RATE_HZ)).audio)
    stream, hop = embedder.stream(RATE_HZ), round(HOP_S * RATE_HZ)
    stream.push(sound[: 10 * RATE_HZ])
    wall, cpu = [], []
    for start in range(10 * RATE_HZ, 10 * RATE_HZ + n_hops * hop, hop):
        began, worked = time.perf_counter(), time.process_time()
        stream.push(sound[start:start + hop])
        stream.vector()
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - worked))
    return {"embedder_hop_ms": {"value": float(np.median(wall)), "unit": "ms median", "n": n_hops, "bar": 5.0,
                                "p99": float(np.percentile(wall, 99)), "min": min(wall),
                                "cpu_median": float(np.median(cpu))}}
