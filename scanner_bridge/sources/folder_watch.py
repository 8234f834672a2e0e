"""Waiting for a folder to change: told by the system where it can be, else by looking again and again.

Windows shares and NFS tell nothing of what another machine writes, so a folder on one is polled.
"""

import logging
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal

logger = logging.getLogger(__name__)

Watching = Literal["auto", "events", "poll"]

_NETWORK_FILE_SYSTEMS = frozenset({
    "cifs", "smb3", "smbfs", "nfs", "nfs4", "9p", "afs", "fuse.sshfs", "fuse.rclone", "vboxsf", "drvfs", "virtiofs",
})  # fmt: skip
_LOOK_ANYWAY_S = 2.0  # events can overflow, and a folder can be mounted over
_STEP_MS, _GATHER_MS = 5, 10  # a file is written in many changes: they are told of together


class FolderWatch:
    """Wakes up when a folder, or anything below it, changes.

    Parameters
    ----------
    folder : Path
    watching : {"auto", "events", "poll"}
        auto: events, but polling on a network file system and where `watchfiles` is not installed.
    poll_s : float
        How long `wait` lasts when nothing changes.
    sleep : callable
        How to wait where the system tells nothing; may raise to end the wait, and is asked with 0 otherwise.
    """

    def __init__(self, folder: Path, watching: Watching, poll_s: float, sleep: Callable[[float], None]) -> None:
        self._folder = folder
        self._poll_s = poll_s
        self._sleep = sleep
        self._quiet_s = 0.0
        self._wants_events = watching == "events" or (watching == "auto" and _is_local(folder))
        self._events: Generator[Any, None, None] | None = None
        self.restart()

    @property
    def by_events(self) -> bool:
        """Whether the system tells of changes."""
        return self._events is not None

    def restart(self) -> None:
        """Watch what is at the folder's place now: a share that was away is another folder when it is back."""
        self.close()
        self._events = _events(self._folder, self._poll_s) if self._wants_events else None

    def wait(self) -> bool:
        """Wait for a change, at most `poll_s`; False when there certainly was none."""
        if self._events is None:
            self._sleep(self._poll_s)
            return True
        changed = bool(next(self._events))
        self._sleep(0)
        self._quiet_s = 0.0 if changed else self._quiet_s + self._poll_s
        if changed or self._quiet_s < _LOOK_ANYWAY_S:
            return changed
        self._quiet_s = 0.0
        return True

    def close(self) -> None:
        """Let go of the watch; may be called twice."""
        if self._events is not None:
            self._events.close()
            self._events = None


def _is_local(folder: Path) -> bool:
    return file_system(folder) not in _NETWORK_FILE_SYSTEMS


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    r"""Type of the file system that a path lies on, such as ``ext4`` or ``cifs``; "" where the system does not say.

    Parameters
    ----------
    path : Path
    mounts : Path
        The kernel's table (proc(5)): device, mount point, type, ...; spaces in it are written ``\040``.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    there, kind = path.absolute(), ""
    longest = -1
    for fields in (line.split(" ") for line in lines):
        if len(fields) > 2:
            point = Path(fields[1].replace("\\040", " "))
            # a later mount on the same point hides the earlier one
            if (there == point or point in there.parents) and len(point.parts) >= longest:
                longest, kind = len(point.parts), fields[2]
    return kind


def _events(folder: Path, poll_s: float) -> Generator[Any, None, None] | None:
    """Sets of changes, empty ones when nothing changed for `poll_s`; None where the system cannot tell."""
    try:
        from watchfiles import watch  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        return None
    changes = watch(folder, watch_filter=None, debounce=_GATHER_MS, step=_STEP_MS, yield_on_timeout=True,
                    rust_timeout=round(poll_s * 1000) or 1, recursive=True, ignore_permission_denied=True)  # fmt: skip
    try:
        next(changes)  # lasts `poll_s`; only now the watch begins, and what changes from here on is told
    except (OSError, RuntimeError) as error:  # too many watches, or the folder is away
        logger.warning("the system cannot tell of changes in %s (%s): it is looked into again and again", folder, error)
        return None
    return changes
