"""What the bridge took and the live program has not stored, on this host's disk: it survives a kill of either.

A volume that came over a network cannot be asked for again. So everything is here, synced, before it
counts as taken; it is sent until it is acknowledged, and a bridge that is started again goes on with it.

What is deleted, and when:

- a run that has ended, at once when the live program has stored all of it;
- of a run in progress nothing, so that a live program that lost its record can have all of it again;
  only when the spool is full its oldest acknowledged files, 32 MiB at a time;
- what nobody stored, never by itself: `innerear bridge spool --purge` does.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from scanner_bridge.envelope import NONCE_BYTES
from scanner_bridge.errors import SpoolError
from scanner_bridge.spool_stream import SUFFIX, SpooledStream
from scanner_bridge.volume import RunHeader

DEFAULT_LIMIT_BYTES = 4 * 1024**3
"""An hour of 1 MB volumes every second; what a spool holds at most."""

MAX_AGE_S = 3600.0
"""What was left behind longer ago belongs to another session: it is kept, and not sent by itself."""


def default_folder(endpoint: str) -> Path:
    """Where messages for an endpoint wait unless told otherwise: below ``$XDG_STATE_HOME``, this user's own."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    name = "".join(char if char.isalnum() else "-" for char in endpoint)
    return Path(state) / "innerear" / "spool" / name


class Spool:
    """The runs that wait on disk, for one bridge alone.

    Parameters
    ----------
    folder : Path
        Made, readable by this user only, when there is none.
    limit_bytes : int
        More than this is not taken.
    wall_clock : callable
        Seconds of the epoch: what was left behind is old or not by the time its files were written.

    Attributes
    ----------
    streams : list of SpooledStream
        In the order of delivery. Only the last may be without end.
    stale : tuple of SpooledStream
        Left behind longer than `MAX_AGE_S` ago.

    Raises
    ------
    SpoolError
        The folder cannot be had, others can read it, or another bridge uses it.
    """

    def __init__(
        self, folder: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._lock = _claim(folder)
        try:
            found = _reopen(folder)
        except BaseException:
            os.close(self._lock)
            raise
        self._number = max((stream.number for stream in found), default=0)
        for stream in [stream for stream in found if stream.done]:
            stream.remove()  # killed between the last acknowledgement and this
        waiting = [stream for stream in found if not stream.done]
        young_s = wall_clock() - MAX_AGE_S
        self.streams = [stream for stream in waiting if stream.written_s >= young_s]
        self.stale = tuple(stream for stream in waiting if stream.written_s < young_s)

    @property
    def n_bytes(self) -> int:
        """On disk now."""
        return sum(stream.n_bytes for stream in (*self.streams, *self.stale))

    @property
    def last(self) -> SpooledStream | None:
        """The stream that may be written."""
        return self.streams[-1] if self.streams else None

    def begin(self, header: RunHeader) -> SpooledStream:
        """A new stream for a run, behind all others; SpoolError when the disk refuses."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        stream = SpooledStream.begin(self.folder, self._number + 1, nonce, header)
        self._number += 1
        self.streams.append(stream)
        return stream

    def has_room(self, n_bytes: int) -> bool:
        """Whether so many bytes more are within the limit; lets go of acknowledged files where that helps."""
        while self.n_bytes + n_bytes > self.limit_bytes:
            if not any(stream.let_go() for stream in self.streams):
                return False
        return True

    def remove(self, stream: SpooledStream) -> None:
        """Delete a stream that is done with."""
        self.streams = [other for other in self.streams if other is not stream]
        self.stale = tuple(other for other in self.stale if other is not stream)
        stream.remove()

    def close(self) -> None:
        """Let go of the folder; what it holds stays. May be called twice."""
        for stream in (*self.streams, *self.stale):
            stream.close()
        self.streams, self.stale = [], ()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _reopen(folder: Path) -> list[SpooledStream]:
    by_number = groupby(sorted(folder.glob(f"*{SUFFIX}")), key=lambda path: path.name.partition("-")[0])
    found = []
    for number, paths in by_number:
        if not number.isdigit():
            raise SpoolError(f"{folder} holds files of others ({number}*{SUFFIX}): choose another folder with --spool")
        found.append(SpooledStream.reopen(folder, int(number), list(paths)))
    return [stream for stream in found if stream is not None]


def _claim(folder: Path) -> int:
    """Make the folder, and hold it for this process alone; the kernel lets go of it when the process dies."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode & 0o777
        if mode & 0o077:
            raise SpoolError(f"spool folder {folder} has mode {mode:04o}, wanted 0700: run chmod 700 {folder}")
        lock = os.open(folder / "spool.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SpoolError(
            f"spool folder {folder} cannot be used ({error.strerror}): choose another with --spool"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "of another program"
        os.close(lock)
        raise SpoolError(
            f"spool folder {folder} is used by another bridge (process {holder}): stop that one first, or choose "
            "another folder with --spool"
        ) from error
    with contextlib.suppress(OSError):  # the number is for people
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
