"""A simulated person who learns from feedback: they try ways of imagining and keep to those that were rewarded. Pure.

Reinforcement learning of the plainest kind (Rescorla and Wagner's rule, choices by softmax): what is fed back is all
that it knows. It cannot learn where feedback has nothing to do with what it did.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LearnerSettings:
    """How eagerly it learns.

    Attributes
    ----------
    rate : float
        Share of a surprise that is learnt.
    decisiveness : float
        Inverse temperature of its choices.
    """

    rate: float = 0.15
    decisiveness: float = 10.0


@dataclass(frozen=True, eq=False)
class Learner:
    """What it believes of its ways of imagining.

    Attributes
    ----------
    worth : float64 array of shape (n_strategies,)
        Feedback that it expects of each.
    """

    worth: NDArray[np.float64]

    @staticmethod
    def new(n_strategies: int) -> "Learner":
        """One that expects the middle of everything."""
        return Learner(np.full(n_strategies, 0.5))

    def choose(self, rng: np.random.Generator, settings: LearnerSettings) -> int:
        """The next way of imagining."""
        weights = np.exp(settings.decisiveness * (self.worth - self.worth.max()))
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def rewarded(self, strategy: int, feedback: float, settings: LearnerSettings) -> "Learner":
        """The same after feedback of 0 to 1 for what it did."""
        worth = self.worth.copy()
        worth[strategy] += settings.rate * (feedback - worth[strategy])
        return Learner(worth)
