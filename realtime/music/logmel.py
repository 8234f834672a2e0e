"""The log-mel front end of the embedders: whole clips or hop by hop, at any sample rate, with the same bits.

Window and hop are times, not numbers of samples, so that the bins of the Fourier transform lie at the
same frequencies whatever the rate: no resampling is needed, and one set of bands serves all rates.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from realtime.errors import EmbedderError
from realtime.music.logmel_kernels import sum_bands

_SILENT = 1e-15  # mean power per band below the dither of 16 bits


@dataclass(frozen=True)
class LogMelSettings:
    """How sound becomes levels.

    Attributes
    ----------
    n_bands : int
        Overlapping triangles.
    lowest_hz, highest_hz : float
        Where the first begins and the last ends.
    break_hz : float
        Bands are spaced linearly far below and logarithmically far above: 700 is O'Shaughnessy's mel,
        300 tells semitones apart from about 400 Hz up.
    window_s, hop_s : float
        Of the frames.
    floor_db : float
        Levels end this far below the window's mean power.
    """

    n_bands: int = 96
    lowest_hz: float = 50.0
    highest_hz: float = 7800.0
    break_hz: float = 300.0
    window_s: float = 0.08
    hop_s: float = 0.04
    floor_db: float = 60.0

    def __post_init__(self) -> None:
        fits = (1 <= self.n_bands <= 1024 and 0 < self.lowest_hz < self.highest_hz and self.break_hz > 0
                and 0.001 <= self.hop_s <= self.window_s <= 1 and 0 < self.floor_db <= 200)
        if not fits:
            raise EmbedderError(f"no front end has {self}; wanted 1 to 1024 bands, 0 < lowest < highest, break_hz > 0, "
                                "1 ms <= hop <= window <= 1 s, floor up to 200 dB; correct the embedder's spec")

    def n_frames(self, duration_s: float) -> int:
        """Whole frames in a stretch of sound."""
        return 1 + int((duration_s - self.window_s) / self.hop_s + 1e-9)


@dataclass(frozen=True, eq=False)
class _Framing:
    """The settings at one sample rate: lengths in samples, bands in bins."""

    size: int
    step: int
    window: NDArray[np.float32]
    firsts: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.float32]


@lru_cache(maxsize=16)
def _framing(settings: LogMelSettings, rate_hz: int) -> _Framing:
    size, step = round(settings.window_s * rate_hz), round(settings.hop_s * rate_hz)
    low, high = (np.log1p(hertz / settings.break_hz) for hertz in (settings.lowest_hz, settings.highest_hz))
    edges = settings.break_hz * np.expm1(np.linspace(low, high, settings.n_bands + 2))
    bins_hz = np.arange(size // 2 + 1) * rate_hz / size
    firsts, counts, weights = [], [], []
    for below, centre, above in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        narrowest = rate_hz / size  # a band is never narrower than two bins, else it might hold none
        rise, fall = max(centre - below, narrowest), max(above - centre, narrowest)
        distance = np.where(bins_hz < centre, (centre - bins_hz) / rise, (bins_hz - centre) / fall)
        shape = np.clip(1 - distance, 0, None)
        inside = np.flatnonzero(shape)
        firsts.append(int(inside[0]))
        counts.append(len(inside))
        weights.append(shape[inside] / shape[inside].sum())
    window = np.hanning(size + 1)[:-1]
    scale = window.sum()  # a sine then has the same power at any rate
    return _Framing(size, step, (window / scale).astype(np.float32), np.array(firsts), np.array(counts),
                    np.concatenate(weights).astype(np.float32))


def band_power(audio: NDArray[np.float32], rate_hz: int, settings: LogMelSettings) -> NDArray[np.float32]:
    """Power per frame and band.

    Parameters
    ----------
    audio : float32 array of shape (n_samples,)
        Mono, finite.
    rate_hz : int
        At least twice the highest band.
    settings : LogMelSettings
        Of the front end.

    Returns
    -------
    power : float32 array of shape (n_frames, n_bands)
        Of whole frames only; n_frames is 0 for less than one window.
    """
    framing = _framing(settings, rate_hz)
    n_frames = max(0, 1 + (len(audio) - framing.size) // framing.step)
    power = np.empty((n_frames, settings.n_bands), np.float32)
    if n_frames:
        frames = np.lib.stride_tricks.sliding_window_view(audio, framing.size)[:: framing.step][:n_frames]
        spectrum = np.asarray(np.fft.rfft(frames * framing.window, axis=1), np.complex64)
        sum_bands(spectrum, framing.firsts, framing.counts, framing.weights, power)
    return power


def levels_db(power: NDArray[np.float32], settings: LogMelSettings) -> NDArray[np.float32]:
    """Levels relative to the window's own mean power, so that loudness drops out.

    Parameters
    ----------
    power : float32 array of shape (n_frames, n_bands)
        From `band_power`.
    settings : LogMelSettings
        Of the front end.

    Returns
    -------
    levels : float32 array of shape (n_frames, n_bands)
        In tens of dB, 0 at the mean power, from -floor_db / 10; silence is all floor.
    """
    mean = float(np.mean(power, dtype=np.float64))
    if mean < _SILENT:
        return np.full(power.shape, -settings.floor_db / 10, np.float32)
    floor = np.float32(10.0 ** (-settings.floor_db / 10))
    return np.asarray(np.log10(power * np.float32(1 / mean) + floor), np.float32)


class LogMelStream:
    """The same levels of the last `window_s`, kept up to date hop by hop.

    Parameters
    ----------
    settings : LogMelSettings
        Of the front end.
    rate_hz : int
        Of the sound that will be pushed.
    window_s : float
        How much of the past `levels` describes.
    """

    def __init__(self, settings: LogMelSettings, rate_hz: int, window_s: float) -> None:
        self._settings, self._rate_hz = settings, rate_hz
        self._framing = _framing(settings, rate_hz)
        self._power = np.zeros((settings.n_frames(window_s), settings.n_bands), np.float32)
        self._n_frames = 0
        self._pending = np.zeros(0, np.float32)

    @property
    def n_frames(self) -> int:
        """Frames in the window so far; grows to its full number and stays."""
        return min(self._n_frames, len(self._power))

    def push(self, audio: NDArray[np.float32]) -> int:
        """Take the next mono samples, finite, any number; returns how many frames they completed."""
        sound = np.concatenate([self._pending, np.asarray(audio, np.float32)])
        power = band_power(sound, self._rate_hz, self._settings)
        self._pending = sound[len(power) * self._framing.step:]
        self._power = np.concatenate([self._power, power])[-len(self._power):]  # a ring would be unrolled at each read
        self._n_frames += len(power)
        return len(power)

    def levels(self) -> NDArray[np.float32]:
        """Levels of shape (n_frames, n_bands) of the window so far, as `levels_db` gives them."""
        return levels_db(self._power[len(self._power) - self.n_frames:], self._settings)
