"""When the runs of a person were scanned: sessions and order, from what a data set says of each.

BIDS names sessions (`ses-`). ds003720 does not, and its sidecars have no date: there, series numbers and times of
day rise within a session, and the first run of a task that falls back begins the next one.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Scan:
    """What is known of when a run was acquired.

    Attributes
    ----------
    run_id : str
    task, session_label : str
        BIDS entities; "" when the name has none.
    number : int
        The run entity; 0 without.
    series : float
        SeriesNumber of the sidecar; NaN when unknown.
    clock_s : float
        AcquisitionTime of the sidecar, seconds of the day; NaN when unknown.
    """

    run_id: str
    task: str
    session_label: str
    number: int
    series: float
    clock_s: float


@dataclass(frozen=True)
class ScanOrder:
    """Runs in the order they were scanned.

    Attributes
    ----------
    run_ids : tuple of str
    sessions : tuple of int
        Of each, from 0.
    """

    run_ids: tuple[str, ...]
    sessions: tuple[int, ...]


def scan_of(run_id: str, fields: Mapping[str, Any]) -> Scan:
    """A scan from the name of its run and the fields of its sidecar."""
    series = fields.get("SeriesNumber")
    known = isinstance(series, int | float) and not isinstance(series, bool)
    number = int(re.sub(r"\D", "", entity(run_id, "run")) or 0)
    return Scan(run_id, entity(run_id, "task"), entity(run_id, "ses"), number,
                float(series) if known else math.nan, _clock_s(fields.get("AcquisitionTime")))  # type: ignore[arg-type]


def entity(name: str, key: str) -> str:
    """Value of a BIDS entity in a file name; "" when it has none."""
    found = re.search(rf"(?:^|_){key}-([A-Za-z0-9]+)", name)
    return found.group(1) if found else ""


def scan_order(scans: Sequence[Scan]) -> ScanOrder:
    """Sessions and order of a person's runs.

    Session labels are believed where all runs have one. Else the runs of each task, by number, are cut wherever the
    series number or the time of day falls back; the k-th pieces of all tasks are one session if they give as many
    sessions, and series number and time of day agree on the order in each. Where that fails nothing is guessed: all
    runs are one session, by task and number.
    """
    if not scans:
        return ScanOrder((), ())
    if all(scan.session_label for scan in scans):
        labels = sorted({scan.session_label for scan in scans})
        session = {scan.run_id: labels.index(scan.session_label) for scan in scans}
        known = _orderly(scans, session)
    else:
        session = _cut(scans)
        known = bool(session)
        session = session or dict.fromkeys((scan.run_id for scan in scans), 0)
    ordered = sorted(scans, key=lambda scan: (session[scan.run_id], scan.series if known else 0.0, scan.run_id))
    return ScanOrder(tuple(scan.run_id for scan in ordered), tuple(session[scan.run_id] for scan in ordered))


def _cut(scans: Sequence[Scan]) -> dict[str, int]:
    """Session of each run from falling series numbers and times; empty where they do not tell."""
    if any(math.isnan(scan.series + scan.clock_s) for scan in scans):
        return {}
    session, counts = {}, set()
    for task in {scan.task for scan in scans}:
        ordered = sorted((scan for scan in scans if scan.task == task), key=lambda scan: scan.number)
        here = 0
        session[ordered[0].run_id] = here
        for before, scan in pairwise(ordered):
            here += scan.series <= before.series or scan.clock_s <= before.clock_s
            session[scan.run_id] = here
        counts.add(here + 1)
    return session if len(counts) == 1 and _orderly(scans, session) else {}


def _orderly(scans: Sequence[Scan], session: Mapping[str, int]) -> bool:
    """Whether series numbers are known, never given twice in a session, and rise with the time of day."""
    for number in set(session.values()):
        inside = sorted((scan for scan in scans if session[scan.run_id] == number), key=lambda scan: scan.series)
        if any(not (before.series < scan.series and before.clock_s < scan.clock_s)
               for before, scan in pairwise(inside)) or any(math.isnan(scan.series) for scan in inside):
            return False
    return True


def _clock_s(stated: Any) -> float:
    """Seconds of the day of "15:20:0.300000", as dcm2niix writes it; NaN for anything else."""
    parts = re.fullmatch(r"(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)", stated) if isinstance(stated, str) else None
    return 3600 * int(parts[1]) + 60 * int(parts[2]) + float(parts[3]) if parts else math.nan
