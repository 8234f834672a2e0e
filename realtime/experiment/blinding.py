"""Whether blinding held: Bang's index, from what people guessed. Pure.

Bang, Ni and Davis (2004), Controlled Clinical Trials 25:143-156: for each arm, 1 when everybody named it rightly, 0
when guesses were as good as random or nobody knew, -1 when everybody named the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

UNSURE = "unsure"


@dataclass(frozen=True)
class BlindingIndex:
    """Bang's index of one arm.

    Attributes
    ----------
    value : float
        -1 to 1; NaN without guesses.
    low, high : float
        95 % interval, normal approximation.
    n : int
        Guesses, "unsure" included.
    """

    value: float
    low: float
    high: float
    n: int


def bang_index(guesses: Sequence[str], arm: str, confidence: float = 0.95) -> BlindingIndex:
    """Bang's index of the people of one arm.

    Parameters
    ----------
    guesses : sequence of str
        What each of them said: the arm's name, another's, or "unsure".
    arm : str
        Where they were.
    confidence : float
        Of the interval.

    Returns
    -------
    BlindingIndex
        The share of right guesses less that of wrong ones, over all who were asked.
    """
    n = len(guesses)
    if not n:
        return BlindingIndex(math.nan, math.nan, math.nan, 0)
    right = sum(guess == arm for guess in guesses) / n
    wrong = sum(guess not in (arm, UNSURE) for guess in guesses) / n
    value = right - wrong
    variance = (right * (1 - right) + wrong * (1 - wrong) + 2 * right * wrong) / n
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance)
    return BlindingIndex(value, max(-1.0, value - reach), min(1.0, value + reach), n)
