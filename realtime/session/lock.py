"""One live program per session folder: two would write one journal, each in the other's place."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from realtime.errors import SessionError
from realtime.session.folder import SessionFolder


@contextlib.contextmanager
def held(folder: SessionFolder) -> Iterator[None]:
    """Hold the session folder while the block lasts; the kernel lets go of it when the program dies.

    Raises
    ------
    SessionError
        Another program holds it, or the folder cannot be written.
    """
    try:
        fd = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise SessionError(f"session folder {folder.path} cannot be written ({exc.strerror}); choose another with "
                           "--session, or make this one writable") from exc
    try:
        _lock(fd, folder)
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # the number is for people; a full disk shall not stop a resumed session
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, folder: SessionFolder) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno != errno.EWOULDBLOCK:
            raise SessionError(f"session folder {folder.path} cannot be locked ({exc.strerror}); choose a folder on a "
                               "disk of this machine") from exc
        holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
        raise SessionError(f"session {folder.path} is being recorded by another live program (process {holder}); "
                           "stop that one first, or choose another folder with --session") from exc


def recorded_by(folder: SessionFolder) -> int:
    """Process number of the live program that holds the session folder; 0 when none does.

    Asked of the kernel's list: trying the lock oneself could turn a live program away that starts at that moment.
    """
    try:
        there = folder.lock.stat()
        place = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
        with open("/proc/locks", encoding="ascii") as locks:
            held_now = any(f" {place} " in line for line in locks)
        return int(folder.lock.read_text(encoding="ascii").strip() or -1) if held_now else 0
    except (OSError, ValueError):
        return 0
