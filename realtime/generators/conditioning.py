"""From a decoded embedding to a condition: drawn to where music is, and named after the clip it is nearest to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.messages import Condition
from realtime.music.catalogue import Catalogue

_NEAREST = 64


def snap(embedding: NDArray[np.float32], catalogue: Catalogue, sharpness: float) -> NDArray[np.float32]:
    """The softmax-weighted mean of the nearest clips' embeddings.

    A decoded embedding lies where no music is: regression draws it to the mean and noise moves it
    aside. The corpus says where music is.

    Parameters
    ----------
    embedding : float32 array of shape (dim,)
        Finite, not centred.
    catalogue : Catalogue
        The corpus; its 64 nearest clips count.
    sharpness : float
        Weights are exp(sharpness × centred cosine).

    Returns
    -------
    snapped : float32 array of shape (dim,)
        Not centred; summed in the order of the match, so that it repeats bit for bit.
    """
    matches = catalogue.search(embedding, _NEAREST)
    scores = np.array([match.score for match in matches], np.float64)
    weights = np.exp(sharpness * (scores - scores[0]))
    rows = np.array([catalogue.embedding(match.clip.clip_id) for match in matches], np.float64)
    snapped: NDArray[np.float32] = (np.einsum("i,ij->j", weights, rows) / weights.sum()).astype(np.float32)
    return snapped


@dataclass(frozen=True, eq=False)
class Conditioning:
    """How a session makes its conditions.

    Attributes
    ----------
    catalogue : Catalogue
        The session's corpus.
    sharpness : float
        Of `snap`; 0 passes embeddings on as they are.
    """

    catalogue: Catalogue
    sharpness: float


class Conditioner:
    """Makes the conditions of a session, in order. Pure: the same embeddings give the same conditions."""

    def __init__(self, conditioning: Conditioning) -> None:
        self._catalogue, self._sharpness = conditioning.catalogue, conditioning.sharpness
        self._last: Condition | None = None

    def condition(self, volume_index: int, embedding: NDArray[np.float32], clip_id: str) -> Condition | None:
        """The next condition; None when nothing has changed since the last."""
        wanted = snap(embedding, self._catalogue, self._sharpness) if self._sharpness else embedding
        last = self._last
        if last is not None and last.clip_id == clip_id and np.array_equal(last.embedding, wanted):
            return None
        self._last = Condition(0 if last is None else last.number + 1, volume_index, wanted, clip_id)
        return self._last
