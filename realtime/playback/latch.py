"""STOP as a file beside the recording: whoever plays there next is silent, too, until it is taken back."""

import contextlib
import os
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
