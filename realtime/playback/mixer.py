"""Which sample of which clip sounds at which frame. Pure: no clock, no files, no randomness."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from realtime.playback.clips import Loop


@dataclass(frozen=True)
class CueStart:
    """What became of a cue.

    Attributes
    ----------
    number : int
        Of the cue.
    clip_id : str
        What it asked for; "" for silence.
    frame : int
        Frame of the mix, from 0, with the first sample of its clip; for silence, where the fade-out begins;
        for the clip that already plays, the frame after which the cue came. -1 when a newer cue came before its beat.
    """

    number: int
    clip_id: str
    frame: int


@dataclass(frozen=True)
class _Voice:
    """A loop, or silence, that sounds from `start` on, faded in over `fade` frames."""

    loop: Loop | None
    start: int
    fade: int


@dataclass(frozen=True)
class _Pending:
    number: int
    voice: _Voice


class Mixer:
    """Plays one loop at a time and changes to another on the beat, with an equal-power cross-fade.

    - A cue starts its clip, at the clip's own first beat, at the next beat of the playing one; at
      once when nothing plays or the tempo is unknown; never before a running cross-fade is over.
    - The cross-fade lasts one beat of the playing clip, at most `fade_s`; `fade_s` without tempo.
    - Silence ("" cue) does not wait for a beat and fades out over `fade_s`.
    - A cue for what already plays changes nothing. While one waits, the newest wins.

    What it returns depends on the cues and the frames at which they came, not on how the mix is
    cut into blocks.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    fade_s : float
        Longest cross-fade.
    """

    def __init__(self, rate_hz: int, fade_s: float = 0.5) -> None:
        self._fade = max(1, round(fade_s * rate_hz))
        self._frame = 0
        self._old: Loop | None = None
        self._old_start = 0
        self._voice = _Voice(None, 0, 0)
        self._pending: _Pending | None = None
        self._news: list[CueStart] = []

    @property
    def frame(self) -> int:
        """Frames mixed so far."""
        return self._frame

    @property
    def silent(self) -> bool:
        """Whether nothing sounds and no cue waits."""
        return self._voice.loop is None and self._pending is None and self._frame >= self._fade_end()

    def cue(self, number: int, loop: Loop | None) -> None:
        """Change to this loop, or to silence, as soon as the rules allow."""
        if self._pending is not None:
            self._news.append(CueStart(self._pending.number, _id_of(self._pending.voice.loop), -1))
            self._pending = None
        if _id_of(loop) == _id_of(self._voice.loop):
            self._news.append(CueStart(number, _id_of(loop), self._frame))
            return
        start = max(self._frame, self._fade_end())
        fade = self._fade
        playing = self._voice.loop
        if playing is not None and loop is not None and playing.beat_frames > 0:
            start = self._next_beat(start, playing)
            fade = min(fade, max(1, round(playing.beat_frames)))
        self._pending = _Pending(number, _Voice(loop, start, fade))

    def take_news(self) -> list[CueStart]:
        """The cues that started, or were overtaken, since the last call."""
        news, self._news = self._news, []
        return news

    def mix(self, n_frames: int) -> NDArray[np.float32]:
        """The next frames, shape (n_frames, 2); may exceed full scale while two clips overlap."""
        out = np.zeros((n_frames, 2), np.float32)
        end = self._frame + n_frames
        while self._frame < end:
            pending = self._pending
            if pending is not None and pending.voice.start <= self._frame:
                self._begin(pending)
                continue
            stops = [end, self._fade_end()] + ([pending.voice.start] if pending else [])
            stop = min(frame for frame in stops if frame > self._frame)
            self._render(out[n_frames - (end - self._frame) :][: stop - self._frame])
            self._frame = stop
        return out

    def _begin(self, pending: _Pending) -> None:
        self._old, self._old_start = self._voice.loop, self._voice.start
        self._voice = replace(pending.voice, start=self._frame)
        self._pending = None
        self._news.append(CueStart(pending.number, _id_of(self._voice.loop), self._frame))

    def _render(self, out: NDArray[np.float32]) -> None:
        """Add the voices from the present frame on; no voice begins or ends within `out`."""
        if self._frame >= self._fade_end():
            _add(out, self._voice.loop, self._frame - self._voice.start, None)
            return
        since = self._frame - self._voice.start
        angle = (np.arange(since, since + len(out)) + 0.5) / self._voice.fade * (np.pi / 2)
        _add(out, self._old, self._frame - self._old_start, np.cos(angle))
        _add(out, self._voice.loop, since, np.sin(angle))

    def _fade_end(self) -> int:
        return self._voice.start + self._voice.fade

    def _next_beat(self, earliest: int, playing: Loop) -> int:
        """First frame from `earliest` on that is a beat of the playing loop; its end is a downbeat."""
        passes, within = divmod(earliest - self._voice.start, len(playing.frames))
        beat = int(np.ceil(within / playing.beat_frames))
        if round((beat - 1) * playing.beat_frames) >= within:  # the beat was rounded to the frame asked for
            beat -= 1
        offset = min(round(beat * playing.beat_frames), len(playing.frames))
        return self._voice.start + int(passes) * len(playing.frames) + max(offset, int(within))


def _id_of(loop: Loop | None) -> str:
    return "" if loop is None else loop.clip_id


def _add(out: NDArray[np.float32], loop: Loop | None, position: int, gains: NDArray[np.float64] | None) -> None:
    """Add `len(out)` frames of an endless loop from `position` on, times gains of shape (len(out),)."""
    done = 0
    while loop is not None and done < len(out):
        begin = (position + done) % len(loop.frames)
        piece = loop.frames[begin : begin + len(out) - done]
        factor = 1.0 if gains is None else gains[done : done + len(piece), None].astype(np.float32)
        out[done : done + len(piece)] += piece * factor
        done += len(piece)
