"""Finding music in a corpus: by words, or by a recording it should be like."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.corpus_track import UnusableTrackError, read_audio
from offline_training.embedders import SHIPPED, open_embedder
from offline_training.errors import DatasetError
from realtime.messages import EmbeddingSpace, Match
from realtime.music.attributes import AttributeProbes
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.playback.settings import RATE_HZ
from realtime.ports import Embedder, MusicIndex, TextEmbedder

_WINDOW_S = 10.0


def embedder_of(catalogue: Path, space: EmbeddingSpace, chosen: str) -> Embedder:
    """The embedder of a catalogue's space: the one chosen, the one beside the catalogue, or one that is shipped.

    Raises
    ------
    DatasetError
        None of them embeds in this space.
    """
    beside = catalogue / "embedder.npz"
    names = [chosen] if chosen else [str(beside)] if beside.is_file() else []
    names += [] if chosen else [path.name.removeprefix("embedder-") for path in sorted(SHIPPED.glob("embedder-*"))]
    for name in names:
        embedder = open_embedder(name)
        if embedder.space == space:
            return embedder
    raise DatasetError(f"the catalogue {catalogue} is in {space}, and {', '.join(names) or 'no embedder known here'} "
                       "is not of that space; name its own with --embedder, or move the catalogue with: innerear "
                       "corpus index")


def probes_of(catalogue: Path, space: EmbeddingSpace) -> AttributeProbes | None:
    """Read-outs of a catalogue's space; None where its embedder is not here, or has none."""
    try:
        embedder = embedder_of(catalogue, space, "")
    except DatasetError:
        return None
    return embedder.probes if isinstance(embedder, OnnxEmbedder) else None


def by_words(index: MusicIndex, embedder: Embedder, text: str, n: int) -> list[Match]:
    """The n clips that words such as "calm piano" describe best.

    Raises
    ------
    DatasetError
        The embedder knows no words.
    """
    if not isinstance(embedder, TextEmbedder):
        raise DatasetError(f"the space {embedder.space.name!r} knows sounds, not words: {text!r} is no audio file, and "
                           "cannot be looked up; index the corpus with an embedder that has a text tower, or search "
                           "with --like FILE")
    return index.search(embedder.embed_text(text), n)


def like_recording(index: MusicIndex, embedder: Embedder, path: Path, n: int) -> list[Match]:
    """The n clips that sound most like a recording: like the mean of its stretches of ten seconds.

    Raises
    ------
    DatasetError
        The recording cannot be used.
    """
    try:
        audio = read_audio(path)
    except UnusableTrackError as exc:
        raise DatasetError(f"nothing can be found that sounds like {path}: {exc}; give a recording of music") from exc
    return index.search(_mean_vector(audio.mean(axis=1), embedder), n)


def _mean_vector(mono: NDArray[np.float32], embedder: Embedder) -> NDArray[np.float32]:
    n_pieces = max(1, round(len(mono) / (_WINDOW_S * RATE_HZ)))
    vectors = [embedder.embed(piece, RATE_HZ) for piece in np.array_split(mono, n_pieces)]
    return np.asarray(np.mean(vectors, axis=0), np.float32)
