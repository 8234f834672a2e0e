"""CLAP (Contrastive Language-Audio Pretraining) from a local folder; nothing is ever fetched.

Every call says `local_files_only`: a folder that lacks a file is refused, and no other host is asked for it.
"""

import hashlib
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

from realtime.errors import EmbedderError
from realtime.messages import EmbeddingSpace
from realtime.music.onnx_embedder import resample, unit, window_starts

_WINDOW_S, _HOP_S, _SHORTEST_S = 10.0, 5.0, 1.0
_LOWEST_RATE_HZ = 8000


class ClapEmbedder:
    """Implements `realtime.ports.Embedder` and `realtime.ports.TextEmbedder` with transformers' `ClapModel`.

    Sound is resampled to the model's rate (48 kHz); longer sound is the mean of 10 s windows every 5 s,
    as musicians' CLAP checkpoints were trained on 10 s. Vectors have length 1.

    Parameters
    ----------
    space : EmbeddingSpace
        Name, dimension, and the checksum of the model's files.
    model, listen, read : Any
        transformers' model, feature extractor and tokenizer.
    """

    def __init__(self, space: EmbeddingSpace, model: Any, listen: Any, read: Any) -> None:
        self._space, self._model, self._listen, self._read = space, model.eval(), listen, read

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a folder that `save_pretrained` wrote or a download of one: model, feature extractor, tokenizer.

        Raises
        ------
        EmbedderError
            The folder does not hold a CLAP model.
        """
        try:
            model: Any = ClapModel.from_pretrained(folder, local_files_only=True)
            listen: Any = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
            read: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise EmbedderError(f"{folder} does not hold a CLAP model ({str(exc).splitlines()[0]}); give a folder with "
                                "config.json, model.safetensors, preprocessor_config.json and the tokenizer's "
                                "files") from exc
        dim = int(model.config.projection_dim)
        return cls(EmbeddingSpace(f"clap-{dim}", dim, _digest(folder)), model, listen, read)

    @property
    def space(self) -> EmbeddingSpace:
        """Its name, and the checksum of the model's files."""
        return self._space

    def embed(self, audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Vector of shape (dim,), of length 1, of a sound of shape (n_samples,) or (n_samples, n_channels).

        Raises
        ------
        EmbedderError
            Less than 1 s, less than 8000 Hz, or NaN.
        """
        mono = np.asarray(audio, np.float32)
        mono = mono if mono.ndim == 1 else mono.mean(axis=1)
        if rate_hz < _LOWEST_RATE_HZ or len(mono) < _SHORTEST_S * rate_hz or not np.isfinite(mono).all():
            raise EmbedderError(f"this sound cannot be embedded: {len(mono)} samples at {rate_hz} Hz, finite: "
                                f"{bool(np.isfinite(mono).all())}; wanted at least {_SHORTEST_S:g} s at "
                                f"{_LOWEST_RATE_HZ} Hz or more, all finite; use longer or undamaged sound")
        to_hz = int(self._listen.sampling_rate)
        sound = resample(mono, rate_hz, to_hz)
        window, hop = round(_WINDOW_S * to_hz), round(_HOP_S * to_hz)
        windows = [sound[start:start + window] for start in window_starts(len(sound), window, hop)]
        features = self._listen(windows, sampling_rate=to_hz, return_tensors="pt")
        with torch.no_grad():
            heard = _pooled(self._model.get_audio_features(input_features=features["input_features"]))
        lengths = np.linalg.norm(heard, axis=1, keepdims=True)
        return unit(np.mean(heard / np.where(lengths > 0, lengths, 1), axis=0, dtype=np.float64))

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Vector of shape (dim,), of length 1.

        Raises
        ------
        EmbedderError
            The text is empty.
        """
        if not text.strip():
            raise EmbedderError("an empty text has no vector; say what the music is like")
        tokens = self._read([text], return_tensors="pt", truncation=True)
        with torch.no_grad():
            said = _pooled(self._model.get_text_features(input_ids=tokens["input_ids"],
                                                         attention_mask=tokens["attention_mask"]))
        return unit(said[0])


def _pooled(output: Any) -> NDArray[np.float32]:
    """The tensor: version 5 of transformers returns an object around it where 4 did not."""
    tensor: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return np.asarray(tensor.numpy(), np.float32)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".txt", ".bin")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
