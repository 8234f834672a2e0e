"""A corpus: a folder of clips the live program can play, with what they sound like in numbers.

::

    corpus.json       space, centre, one entry per clip, and what was left out and why; written last
    embeddings.npy    float32 (n_clips, dim), rows in the order of the entries
    embedder.npz      what made the embeddings, where that is a log-mel embedder
    clips/*.flac      48 kHz

`offline_training.corpus_composed` makes one of its own music, `offline_training.corpus_build` of yours.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from offline_training.errors import DatasetError
from offline_training.loudness import LOUDNESS_LUFS, TRUE_PEAK_DBTP
from offline_training.outside_vectors import OutsideVectors
from offline_training.progress import Progress, counted
from offline_training.targets import LogMelEmbedder, logmel_statistics
from realtime.atomic import write_bytes, write_json
from realtime.messages import EmbeddingSpace
from realtime.music.catalogue import FORMAT_VERSION
from realtime.ports import Embedder

_ROWS_PER_BLOCK = 500
_BLOCKS = "unfinished"
_EMBEDDER = "embedder.npz"
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CorpusClip:
    """One entry of corpus.json.

    `file` is relative to the corpus; `split` is "training", or else the clip is kept out of all fitting.
    `labels` holds what is known besides: licence, artist and the like. `n_bytes` is 0 where an older
    program wrote the entry.
    """

    clip_id: str
    file: str
    genre: str
    split: str
    duration_s: float
    bpm: float
    first_beat_s: float
    gain_db: float
    sha256: str
    labels: dict[str, str]
    n_bytes: int = 0


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, relative to the folder it came from, and why."""

    file: str
    reason: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus in memory.

    Attributes
    ----------
    folder : Path
        Where it lies.
    heard_s : float
        What a listener hears of each clip, from its start: what the embeddings describe.
    clips : tuple of CorpusClip
        In the order of the rows of `embeddings`.
    space : EmbeddingSpace or None
        None before `index_corpus`.
    embeddings : float32 array of shape (n_clips, dim)
        Of shape (n_clips, 0) before `index_corpus`.
    skipped : tuple of Skipped
        What its making left out.
    """

    folder: Path
    heard_s: float
    clips: tuple[CorpusClip, ...]
    space: EmbeddingSpace | None
    embeddings: NDArray[np.float32]
    skipped: tuple[Skipped, ...] = ()


def index_corpus(folder: Path, embedder: Embedder, progress: Progress | None = None) -> Corpus:
    """Embed what is heard of every clip of an existing corpus, with any embedder; goes on where it was cut off.

    Raises
    ------
    DatasetError
        No corpus there, or a clip that cannot be read.
    """
    corpus = read_entries(folder)
    rows = _rows(corpus, str(embedder.space), embedder.embed, "embedding", progress)
    (folder / _EMBEDDER).unlink(missing_ok=True)
    if isinstance(embedder, LogMelEmbedder):  # small enough to lie beside what it made; others have a home
        embedder.save(folder / _EMBEDDER)
    return _write_index(corpus, embedder.space, rows)


def place_vectors(folder: Path, vectors: OutsideVectors) -> Corpus:
    """Give the clips of an existing corpus vectors that another program made.

    Raises
    ------
    DatasetError
        No corpus there, or a clip without a vector.
    """
    corpus = read_entries(folder)
    rows = vectors.rows([(clip.clip_id, clip.file) for clip in corpus.clips])
    (folder / _EMBEDDER).unlink(missing_ok=True)
    return _write_index(corpus, vectors.space, rows)


def fit_and_index(corpus: Corpus, dim: int = 32, progress: Progress | None = None) -> Corpus:
    """Fit an embedder on a corpus's training clips and index it with that; goes on where it was cut off.

    `dim` is lowered to one less than the number of training clips where there are few.

    Raises
    ------
    DatasetError
        A clip that cannot be read.
    FitError
        Fewer than two training clips.
    """
    statistics = _rows(corpus, "log-mel statistics", logmel_statistics, "listening", progress)
    training = statistics[[clip.split == "training" for clip in corpus.clips]]
    embedder = LogMelEmbedder.fit(training, max(min(dim, len(training) - 1), 1))
    embedder.save(corpus.folder / _EMBEDDER)
    return _write_index(corpus, embedder.space, embedder.project(statistics))


def read_corpus(folder: Path) -> Corpus:
    """Read an indexed corpus.

    Raises
    ------
    DatasetError
        No corpus there, not indexed, or embeddings that do not fit its entries.
    """
    corpus = read_entries(folder)
    if corpus.space is None:
        raise DatasetError(f"the corpus in {folder} has no embeddings; index it with: innerear "
                           "corpus index")
    try:
        embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{folder / 'embeddings.npy'} cannot be read ({exc}); index the corpus again") from exc
    wanted = (len(corpus.clips), corpus.space.dim)
    if embeddings.shape != wanted or not np.isfinite(embeddings).all():
        raise DatasetError(f"{folder / 'embeddings.npy'} has shape {embeddings.shape}, finite: "
                           f"{bool(np.isfinite(embeddings).all())}; wanted {wanted}, all finite; index it again")
    return replace(corpus, embeddings=np.asarray(embeddings, np.float32))


def in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], what: str, progress: Progress | None
) -> list[_Result]:
    """Results in order, from one thread per core: kernels, transforms and codecs all leave the interpreter's lock."""
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # else BLAS threads fight with ours
        return list(counted(pool.map(function, items), what, len(items), progress))


