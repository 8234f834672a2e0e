"""How well generated music says what it was asked to: identification and class agreement, by any embedder.

Scored by the embedder that conditioned, it would be circular; so a second one, which had no part in it, is what
counts. Every figure stands beside the same with the targets permuted.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.generator.pieces import corpus_scores, heard, played, scores
from realtime.messages import Condition
from realtime.music.attributes import CLASSES
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.playback.settings import RATE_HZ
from realtime.ports import Embedder, Generator
from realtime.scoring import identification_accuracy

TARGET_SEED = 2026
"""Of the clips that every generator is judged by."""

Make = Callable[[int], Generator]
"""A fresh generator from a seed."""

POPULATIONS = {"corpus": corpus_scores, "mixed": scores}
"""Clips to be met: as a corpus has them, and with the borrowed parts and swapped voices of training."""


def meet(make: Make, conditions: NDArray[np.float32], seed: int = 0) -> list[NDArray[np.float32]]:
    """Ten seconds of mono music for each condition, shape (n, dim), each of a fresh generator of this seed."""
    return [played(make(seed), Condition(number, 0, row)) for number, row in enumerate(conditions)]


def embeddings(sounds: list[NDArray[np.float32]], embedder: Embedder) -> NDArray[np.float32]:
    """Of every sound, shape (n, dim)."""
    return np.array([embedder.embed(sound, RATE_HZ) for sound in sounds], np.float32)


def fidelity(got: NDArray[np.float32], wanted: NDArray[np.float32], scorer: OnnxEmbedder,
             names: Sequence[str] | None = None, seed: int = 0) -> dict[str, Any]:
    """Figures of music against its targets, both as the scorer's embeddings of shape (n, dim).

    `names` tell targets that are the same clip; without them all are different. `seed` is of the permutation.

    Returns
    -------
    figures : dict
        "identification", and for each of CLASSES the share that the scorer's read-outs put into the same class as the
        target; each with `value`, `permuted` and `n`.
    """
    permuted = wanted[np.random.default_rng(seed).permutation(len(wanted))]
    clips = names or [str(number) for number in range(len(wanted))]

    def identified(rows: NDArray[np.float32]) -> float:
        return float(identification_accuracy(got.astype(np.float64), rows.astype(np.float64), clips).mean)

    figures: dict[str, Any] = {"identification": _figure(identified, wanted, permuted)}
    for kind in CLASSES:
        figures[kind] = _figure(_agreement(scorer, kind, got), wanted, permuted)
    return figures


def _agreement(scorer: OnnxEmbedder, kind: str, got: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], float]:
    probes = scorer.probes
    assert probes is not None
    said = probes.logits(kind, got).argmax(axis=1)
    return lambda rows: float((said == probes.logits(kind, rows).argmax(axis=1)).mean())


def _figure(score: Callable[[NDArray[np.float32]], float], wanted: NDArray[np.float32],
            permuted: NDArray[np.float32]) -> dict[str, Any]:
    return {"value": round(score(wanted), 4), "permuted": round(score(permuted), 4), "n": len(wanted)}


def measure(makers: dict[str, Make], conditioner: Embedder, scorer: OnnxEmbedder, n: int,
            seed: int = TARGET_SEED) -> dict[str, Any]:
    """Fidelity of every generator to clean embeddings of unseen clips, by population.

    Parameters
    ----------
    makers : dict of str to Make
        Generators by name.
    conditioner : Embedder
        Of the conditions' space.
    scorer : OnnxEmbedder
        The second embedder, with read-outs.
    n : int
        Targets of each population.
    seed : int
        Of the targets.
    """
    figures: dict[str, Any] = {}
    for population, compose in POPULATIONS.items():
        clips = [heard(score) for score in compose(n, seed)]
        asked, wanted = embeddings(clips, conditioner), embeddings(clips, scorer)
        figures[population] = {name: fidelity(embeddings(meet(make, asked), scorer), wanted, scorer)
                               for name, make in makers.items()}
    return figures
