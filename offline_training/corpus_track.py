"""One file to its clips: decoded, brought to 48 kHz and at most two channels, cut where music begins, levelled."""

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from offline_training.corpus import CorpusClip
from offline_training.corpus_sources import Track
from offline_training.loudness import gain_db
from offline_training.recordings import LABEL as RECORDING
from offline_training.tempo import BeatGrid, find_grid, onset_strength, usual_tempo
from realtime.atomic import write_bytes
from realtime.playback.settings import RATE_HZ

SHORTEST_S = 2.0
LONGEST_S = 1200.0
"""Of a longer file only the first twenty minutes are used: it is decoded in memory."""
_LEAD_IN_S = 0.02  # before the first downbeat, for the seam of the player's loop
_HEARD_RMS = 0.05  # of an excerpt: all were brought to one root mean square before they were played
_SILENT = 1e-4  # -80 dBFS
_QUIET = 0.03  # of the loudest half second: before and after the music
_ANALYSIS_HZ = 24000
_HOP_S = 0.01


class UnusableTrackError(Exception):
    """Why a file gives no clip, in words for the list of what was left out."""


@dataclass(frozen=True)
class Cutting:
    """How tracks are cut.

    Attributes
    ----------
    clip_s : float
        Length of a clip; rounded up to whole bars where there is a beat and enough music.
    most_per_track : int
        Clips taken of one track, spread over it; fewer where it is short.
    """

    clip_s: float
    most_per_track: int


@dataclass(frozen=True)
class Cut:
    """A stretch of a track: its place in seconds, and its beats from there."""

    start_s: float
    end_s: float
    grid: BeatGrid


def make_clips(path: Path, track: Track, cutting: Cutting, out: Path) -> list[CorpusClip]:
    """Decode a file, cut it, and write its clips to `out`/clips.

    Raises
    ------
    UnusableTrackError
        It cannot be read, is too short, silent, or holds NaN.
    OSError
        `out` cannot be written.
    """
    audio = read_audio(path)
    track = replace(track, labels={**track.labels, RECORDING: _checksum(audio)})
    cuts = [_excerpt(audio, track)] if track.excerpt is not None else choose_cuts(audio, cutting)
    single = track.excerpt is not None or cutting.most_per_track == 1
    return [_write(audio, cut, track.track_id if single else f"{track.track_id}-{number:02d}", track, out)
            for number, cut in enumerate(cuts, start=1)]


