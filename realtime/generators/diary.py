"""What a generator was asked for, and before which chunk: enough to make the same samples again.

One JSON line each. A life begins with ``generator`` (what it is), and holds ``condition`` lines
(before which chunk, number, volume, clip, the embedding bit for bit), ``stand-in`` lines (a worker's
chunks from here on were the corpus's, or again its own) and, when it ended in order, ``end``.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import GeneratorError
from realtime.messages import Chunk, Condition
from realtime.ports import Generator


@dataclass(frozen=True)
class Life:
    """One process's work.

    Attributes
    ----------
    about : dict
        What the generator said of itself: its identity and seed.
    conditions : dict of int to Condition
        By the number of the chunk they came before.
    n_chunks : int or None
        How many it made; None when it was killed.
    """

    about: dict[str, Any]
    conditions: dict[int, Condition] = field(default_factory=dict)
    n_chunks: int | None = None


class Diary:
    """Writes while music is made: each line reaches the system at once, a kill cuts at most the last.

    Parameters
    ----------
    path : Path
        The file; a life is added to those it holds.
    about : dict
        What the generator is.

    Raises
    ------
    GeneratorError
        The file cannot be written.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        try:
            torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
            self._file = path.open("ab", buffering=0)
        except OSError as exc:
            raise GeneratorError(f"the diary {path} cannot be written ({exc.strerror}); choose a session folder that "
                                 "can") from exc
        if torn:
            self._file.write(b"\n")
        self._write({"doc": "generator", **about})

    def adopt(self, condition: Condition, chunk: int) -> None:
        """The condition that the chunk of this number, from 0, was made under."""
        self._write({"doc": "condition", "chunk": chunk, "number": condition.number, "volume": condition.volume_index,
                     "clip_id": condition.clip_id,
                     "embedding": base64.b64encode(condition.embedding.astype("<f4").tobytes()).decode()})

    def stand_in(self, chunk: int, *, begins: bool, reason: str) -> None:
        """From this chunk on the corpus stood in for a worker, or no longer."""
        self._write({"doc": "stand-in", "chunk": chunk, "begins": begins, "reason": reason})

    def end(self, n_chunks: int) -> None:
        """The life ended in order."""
        self._write({"doc": "end", "chunks": n_chunks})
        self.close()

    def close(self) -> None:
        """Leave the file as it is; may be called twice."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read_diary(path: Path) -> list[Life]:
    """All lives, in order; a line cut off by a crash is left out.

    Raises
    ------
    GeneratorError
        No diary there, or one that begins without a generator.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise GeneratorError(f"no diary of generated music in {path} ({exc.strerror}); only sessions with a generator "
                             "have one") from exc
    lives: list[Life] = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["doc"] == "generator":
            lives.append(Life({key: value for key, value in entry.items() if key != "doc"}))
        elif not lives:
            raise GeneratorError(f"{path} begins with {entry['doc']!r}, wanted 'generator'; it is not a diary")
        elif entry["doc"] == "condition":
            lives[-1].conditions[entry["chunk"]] = _condition(entry)
        elif entry["doc"] == "end":
            lives[-1] = Life(lives[-1].about, lives[-1].conditions, entry["chunks"])
    return lives


def _condition(entry: dict[str, Any]) -> Condition:
    embedding = np.frombuffer(base64.b64decode(entry["embedding"]), "<f4").astype(np.float32)
    return Condition(entry["number"], entry["volume"], embedding, entry["clip_id"])


def make_again(generator: Generator, life: Life, n_chunks: int | None = None) -> Iterator[Chunk]:
    """The same chunks as in that life, from a fresh generator of the same kind, files and seed.

    Parameters
    ----------
    generator : Generator
        As `realtime.generators.make` made it then.
    life : Life
        From `read_diary`.
    n_chunks : int, optional
        How many; by default all, or those up to the last condition of a life that was killed.
    """
    wanted = n_chunks if n_chunks is not None else life.n_chunks
    if wanted is None:
        wanted = max(life.conditions, default=-1) + 1
    for number in range(wanted):
        if number in life.conditions:
            generator.condition(life.conditions[number])
        yield generator.chunk()
