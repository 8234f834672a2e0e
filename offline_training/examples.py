"""Ten pieces to listen to, and the picture of their spectra: what the procedural music sounds like."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import soundfile
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from realtime.music.synth import ClipSpec, mono, render
from realtime.music.synth_styles import GENRES
from realtime.playback.settings import RATE_HZ

PICTURE = "spectrograms.png"
_WINDOW = 2048
_FLOOR_DB = -80.0


def write_examples(folder: Path, duration_s: float = 10.0, seed: int = 3) -> list[Path]:
    """Write one WAV per genre, and their spectrograms in one picture.

    Parameters
    ----------
    folder : Path
        Made if need be.
    duration_s : float
        Shortest length of a piece.
    seed : int
        Which pieces.

    Returns
    -------
    paths : list of Path
        The WAVs, then the picture.

    Raises
    ------
    DatasetError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clips = {genre: render(ClipSpec(genre, seed, duration_s)).audio for genre in GENRES}
        paths = []
        for genre, audio in clips.items():
            paths.append(folder / f"{genre}.wav")
            soundfile.write(paths[-1], audio, RATE_HZ, subtype="PCM_16")
        _draw(clips, folder / PICTURE)
    except OSError as exc:
        raise DatasetError(f"examples cannot be written to {folder} ({exc.strerror or exc}); choose another") from exc
    return [*paths, folder / PICTURE]


def spectrogram_db(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of shape (n_frames, n_bins), dB relative to the loudest, at least -80; windows of 2048, a quarter apart."""
    frames = np.lib.stride_tricks.sliding_window_view(mono(audio), _WINDOW)[:: _WINDOW // 4]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 10 ** (_FLOOR_DB / 10)))
    return level


def _draw(clips: dict[str, NDArray[np.float32]], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415 - after the choice of a canvas without a screen

    figure = Figure(figsize=(14, 16), layout="constrained")
    panels = figure.subplots(5, 2, sharex=True, sharey=True)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)
    for panel, (genre, audio) in zip(panels.flat, clips.items(), strict=True):
        level = spectrogram_db(audio)
        seconds = np.arange(len(level)) * _WINDOW / 4 / RATE_HZ
        panel.pcolormesh(seconds, hertz, level.T, vmin=_FLOOR_DB, vmax=0, rasterized=True)
        panel.set_yscale("symlog", linthresh=200)
        panel.set_ylim(30, 16000)
        panel.set_title(genre)
    figure.supxlabel("seconds")
    figure.supylabel("Hz")
    figure.savefig(path, dpi=60)
