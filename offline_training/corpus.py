"""The music corpus: a folder of clips the live program can play, made by the project's own synthesiser.

::

    corpus.json       space, centre and one entry per clip; written last
    embeddings.npy    float32 (n_clips, dim), rows in the order of the entries
    embedder.npz      what made the embeddings
    clips/*.flac      48 kHz stereo, whole bars
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from offline_training.errors import DatasetError
from offline_training.progress import Progress, counted
from offline_training.targets import LogMelEmbedder, logmel_statistics
from realtime.atomic import write_bytes, write_json
from realtime.messages import EmbeddingSpace
from realtime.music.catalogue import FORMAT_VERSION
from realtime.music.synth import ClipSpec, render
from realtime.music.synth_styles import GENRES
from realtime.playback.settings import RATE_HZ
from realtime.ports import Embedder

LOUDNESS_DBFS = -20.0
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CorpusSettings:
    """What to make.

    Attributes
    ----------
    n_per_genre : int
        Clips of each of the ten genres.
    n_test_per_genre : int
        How many of them are kept for testing; no model may be fitted to those.
    duration_s : float
        What a listener hears of a clip; the file is longer, up to the next whole bar.
    borrow : float
        Probability that a clip has one part from another genre: genres should be clear, not trivial.
    rate_hz : int
        Frames per second.
    seed : int
        Of all music in the corpus.
    """

    n_per_genre: int = 12
    n_test_per_genre: int = 2
    duration_s: float = 10.0
    borrow: float = 0.3
    rate_hz: int = RATE_HZ
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.n_per_genre <= 10000:
            problems.append(f"n_per_genre is {self.n_per_genre}, wanted 1 to 10000")
        if not 0 <= self.n_test_per_genre <= self.n_per_genre:
            problems.append(f"n_test_per_genre is {self.n_test_per_genre}, wanted 0 to {self.n_per_genre}")
        if not 2 <= self.duration_s <= 600:
            problems.append(f"duration_s is {self.duration_s:g}, wanted 2 to 600")
        if not 0 <= self.borrow <= 1:
            problems.append(f"borrow is {self.borrow:g}, wanted 0 to 1")
        if not 16000 <= self.rate_hz <= 192000:
            problems.append(f"rate_hz is {self.rate_hz}, wanted 16000 to 192000")
        if self.seed < 0:
            problems.append(f"seed is {self.seed}, wanted 0 or more")
        if problems:
            raise DatasetError(f"no corpus can be made with these settings: {'; '.join(problems)}; correct them")


@dataclass(frozen=True)
class CorpusClip:
    """One entry of corpus.json; `file` is relative to the corpus, `split` is "training" or "test"."""

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
    """

    folder: Path
    heard_s: float
    clips: tuple[CorpusClip, ...]
    space: EmbeddingSpace | None
    embeddings: NDArray[np.float32]


def make_corpus(folder: Path, settings: CorpusSettings, dim: int = 32, progress: Progress | None = None) -> Corpus:
    """Build a corpus, fit an embedder on its training clips and index it with that: the whole way.

    `dim` is lowered to one less than the number of training clips where there are few.
    """
    corpus = build_corpus(folder, settings, progress)
    statistics = _map(lambda clip: logmel_statistics(*_heard(corpus, clip)), corpus.clips, "listening", progress)
    training = np.array([row for row, clip in zip(statistics, corpus.clips, strict=True) if clip.split == "training"])
    embedder = LogMelEmbedder.fit(training, min(dim, len(training) - 1))
    embedder.save(folder / "embedder.npz")
    return _write_index(corpus, embedder.space, embedder.project(np.array(statistics)))


def build_corpus(folder: Path, settings: CorpusSettings, progress: Progress | None = None) -> Corpus:
    """Render the clips of a new corpus; same settings, same clips.

    Parameters
    ----------
    folder : Path
        Made where absent; a corpus that is already there is replaced.
    settings : CorpusSettings
        What to make.
    progress : Progress, optional
        Told of everything that is done.

    Returns
    -------
    corpus : Corpus
        Without embeddings: `index_corpus` adds them.

    Raises
    ------
    DatasetError
        The folder cannot be written.
    """
    try:
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        for stale in (folder / "corpus.json", folder / "embeddings.npy", *(folder / "clips").glob("*.flac")):
            stale.unlink(missing_ok=True)
    except OSError as exc:
        raise DatasetError(f"the corpus folder {folder} cannot be written ({exc.strerror}); choose another") from exc
    jobs = [(genre, number) for number in range(settings.n_per_genre) for genre in GENRES]
    clips = _map(lambda job: _make_clip(folder, settings, *job), jobs, "composing", progress)
    corpus = Corpus(folder, settings.duration_s, tuple(clips), None, np.zeros((len(clips), 0), np.float32))
    _write_document(corpus)
    return corpus


