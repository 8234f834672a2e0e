"""Clips as the mixer wants them: stereo float32 at the player's rate, cut to whole bars so that they loop."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.messages import Clip
from realtime.playback.levels import gain_of_db
from realtime.playback.mixer import ENDLESS
from realtime.playback.resampling import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, resample, to_stereo
from realtime.playback.ring import CHANNELS

BEATS_PER_BAR = 4
SEAM_S = 0.01  # cross-fade from the end of a loop to its start
CACHE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Loop:
    """A clip from its first downbeat on, to be repeated without end.

    Attributes
    ----------
    clip_id : str
        Which clip.
    frames : float32 array of shape (n_frames, 2)
        Whole bars when the tempo is known; the end leads back into the start.
    beat_frames : float
        Length of a beat; 0 when the tempo is unknown.
    """

    clip_id: str
    frames: NDArray[np.float32]
    beat_frames: float

    @property
    def ready(self) -> int:
        """A loop never runs dry."""
        return ENDLESS

    @property
    def starved(self) -> bool:
        """A loop never starves."""
        return False

    @property
    def source_id(self) -> str:
        """What the mixer tells sources apart by."""
        return self.clip_id

    def next_beat(self, position: int) -> int:
        """First frame at or after a position that is a beat; the loop's end is a downbeat."""
        if self.beat_frames <= 0:
            return position
        passes, within = divmod(position, len(self.frames))
        beat = int(np.ceil(within / self.beat_frames))
        if round((beat - 1) * self.beat_frames) >= within:  # the beat was rounded to the frame asked for
            beat -= 1
        offset = min(round(beat * self.beat_frames), len(self.frames))
        return int(passes) * len(self.frames) + max(offset, int(within))

    def add_to(self, out: NDArray[np.float32], position: int, gains: NDArray[np.float64] | None) -> None:
        """Add `len(out)` frames of the endless loop from a position on, times gains of shape (len(out),)."""
        done = 0
        while done < len(out):
            begin = (position + done) % len(self.frames)
            piece = self.frames[begin : begin + len(out) - done]
            factor = 1.0 if gains is None else gains[done : done + len(piece), None].astype(np.float32)
            out[done : done + len(piece)] += piece * factor
            done += len(piece)

    def forget(self) -> None:
        """Nothing: a loop has no state."""


def make_loop(clip: Clip, audio: NDArray[np.float32], rate_hz: int) -> Loop:
    """Cut audio of shape (n_frames, 2) to the bars of its clip, set its gain and close the seam.

    The last 10 ms of the loop cross over into the 10 ms before its first beat, so that the step
    from the last sample to the first is one that the recording itself has.
    """
    first = min(round(clip.first_beat_s * rate_hz), len(audio) - 1)
    beat_frames = 60.0 * rate_hz / clip.bpm if clip.bpm > 0 else 0.0
    bar_frames = BEATS_PER_BAR * beat_frames
    n_frames = len(audio) - first
    if 0 < bar_frames <= n_frames:
        n_frames = round(math.floor(n_frames / bar_frames + 1e-6) * bar_frames)
    frames = audio[first : first + n_frames] * np.float32(gain_of_db(clip.gain_db))
    seam = min(round(SEAM_S * rate_hz), len(frames))
    before = np.zeros((seam, frames.shape[1]), np.float32)
    lead_in = audio[max(0, first - seam) : first] * np.float32(gain_of_db(clip.gain_db))
    before[seam - len(lead_in) :] = lead_in
    angle = ((np.arange(seam, dtype=np.float32) + 0.5) / max(seam, 1) * (np.pi / 2))[:, None]
    frames[len(frames) - seam :] = frames[len(frames) - seam :] * np.cos(angle) + before * np.sin(angle)
    return Loop(clip.clip_id, frames, beat_frames)


