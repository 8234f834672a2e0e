"""Ten pieces to listen to, the picture of their spectra, and what was heard in numbers."""

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import soundfile
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.listening import BANDS_HZ, Listened, listen
from realtime.atomic import write_bytes, write_json
from realtime.music.synth import ClipSpec, RenderedClip, mono, render
from realtime.music.synth_styles import GENRES
from realtime.playback.settings import RATE_HZ

PICTURE, PAGE, FIGURES = "spectrograms.png", "README.md", "figures.json"
_WINDOW = 2048
_FLOOR_DB = -80.0
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000)


def write_examples(folder: Path, duration_s: float = 10.0, seed: int = 3) -> list[Path]:
    """Write one WAV per genre, their spectrograms in one picture, and a page that says what was heard.

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
        The WAVs, then figures, page and picture.

    Raises
    ------
    DatasetError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clips = {genre: render(ClipSpec(genre, seed, duration_s)) for genre in GENRES}
        paths = []
        for genre, clip in clips.items():
            paths.append(folder / f"{genre}.wav")
            soundfile.write(paths[-1], clip.audio, RATE_HZ, subtype="PCM_16")
        heard = {genre: listen(clip.audio, RATE_HZ) for genre, clip in clips.items()}
        write_json(folder / FIGURES, {genre: asdict(figures) for genre, figures in heard.items()})
        write_bytes(folder / PAGE, _page(clips, heard).encode())
        _draw(clips, duration_s, folder / PICTURE)
    except OSError as exc:
        raise DatasetError(f"examples cannot be written to {folder} ({exc.strerror or exc}); choose another") from exc
    return [*paths, folder / FIGURES, folder / PAGE, folder / PICTURE]


def spectrogram_db(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of shape (n_frames, n_bins), dB relative to the loudest, at least -80; windows of 2048, a quarter apart."""
    frames = np.lib.stride_tricks.sliding_window_view(mono(audio), _WINDOW)[:: _WINDOW // 4]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 10 ** (_FLOOR_DB / 10)))
    return level


def _named(genre: str, clip: RenderedClip) -> str:
    return f"{genre}: {clip.labels['lead'].replace('_', ' ')}, {clip.labels['mood']}, {clip.bpm:.0f} bpm"


def _page(clips: dict[str, RenderedClip], heard: dict[str, Listened]) -> str:
    bands = [f"{low} to {high} Hz" for low, high in pairwise(BANDS_HZ)]
    names = ["piece", "peak dBFS", "crest dB", "dynamics dB", "onsets/s", "offset", "sides dB", *bands]
    lines = ["# What the default music sounds like", "",
             "Ten procedural pieces: wavetable voices and synthetic drums, no samples and no singing. Levels of bands "
             "are in dB relative to the whole. Crest of a sine is 3 dB, of mastered music 8 to 16.", "",
             f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for genre, clip in clips.items():
        one = heard[genre]
        cells = [f"[{_named(genre, clip)}]({genre}.wav)", f"{one.peak_dbfs:.1f}", f"{one.crest_db:.1f}",
                 f"{one.dynamics_db:.1f}", f"{one.onsets_per_s:.1f}", f"{one.offset:.0e}", f"{one.sides_db:.0f}",
                 *(f"{level:.0f}" for level in one.balance_db)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"![Spectrograms of the ten pieces]({PICTURE})", ""])


def _draw(clips: dict[str, RenderedClip], duration_s: float, path: Path) -> None:
    mpl.use("Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415 - after the choice of a canvas without a screen

    figure = Figure(figsize=(14, 16), layout="constrained")
    panels: Any = figure.subplots(5, 2, sharex=True, sharey=True)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)
    picture: Any = None
    for panel, (genre, clip) in zip(panels.flat, clips.items(), strict=True):
        level = spectrogram_db(clip.audio[: round(duration_s * RATE_HZ)])
        seconds = np.arange(len(level)) * _WINDOW / 4 / RATE_HZ
        picture = panel.pcolormesh(seconds, hertz, level.T, vmin=_FLOOR_DB, vmax=0, cmap="magma", rasterized=True)
        panel.set_yscale("symlog", linthresh=200)
        panel.set_ylim(30, 16000)
        panel.set_yticks(_TICKS_HZ, [f"{tick // 1000} k" if tick >= 1000 else str(tick) for tick in _TICKS_HZ])
        panel.minorticks_off()
        panel.set_title(_named(genre, clip), loc="left")
    panels[0, 0].set_xlim(0, duration_s)
    figure.supxlabel("seconds")
    figure.supylabel("Hz")
    figure.colorbar(picture, ax=panels, shrink=0.4, aspect=40, label="dB below the loudest of the piece")
    figure.savefig(path, dpi=60)