def index_corpus(folder: Path, embedder: Embedder, progress: Progress | None = None) -> Corpus:
    """Embed what is heard of every clip of an existing corpus, with any embedder.

    Raises
    ------
    DatasetError
        No corpus there, or a clip that cannot be read.
    """
    corpus = _read_document(folder)
    rows = _map(lambda clip: embedder.embed(*_heard(corpus, clip)), corpus.clips, "embedding", progress)
    return _write_index(corpus, embedder.space, np.array(rows, np.float32))


def read_corpus(folder: Path) -> Corpus:
    """Read an indexed corpus.

    Raises
    ------
    DatasetError
        No corpus there, not indexed, or embeddings that do not fit its entries.
    """
    corpus = _read_document(folder)
    if corpus.space is None:
        raise DatasetError(f"the corpus in {folder} has no embeddings; index it with: innerear corpus")
    try:
        embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{folder / 'embeddings.npy'} cannot be read ({exc}); index the corpus again") from exc
    wanted = (len(corpus.clips), corpus.space.dim)
    if embeddings.shape != wanted or not np.isfinite(embeddings).all():
        raise DatasetError(f"{folder / 'embeddings.npy'} has shape {embeddings.shape}, finite: "
                           f"{bool(np.isfinite(embeddings).all())}; wanted {wanted}, all finite; index it again")
    return Corpus(folder, corpus.heard_s, corpus.clips, corpus.space, np.asarray(embeddings, np.float32))


def _map(
    function: Callable[[_Item], _Result], items: Sequence[_Item], what: str, progress: Progress | None
) -> list[_Result]:
    """Results in order, from one thread per core: kernels, transforms and codecs all leave the interpreter's lock."""
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # else BLAS threads fight with ours
        return list(counted(pool.map(function, items), what, len(items), progress))


def _make_clip(folder: Path, settings: CorpusSettings, genre: str, number: int) -> CorpusClip:
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    made = render(ClipSpec(genre, seed, settings.duration_s, settings.rate_hz, settings.borrow))
    clip_id = f"{genre}-{number:03d}"
    path = folder / "clips" / f"{clip_id}.flac"
    soundfile.write(path, made.audio, made.rate_hz, format="FLAC", subtype="PCM_16", compression_level=0.0)
    rms_db = 10 * np.log10(float(np.mean(np.square(made.audio), dtype=np.float64)) + 1e-12)
    split = "test" if number >= settings.n_per_genre - settings.n_test_per_genre else "training"
    return CorpusClip(clip_id, f"clips/{path.name}", genre, split, len(made.audio) / made.rate_hz, made.bpm,
                      made.first_beat_s, round(LOUDNESS_DBFS - rms_db, 2),
                      hashlib.sha256(path.read_bytes()).hexdigest(), made.labels)


def _heard(corpus: Corpus, clip: CorpusClip) -> tuple[NDArray[np.float32], int]:
    """Mono audio of what is heard of a clip, and its rate."""
    path = corpus.folder / clip.file
    try:
        rate_hz = soundfile.info(path).samplerate
        audio, _ = soundfile.read(path, frames=round(corpus.heard_s * rate_hz), dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as exc:
        raise DatasetError(f"clip {clip.clip_id} cannot be read from {path} ({exc}); make the corpus again") from exc
    return np.asarray(audio @ np.full(audio.shape[1], 1 / audio.shape[1], np.float32)), int(rate_hz)


def _write_index(corpus: Corpus, space: EmbeddingSpace, embeddings: NDArray[np.float32]) -> Corpus:
    buffer = BytesIO()
    np.save(buffer, embeddings)
    write_bytes(corpus.folder / "embeddings.npy", buffer.getvalue())
    indexed = Corpus(corpus.folder, corpus.heard_s, corpus.clips, space, embeddings)
    _write_document(indexed)
    return indexed


def _write_document(corpus: Corpus) -> None:
    document = {
        "format_version": FORMAT_VERSION,
        "space": asdict(corpus.space) if corpus.space else None,
        "centre": corpus.embeddings.mean(axis=0).astype(float).tolist(),
        "heard_s": corpus.heard_s,
        "loudness": f"RMS {LOUDNESS_DBFS:g} dBFS after gain_db",
        "clips": [asdict(clip) for clip in corpus.clips],
    }
    write_json(corpus.folder / "corpus.json", document)


def _read_document(folder: Path) -> Corpus:
    path = folder / "corpus.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DatasetError(f"no corpus in {folder}: {path} cannot be read ({exc}); make one with: innerear "
                           "corpus") from exc
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise DatasetError(f"{path} has format version {version!r}, this program reads {FORMAT_VERSION}; make it again")
    try:
        clips = tuple(CorpusClip(**entry) for entry in document["clips"])
        space = EmbeddingSpace(**document["space"]) if document["space"] else None
        return Corpus(folder, float(document["heard_s"]), clips, space, np.zeros((len(clips), 0), np.float32))
    except (KeyError, TypeError, ValueError) as exc:
        raise DatasetError(f"{path} does not describe a corpus ({exc!r}); make it again with: innerear corpus") from exc
