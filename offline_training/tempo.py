"""Tempo and beats of a stretch of music, as a grid that does not drift: what the player joins clips on.

Onset strength is folded at every tempo; the one at which it depends most on the place within a beat
is taken, weighted by how likely people hear such a tempo as the beat. Music that no steady grid
explains has no tempo here: the player then changes clips at once instead of on a beat.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

BEATS_PER_BAR = 4
_FRAME_S, _HOP_S = 0.0427, 0.01
_N_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 24, 40.0, 8000.0
_LOW_BANDS = 5  # below about 150 Hz: bass drum and bass mark the bar
_BINS = 24  # places within a beat
_SLOWEST_BPM, _FASTEST_BPM = 55.0, 190.0
_STEP = 0.002  # relative; drifts by 20 ms in ten seconds
_NEAR = 0.06  # relative; players hurry and drag by less
_USUAL_BPM, _SPREAD_OCTAVES = 115.0, 0.7
_SHORTEST_S = 2.0
_TEMPI_BPM = np.geomspace(_SLOWEST_BPM, _FASTEST_BPM, int(np.log(_FASTEST_BPM / _SLOWEST_BPM) / _STEP))
_USUAL = np.exp(-0.5 * (np.log2(_TEMPI_BPM / _USUAL_BPM) / _SPREAD_OCTAVES) ** 2)
_BASS = 2.0  # its weight in where the beat is, beside that of all bands
_SMALLEST_SHARE = 0.12  # of the variance that the place within a beat explains; unsteady music stays below


@dataclass(frozen=True)
class BeatGrid:
    """Where the beats of a stretch of music are.

    Attributes
    ----------
    bpm : float
        Beats a minute; 0 when no steady beat was found.
    downbeat_s : float
        The first beat that begins a bar, after the start of the stretch; 0 without a beat.
    share : float
        Of the variance of onset strength that the grid explains, 0 to 1.
    """

    bpm: float
    downbeat_s: float
    share: float

    @property
    def bar_s(self) -> float:
        """Length of a bar; 0 without a beat."""
        return 60.0 * BEATS_PER_BAR / self.bpm if self.bpm else 0.0


def onset_strength(mono: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """How much louder each band gets from one 10 ms frame to the next, in dB.

    Parameters
    ----------
    mono : float32 array of shape (n_samples,)
        Finite, longer than 43 ms.
    rate_hz : int
        At least 16000.

    Returns
    -------
    float32 array of shape (n_frames, 24)
        Not negative; frame k is about the sound at 10 k ms. Bands from 40 Hz to 8 kHz.
    """
    size = 2 ** round(np.log2(_FRAME_S * rate_hz))
    padded = np.pad(mono, (size // 2, size // 2))
    frames = sliding_window_view(padded, size)[:: round(_HOP_S * rate_hz)]
    window = np.hanning(size).astype(np.float32)
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _N_BANDS + 1) / rate_hz * size
    edges = np.maximum.accumulate(np.maximum(np.round(edges), np.arange(1, _N_BANDS + 2))).astype(int)
    power = np.concatenate([
        np.add.reduceat(np.abs(np.fft.rfft(frames[k : k + 1000] * window, axis=1)[:, : edges[-1]]) ** 2, edges[:-1],
                        axis=1) for k in range(0, len(frames), 1000)])  # a thousand at a time: they overlap fourfold
    level_db = 10 * np.log10(power + 1e-6 * power.max() + 1e-12)
    return np.asarray(np.maximum(np.diff(level_db, axis=0, prepend=level_db[:1]), 0.0), np.float32)


def find_grid(onsets: NDArray[np.float32], near_bpm: float = 0.0) -> BeatGrid:
    """Beats of a stretch.

    Parameters
    ----------
    onsets : float32 array of shape (n_frames, 24)
        `onset_strength`; less than 2 s of it has no beat.
    near_bpm : float
        Look within 6 % of this tempo only; 0: anywhere from 55 to 190.
    """
    total = _flat(onsets.mean(axis=1))
    if len(total) < _SHORTEST_S / _HOP_S or not total.any():
        return BeatGrid(0.0, 0.0, 0.0)
    shares = _shares(total) / total.var()
    allowed = np.abs(np.log(_TEMPI_BPM / near_bpm)) < _NEAR if near_bpm else np.ones(len(_TEMPI_BPM), bool)
    best = int(np.argmax(np.where(allowed, shares * _USUAL, -1.0)))
    if shares[best] < _SMALLEST_SHARE:
        return BeatGrid(0.0, 0.0, float(shares[best]))
    bpm = float(_TEMPI_BPM[best])
    low = _flat(onsets[:, :_LOW_BANDS].mean(axis=1))
    return BeatGrid(bpm, _downbeat_s(total, low, 60.0 / bpm), float(shares[best]))


def usual_tempo(onsets: NDArray[np.float32]) -> float:
    """Tempo in bpm that stretches of ten seconds of a piece agree on best, give or take; 0 for less than 2 s."""
    stretches = [_flat(piece.mean(axis=1)) for piece in np.array_split(onsets, max(1, int(len(onsets) * _HOP_S / 10)))]
    stretches = [piece for piece in stretches if len(piece) >= _SHORTEST_S / _HOP_S and piece.any()]
    if not stretches:
        return 0.0
    agreed = sum(_best_nearby(_shares(piece) / piece.var()) for piece in stretches) * _USUAL
    return float(_TEMPI_BPM[int(np.argmax(agreed))])


def _best_nearby(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest share within half of `_NEAR` of each tempo: stretches of a piece are not equally fast."""
    reach = round(0.5 * _NEAR / _STEP)
    best: NDArray[np.float64] = sliding_window_view(np.pad(shares, reach), 2 * reach + 1).max(axis=1)
    return best


