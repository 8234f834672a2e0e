"""Which sample of which clip sounds at which frame. Pure: no clock, no files, no randomness."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ENDLESS = 1 << 62
"""Frames that a loop has ready: it never runs dry."""


class Source(Protocol):
    """What can sound: a loop, or a stream of chunks. Positions count from its first frame.

    Each frame is asked for once and in order, so that a stream need not keep what was played.
    """

    @property
    def source_id(self) -> str:
        """What it is told apart from others by; not empty."""
        ...

    @property
    def beat_frames(self) -> float:
        """Length of a beat; 0 when the tempo is unknown."""
        ...

    @property
    def ready(self) -> int:
        """Frames that can be mixed now."""
        ...

    @property
    def starved(self) -> bool:
        """Whether it has fallen silent for want of frames."""
        ...

    def next_beat(self, position: int) -> int:
        """First beat at or after a position."""
        ...

    def add_to(self, out: NDArray[np.float32], position: int, gains: NDArray[np.float64] | None) -> None:
        """Add `len(out)` frames from a position on, times gains of shape (len(out),)."""
        ...

    def forget(self) -> None:
        """It sounds no more; when it is cued again it begins anew."""
        ...


@dataclass(frozen=True)
class CueStart:
    """What became of a cue.

    Attributes
    ----------
    number : int
        Of the cue.
    source_id : str
        What it asked for; "" for silence.
    frame : int
        Frame of the mix, from 0, with the first sample of its clip; for silence, where the fade-out begins;
        for the clip that already plays, the frame after which the cue came. -1 when a newer cue came before its beat.
    """

    number: int
    source_id: str
    frame: int


@dataclass(frozen=True)
class _Voice:
    """A source, or silence, that sounds from `start` on, faded in over `fade` frames."""

    source: Source | None
    start: int
    fade: int


@dataclass(frozen=True)
class _Pending:
    number: int
    voice: _Voice


class Mixer:
    """Plays one source at a time and changes to another on the beat, with an equal-power cross-fade.

    - A cue starts its source, at the source's own first beat, at the next beat of the playing one; at
      once when nothing plays, the tempo is unknown or what plays has starved; never before a running
      cross-fade is over, nor before a stream has sound to begin with.
    - The cross-fade lasts one beat of the playing source, at most `fade_s`; `fade_s` without tempo.
    - Silence ("" cue) does not wait for a beat and fades out over `fade_s`.
    - A cue for what already plays changes nothing. While one waits, the newest wins.

    What it returns depends on the cues and the frames at which they came, not on how the mix is
    cut into blocks; with streams, on when their chunks came, too.

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
        self._old: Source | None = None
        self._old_start = 0
        self._voice = _Voice(None, 0, 0)
        self._pending: _Pending | None = None
        self._news: list[CueStart] = []

    @property
    def frame(self) -> int:
        """Frames mixed so far."""
        return self._frame

    @property
    def ready(self) -> int:
        """Frames that can be mixed before a source that sounds runs dry."""
        return min((source.ready for source in self._sounding()), default=ENDLESS)

    @property
    def playing(self) -> Source | None:
        """What sounds, or fades in; None in silence."""
        return self._voice.source

    @property
    def start(self) -> int:
        """Frame of the mix that is position 0 of `playing`."""
        return self._voice.start

    @property
    def waiting(self) -> Source | None:
        """What was cued and has not begun."""
        return self._pending.voice.source if self._pending else None

    def cue(self, number: int, source: Source | None) -> None:
        """Change to this source, or to silence, as soon as the rules allow."""
        if self._pending is not None:
            self._news.append(CueStart(self._pending.number, _id_of(self._pending.voice.source), -1))
            self._pending = None
        playing = self._voice.source
        if _id_of(source) == _id_of(playing):
            self._news.append(CueStart(number, _id_of(source), self._frame))
            return
        start = max(self._frame, self._fade_end())
        fade = self._fade
        if playing is not None and playing.starved:
            start = self._frame
        elif playing is not None and source is not None and playing.beat_frames > 0:
            start = self._voice.start + playing.next_beat(start - self._voice.start)
            fade = min(fade, max(1, round(playing.beat_frames)))
        self._pending = _Pending(number, _Voice(source, start, fade))

    def take_news(self) -> list[CueStart]:
        """The cues that started, or were overtaken, since the last call."""
        news, self._news = self._news, []
        return news

    def mix(self, n_frames: int) -> NDArray[np.float32]:
        """The next frames, shape (n_frames, 2); may exceed full scale while two sources overlap."""
        out = np.zeros((n_frames, 2), np.float32)
        end = self._frame + n_frames
        while self._frame < end:
            pending = self._pending
            if pending is not None and pending.voice.start <= self._frame:
                self._begin_or_put_off(pending, end)
                continue
            stops = [end, self._fade_end()] + ([pending.voice.start] if pending else [])
            stop = min(frame for frame in stops if frame > self._frame)
            self._render(out[n_frames - (end - self._frame) :][: stop - self._frame])
            self._frame = stop
            if self._old is not None and stop >= self._fade_end():
                self._let_go()
        return out

    def _begin_or_put_off(self, pending: _Pending, end: int) -> None:
        """Begin what waits, or leave it to the next beat when it has no sound yet."""
        source, playing = pending.voice.source, self._voice.source
        if source is None or source.ready:
            self._begin(pending)
            return
        start = end
        if playing is not None:
            start = max(end, self._voice.start + playing.next_beat(self._frame + 1 - self._voice.start))
        self._pending = replace(pending, voice=replace(pending.voice, start=start))

    def _begin(self, pending: _Pending) -> None:
        if self._old is not None:
            self._let_go()
        self._old, self._old_start = self._voice.source, self._voice.start
        self._voice = replace(pending.voice, start=self._frame)
        self._pending = None
        self._news.append(CueStart(pending.number, _id_of(self._voice.source), self._frame))

    def _let_go(self) -> None:
        """Forget what has faded out."""
        if self._old is not None and self._old is not self._voice.source:
            self._old.forget()
        self._old = None

    def _render(self, out: NDArray[np.float32]) -> None:
        """Add the voices from the present frame on; no voice begins or ends within `out`."""
        since = self._frame - self._voice.start
        gains = None
        if self._frame < self._fade_end():
            angle = (np.arange(since, since + len(out)) + 0.5) / self._voice.fade * (np.pi / 2)
            gains = np.sin(angle)
            if self._old is not None:
                self._old.add_to(out, self._frame - self._old_start, np.cos(angle))
        if self._voice.source is not None:
            self._voice.source.add_to(out, since, gains)

    def _sounding(self) -> list[Source]:
        return [source for source in (self._voice.source, self._old) if source is not None]

    def _fade_end(self) -> int:
        return self._voice.start + self._voice.fade


def _id_of(source: Source | None) -> str:
    return "" if source is None else source.source_id
