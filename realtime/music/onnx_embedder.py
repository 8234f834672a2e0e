"""Embedders from a folder of ONNX graphs: the project's own, and any other with a spec.json."""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from realtime.errors import EmbedderError
from realtime.messages import EmbeddingSpace
from realtime.music.attributes import AttributeProbes
from realtime.music.embedder_spec import EmbedderFiles, EmbedderSpec, WaveformSettings, read_embedder
from realtime.music.logmel import LogMelSettings, LogMelStream, band_power, levels_db
from realtime.music.words import WordTable
from realtime.onnx_graph import OnnxGraph


class OnnxEmbedder:
    """Implements `realtime.ports.Embedder` and `realtime.ports.TextEmbedder`; vectors have length 1.

    Parameters
    ----------
    files : EmbedderFiles
        From `read_embedder`.

    Raises
    ------
    EmbedderError
        A graph cannot be run or does not fit the spec, or the probes do not.
    """

    def __init__(self, files: EmbedderFiles) -> None:
        self._spec, self._space = files.spec, files.space
        self._audio = _tower(files, self._spec.audio)
        self._ears: _LogMelEar | _WaveformEar = _ears(self._spec, self._audio)
        self._text: OnnxGraph | None = None
        if self._spec.text:
            self._text = _tower(files, self._spec.text)
            self._text.insist({"tokens": [1, None]}, {"": [1, self._spec.dim]})
        self._words = WordTable(self._spec.words)
        self.probes = AttributeProbes(files.contents[self._spec.probes], self._spec.dim) if self._spec.probes else None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open an embedder's folder; errors as `read_embedder` and the constructor."""
        return cls(read_embedder(folder))

    @property
    def space(self) -> EmbeddingSpace:
        """Its name, and the checksum of everything that makes its vectors."""
        return self._space

    @property
    def spec(self) -> EmbedderSpec:
        """What its folder says of it."""
        return self._spec

    def embed(self, audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Vector of a stretch of sound: of one window, or the mean of the windows of longer sound.

        Parameters
        ----------
        audio : float32 array of shape (n_samples,) or (n_samples, n_channels)
            At least `shortest_s`; channels are averaged. Silence is allowed, NaN is not.
        rate_hz : int
            Frames per second.

        Returns
        -------
        vector : float32 array of shape (dim,)
            Of length 1.

        Raises
        ------
        EmbedderError
            The audio is too short, too slow or holds NaN.
        """
        mono = np.asarray(audio, np.float32)
        mono = np.ascontiguousarray(mono if mono.ndim == 1 else mono.mean(axis=1))
        self._insist(len(mono) >= self._spec.shortest_s * rate_hz and bool(np.isfinite(mono).all()), mono, rate_hz)
        vectors = [unit(self._audio.run(window[None])[0][0]) for window in self._ears.windows(mono, rate_hz)]
        return vectors[0] if len(vectors) == 1 else unit(np.mean(vectors, axis=0, dtype=np.float64))

    def embed_levels(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vector of shape (dim,) of one window's levels, shape (n_frames, n_bands), as its front end gives them."""
        return unit(self._audio.run(np.ascontiguousarray(levels[None], np.float32))[0][0])

    def embed_text(self, text: str) -> NDArray[np.float32]:
        """Vector of shape (dim,), of length 1, for words such as "calm piano".

        Raises
        ------
        EmbedderError
            There is no text tower, or it knows none of the words.
        """
        if self._text is None:
            raise EmbedderError(f"the embedder {self._spec.name!r} has no text tower; search by sound, or use an "
                                "embedder that has one")
        return unit(self._text.run(self._words.tokens([text]))[0][0])

    def stream(self, rate_hz: int) -> "EmbedderStream":
        """Embed the last window of sound as it comes.

        Raises
        ------
        EmbedderError
            The rate is too low, or the network takes samples, which cannot be done hop by hop.
        """
        if not isinstance(self._ears, _LogMelEar):
            raise EmbedderError(f"the embedder {self._spec.name!r} takes samples and cannot follow sound hop by hop; "
                                "embed windows of it")
        self._insist(True, np.zeros(0, np.float32), rate_hz)
        return EmbedderStream(self._audio, self._spec, self._ears.settings, rate_hz)

    def _insist(self, fits: bool, mono: NDArray[np.float32], rate_hz: int) -> None:
        if fits and rate_hz >= self._ears.lowest_rate_hz:
            return
        raise EmbedderError(f"this sound cannot be embedded: {len(mono)} samples at {rate_hz} Hz, finite: "
                            f"{bool(np.isfinite(mono).all())}; wanted at least {self._spec.shortest_s:g} s at "
                            f"{self._ears.lowest_rate_hz} Hz or more, all finite; use longer or undamaged sound")


class EmbedderStream:
    """Vector of the last window of a sound, hop by hop: the bits that `embed` gives for the same window.

    Made by `OnnxEmbedder.stream`.
    """

    def __init__(self, tower: OnnxGraph, spec: EmbedderSpec, settings: LogMelSettings, rate_hz: int) -> None:
        self._tower = tower
        self._levels = LogMelStream(settings, rate_hz, spec.window_s)
        self._least = settings.n_frames(spec.shortest_s)

    def push(self, audio: NDArray[np.float32]) -> int:
        """Take the next mono samples of shape (n,), finite; returns how many hops they completed."""
        return self._levels.push(audio)

    def vector(self) -> NDArray[np.float32] | None:
        """Vector of shape (dim,), of length 1; None before `shortest_s` of sound."""
        if self._levels.n_frames < self._least:
            return None
        return unit(self._tower.run(self._levels.levels()[None])[0][0])


class _LogMelEar:
    """Levels of a sound's windows."""

    def __init__(self, spec: EmbedderSpec, settings: LogMelSettings) -> None:
        self.settings = settings
        self.lowest_rate_hz = int(np.ceil(2 * settings.highest_hz))
        self._window, self._hop = settings.n_frames(spec.window_s), max(1, round(spec.hop_s / settings.hop_s))

    def windows(self, mono: NDArray[np.float32], rate_hz: int) -> list[NDArray[np.float32]]:
        power = band_power(mono, rate_hz, self.settings)
        return [levels_db(power[start:start + self._window], self.settings)
                for start in window_starts(len(power), self._window, self._hop)]


class _WaveformEar:
    """Samples of a sound's windows; what is shorter is repeated to fill one."""

    def __init__(self, spec: EmbedderSpec, settings: WaveformSettings) -> None:
        self.settings = settings
        self.lowest_rate_hz = 4000
        self._window, self._hop = round(spec.window_s * settings.rate_hz), round(spec.hop_s * settings.rate_hz)

    def windows(self, mono: NDArray[np.float32], rate_hz: int) -> list[NDArray[np.float32]]:
        sound = resample(mono, rate_hz, self.settings.rate_hz)
        if len(sound) < self._window:
            sound = np.resize(sound, self._window)
        return [sound[start:start + self._window] for start in window_starts(len(sound), self._window, self._hop)]


def _tower(files: EmbedderFiles, name: str) -> OnnxGraph:
    return OnnxGraph(files.contents[name], f"{name} of the embedder {files.spec.name!r}", EmbedderError,
                     "export the embedder again")


def _ears(spec: EmbedderSpec, tower: OnnxGraph) -> _LogMelEar | _WaveformEar:
    if isinstance(spec.front_end, WaveformSettings):
        tower.insist({"": [1, round(spec.window_s * spec.front_end.rate_hz)]}, {"": [1, spec.dim]})
        return _WaveformEar(spec, spec.front_end)
    tower.insist({"": [1, None, spec.front_end.n_bands]}, {"": [1, spec.dim]})
    return _LogMelEar(spec, spec.front_end)


def window_starts(n: int, window: int, hop: int) -> list[int]:
    """Where windows begin: every hop, and one more that ends with the sound; one alone where there is less."""
    if n <= window:
        return [0]
    starts = list(range(0, n - window + 1, hop))
    return starts if starts[-1] + window == n else [*starts, n - window]


def unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    """The vector at length 1; zero stays zero."""
    wide = np.asarray(vector, np.float64)
    length = float(np.sqrt(np.sum(wide**2)))
    return np.asarray(wide / (length if length > 0 else 1.0), np.float32)


def resample(mono: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Mono sound of shape (n_samples,) at another rate.

    Raises
    ------
    EmbedderError
        The resampler is not installed.
    """
    if from_hz == to_hz:
        return mono
    try:
        import soxr  # noqa: PLC0415 - an optional package
    except ImportError as exc:
        raise EmbedderError(f"sound at {from_hz} Hz must be resampled to {to_hz} Hz for this embedder, which needs "
                            "soxr; install it with: pip install 'innerear[corpus]'") from exc
    return np.asarray(soxr.resample(mono, from_hz, to_hz), np.float32)
