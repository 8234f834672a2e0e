"""An index whose vectors live on a Qdrant server: for corpora that outgrow this machine's memory.

The server finds candidates and sends their vectors; scores are computed here, exactly. A collection
is named after its content, so that it can be no other corpus and no older version of this one.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from realtime.errors import CatalogueError
from realtime.messages import Clip, EmbeddingSpace, Match
from realtime.music.catalogue import Catalogue
from realtime.music.index import cosines, direction, ranked

TIMEOUT_S = 5
_TIES = 8  # candidates more than asked for: equal scores come in the server's order, not in that of the ids
_ROWS_PER_REQUEST = 512
_Answer = TypeVar("_Answer")


class QdrantIndex:
    """Implements `realtime.ports.MusicIndex` with a server; made by `open_qdrant`.

    Approximate as the server is: its graph of neighbours may miss clips.
    """

    def __init__(self, catalogue: Catalogue, client: QdrantClient) -> None:
        self._catalogue, self._client, self._collection = catalogue, client, collection_name(catalogue)

    @property
    def space(self) -> EmbeddingSpace:
        """The catalogue's space."""
        return self._catalogue.space

    @property
    def centre(self) -> NDArray[np.float32]:
        """The catalogue's mean embedding, shape (dim,)."""
        return self._catalogue.centre

    @property
    def clips(self) -> Sequence[Clip]:
        """The catalogue's clips."""
        return self._catalogue.clips

    def clip(self, clip_id: str) -> Clip:
        """As `Catalogue.clip`."""
        return self._catalogue.clip(clip_id)

    def embeddings(self, clip_ids: Sequence[str]) -> NDArray[np.float32]:
        """As `Catalogue.embeddings`."""
        return self._catalogue.embeddings(clip_ids)

    def similarities(self, embedding: NDArray[np.float32], clip_ids: Sequence[str]) -> NDArray[np.float32]:
        """Centred cosines of these clips; raises CatalogueError when one is unknown or the server does not answer."""
        rows = [self._catalogue.row(clip_id) for clip_id in clip_ids]
        records = _asked(lambda: self._client.retrieve(self._collection, rows, with_payload=False, with_vectors=True))
        vectors = {int(record.id): record.vector for record in records}
        unit = np.array([vectors[row] for row in rows], np.float32).reshape(len(rows), self.space.dim)
        return cosines(unit, direction(embedding, self.centre))

    def search(self, embedding: NDArray[np.float32], n: int) -> list[Match]:
        """The n best clips that the server finds, best first, ties by clip id; CatalogueError when it does not."""
        towards = direction(embedding, self.centre)
        points = _asked(lambda: self._client.query_points(
            self._collection, query=towards.tolist(), limit=n + _TIES, with_payload=False, with_vectors=True)).points
        unit = np.array([point.vector for point in points], np.float32).reshape(len(points), self.space.dim)
        return ranked([self.clips[int(point.id)] for point in points], cosines(unit, towards), n)


def collection_name(catalogue: Catalogue) -> str:
    """Of the collection that holds exactly this catalogue's clips and vectors."""
    return f"innerear-{catalogue.digest[:24]}"


def connect(url: str) -> QdrantClient:
    """A client of the server at http(s)://HOST[:PORT]; nothing is sent yet."""
    return QdrantClient(url=url, timeout=TIMEOUT_S, check_compatibility=False)


def upload(catalogue: Catalogue, client: QdrantClient) -> str:
    """Bring a catalogue's vectors to the server, and return the name of their collection; again is harmless.

    Raises
    ------
    CatalogueError
        The server does not answer, or refuses.
    """
    name = collection_name(catalogue)
    if not _asked(lambda: client.collection_exists(name)):
        params = models.VectorParams(size=catalogue.space.dim, distance=models.Distance.DOT)
        _asked(lambda: client.create_collection(name, vectors_config=params))
    for first in range(0, len(catalogue.clips), _ROWS_PER_REQUEST):
        points = [models.PointStruct(id=row, vector=catalogue.unit[row].tolist(),
                                     payload={"clip_id": clip.clip_id, "genre": clip.genre})
                  for row, clip in enumerate(catalogue.clips[first : first + _ROWS_PER_REQUEST], start=first)]
        _asked(lambda points=points: client.upsert(name, points, wait=True))  # type: ignore[misc]
    return name


def open_qdrant(catalogue: Catalogue, client: QdrantClient) -> QdrantIndex:
    """The index of a catalogue that was uploaded.

    Raises
    ------
    CatalogueError
        The server does not answer, does not know this catalogue, or has a part of it only.
    """
    name = collection_name(catalogue)
    there = _asked(lambda: client.count(name).count if client.collection_exists(name) else 0)
    if there != len(catalogue.clips):
        raise CatalogueError(f"the Qdrant server has {there} of the {len(catalogue.clips)} clips of this catalogue "
                             f"(collection {name}); bring them there with: innerear corpus upload CATALOGUE URL")
    return QdrantIndex(catalogue, client)


def _asked(request: Callable[[], _Answer]) -> _Answer:
    try:
        return request()
    except (ApiException, httpx.HTTPError, ValueError) as exc:
        raise CatalogueError(f"the Qdrant server does not answer as it should ({exc}); see that it runs and that its "
                             "URL is http://HOST:6333") from exc