def read_audio(path: Path) -> NDArray[np.float32]:
    """Audio at 48 kHz, shape (n_frames, 1 or 2): one or two channels as they are, more averaged to one.

    Samples beyond full scale are brought back by a common factor, so that writing cannot clip them.

    Raises
    ------
    UnusableTrackError
        As `make_clips`.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            audio = file.read(min(file.frames, round(LONGEST_S * rate_hz)), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as exc:
        raise UnusableTrackError(f"it cannot be decoded ({exc})" if path.exists() else "it has vanished") from exc
    if not len(audio):
        raise UnusableTrackError("it is empty")
    if not np.isfinite(audio).all():
        raise UnusableTrackError("it holds samples that are no numbers")
    if audio.shape[1] > 2:
        audio = audio.mean(axis=1, keepdims=True, dtype=np.float32)
    if rate_hz != RATE_HZ:
        audio = soxr.resample(audio, rate_hz, RATE_HZ, quality="HQ")
    if len(audio) < SHORTEST_S * RATE_HZ:
        raise UnusableTrackError(f"it lasts {len(audio) / RATE_HZ:.2f} s, wanted {SHORTEST_S:g} s")
    peak = float(np.abs(audio).max())
    if peak < _SILENT:
        raise UnusableTrackError("it is silent")
    return np.asarray(audio / peak * 0.99 if peak > 0.99 else audio, np.float32)


def choose_cuts(audio: NDArray[np.float32], cutting: Cutting) -> list[Cut]:
    """Stretches of `cutting.clip_s` from downbeats on, spread over the sounding part; without beats, from onsets on."""
    mono = soxr.resample(audio.mean(axis=1), RATE_HZ, _ANALYSIS_HZ, quality="MQ")
    onsets = onset_strength(mono, _ANALYSIS_HZ)
    first_s, last_s = _sounding(audio)
    n_cuts = max(1, min(cutting.most_per_track, int((last_s - first_s) / cutting.clip_s)))
    share_s, bpm = (last_s - first_s) / n_cuts, usual_tempo(onsets)
    cuts = []
    for number in range(n_cuts):
        earliest_s = first_s + number * share_s
        from_s = round(earliest_s / _HOP_S)
        grid = find_grid(onsets[from_s : from_s + round(1.5 * cutting.clip_s / _HOP_S)], bpm)
        slack_s = max(share_s - cutting.clip_s, 0.0)
        offset_s = grid.downbeat_s if grid.bpm else _strongest(onsets[from_s:], min(slack_s, 2.0))
        cuts.append(_fitted(earliest_s, offset_s, grid, cutting.clip_s, last_s))
    return cuts


def _fitted(earliest_s: float, offset_s: float, grid: BeatGrid, clip_s: float, last_s: float) -> Cut:
    """From `offset_s` after the earliest place on, in whole bars if the music lasts; else from the earliest on."""
    begin_s, length_s = earliest_s + offset_s, clip_s
    if grid.bpm and begin_s + (whole_bars_s := np.ceil(clip_s / grid.bar_s - 1e-6) * grid.bar_s) <= last_s:
        length_s = float(whole_bars_s)
    if begin_s + length_s > last_s:
        first_beat_s = offset_s % (60.0 / grid.bpm) if grid.bpm else 0.0  # a late downbeat would leave little to loop
        return Cut(earliest_s, min(earliest_s + clip_s, last_s), replace(grid, downbeat_s=first_beat_s))
    lead_s = min(_LEAD_IN_S, begin_s)
    return Cut(begin_s - lead_s, begin_s + length_s, replace(grid, downbeat_s=lead_s if grid.bpm else 0.0))


def _excerpt(audio: NDArray[np.float32], track: Track) -> Cut:
    """The stretch that was heard; its beats are found in it, its place is not moved."""
    assert track.excerpt is not None
    length_s = len(audio) / RATE_HZ
    start_s, end_s = track.excerpt.start_s, min(track.excerpt.end_s, length_s)
    if end_s - start_s < SHORTEST_S:
        raise UnusableTrackError(f"it lasts {length_s:.1f} s; heard was {start_s:g} to {track.excerpt.end_s:g} s")
    stretch = audio[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    mono = soxr.resample(stretch.mean(axis=1), RATE_HZ, _ANALYSIS_HZ, quality="MQ")
    return Cut(start_s, end_s, find_grid(onset_strength(mono, _ANALYSIS_HZ)))


def _sounding(audio: NDArray[np.float32]) -> tuple[float, float]:
    """First and last second of the music, silence before and after left out; all when that leaves too little."""
    block = RATE_HZ // 2
    n_blocks = len(audio) // block
    level = np.sqrt(np.mean(audio[: n_blocks * block].reshape(n_blocks, -1) ** 2, axis=1))
    loud = np.flatnonzero(level > _QUIET * level.max())
    first_s, last_s = loud[0] / 2, (loud[-1] + 1) / 2
    whole_s = len(audio) / RATE_HZ
    last_s = whole_s if loud[-1] == n_blocks - 1 else last_s
    return (float(first_s), float(last_s)) if last_s - first_s >= SHORTEST_S else (0.0, whole_s)


def _strongest(onsets: NDArray[np.float32], within_s: float) -> float:
    frames = onsets[: round(within_s / _HOP_S)].mean(axis=1)
    return float(np.argmax(frames) * _HOP_S) if len(frames) else 0.0


def _write(audio: NDArray[np.float32], cut: Cut, clip_id: str, track: Track, out: Path) -> CorpusClip:
    clip = audio[round(cut.start_s * RATE_HZ) : round(cut.end_s * RATE_HZ)].copy()
    if track.excerpt is not None:
        _as_heard(clip, track.excerpt.fade_s)
    buffer = BytesIO()
    soundfile.write(buffer, clip, RATE_HZ, format="FLAC", subtype="PCM_16", compression_level=0.0)
    payload = buffer.getvalue()
    file = f"clips/{clip_id}.flac"
    write_bytes(out / file, payload)
    labels = {**track.labels, "source": track.file, "start_s": f"{cut.start_s:.3f}"}
    labels |= {"licence": track.licence} if track.licence else {}
    return CorpusClip(clip_id, file, track.genre, track.split, len(clip) / RATE_HZ, round(cut.grid.bpm, 3),
                    round(cut.grid.downbeat_s, 4), gain_db(clip, RATE_HZ), hashlib.sha256(payload).hexdigest(), labels,
                    len(payload))


def _as_heard(clip: NDArray[np.float32], fade_s: float) -> None:
    """Fades of a quarter sine, then one root mean square, in this order: as Nakai's stimuli were made."""
    n_frames = min(round(fade_s * RATE_HZ), len(clip) // 2)
    ramp = np.sin(np.linspace(0.0, np.pi / 2, n_frames, dtype=np.float32))[:, None]
    clip[:n_frames] *= ramp
    clip[len(clip) - n_frames :] *= ramp[::-1]
    rms, peak = float(np.sqrt(np.mean(clip**2))), float(np.abs(clip).max())
    clip *= min(_HEARD_RMS / max(rms, 1e-9), 0.99 / max(peak, 1e-9))


def _checksum(audio: NDArray[np.float32]) -> str:
    """Of the sound, not of the file: WAV and FLAC of one recording agree."""
    return hashlib.sha256(np.round(32767 * audio).astype("<i2").tobytes()).hexdigest()
