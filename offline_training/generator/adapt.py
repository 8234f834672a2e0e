"""Fit of an adapter: from an embedding to what a text encoder says of the music's caption, by ridge regression."""

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, MusicgenForConditionalGeneration

from offline_training.embedder.pieces import captioned
from offline_training.errors import FitError
from offline_training.progress import Progress
from realtime.ports import Embedder
from realtime.workers.adapter import TextAdapter
from realtime.workers.encoder import checksum

_PENALTIES = tuple(float(value) for value in np.geomspace(0.1, 1e5, 13))
_HELD_OUT = 5  # every fifth piece


def fit_adapter(folder: Path, embedder: Embedder, n_pieces: int, executor: Executor,
                progress: Progress | None = None) -> TextAdapter:
    """Fit to captions of procedural pieces.

    Parameters
    ----------
    folder : Path
        A MusicGen model and its tokenizer, as `save_pretrained` writes them; nothing is fetched.
    embedder : Embedder
        Of the space that will condition.
    n_pieces : int
        To fit to; every fifth is held out to choose the penalty and to judge.
    executor : Executor
        Where the pieces are made.
    progress : Progress, optional
        Told of everything that is done.

    Raises
    ------
    FitError
        The folder does not hold a MusicGen model.
    """
    try:
        model: Any = MusicgenForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        read: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise FitError(f"{folder} does not hold a MusicGen model ({str(exc).splitlines()[0]}); give a folder with "
                       "config.json, model.safetensors and the tokenizer's files") from exc
    pieces = list(captioned(n_pieces, executor, progress))
    embeddings = np.stack([embedder.embed(piece.sound, piece.rate_hz) for piece in pieces]).astype(np.float64)
    said = np.stack([_said(model.text_encoder.eval(), read, piece.caption) for piece in pieces]).astype(np.float64)
    held = np.arange(n_pieces) % _HELD_OUT == 0
    mean, scale = embeddings[~held].mean(axis=0), np.maximum(embeddings[~held].std(axis=0), 1e-6)
    standard, bias = (embeddings - mean) / scale, said[~held].mean(axis=0)
    fits = [_ridge(standard[~held], said[~held] - bias, penalty) for penalty in _PENALTIES]
    scores = [_explained(standard[held] @ weights + bias, said[held]) for weights in fits]
    best = int(np.argmax(scores))
    told = standard[held] @ fits[best] + bias
    permuted = np.random.default_rng(0).permutation(int(held.sum()))
    about = {"n_pieces": n_pieces, "penalty": _PENALTIES[best], "explained": round(scores[best], 4),
             "explained_permuted": round(_explained(told, said[held][permuted]), 4), "n_held_out": int(held.sum())}
    mean32, scale32, weights, bias32 = (array.astype(np.float32) for array in (mean, scale, fits[best], bias))
    return TextAdapter(embedder.space, checksum(model.text_encoder), mean32, scale32, weights, bias32, about)


def _said(encoder: Any, read: Any, caption: str) -> NDArray[np.float32]:
    """Mean over the words of what the encoder says, shape (width,)."""
    tokens = read([caption], return_tensors="pt", truncation=True)
    with torch.no_grad():
        hidden: torch.Tensor = encoder(input_ids=tokens["input_ids"]).last_hidden_state
    return np.asarray(hidden[0].mean(dim=0).numpy(), np.float32)


def _ridge(inputs: NDArray[np.float64], outputs: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(gram, inputs.T @ outputs), np.float64)


def _explained(told: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """Share of the variance over pieces that is told, all numbers together."""
    return float(1 - ((told - said) ** 2).sum() / max(((said - said.mean(axis=0)) ** 2).sum(), 1e-12))
