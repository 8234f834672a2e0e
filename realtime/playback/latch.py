"""STOP as a file beside the recording: whoever plays there next is silent, too, until it is taken back."""

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

LATCH_NAME = "player.stopped"


class Latch:
    """Whether STOP holds in a folder.

    Parameters
    ----------
    played_wav : Path
        The recording beside which it lies.
    """

    def __init__(self, played_wav: Path) -> None:
        self.path = played_wav.with_name(LATCH_NAME)

    @property
    def held(self) -> bool:
        """Whether STOP holds."""
        return self.path.exists()

    def hold(self, why: str) -> None:
        """Let STOP hold from now on; OSError when the folder cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(why + "\n")
            file.flush()
            os.fsync(file.fileno())

    def release(self) -> None:
        """Take STOP back."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class LatchKeeper:
    """Holds and releases a latch from a thread of its own, in the order of the calls: a slow disk holds nobody up.

    A disk may take a second to answer; who answers a STOP that late is taken for hung, and killed.

    Parameters
    ----------
    latch : Latch
        To keep.
    failed : callable
        Called from the thread with a sentence when the folder does not let it.
    """

    def __init__(self, latch: Latch, failed: Callable[[str], None]) -> None:
        self._latch = latch
        self._failed = failed
        self._wanted: queue.SimpleQueue[tuple[Callable[[], None], str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="latch", daemon=True)
        self._thread.start()

    def hold(self, why: str) -> None:
        """Let STOP hold soon."""
        self._wanted.put((lambda: self._latch.hold(why), "STOP holds, but only in this player"))

    def release(self) -> None:
        """Take STOP back soon."""
        self._wanted.put((self._latch.release, "The sound is let through, but the next player will be silent"))

    def close(self, timeout_s: float = 1.0) -> None:
        """Do what is left, for at most this long."""
        self._wanted.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            deed, otherwise = wanted
            try:
                deed()
            except OSError as exc:
                self._failed(f"{otherwise}: {exc}.")
