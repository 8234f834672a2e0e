"""Amplitude factors and decibels."""

import math


def gain_of_db(level_db: float) -> float:
    """Amplitude factor of a level in dB; -inf gives 0."""
    return float(10.0 ** (level_db / 20.0))


def db_of_gain(gain: float) -> float:
    """Level in dB of an amplitude factor; 0 gives -inf."""
    return 20.0 * math.log10(gain) if gain > 0.0 else -math.inf
