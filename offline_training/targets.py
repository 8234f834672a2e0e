"""Embedders that need no download: what a piece of music sounds like, in a few dozen numbers."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import FitError
from realtime.atomic import write_bytes
from realtime.errors import EmbedderError
from realtime.messages import EmbeddingSpace

_N_BANDS = 40
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7600.0
_WINDOW_S, _HOP_S = 0.043, 0.02
_MODULATION_EDGES_HZ = (0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 11.0, 18.0)
_BANDS_PER_GROUP = 5
_FLOOR_DB = 60.0
_SHORTEST_S = 2.0
_RECIPE = (f"log-mel statistics 1: {_N_BANDS} bands {_LOWEST_HZ}-{_HIGHEST_HZ} Hz, window {_WINDOW_S} s, hop {_HOP_S} "
           f"s, floor {_FLOOR_DB} dB, modulation {_MODULATION_EDGES_HZ} Hz in groups of {_BANDS_PER_GROUP}")
_ARRAYS = ("mean", "scale", "components")


def logmel_statistics(audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Timbre and rhythm of a clip in numbers that do not depend on its loudness.

    Per mel band: mean and standard deviation over time of the level in dB, and mean absolute
    change between frames; per group of five bands: level of the modulation spectrum in eight bands
    from 0.5 to 18 Hz (tempo and subdivision show there).

    Parameters
    ----------
    audio : float32 array of shape (n_samples,) or (n_samples, n_channels)
        At least 2 s; channels are averaged. Silence is allowed, NaN is not.
    rate_hz : int
        At least 16000.

    Returns
    -------
    statistics : float32 array of shape (184,)
        All finite.

    Raises
    ------
    EmbedderError
        The audio is too short, too slow or holds NaN.
    """
    mono = np.asarray(audio, np.float32)
    mono = mono if mono.ndim == 1 else mono.mean(axis=1)
    if rate_hz < 2 * _HIGHEST_HZ or len(mono) < _SHORTEST_S * rate_hz or not np.isfinite(mono).all():
        raise EmbedderError(f"this clip cannot be embedded: {len(mono)} samples at {rate_hz} Hz, finite: "
                           f"{bool(np.isfinite(mono).all())}; wanted at least {_SHORTEST_S:g} s at 16000 Hz or more, "
                           "all finite; use longer or undamaged audio")
    level_db = _logmel_db(mono, rate_hz)
    groups = level_db.reshape(len(level_db), _N_BANDS // _BANDS_PER_GROUP, _BANDS_PER_GROUP).mean(axis=2)
    change = np.abs(np.diff(level_db, axis=0)).mean(axis=0)
    parts = (level_db.mean(axis=0), level_db.std(axis=0), change, _modulation(groups).ravel())
    return np.concatenate(parts).astype(np.float32)


def _logmel_db(mono: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Levels of shape (n_frames, 40) in dB relative to the clip's mean power, floored 60 dB below it."""
    size = 2 ** round(np.log2(_WINDOW_S * rate_hz))
    frames = np.lib.stride_tricks.sliding_window_view(mono, size)[:: round(_HOP_S * rate_hz)]
    filters = _mel_filters(size, rate_hz)
    spectrum = np.fft.rfft(frames * np.hanning(size).astype(np.float32), axis=1)[:, : len(filters)]
    power = (spectrum.real**2 + spectrum.imag**2) @ filters
    reference = max(float(power.mean()), 1e-12)
    return np.asarray(10.0 * np.log10(power / reference + 10 ** (-_FLOOR_DB / 10)), np.float32)


@lru_cache(maxsize=8)
def _mel_filters(size: int, rate_hz: int) -> NDArray[np.float32]:
    """Triangular filters of shape (n_bins, 40), unit sum, up to the highest bin that counts.

    O'Shaughnessy's mel, 2595 log10(1 + f / 700).
    """
    low_mel, high_mel = (2595 * float(np.log10(1 + hertz / 700)) for hertz in (_LOWEST_HZ, _HIGHEST_HZ))
    edges_mel = np.linspace(low_mel, high_mel, _N_BANDS + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    bins_hz = np.fft.rfftfreq(size, 1 / rate_hz)[:, None]
    bins_hz = bins_hz[bins_hz[:, 0] <= _HIGHEST_HZ]
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    filters = np.clip(np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)), 0, None)
    empty = filters.sum(axis=0) == 0  # the lowest bands may fall between two bins: take the nearest bin
    filters[np.abs(bins_hz - centre).argmin(axis=0)[empty], empty] = 1.0
    return np.asarray(filters / filters.sum(axis=0), np.float32)


def _modulation(groups: NDArray[np.float32]) -> NDArray[np.float32]:
    """Level of the modulation spectrum, shape (n_groups, 8), in dB relative to 1 dB² of level change."""
    centred = (groups - groups.mean(axis=0)) * np.hanning(len(groups))[:, None]
    power = np.abs(np.fft.rfft(centred, axis=0)) ** 2 / len(groups)
    at_hz = np.fft.rfftfreq(len(groups), _HOP_S)
    bands = [power[(at_hz >= low) & (at_hz < high)].mean(axis=0)
             for low, high in pairwise(_MODULATION_EDGES_HZ)]
    return np.asarray(10 * np.log10(np.stack(bands, axis=1) + 1e-2), np.float32)


@dataclass(frozen=True, eq=False)
class LogMelEmbedder:
    """Principal components of log-mel statistics; implements `realtime.ports.Embedder`.

    Attributes
    ----------
    mean, scale : float32 arrays of shape (n_statistics,)
        Of the clips it was fitted on.
    components : float32 array of shape (n_statistics, dim)
        Projection, columns scaled so that the variance of component k is the square root of
        what principal components give: no single one dominates a cosine.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    components: NDArray[np.float32]

    @classmethod
    def fit(cls, statistics: NDArray[np.float32], dim: int = 32) -> Self:
        """Fit on the statistics of clips, shape (n_clips, n_statistics); training clips only.

        Raises
        ------
        FitError
            Fewer than dim + 1 clips, or NaN.
        """
        if statistics.ndim != 2 or len(statistics) <= dim or not np.isfinite(statistics).all():
            raise FitError(f"an embedder of dim {dim} cannot be fitted to statistics of shape {statistics.shape}, all "
                           f"finite: {bool(np.isfinite(statistics).all())}; wanted more than {dim} clips, all finite; "
                           "give more clips or ask for fewer dimensions")
        mean = statistics.mean(axis=0)
        scale = np.maximum(statistics.std(axis=0), 1e-3)
        _, singular, rows = np.linalg.svd(((statistics - mean) / scale).astype(np.float64), full_matrices=False)
        rows *= np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]  # LAPACK leaves it open
        spread = np.maximum(singular[:dim] / np.sqrt(len(statistics)), 1e-6)
        components = (rows[:dim].T / np.sqrt(spread)).astype(np.float32)
        return cls(mean.astype(np.float32), scale.astype(np.float32), components)

    @property
    def space(self) -> EmbeddingSpace:
        """Identity: the recipe and every number in it."""
        digest = hashlib.sha256(_RECIPE.encode())
        for name in _ARRAYS:
            digest.update(np.ascontiguousarray(getattr(self, name), "<f4").tobytes())
        return EmbeddingSpace("logmel-pca", self.components.shape[1], digest.hexdigest())

    def embed(self, audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Vector of shape (dim,), float32, finite; see `logmel_statistics` for what is allowed.

        Raises
        ------
        EmbedderError
            The audio is too short, too slow or holds NaN.
        """
        return self.project(logmel_statistics(audio, rate_hz))

    def project(self, statistics: NDArray[np.float32]) -> NDArray[np.float32]:
        """Statistics of shape (..., n_statistics) to vectors of shape (..., dim)."""
        return np.asarray(((statistics - self.mean) / self.scale) @ self.components, np.float32)

    def save(self, path: Path) -> None:
        """Write the parameters as .npz, atomically."""
        buffer = BytesIO()
        np.savez(buffer, recipe=np.array(_RECIPE), **{name: getattr(self, name) for name in _ARRAYS})
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        EmbedderError
            No such file, not an embedder, or made by another version of the recipe.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                recipe, values = str(arrays["recipe"]), {name: arrays[name] for name in _ARRAYS}
        except (OSError, KeyError, ValueError) as exc:
            raise EmbedderError(f"no embedder in {path} ({exc}); make one with: innerear corpus") from exc
        if recipe != _RECIPE:
            raise EmbedderError(f"{path} was made with another recipe ({recipe}); this program computes {_RECIPE}; "
                                "make the corpus again with: innerear corpus")
        return cls(**values)
