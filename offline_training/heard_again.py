"""Sound heard again by an embedder that chose nothing: clips of a catalogue, and whatever else is at hand as frames."""

from collections.abc import Iterable

import numpy as np
import soundfile
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.progress import Progress, counted
from realtime.errors import EmbedderError
from realtime.messages import EmbeddingSpace
from realtime.music.catalogue import Catalogue
from realtime.music.onnx_embedder import OnnxEmbedder

HEARD_S = 10.0
SHORTEST_S = 4.0
Rows = NDArray[np.float32]


def check_second(scorer: OnnxEmbedder, space: EmbeddingSpace) -> None:
    """Refuse to judge music by the embedder that chose it; DatasetError."""
    if scorer.space == space:
        raise DatasetError(f"the scorer {scorer.space.name!r} is the embedder of the catalogue: it would judge what it "
                           "chose itself; name another with --scorer, such as scorer-64 or synth-128")


def read_clip(catalogue: Catalogue, clip_id: str) -> tuple[Rows, int]:
    """The first ten seconds of a clip, mono, and their rate; DatasetError where its audio cannot be read."""
    path = catalogue.clip(clip_id).path
    try:
        with soundfile.SoundFile(path) as file:
            frames = file.read(round(HEARD_S * file.samplerate), dtype="float32", always_2d=True)
            return np.ascontiguousarray(frames.mean(axis=1)), file.samplerate
    except (soundfile.SoundFileError, OSError) as exc:
        raise DatasetError(f"clip {clip_id!r} cannot be heard again: {exc}; restore {path}") from exc


def embed_clips(catalogue: Catalogue, clip_ids: Iterable[str], scorer: OnnxEmbedder,
                progress: Progress | None = None) -> dict[str, Rows]:
    """Vectors of these clips, each once.

    Raises
    ------
    DatasetError
        The audio of one cannot be read, or holds nothing to embed.
    """
    names, vectors = sorted(set(clip_ids)), {}
    for name in counted(iter(names), "hearing clips again", len(names), progress):
        vector = embed_sound(*read_clip(catalogue, name), scorer, shortest_s=0.0)
        if vector is None:
            raise DatasetError(f"clip {name!r} cannot be heard again: {catalogue.clip(name).path} is empty or silent; "
                               "restore it")
        vectors[name] = vector
    return vectors


def embed_sound(mono: Rows, rate_hz: int, scorer: OnnxEmbedder, shortest_s: float = SHORTEST_S) -> Rows | None:
    """A vector of sound of shape (n,), repeated to a window of ten seconds; None where it is too short or silent."""
    if len(mono) < max(shortest_s * rate_hz, 1) or not mono.any():
        return None
    try:
        return scorer.embed(np.resize(mono, round(HEARD_S * rate_hz)).astype(np.float32), rate_hz)
    except EmbedderError:
        return None
