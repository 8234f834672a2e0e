"""One figure for each of several people: mean and spread, the chance of it, and two groups compared.

People are what was sampled, so they are what is drawn anew (bootstrap) or exchanged (permutation): no trial is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from realtime.atomic import without_nan

Floats = NDArray[np.float64]
N_DRAWS = 5000
_EXACT_PEOPLE = 12  # 4096 patterns of signs: all of them are looked at


@dataclass(frozen=True)
class Sample:
    """A figure over people.

    Attributes
    ----------
    value : float
        Mean.
    sd : float
        Over people; NaN with one.
    low, high : float
        95 % percentile bootstrap over people; NaN with fewer than three, of whom it says nothing.
    chance : float
        Mean of what guessing gives each of them; 0 for a difference.
    p_value : float
        Two-sided sign-flip test of each person's figure less their chance: whether figures lie about chance alike on
        both sides. Exact up to 12 people, the smallest possible being 2 / 2ⁿ; NaN with one person.
    cohens_d : float
        Mean less chance over the SD of figures less chance.
    n : int
        People who have the figure.
    people : tuple of float
        Each person's, NaN where there is none.
    """

    value: float
    sd: float
    low: float
    high: float
    chance: float
    p_value: float
    cohens_d: float
    n: int
    people: tuple[float, ...]

    def figures(self) -> dict[str, Any]:
        """For JSON: what cannot be had is null."""
        figures: dict[str, Any] = without_nan(asdict(self))
        return figures


def over_people(values: Sequence[float], chance: Sequence[float], seed: int = 0) -> Sample:
    """Mean, interval and sign-flip test of one figure per person.

    Parameters
    ----------
    values, chance : sequences of float, one per person
        What each person scored, NaN where they did not, and what guessing would have.
    seed : int
        Of the bootstrap, and of the sign flips of more than 12 people.
    """
    given, guessed = np.asarray(values, np.float64), np.asarray(chance, np.float64)
    there = np.isfinite(given) & np.isfinite(guessed)
    own, above = given[there], (given - guessed)[there]
    nothing, n = float("nan"), int(there.sum())
    if not n:
        return Sample(nothing, nothing, nothing, nothing, nothing, nothing, nothing, 0, tuple(given.tolist()))
    drawn = own[np.random.default_rng(seed).integers(n, size=(N_DRAWS, n))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]) if n > 2 else (nothing, nothing)
    sd = float(own.std(ddof=1)) if n > 1 else nothing
    spread = float(above.std(ddof=1)) if n > 1 else nothing
    effect = float(above.mean()) / spread if spread > 0 else nothing
    return Sample(float(own.mean()), sd, float(low), float(high), float(guessed[there].mean()),
                  sign_flip_p(above, seed), effect, n, tuple(given.tolist()))


def sign_flip_p(differences: Floats, seed: int = 0) -> float:
    """Two-sided p of differences (n,), one per person, under flips of their signs; NaN for fewer than two people."""
    n = len(differences)
    if n < 2:
        return float("nan")
    if n <= _EXACT_PEOPLE:
        means = np.array(list(product((1.0, -1.0), repeat=n))) @ differences / n
        return float((np.abs(means) >= abs(differences.mean()) - 1e-12).mean())
    signs = np.random.default_rng(seed).choice((1.0, -1.0), (N_DRAWS, n))
    reached = (np.abs(signs @ differences / n) >= abs(differences.mean()) - 1e-12).sum()
    return float((1 + reached) / (1 + N_DRAWS))


def difference_of_means(first: Floats, second: Floats, names: tuple[str, str], seed: int) -> dict[str, Any]:
    """First less second: difference of means, its bootstrap interval, a two-sided permutation test, and Hedges' g.

    Parameters
    ----------
    first, second : float64 arrays of shape (n_first,), (n_second,)
        Finite.
    names : pair of str
        Of the two; their sizes are given as `n_NAME`.
    seed : int

    Returns
    -------
    figures : dict
        With None for what fewer than two of a kind do not give.
    """
    one, other = names
    counted = {f"n_{one}": len(first), f"n_{other}": len(second)}
    if min(len(first), len(second)) < 2:
        return {**counted, "difference": None, "low": None, "high": None, "p_value": None, "hedges_g": None}

    def means(a: Floats, b: Floats, axis: int = -1) -> Floats:
        return np.asarray(a.mean(axis=axis) - b.mean(axis=axis))

    test = stats.permutation_test((first, second), means, n_resamples=N_DRAWS, vectorized=True,
                                  rng=np.random.default_rng(seed))
    drawn = stats.bootstrap((first, second), means, n_resamples=N_DRAWS, vectorized=True, method="percentile",
                            rng=np.random.default_rng(seed)).confidence_interval
    return {**counted, "difference": float(test.statistic), "low": float(drawn.low), "high": float(drawn.high),
            "p_value": float(test.pvalue), "hedges_g": hedges_g(first, second)}


def hedges_g(first: Floats, second: Floats) -> float | None:
    """Difference of means over the pooled SD, less the bias of small samples (Hedges 1981); None without spread."""
    freedom = len(first) + len(second) - 2
    pooled = np.sqrt((np.square(first - first.mean()).sum() + np.square(second - second.mean()).sum()) / freedom)
    return float((first.mean() - second.mean()) / pooled * (1 - 3 / (4 * freedom - 1))) if pooled > 0 else None
