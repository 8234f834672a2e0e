"""How much each sample around a point counts: interpolation kernels as polynomials of where the point lies.

Row k of a table holds the factors of t to the power k, one per sample, with t from 0 to 1 between the
two middle samples. Computed with `+ − × ÷` alone, so that they are the same on every machine.
"""

import math
from fractions import Fraction

Table = tuple[tuple[float, ...], ...]

SPLINE: Table = (
    (1 / 6, 4 / 6, 1 / 6, 0.0),
    (-3 / 6, 0.0, 3 / 6, 0.0),
    (3 / 6, -6 / 6, 3 / 6, 0.0),
    (-1 / 6, 3 / 6, -3 / 6, 1 / 6),
)
"""Cubic B-spline; Unser 1999, IEEE Signal Process. Mag. 16(6), eq. 5."""

_REACH = 4                  # samples on each side of the point
_KAISER = 6.0               # of the window: from 4, more detail passes, but what is smooth is no longer left alone
_NODES = tuple(Fraction(node, 1000) for node in (0, 50, 188, 389, 611, 812, 950, 1000))
"""Near Chebyshev's; at 0 and 1 the polynomials are exact, so a point on a voxel reads that voxel."""


def _sinc_table() -> Table:
    """Polynomials of degree 7 through the sinc of eight samples in Kaiser's window, scaled to sum 1.

    Kaiser 1974, Proc. IEEE Int. Symp. Circuits and Systems, 20. They are within 3e-6 of it.
    """
    at_nodes = [_sinc_weights(float(node)) for node in _NODES]
    rising = [_basis(k) for k in range(len(_NODES))]
    return tuple(
        tuple(math.fsum(float(basis[power]) * weights[sample] for basis, weights in zip(rising, at_nodes, strict=True))
              for sample in range(2 * _REACH))
        for power in range(len(_NODES)))


def _sinc_weights(t: float) -> list[float]:
    """Of the eight samples around a point."""
    weights = [_sinc(t - place) * _kaiser((t - place) / _REACH) for place in range(1 - _REACH, _REACH + 1)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _sinc(x: float) -> float:
    """sin(πx) / (πx) by Taylor's series of what is left of x after whole turns."""
    nearest = math.floor(x + 0.5)
    if x == 0.0:
        return 1.0
    rest = math.pi * (x - nearest)
    term, terms = rest, [rest]
    for k in range(1, 14):
        term *= -rest * rest / (2 * k * (2 * k + 1))
        terms.append(term)
    sign = -1.0 if nearest % 2 else 1.0
    return sign * math.fsum(terms) / (math.pi * x)


def _kaiser(u: float) -> float:
    """Modified Bessel function I₀(β √(1 - u²)) by its series, -1 ≤ u ≤ 1; whoever divides by the sum needs no I₀(β)."""
    quarter = 0.25 * _KAISER * _KAISER * (1.0 - u * u)
    term, terms = 1.0, [1.0]
    for k in range(1, 40):
        term *= quarter / (k * k)
        terms.append(term)
    return math.fsum(terms)


def _basis(k: int) -> list[Fraction]:
    """Factors of rising powers of Lagrange's polynomial that is 1 at node k and 0 at the others."""
    rising = [Fraction(1)]
    for node in _NODES[:k] + _NODES[k + 1:]:
        gap = _NODES[k] - node
        shifted, scaled = [Fraction(0), *rising], [*(node * factor for factor in rising), Fraction(0)]
        rising = [(a - b) / gap for a, b in zip(shifted, scaled, strict=True)]
    return rising


SINC: Table = _sinc_table()
