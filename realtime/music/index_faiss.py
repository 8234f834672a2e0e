"""An index for 10^6 clips and more: faiss finds candidates, their scores are computed exactly.

Up to `EXHAUSTIVE` clips faiss looks at all of them. Beyond, clips are sorted into cells, and only
the cells nearest to the query are looked at: a good clip in a cell further away is missed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from realtime.errors import CatalogueError
from realtime.messages import Clip, EmbeddingSpace, Match
from realtime.music.catalogue import Catalogue
from realtime.music.index import cosines, direction, ranked

EXHAUSTIVE = 200_000
"""Clips that are all looked at: 5 ms for 128 dimensions."""
CELLS_LOOKED_AT = 1 / 16
ROWS_PER_CELL_LEARNT_FROM = 64
_TIES = 8  # candidates more than asked for: equal scores come in faiss's order, not in that of the ids


class FaissIndex:
    """Implements `realtime.ports.MusicIndex` over a catalogue; see the module for what it may miss.

    Parameters
    ----------
    catalogue : Catalogue
        The clips.
    found_by : faiss index
        Of the catalogue's unit vectors, in its order: `make_faiss`, or one that was read again.

    Raises
    ------
    CatalogueError
        The faiss index is of another number of clips or of another dimension.
    """

    def __init__(self, catalogue: Catalogue, found_by: Any) -> None:
        wanted = (len(catalogue.clips), catalogue.space.dim)
        if (found_by.ntotal, found_by.d) != wanted:
            raise CatalogueError(f"the faiss index holds {found_by.ntotal} clips of {found_by.d} dimensions, the "
                                 f"catalogue {wanted[0]} of {wanted[1]}; make it again from this catalogue")
        self._catalogue, self._found_by = catalogue, found_by

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
        """As `Catalogue.similarities`: exact."""
        return self._catalogue.similarities(embedding, clip_ids)

    def search(self, embedding: NDArray[np.float32], n: int) -> list[Match]:
        """The n best clips among those that faiss looks at, best first, ties by clip id."""
        towards = direction(embedding, self.centre)
        _, rows = self._found_by.search(towards[None], min(n + _TIES, self._found_by.ntotal))
        rows = rows[0][rows[0] >= 0]
        return ranked([self.clips[row] for row in rows], cosines(self._catalogue.unit[rows], towards), n)


def make_faiss(unit: NDArray[np.float32], exhaustive: int = EXHAUSTIVE) -> Any:
    """A faiss index of unit rows (n_clips, dim): of all when there are at most `exhaustive`, else in cells.

    On one thread, so that the same rows give the same cells.
    """
    n_clips, dim = unit.shape
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(dim)
    if n_clips <= exhaustive:
        flat.add(unit)
        return flat
    n_cells = int(4 * n_clips**0.5)
    cells = faiss.IndexIVFFlat(flat, dim, n_cells, faiss.METRIC_INNER_PRODUCT)
    learnt_from = np.random.default_rng(0).permutation(n_clips)[: ROWS_PER_CELL_LEARNT_FROM * n_cells]
    cells.train(unit[np.sort(learnt_from)])
    cells.add(unit)
    cells.nprobe = max(1, round(CELLS_LOOKED_AT * n_cells))
    return cells


def open_faiss(catalogue: Catalogue, folder: Path) -> FaissIndex:
    """The index kept in `folder`; made, and kept there, when there is none of this very catalogue.

    Raises
    ------
    CatalogueError
        The folder cannot be written, or the kept file is damaged.
    """
    path = folder / f"faiss-{catalogue.digest[:16]}.index"
    try:
        if path.exists():
            return FaissIndex(catalogue, faiss.read_index(str(path)))
        made = make_faiss(catalogue.unit)
        scratch = path.with_suffix(".part")
        faiss.write_index(made, str(scratch))
        scratch.replace(path)
    except (OSError, RuntimeError) as exc:  # faiss raises RuntimeError for everything
        raise CatalogueError(f"the faiss index {path} cannot be read or written ({exc}); remove it, and make room in "
                             "its folder") from exc
    return FaissIndex(catalogue, made)
