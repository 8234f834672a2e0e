"""Files that are either the old or the new one, never half, whatever dies while they are written."""

import json
import math
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, payload: bytes) -> None:
    """Write a file whole: beside it, to the disk, and only then in its place.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full; the old file is untouched.
    """
    scratch = path.with_name(path.name + ".part")
    with scratch.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def write_json(path: Path, document: Any) -> None:
    """Write a document of dicts, lists and numbers whole; NaN and infinity become null, errors as `write_bytes`."""
    write_bytes(path, json.dumps(without_nan(document), indent=2, allow_nan=False).encode())


def without_nan(value: Any) -> Any:
    """The same document as JSON can hold it: NaN and infinity become None, tuples lists."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
