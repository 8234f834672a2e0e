"""A process that listens to what a session really plays: `python -m realtime.session.ear EMBEDDER RECORDING`.

It embeds when asked, at the lowest priority, far from the decoder: one JSON line in (which clip should be heard, and
for how many seconds by now), one out (the vector of what was, and of the clip).
"""

import os
import sys
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime.errors import EmbedderError, PlaybackError
from realtime.messages import EmbeddingSpace
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.playback.recorder import read_last

WINDOW_S = 10.0
NICENESS = 19


class Question(msgspec.Struct, frozen=True):
    """What should have been heard in the last `seconds`."""

    clip: str
    seconds: float


class Answer(msgspec.Struct, frozen=True):
    """Vectors of the sound that left, and of the clip; `trouble` says why they could not be had."""

    space: EmbeddingSpace
    heard: list[float] = []
    clip: list[float] = []
    trouble: str = ""


def listen(embedder: OnnxEmbedder, recording: Path, question: Question) -> Answer:
    """Embed the end of a recording and the beginning of a clip, each repeated to a whole window."""

    @lru_cache(maxsize=64)
    def of_clip(path: str) -> list[float]:
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        return _vector(embedder, sound[: round(WINDOW_S * rate_hz)], rate_hz)

    try:
        last = read_last(recording, min(question.seconds, WINDOW_S))
        return Answer(embedder.space, _vector(embedder, last.frames, last.rate_hz), of_clip(question.clip))
    except (OSError, soundfile.SoundFileError, EmbedderError, PlaybackError, ValueError) as exc:
        return Answer(embedder.space, trouble=str(exc))


def _vector(embedder: OnnxEmbedder, sound: NDArray[np.float32], rate_hz: int) -> list[float]:
    if not sound.any():
        raise ValueError("only silence was heard")
    mono = np.resize(sound.mean(axis=1), round(WINDOW_S * rate_hz)).astype(np.float32)
    return [float(value) for value in embedder.embed(mono, rate_hz)]


def main(arguments: list[str]) -> None:
    """Answer until the input ends."""
    os.nice(NICENESS)
    embedder, recording = OnnxEmbedder.read(Path(arguments[0])), Path(arguments[1])
    for line in sys.stdin.buffer:
        answer = listen(embedder, recording, msgspec.json.decode(line, type=Question))
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