def _rows(corpus: Corpus, recipe: str, function: Callable[[NDArray[np.float32], int], NDArray[np.float32]], what: str,
          progress: Progress | None) -> NDArray[np.float32]:
    """What `function` says of every clip, shape (n_clips, n); finished blocks are on disk until the index is."""
    blocks = corpus.folder / _BLOCKS
    blocks.mkdir(exist_ok=True)
    parts = []
    for first in range(0, len(corpus.clips), _ROWS_PER_BLOCK):
        clips = corpus.clips[first : first + _ROWS_PER_BLOCK]
        key = hashlib.sha256("\n".join([recipe, str(corpus.heard_s), *(clip.sha256 for clip in clips)]).encode())
        path = blocks / f"{key.hexdigest()[:32]}.npy"
        if not path.exists():
            rows = in_threads(lambda clip: function(*heard_audio(corpus, clip)), clips,
                              f"{what} from clip {first + 1}" if first else what, progress)
            _save(path, np.array(rows, np.float32))
        parts.append(np.load(path, allow_pickle=False))
    return np.concatenate(parts)


def _save(path: Path, array: NDArray[np.float32]) -> None:
    buffer = BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


def heard_audio(corpus: Corpus, clip: CorpusClip) -> tuple[NDArray[np.float32], int]:
    """Mono audio of what is heard of a clip, and its rate."""
    path = corpus.folder / clip.file
    try:
        rate_hz = soundfile.info(path).samplerate
        audio, _ = soundfile.read(path, frames=round(corpus.heard_s * rate_hz), dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as exc:
        raise DatasetError(f"clip {clip.clip_id} cannot be read from {path} ({exc}); make the corpus again") from exc
    return np.asarray(audio @ np.full(audio.shape[1], 1 / audio.shape[1], np.float32)), int(rate_hz)


def _write_index(corpus: Corpus, space: EmbeddingSpace, embeddings: NDArray[np.float32]) -> Corpus:
    _save(corpus.folder / "embeddings.npy", embeddings)
    indexed = replace(corpus, space=space, embeddings=embeddings)
    write_entries(indexed)
    shutil.rmtree(corpus.folder / _BLOCKS, ignore_errors=True)
    return indexed


def write_entries(corpus: Corpus) -> None:
    """Write corpus.json whole; a corpus that is not indexed yet has no space in it."""
    document = {
        "format_version": FORMAT_VERSION,
        "space": asdict(corpus.space) if corpus.space else None,
        "centre": corpus.embeddings.mean(axis=0).astype(float).tolist(),
        "heard_s": corpus.heard_s,
        "loudness": f"{LOUDNESS_LUFS:g} LUFS after gain_db, where the true peak stays below {TRUE_PEAK_DBTP:g} dBTP",
        "clips": [asdict(clip) for clip in corpus.clips],
        "skipped": [asdict(skipped) for skipped in corpus.skipped],
    }
    write_json(corpus.folder / "corpus.json", document)


def read_entries(folder: Path) -> Corpus:
    """Read a corpus without its embeddings, indexed or not.

    Raises
    ------
    DatasetError
        No corpus there, or one of another version.
    """
    path = folder / "corpus.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DatasetError(f"no corpus in {folder}: {path} cannot be read ({exc}); make one with: innerear "
                           f"corpus compose {folder}") from exc
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise DatasetError(f"{path} has format version {version!r}, this program reads {FORMAT_VERSION}; make it again")
    try:
        clips = tuple(CorpusClip(**entry) for entry in document["clips"])
        space = EmbeddingSpace(**document["space"]) if document["space"] else None
        skipped = tuple(Skipped(**entry) for entry in document.get("skipped", ()))
        return Corpus(folder, float(document["heard_s"]), clips, space, np.zeros((len(clips), 0), np.float32), skipped)
    except (KeyError, TypeError, ValueError) as exc:
        raise DatasetError(f"{path} does not describe a corpus ({exc!r}); make it again with: innerear "
                           "corpus compose, or build") from exc
