"""The files of a folder that hold images: DICOM files one by one, PAR/REC files in pairs."""

import os
from pathlib import Path

from scanner_bridge.errors import SourceError

Signature = tuple[int, ...]
"""Sizes and times of what an object is read from: it changes when that is written to."""


def list_objects(path: Path) -> list[tuple[Path, Signature]]:
    """Every file that may hold an image, by name.

    Parameters
    ----------
    path : Path
        A folder, or one file.

    Returns
    -------
    files : list of (Path, tuple of int)
        With what tells a later version of the same file. A PAR file stands for its pair; its REC file is not listed.

    Raises
    ------
    SourceError
        The folder cannot be listed.
    """
    only_one = path.is_file()
    try:
        with os.scandir(path.parent if only_one else path) as entries:
            files = sorted(Path(entry.path) for entry in entries if entry.is_file())
    except OSError as error:
        raise SourceError(f"cannot list {path}: {error}; check that the share is mounted") from error
    wanted = [file for file in files if file.suffix.lower() != ".rec" and (file == path or not only_one)]
    return [(file, signature) for file in wanted if (signature := _signature(file))]


def read_content(file: Path) -> bytes:
    """The bytes of an object, as `Assembler.take` wants them: of a PAR file those of its REC file behind it."""
    content = file.read_bytes()
    rec = _rec_of(file)
    return content + rec.read_bytes() if rec is not None else content


def _signature(file: Path) -> Signature:
    """Empty where a file has gone since it was listed: scanners rename what they have finished."""
    rec = _rec_of(file)
    try:
        statuses = [part.stat() for part in (file, rec) if part is not None]
    except FileNotFoundError:
        return ()
    return tuple(value for status in statuses for value in (status.st_size, status.st_mtime_ns))


def _rec_of(file: Path) -> Path | None:
    """The REC file beside a PAR file; None where there is none (yet)."""
    if file.suffix.lower() != ".par":
        return None
    return next((rec for ending in (".rec", ".REC") if (rec := file.with_suffix(ending)).is_file()), None)
