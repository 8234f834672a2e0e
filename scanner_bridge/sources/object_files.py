"""The files of a folder that hold images: DICOM files one by one, PAR/REC files in pairs."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from scanner_bridge.errors import SourceError

Signature = tuple[int, ...]
"""Sizes and times of what an object is read from: it changes when that is written to."""


_UNFINISHED_NAMES = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".writing", "~")
_DEEPEST = 5  # GE writes p###/e###/s###, Siemens a folder per day and person


def list_objects(path: Path) -> list[tuple[Path, Signature]]:
    """Every file that may hold an image, by path.

    Parameters
    ----------
    path : Path
        A folder, with the folders in it; or one file. Hidden files, and names that a writer gives to what it has
        not finished (``.tmp``, ``.part``, ...), are left out: they will be renamed.

    Returns
    -------
    files : list of (Path, tuple of int)
        With what tells a later version of the same file. A PAR file stands for its pair; its REC file is not listed.

    Raises
    ------
    SourceError
        The folder cannot be listed.
    """
    try:
        files = [path] if path.is_file() else sorted(_files_below(path, _DEEPEST))
    except OSError as error:
        raise SourceError(f"cannot list {path}: {error}; check that the share is mounted") from error
    wanted = [file for file in files if file.suffix.lower() != ".rec"]
    return [(file, signature) for file in wanted if (signature := _signature(file))]


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """Files of a folder and of those in it; OSError where the folder itself cannot be listed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower().endswith(_UNFINISHED_NAMES):
                continue
            if entry.is_file():
                yield Path(entry.path)
            elif depth > 1 and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):  # it went away, or is not for us
                    yield from _files_below(Path(entry.path), depth - 1)


def read_content(file: Path) -> bytes:
    """The bytes of an object, as `Assembler.take` wants them: of a PAR file those of its REC file behind it."""
    content = file.read_bytes()
    rec = _rec_of(file)
    return content + rec.read_bytes() if rec is not None else content


def _signature(file: Path) -> Signature:
    """Empty where a file has gone since it was listed (scanners rename what they have finished), or cannot be asked."""
    rec = _rec_of(file)
    try:
        statuses = [part.stat() for part in (file, rec) if part is not None]
    except OSError:
        return ()
    return tuple(value for status in statuses for value in (status.st_size, status.st_mtime_ns))


def _rec_of(file: Path) -> Path | None:
    """The REC file beside a PAR file; None where there is none (yet)."""
    if file.suffix.lower() != ".par":
        return None
    return next((rec for ending in (".rec", ".REC") if (rec := file.with_suffix(ending)).is_file()), None)