def _flat(strength: NDArray[np.float32]) -> NDArray[np.float64]:
    """Strength without its slow course, compressed so that a single crash does not decide."""
    wide = np.ones(round(1.0 / _HOP_S))
    local = np.convolve(strength, wide, mode="same") / np.convolve(np.ones(len(strength)), wide, mode="same")
    return np.sqrt(np.maximum(strength - local, 0.0)).astype(np.float64)


def _folded(strength: NDArray[np.float64], period_s: float, n_bins: int = _BINS) -> NDArray[np.float64]:
    """Mean strength at each of `n_bins` places within a period."""
    place = np.floor(np.arange(len(strength)) * _HOP_S / period_s % 1.0 * n_bins).astype(int)
    counts = np.bincount(place, minlength=n_bins)
    means: NDArray[np.float64] = np.bincount(place, strength, n_bins) / np.maximum(counts, 1)
    return means


def _shares(strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance that the place within a beat explains, at every tempo."""
    return np.array([_folded(strength, 60.0 / bpm).var() for bpm in _TEMPI_BPM])


def _downbeat_s(total: NDArray[np.float64], low: NDArray[np.float64], beat_s: float) -> float:
    """The beat's place is where onsets are strongest; the bar's, the beat at which the bass enters most."""
    total, low = (strength / max(strength.std(), 1e-9) for strength in (total, low))
    course = _folded(total + _BASS * low, beat_s, 4 * _BINS)
    smooth = course + np.roll(course, 1) + np.roll(course, -1)
    phase_s = (int(np.argmax(smooth)) + 0.5) / (4 * _BINS) * beat_s
    beats = np.arange(phase_s, len(low) * _HOP_S, beat_s)
    frames = np.round(beats / _HOP_S).astype(int)[:, None] + np.arange(-3, 4)
    weight = low[np.clip(frames, 0, len(low) - 1)].max(axis=1)
    by_place = [weight[place::BEATS_PER_BAR].mean() if len(weight) > place else 0.0 for place in range(BEATS_PER_BAR)]
    return float(phase_s + int(np.argmax(by_place)) * beat_s)
