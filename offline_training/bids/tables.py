"""Tables as BIDS has them: tab-separated, "n/a" for what is not there, a JSON file that says what each column means."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from realtime.atomic import write_json

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes
    ----------
    name : str
    meaning : str
        A sentence.
    units : str
        As in CMIXF; "" for none.
    """

    name: str
    meaning: str
    units: str = ""


def cell(value: Any) -> str:
    """A value as it stands in a table: floats by the fewest digits that give the same bits back."""
    if value is None or (isinstance(value, float | np.floating) and not math.isfinite(value)):
        return "n/a"
    if isinstance(value, np.floating):
        return str(value)
    if isinstance(value, list | tuple):
        value = ",".join(str(item) for item in value)
    return " ".join(str(value).split()) or "n/a"


class Table:
    """A table that is being written, row by row; its JSON file also holds `facts`."""

    def __init__(self, path: Path, columns: Sequence[Column], facts: Mapping[str, Any] | None = None) -> None:
        self._names = [column.name for column in columns]
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._file.write("\t".join(self._names) + "\n")
        document = {column.name: {"Description": column.meaning, **({"Units": column.units} if column.units else {})}
                    for column in columns}
        write_json(path.with_suffix(".json"), {**document, **(facts or {})})

    def write(self, row: Row) -> None:
        """One row; a column it does not have is "n/a"."""
        self._file.write("\t".join(cell(row.get(name)) for name in self._names) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()


def write_table(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """A whole table."""
    with Table(path, columns) as table:
        for row in rows:
            table.write(row)
