"""The arms of an experiment: whose feedback a person gets. Pure.

In every arm the same work is done on every volume and the same is told of it, so that neither messages nor delays say
which arm it is: there is always a second decoder, whose voxels are in order in the real arm and shuffled in another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from realtime.messages import EmbeddingSpace
from realtime.ports import Decoder

Arm = Literal["real", "yoked", "shuffled", "other region"]
ARMS: tuple[Arm, ...] = get_args(Arm)


class ArmDecoder:
    """A decoder whose voxels come in an order that the arm decides; implements `Decoder`.

    Parameters
    ----------
    decoder : Decoder
        The real one.
    arm : str
        In "shuffled" every voxel is taken for another; otherwise for itself.
    seed : int
        Of the order.
    """

    def __init__(self, decoder: Decoder, arm: Arm, seed: int) -> None:
        self._decoder, self._arm, self._seed = decoder, arm, seed
        self._order: NDArray[np.intp] = np.zeros(0, np.intp)

    @property
    def space(self) -> EmbeddingSpace:
        """The real one's."""
        return self._decoder.space

    def decode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding of shape (dim,) for features of shape (n_voxels,)."""
        if len(self._order) != len(features):
            order = np.random.default_rng([self._seed, 0xA4]).permutation(len(features))
            self._order = order if self._arm == "shuffled" else np.arange(len(features))
        return self._decoder.decode(features[self._order])


@dataclass(frozen=True)
class Tape:
    """What a donor's session fed back, volume by volume: the yoked arm plays it again.

    Attributes
    ----------
    scores : tuple of float or None
        At each volume of the run.
    clips : tuple of str
        Mirrored there; "" for none.
    """

    scores: tuple[float | None, ...] = ()
    clips: tuple[str, ...] = ()

    @staticmethod
    def from_steps(documents: Sequence[Mapping[str, Any]]) -> "Tape":
        """The tape of a recorded run, from the steps of its last attempt."""
        steps = [document for document in documents if document["doc"] == "step"]
        return Tape(tuple(step.get("shown") for step in steps), tuple(step.get("mirrored", "") for step in steps))
