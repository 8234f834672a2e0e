"""The tones that say what comes; they go to the ear through the player, as all sound does."""

from pathlib import Path

import numpy as np
import soundfile

from realtime.experiment.design import CUE_PREFIX
from realtime.messages import Clip

RATE_HZ = 48000
TONES_HZ = {"listen": (660.0,), "imagine": (440.0, 660.0), "catch": (330.0, 330.0)}
_TONE_S, _FADE_S, _LENGTH_S, _AMPLITUDE = 0.4, 0.03, 30.0, 0.1


def write_cue_tones(folder: Path) -> tuple[Clip, ...]:
    """Write the tones where they are not yet, and give them as clips; each is followed by silence.

    One tone is "listen", two rising ones "imagine", two low ones "catch": do nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for name, pitches_hz in TONES_HZ.items():
        path = folder / f"{name}.wav"
        if not path.exists():
            soundfile.write(path, _tones(pitches_hz), RATE_HZ, subtype="PCM_16")
        clips.append(Clip(CUE_PREFIX + name, path, duration_s=_LENGTH_S))
    return tuple(clips)


def _tones(pitches_hz: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    time_s = np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ
    edge = np.minimum(1.0, np.minimum(time_s, _TONE_S - time_s) / _FADE_S)
    sound = np.concatenate([_AMPLITUDE * edge * np.sin(2 * np.pi * pitch_hz * time_s) for pitch_hz in pitches_hz])
    whole = np.zeros(round(_LENGTH_S * RATE_HZ))
    whole[:len(sound)] = sound
    return np.column_stack([whole, whole])
