"""Embeddings that another program made, such as MusicCoCa's: vectors with names, in an .npz file.

::

    space     name of the space, such as "musiccoca-768"; the same model must always give the same name
    names     of the clips: their ids, file names or paths in the corpus
    vectors   float32 (n, dim)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from realtime.messages import EmbeddingSpace


@dataclass(frozen=True, eq=False)
class OutsideVectors:
    """Vectors from outside.

    Attributes
    ----------
    path : Path
        Where they come from.
    space : EmbeddingSpace
        Its checksum is of its name and dimension: nothing more is known of what made them.
    by_name : dict of str to float32 array of shape (dim,)
        Finite.
    """

    path: Path
    space: EmbeddingSpace
    by_name: dict[str, NDArray[np.float32]]

    def rows(self, clips: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Vectors of shape (n, dim) of clips, given as (id, file in the corpus).

        Raises
        ------
        DatasetError
            Clips without a vector, the first five named.
        """
        found = [self._of((clip_id, file, PurePosixPath(file).name, PurePosixPath(file).stem))
                 for clip_id, file in clips]
        missing = [clip_id for (clip_id, _), row in zip(clips, found, strict=True) if row is None]
        if missing:
            raise DatasetError(f"{self.path} has no vector for {len(missing)} of {len(clips)} clips: "
                               f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}; embed these too")
        return np.stack([row for row in found if row is not None])

    def _of(self, names: Sequence[str]) -> NDArray[np.float32] | None:
        return next((self.by_name[name] for name in names if name in self.by_name), None)


def read_vectors(path: Path) -> OutsideVectors:
    """Read and check an .npz of vectors.

    Raises
    ------
    DatasetError
        No such file, arrays missing, names given twice, or vectors that do not fit them or hold NaN.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            space, names = str(arrays["space"]), [str(name) for name in arrays["names"]]
            vectors = np.asarray(arrays["vectors"], np.float32)
    except (OSError, KeyError, ValueError, TypeError) as exc:
        raise DatasetError(f"{path} does not hold vectors ({exc}); wanted an .npz with space, names and vectors, no "
                           "pickled objects") from exc
    problems = []
    if vectors.ndim != 2 or len(vectors) != len(names) or not vectors.size:
        problems.append(f"vectors of shape {vectors.shape} for {len(names)} names")
    if not np.isfinite(vectors).all():
        problems.append("NaN in the vectors")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        problems.append(f"{doubled[0]!r} given twice")
    if not space:
        problems.append("no name of the space")
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}; write it again")
    dim = vectors.shape[1]
    digest = hashlib.sha256(f"vectors from outside: {space} ({dim})".encode()).hexdigest()
    return OutsideVectors(path, EmbeddingSpace(space, dim, digest), dict(zip(names, vectors, strict=True)))
