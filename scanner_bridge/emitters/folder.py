"""Writes recorded files into a folder as a scanner's export does: under their names, whole, growing, or renamed."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scanner_bridge.emitters.rehearsal import Pace
from scanner_bridge.errors import SourceError

WriteStyle = Literal["whole", "halves", "rename"]


@dataclass
class FolderEmitter:
    """A scanner that exports into a folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    style : {"whole", "halves", "rename"}
        whole: a file is written in one go. halves: its first half lies there for `pause_s` of scanner time
        before the rest. rename: it is written under another name first, and gets its own at once.
    pause_s : float
        See halves.
    pace : Pace
        How time passes.

    Raises
    ------
    SourceError
        The folder cannot be made.
    """

    folder: Path
    style: WriteStyle = "whole"
    pause_s: float = 0.1
    pace: Pace = field(default_factory=Pace)
    _written: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        """Make the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"cannot make {self.folder}: {error}; name another folder") from error

    def send(self, path: Path) -> None:
        """Write a copy of a file; one that comes again gets a name of its own, as a second export has.

        Raises
        ------
        SourceError
            It cannot be read or written, or a file of that name was there before.
        """
        again = self._written[path.name]
        self._written[path.name] += 1
        out = self.folder / (f"{path.stem}_again{again}{path.suffix}" if again else path.name)
        try:
            content = path.read_bytes()
            if out.exists():
                raise SourceError(f"{out} is there already: replay into an empty folder")
            self._write(out, content)
        except OSError as error:
            raise SourceError(f"cannot copy {path.name} to {self.folder}: {error}; name another folder") from error

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, out: Path, content: bytes) -> None:
        if self.style == "rename":
            partial = out.with_name(f".{out.name}.partial")
            partial.write_bytes(content)
            os.replace(partial, out)
            return
        at = len(content) // 2 if self.style == "halves" else len(content)
        with open(out, "wb", buffering=0) as file:
            file.write(content[:at])
            if at < len(content):
                self.pace.wait(self.pause_s)
                file.write(content[at:])