class ClipLibrary:
    """The clips of a session: checked at once, read when asked for, the last 256 MiB kept.

    Parameters
    ----------
    clips : sequence of Clip
        Each file must be readable and not empty.
    rate_hz : int
        Of the player; files at another rate are converted when they are read.

    Attributes
    ----------
    converted : str
        Which clips are not as the mixer wants them and how they are made so, in words; "" for none.

    Raises
    ------
    PlaybackError
        A clip that cannot be played; the message names up to five of them.
    """

    def __init__(self, clips: Sequence[Clip], rate_hz: int) -> None:
        self._clips = {clip.clip_id: clip for clip in clips}
        self._rate_hz = rate_hz
        self._loops: OrderedDict[str, Loop] = OrderedDict()
        looks = [_look_at(clip, rate_hz) for clip in clips]
        problems = [look.problem for look in looks if look.problem]
        self.converted = _in_words([look.converted for look in looks if look.converted], len(clips))
        if problems:
            more = f" … and {len(problems) - 5} more" if len(problems) > 5 else ""
            message = f"{len(problems)} of {len(clips)} clips cannot be played: {'; '.join(problems[:5])}{more}."
            raise PlaybackError(message)

    def load(self, clip_id: str) -> Loop:
        """The loop of a clip; reads its file unless it was used lately.

        Raises
        ------
        PlaybackError
            No such clip, or its file has become unreadable.
        """
        loop = self._loops.get(clip_id) or self._read(clip_id)
        self._loops[clip_id] = loop
        self._loops.move_to_end(clip_id)
        while len(self._loops) > 1 and sum(kept.frames.nbytes for kept in self._loops.values()) > CACHE_BYTES:
            self._loops.popitem(last=False)
        return loop

    def _read(self, clip_id: str) -> Loop:
        if clip_id not in self._clips:
            message = (
                f"Clip {clip_id!r} is none of the player's {len(self._clips)} clips. Start the player with this clip."
            )
            raise PlaybackError(message)
        clip = self._clips[clip_id]
        try:
            audio, rate_hz = soundfile.read(clip.path, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as exc:
            message = f"Clip {clip_id!r} cannot be read any more: {exc}. Restore {clip.path}."
            raise PlaybackError(message) from exc
        if len(audio) == 0 or not np.isfinite(audio).all():
            message = (
                f"Clip {clip_id!r} cannot be played: got {len(audio)} frames, some of them no numbers, wanted finite "
                f"samples. Restore {clip.path}."
            )
            raise PlaybackError(message)
        return make_loop(clip, resample(to_stereo(audio), rate_hz, self._rate_hz), self._rate_hz)


@dataclass(frozen=True)
class _Look:
    """What a file's header says: why its clip cannot be played, and how it is converted; "" for neither."""

    problem: str = ""
    converted: str = ""


def _look_at(clip: Clip, rate_hz: int) -> _Look:
    if not clip.clip_id:
        return _Look(f"{clip.path} has the empty clip id, which means silence: give it a name")
    timing = (clip.bpm, clip.first_beat_s, clip.gain_db)
    if not all(map(math.isfinite, timing)) or clip.bpm < 0 or clip.first_beat_s < 0:
        return _Look(f"{clip.clip_id!r} has bpm, first beat and gain {timing}, wanted finite ones, the first two not "
                     "negative")
    try:
        info = soundfile.info(clip.path)
    except (soundfile.SoundFileError, OSError) as exc:
        return _Look(f"{clip.clip_id!r} cannot be read: {exc}")
    if info.frames == 0 or not LOWEST_RATE_HZ <= info.samplerate <= HIGHEST_RATE_HZ:
        return _Look(f"{clip.clip_id!r} has {info.frames} frames at {info.samplerate} Hz, wanted some at "
                     f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz: convert {clip.path}")
    changes = [f"{info.samplerate} Hz"] if info.samplerate != rate_hz else []
    changes += [f"{info.channels} channels, whose mean goes to both ears"] if info.channels > CHANNELS else []
    return _Look(converted=f"{clip.clip_id!r} ({', '.join(changes)})" if changes else "")


def _in_words(converted: list[str], n_clips: int) -> str:
    if not converted:
        return ""
    more = f" and {len(converted) - 3} more" if len(converted) > 3 else ""
    return f"{len(converted)} of {n_clips} clips are converted when they are read: {'; '.join(converted[:3])}{more}."
