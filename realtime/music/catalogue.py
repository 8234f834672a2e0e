"""The music that can be played: clips with their embeddings, searched exactly.

A catalogue is a folder that `innerear corpus` makes::

    corpus.json       embedding space, mean embedding, and one entry per clip
    embeddings.npy    float32 (n_clips, dim), rows in the order of corpus.json
    clips/            the audio

Exact search is the default on purpose: 100,000 x 128 takes 3 ms, and an approximate index buys
nothing before about 10^6 clips; `realtime.music.index_places` opens the others.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import CatalogueError
from realtime.messages import Clip, EmbeddingSpace, Match
from realtime.music.index import best_rows, cosines, direction, ranked, unit_rows

FORMAT_VERSION = 1
HASHED_BYTES = 2 * 1024**3
"""Audio whose content a preflight compares, some two seconds' worth; of a larger catalogue it compares the sizes."""


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
        Rows in the order of the clips, finite; may be mapped from a file.
    centre : float32 array of shape (dim,)
        Mean embedding of the corpus.
    """

    def __init__(self, space: EmbeddingSpace, clips: Sequence[Clip], embeddings: NDArray[np.float32],
                 centre: NDArray[np.float32]) -> None:
        self._space, self._clips = space, tuple(clips)
        self._centre = np.asarray(centre, np.float32)
        self._embeddings = embeddings
        self._row = {clip.clip_id: row for row, clip in enumerate(self._clips)}

    @property
    def space(self) -> EmbeddingSpace:
        """The space its clips are embedded in."""
        return self._space

    @property
    def clips(self) -> Sequence[Clip]:
        """All clips, in row order."""
        return self._clips

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what a search depends on: space, centre, clip ids and embeddings."""
        digest = hashlib.sha256(repr(self._space).encode())
        digest.update("\n".join(clip.clip_id for clip in self._clips).encode())
        for array in (self._centre, self._embeddings):
            digest.update(np.ascontiguousarray(array, "<f4").data)
        return digest.hexdigest()

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """Directions of all clips from the centre, shape (n_clips, dim), rows of length 1; not to be written to."""
        return unit_rows(self._embeddings - self._centre)

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
        return self._clips[self.row(clip_id)]

    def embedding(self, clip_id: str) -> NDArray[np.float32]:
        """Embedding of shape (dim,) of that clip, not centred; errors as `clip`."""
        row: NDArray[np.float32] = self._embeddings[self.row(clip_id)]
        return row

    def embeddings(self, clip_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of shape (len(clip_ids), dim) of these clips, not centred; errors as `clip`."""
        rows: NDArray[np.float32] = np.asarray(self._embeddings)[np.array([self.row(name) for name in clip_ids],
                                                                           np.intp)]
        return rows

    def similarities(self, embedding: NDArray[np.float32],
                     clip_ids: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Centred cosine to a finite embedding of shape (dim,) of the clips named, or of all; errors as `clip`."""
        towards = direction(embedding, self._centre)
        if clip_ids is None:
            return cosines(self.unit, towards)
        return cosines(self.unit[[self.row(clip_id) for clip_id in clip_ids]], towards)

    def search(self, embedding: NDArray[np.float32], n: int) -> list[Match]:
        """The n best clips for a finite embedding of shape (dim,), best first, ties by clip id."""
        scores = cosines(self.unit, direction(embedding, self._centre))
        rows = best_rows(scores, n)
        return ranked([self._clips[row] for row in rows], scores[rows], n)

    def row(self, clip_id: str) -> int:
        """Place of a clip among `clips`; errors as `clip`."""
        try:
            return self._row[clip_id]
        except KeyError:
            raise CatalogueError(f"no clip {clip_id!r} among the {len(self._clips)} of this catalogue; use the "
                                 "catalogue the events were made with") from None


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
                             f"innerear corpus compose {folder}") from exc
    except ValueError as exc:
        raise CatalogueError(f"{path} is not JSON ({exc}); build the corpus again") from exc
    space, clips = _describe(document, path, folder)
    embeddings = _read_embeddings(folder / "embeddings.npy", (len(clips), space.dim))
    centre = np.asarray(document.get("centre", embeddings.mean(axis=0)), np.float32)
    damaged = _audio_problems(clips, document["clips"]) if check_audio else []
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
                             f"corpus compose {folder}")
    try:
        space = EmbeddingSpace(**document["space"])
        clips = [Clip(clip_id=str(entry["clip_id"]), path=folder / entry["file"], genre=str(entry.get("genre", "")),
                      duration_s=float(entry["duration_s"]), bpm=float(entry.get("bpm", 0.0)),
                      first_beat_s=float(entry.get("first_beat_s", 0.0)), gain_db=float(entry.get("gain_db", 0.0)),
                      sha256=str(entry.get("sha256", ""))) for entry in document["clips"]]
    except (KeyError, TypeError, ValueError) as exc:
        raise CatalogueError(f"{path} does not describe a catalogue ({exc!r}); build the corpus again") from exc
    doubled = sorted(clip_id for clip_id, count in Counter(clip.clip_id for clip in clips).items() if count > 1)
    if doubled or not clips:
        raise CatalogueError(f"{path} names " + (f"{doubled[0]!r} twice" if doubled else "no clips")
                             + "; build the corpus again")
    return space, clips


def _read_embeddings(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        embeddings: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise CatalogueError(f"{path} cannot be read ({exc}); build the corpus again") from exc
    if embeddings.shape != shape or not np.isfinite(embeddings).all():
        raise CatalogueError(f"{path} has shape {embeddings.shape} or holds NaN, wanted finite {shape}; build the "
                             "corpus again")
    return embeddings


def _audio_problems(clips: list[Clip], entries: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the clips' files, a phrase each."""
    sizes = [int(entry.get("n_bytes", 0)) for entry in entries]
    by_size = all(sizes) and sum(sizes) > HASHED_BYTES
    return [problem for clip, n_bytes in zip(clips, sizes, strict=True)
            if (problem := _size_problem(clip, n_bytes) if by_size else _content_problem(clip))]


def _size_problem(clip: Clip, n_bytes: int) -> str:
    try:
        found = clip.path.stat().st_size
    except OSError as exc:
        return f"{clip.clip_id}: {clip.path} cannot be read ({exc.strerror})"
    return "" if found == n_bytes else f"{clip.clip_id}: {clip.path} has {found} bytes, wanted {n_bytes}"


def _content_problem(clip: Clip) -> str:
    try:
        with clip.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        return f"{clip.clip_id}: {clip.path} cannot be read ({exc.strerror})"
    return f"{clip.clip_id}: {clip.path} has changed" if clip.sha256 and digest != clip.sha256 else ""
