"""played.wav: every frame that left the ring, in a file that survives a kill at any moment."""

import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.ring import CHANNELS, FrameRing

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sII4sI")  # RIFF + fmt + fact (asked for by float formats) + data: 56 bytes
FRAME_BYTES = 4 * CHANNELS
IEEE_FLOAT = 3
FLUSH_PERIOD_S = 0.25
TAPE_S = 20.0  # how long the disk may stall before frames are replaced by silence


@dataclass(frozen=True, eq=False)
class Recording:
    """What a played.wav holds.

    Attributes
    ----------
    frames : float32 array of shape (n_frames, 2)
        Exactly what left the ring, full scale 1.
    rate_hz : int
        Frames per second.
    """

    frames: NDArray[np.float32]
    rate_hz: int


def _header(rate_hz: int, n_frames: int) -> bytes:
    """The 56 bytes in front of the frames; sizes beyond 4 GiB are written as the largest there is."""
    n_bytes = n_frames * FRAME_BYTES
    fmt = (16, IEEE_FLOAT, CHANNELS, rate_hz, rate_hz * FRAME_BYTES, FRAME_BYTES, 32)
    riff_size, data_size = min(n_bytes + HEADER.size - 8, 0xFFFFFFFF), min(n_bytes, 0xFFFFFFFF)
    return HEADER.pack(
        b"RIFF", riff_size, b"WAVE", b"fmt ", *fmt, b"fact", 4, min(n_frames, 0xFFFFFFFF), b"data", data_size
    )


def _rate_of(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if len(head) < HEADER.size or head[:4] != b"RIFF" or head[8:12] != b"WAVE" or head[48:52] != b"data":
        message = (
            f"{path} is not a recording of the player: got {head[:12]!r} at its start, wanted a float WAV of "
            f"{HEADER.size} header bytes. Give a played.wav that a session wrote."
        )
        raise PlaybackError(message)
    return int(HEADER.unpack(head)[7])


def repair_wav(path: Path) -> int:
    """Make the header of a played.wav say what the file holds; returns the number of frames.

    Only needed after the player was killed, and only for other programs: the header is then at
    most `FLUSH_PERIOD_S` behind the data. A frame that was cut in the middle is cut off.

    Raises
    ------
    PlaybackError
        The file is not a recording of the player.
    """
    rate_hz = _rate_of(path)
    n_frames = (path.stat().st_size - HEADER.size) // FRAME_BYTES
    with path.open("r+b") as file:
        file.write(_header(rate_hz, n_frames))
        file.truncate(HEADER.size + n_frames * FRAME_BYTES)
    return n_frames


def read_played(path: Path) -> Recording:
    """All whole frames of a played.wav, also one that is being written or whose writer was killed.

    Raises
    ------
    PlaybackError
        The file is not a recording of the player.
    """
    rate_hz = _rate_of(path)
    content = path.read_bytes()
    n_frames = (len(content) - HEADER.size) // FRAME_BYTES
    samples = np.frombuffer(content, dtype="<f4", offset=HEADER.size, count=n_frames * CHANNELS)
    return Recording(samples.reshape(n_frames, CHANNELS).astype(np.float32), rate_hz)


def read_last(path: Path, seconds: float) -> Recording:
    """The last whole frames of a played.wav that is being written; errors as `read_played`."""
    rate_hz = _rate_of(path)
    with path.open("rb") as file:
        n_frames = (file.seek(0, os.SEEK_END) - HEADER.size) // FRAME_BYTES
        n_wanted = min(n_frames, round(seconds * rate_hz))
        file.seek(HEADER.size + (n_frames - n_wanted) * FRAME_BYTES)
        samples = np.frombuffer(file.read(n_wanted * FRAME_BYTES), dtype="<f4")
    return Recording(samples.reshape(-1, CHANNELS).astype(np.float32), rate_hz)


def _create_next_part(wanted: Path) -> tuple[Path, BinaryIO]:
    """Open `wanted`, or `stem-1`, `stem-2`… when it exists: what was recorded is never overwritten."""
    part = 0
    while True:
        path = wanted if part == 0 else wanted.with_name(f"{wanted.stem}-{part}{wanted.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path, path.open("xb", buffering=0)
        except FileExistsError:
            part += 1
        except OSError as exc:
            message = f"Cannot write the recording {path}: {exc}. Choose a played_wav in a folder you may write to."
            raise PlaybackError(message) from exc


class WavRecorder:
    """Appends what left the ring to a WAV file, from a thread of its own.

    `take` is for the audio callback: it copies into a second ring of `TAPE_S` and returns. When
    the disk stalls for longer than that, the frames lost are replaced by as much silence, so that
    positions in the file stay times.

    Parameters
    ----------
    wanted : Path
        The file; a numbered neighbour is made when it exists.
    rate_hz : int
        Frames per second.

    Attributes
    ----------
    path : Path
        The file that was made.
    lost_frames : int
        Frames replaced by silence so far.
    failure : str
        Why the file cannot be written any more; "" while it can.

    Raises
    ------
    PlaybackError
        The file cannot be made.
    """

    def __init__(self, wanted: Path, rate_hz: int) -> None:
        self.path, self._file = _create_next_part(wanted)
        self.rate_hz = rate_hz
        self.lost_frames = 0
        self.failure = ""
        self._owed = 0  # frames of silence to write before the next block
        self._tape = FrameRing(int(TAPE_S * rate_hz))
        self._silence = np.zeros((rate_hz // 10, CHANNELS), np.float32)
        self._closing = threading.Event()
        self._n_frames = 0
        self._file.write(_header(rate_hz, 0))
        self._thread = threading.Thread(target=self._run, name="wav-recorder", daemon=True)
        self._thread.start()

    def take(self, block: NDArray[np.float32]) -> None:
        """Record a block of shape (n, 2); never blocks, keeps no reference."""
        while self._owed:
            n_silent = self._tape.write(self._silence[: self._owed])
            if n_silent == 0:
                break
            self._owed -= n_silent
        taken = 0 if self._owed else self._tape.write(block)
        self._owed += len(block) - taken
        self.lost_frames += len(block) - taken

    def close(self) -> None:
        """Write out what was taken and close the file; may be called twice."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.wait(FLUSH_PERIOD_S):
                self._flush()
            self._flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            self.failure = f"The recording {self.path} cannot be written: {exc}. Free space; sound goes on, unrecorded."
        finally:
            self._file.close()

    def _flush(self) -> None:
        frames = np.empty((self._tape.fill, CHANNELS), np.float32)
        n_frames = self._tape.read_into(frames)
        left = memoryview(frames[:n_frames].astype("<f4").tobytes())
        while left:
            left = left[self._file.write(left) :]  # a full disk writes a part without an error
        self._n_frames += n_frames
        os.pwrite(self._file.fileno(), _header(self.rate_hz, self._n_frames), 0)
