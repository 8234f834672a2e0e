"""The music that can be played: clips with their embeddings, searched exactly.

A catalogue is a folder that `innerear corpus` makes::

    corpus.json       embedding space, mean embedding, and one entry per clip
    embeddings.npy    float32 (n_clips, dim), rows in the order of corpus.json
    clips/            the audio

Exact search is the default on purpose: 100,000 x 128 takes 2-5 ms, and an approximate
index buys nothing before about 10^6 clips.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import CatalogueError
from realtime.messages import Clip, EmbeddingSpace, Match

FORMAT_VERSION = 1


class Catalogue:
    """Exact nearest neighbours by centred cosine; implements `realtime.ports.MusicIndex`.

    Both sides are centred by the corpus mean before the cosine: decoded embeddings shrink
    towards the mean, and without centring a few "hub" clips would win every search.

    Parameters
    ----------
    space : EmbeddingSpace
        Of all vectors in it.
    clips : sequence of Clip
        At least one, ids unique.
    embeddings : float32 array of shape (n_clips, dim)
        Rows in the order of the clips, finite.
    centre : float32 array of shape (dim,)
        Mean embedding of the corpus.
    """

    def __init__(self, space: EmbeddingSpace, clips: Sequence[Clip], embeddings: NDArray[np.float32],
                 centre: NDArray[np.float32]) -> None:
        self._space, self._clips = space, tuple(clips)
        self._centre = np.asarray(centre, np.float32)
        self._embeddings = np.ascontiguousarray(embeddings, np.float32)
        self._unit = _unit_rows(self._embeddings - self._centre)
        self._row = {clip.clip_id: row for row, clip in enumerate(self._clips)}

    @property
    def space(self) -> EmbeddingSpace:
        """The space its clips are embedded in."""
        return self._space

    @property
    def clips(self) -> Sequence[Clip]:
        """All clips, in row order."""
        return self._clips

    @property
    def centre(self) -> NDArray[np.float32]:
        """Mean embedding of the corpus, shape (dim,)."""
        return self._centre

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._row

    def clip(self, clip_id: str) -> Clip:
        """The clip of that id.

        Raises
        ------
        CatalogueError
            The catalogue has no such clip.
        """
        return self._clips[self._row_of(clip_id)]

    def embedding(self, clip_id: str) -> NDArray[np.float32]:
        """Embedding of shape (dim,) of that clip, not centred; errors as `clip`."""
        row: NDArray[np.float32] = self._embeddings[self._row_of(clip_id)]
        return row

    def similarities(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred cosine of shape (n_clips,) to a finite embedding of shape (dim,).

        Summed without BLAS, whose bits depend on its thread count: a replay must rank the clips
        the same.
        """
        query = _unit_rows((np.asarray(embedding, np.float32) - self._centre)[None])[0]
        scores: NDArray[np.float32] = np.einsum("ij,j->i", self._unit, query, optimize=False)
        return scores

    def search(self, embedding: NDArray[np.float32], n: int) -> list[Match]:
        """The n best clips for a finite embedding of shape (dim,), best first, ties by clip id."""
        scores = self.similarities(embedding)
        order = sorted(range(len(scores)), key=lambda row: (-float(scores[row]), self._clips[row].clip_id))
        return [Match(self._clips[row], float(scores[row])) for row in order[:n]]

    def _row_of(self, clip_id: str) -> int:
        try:
            return self._row[clip_id]
        except KeyError:
            raise CatalogueError(f"no clip {clip_id!r} among the {len(self._clips)} of this catalogue; use the "
                                 "catalogue the events were made with") from None


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(np.sum(rows.astype(np.float64) ** 2, axis=1, keepdims=True))
    unit: NDArray[np.float32] = (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return unit


def read_catalogue(folder: Path, *, check_audio: bool = True) -> Catalogue:
    """Read a catalogue and check that every file it names is there and unchanged.

    Parameters
    ----------
    folder : Path
        The catalogue.
    check_audio : bool
        False where nothing will be played: a replay needs the embeddings alone.

    Raises
    ------
    CatalogueError
        No catalogue there, one of another version, or audio missing or changed: all named at once.
    """
    path = folder / "corpus.json"
    try:
        document = json.loads(path.read_bytes())
    except OSError as exc:
        raise CatalogueError(f"no catalogue in {folder}: {path} cannot be read ({exc.strerror}); make one with: "
                             f"innerear corpus build {folder}") from exc
    except ValueError as exc:
        raise CatalogueError(f"{path} is not JSON ({exc}); build the corpus again") from exc
    space, clips = _describe(document, path, folder)
    embeddings = _read_embeddings(folder / "embeddings.npy", (len(clips), space.dim))
    centre = np.asarray(document.get("centre", embeddings.mean(axis=0)), np.float32)
    damaged = [problem for clip in clips if (problem := _file_problem(clip))] if check_audio else []
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        raise CatalogueError(f"catalogue {folder} is not whole: {'; '.join(damaged[:5])}{more}; put the files back "
                             "or build the corpus again")
    return Catalogue(space, clips, embeddings, centre)


def _describe(document: dict[str, Any], path: Path, folder: Path) -> tuple[EmbeddingSpace, list[Clip]]:
    if document.get("format_version") != FORMAT_VERSION:
        raise CatalogueError(f"{path} has format version {document.get('format_version')!r}, this program reads "
                             f"{FORMAT_VERSION}; build the corpus again with this version")
    if not document.get("space"):
        raise CatalogueError(f"{path} has no embeddings: its making was cut off; make it again with: innerear "
                             f"corpus build {folder}")
    try:
        space = EmbeddingSpace(**document["space"])
        clips = [Clip(clip_id=str(entry["clip_id"]), path=folder / entry["file"], genre=str(entry.get("genre", "")),
                      duration_s=float(entry["duration_s"]), bpm=float(entry.get("bpm", 0.0)),
                      first_beat_s=float(entry.get("first_beat_s", 0.0)), gain_db=float(entry.get("gain_db", 0.0)),
                      sha256=str(entry.get("sha256", ""))) for entry in document["clips"]]
    except (KeyError, TypeError, ValueError) as exc:
        raise CatalogueError(f"{path} does not describe a catalogue ({exc!r}); build the corpus again") from exc
    doubled = sorted({clip.clip_id for clip in clips if sum(other.clip_id == clip.clip_id for other in clips) > 1})
    if doubled or not clips:
        raise CatalogueError(f"{path} names " + (f"{doubled[0]!r} twice" if doubled else "no clips")
                             + "; build the corpus again")
    return space, clips


def _read_embeddings(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        embeddings: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise CatalogueError(f"{path} cannot be read ({exc}); build the corpus again") from exc
    if embeddings.shape != shape or not np.isfinite(embeddings).all():
        raise CatalogueError(f"{path} has shape {embeddings.shape} or holds NaN, wanted finite {shape}; build the "
                             "corpus again")
    return embeddings


def _file_problem(clip: Clip) -> str:
    try:
        with clip.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        return f"{clip.clip_id}: {clip.path} cannot be read ({exc.strerror})"
    return f"{clip.clip_id}: {clip.path} has changed" if clip.sha256 and digest != clip.sha256 else ""
