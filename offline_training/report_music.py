"""The report's music: judged by a second embedder, ten trials to listen to, and their spectra."""

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from offline_training import report_figures as figures
from offline_training.corpus_search import probes_of
from offline_training.embedders import open_scorer
from offline_training.errors import DatasetError
from offline_training.evaluation_page.music import music_part
from offline_training.evaluation_page.part import Part
from offline_training.heard_again import HEARD_S
from offline_training.played_music import Example, examples, judge, kept_settings
from realtime.errors import RealtimeError
from realtime.music.catalogue import read_catalogue
from realtime.playback.recorder import Recording
from realtime.playback.resampling import resample
from realtime.session.folder import SessionFolder

N_EXAMPLES = 10
_EXAMPLE_S, _EXAMPLE_HZ = 6.0, 24000  # ten such pieces make a page of four megabytes
_TICKS_HZ = (100, 1000, 10000)


@dataclass(frozen=True)
class Sound:
    """A piece to listen to: what it is, and its WAV as an address."""

    label: str
    address: str


@dataclass(frozen=True)
class Music:
    """The section, its sounds, and the picture of their spectra; empty where there are none."""

    part: Part
    sounds: tuple[Sound, ...] = ()
    picture: str = ""


def session_music(session: Path, catalogue: Path | None, scorer: str) -> Music:
    """What a session made of the music heard.

    Parameters
    ----------
    session : Path
        Its folder.
    catalogue : Path or None
        The corpus with its audio; None for the one that the session was started with.
    scorer : str
        The second embedder.
    """
    named = kept_settings(SessionFolder(session)).get("catalogue", "")
    folder = catalogue or (Path(named) if named else None)
    try:
        if folder is None:
            raise DatasetError("the session does not say which catalogue it played; name it with --catalogue")
        music = read_catalogue(folder, check_audio=False)
        found = judge(session, music, open_scorer(scorer), probes_of(folder, music.space))
        shown = examples(session, music, N_EXAMPLES)
    except (DatasetError, RealtimeError) as exc:
        return Music(music_part({"missing": f"The music was not heard again: {exc}."}))
    return Music(music_part(found), tuple(_sound(example) for example in shown), _spectra(shown) if shown else "")


def _label(example: Example) -> str:
    return (f"trial {example.trial.number}: heard {example.trial.clip_id}, most probable "
            f"{example.trial.retrieved}")


def _sound(example: Example) -> Sound:
    """The first seconds of what was played, as a small WAV."""
    mono = example.played[: round(_EXAMPLE_S * example.played_hz)]
    sound = resample(np.repeat(mono[:, None], 2, axis=1), example.played_hz, _EXAMPLE_HZ)[:, 0]
    buffer = BytesIO()
    soundfile.write(buffer, sound, _EXAMPLE_HZ, format="WAV", subtype="PCM_16")
    return Sound(_label(example), f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def _spectra(shown: tuple[Example, ...]) -> str:
    """What was heard beside what was played, a row for each trial."""
    figure = figures.blank_figure(0.7 + 0.62 * len(shown))
    panels = figure.subplots(len(shown), 2, sharex=True, sharey=True, squeeze=False)
    for row, example in zip(panels, shown, strict=True):
        for axes, sound, rate_hz in ((row[0], example.heard, example.heard_hz),
                                     (row[1], example.played, example.played_hz)):
            levels_db, bands_hz, length_s = figures.log_spectrogram(Recording(sound[:, None], rate_hz), 64, 360)
            axes.imshow(levels_db, origin="lower", aspect="auto", cmap="magma", vmin=-70, vmax=0,
                        extent=(0, length_s, 0, len(bands_hz)), interpolation="nearest")
            axes.set_yticks(np.interp(np.log(_TICKS_HZ), np.log(bands_hz), np.arange(len(bands_hz))),
                            [f"{hertz:g}" for hertz in _TICKS_HZ], fontsize=8)
        row[0].set_ylabel(f"trial {example.trial.number}", rotation=0, ha="right", va="center", fontsize=9.5)
    panels[0, 0].set(title="heard", xlim=(0, HEARD_S))
    panels[0, 1].set_title("played")
    for axes in panels[-1]:
        axes.set_xlabel("seconds")
    return figures.as_png(figure)
