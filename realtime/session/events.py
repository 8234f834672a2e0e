"""What was heard and when: BIDS events files, parsed and checked. Pure but for reading the file.

Live sessions use it for the trial schedule, training for its targets.
"""

import csv
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from realtime.errors import EventsError
from realtime.experiment.design import is_cue
from realtime.experiment.run_design import RunDesign

_MISSING = ("", "n/a")
_TOLERANCE_S = 0.010  # stimulus computers write onsets to the millisecond; neighbours may overlap by rounding


@dataclass(frozen=True)
class Event:
    """One stretch of a run.

    Attributes
    ----------
    onset_s, duration_s : float
        After the start of the run's first volume; finite, duration above 0.
    clip_id : str
        What was played; "" where nothing was (rest, imagery without sound).
    genre : str
        Label; "" when unknown.
    trial_type : str
        The column of that name, such as "listen" or "imagine"; "" without one.
    is_dummy : bool
        The run's first clip, heard again later in the run: not trained on, not scored.
    """

    onset_s: float
    duration_s: float
    clip_id: str
    genre: str = ""
    trial_type: str = ""
    is_dummy: bool = False


def read_events(path: Path) -> tuple[Event, ...]:
    """Events of a BIDS events.tsv, in order, the dummy marked.

    Columns `onset` and `duration` (seconds) are wanted, and one that names the clip: `clip_id`,
    or `stim_file` (its stem), or `genre` with `track` (as ds003720 has; 'pop' and 32 become
    pop.00032), or `trial_type` alone, whose events then name no clip. `n/a` means nothing.

    Raises
    ------
    EventsError
        Every line that cannot be used, all at once.
    """
    rows = _rows(path)
    events, problems = [], []
    for line, row in enumerate(rows, start=2):
        try:
            events.append(_event(row))
        except ValueError as exc:
            problems.append(f"line {line}: {exc}")
    problems = problems or _order_problems(events)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise EventsError(f"{path} is not a usable events file: {shown}; correct these lines")
    return _with_dummy(events)


def check_events_fit(events: Sequence[Event], n_volumes: int | None, tr_s: float, name: str) -> None:
    """Refuse events that do not lie in the run.

    Parameters
    ----------
    events : sequence of Event
        Of one run, in order.
    n_volumes : int or None
        Length of the run; None when the scanner does not announce it: then nothing is checked.
    tr_s : float
        Repetition time.
    name : str
        The events' file, for the message.

    Raises
    ------
    EventsError
        An event begins after the run's end, or ends more than one volume after it.
    """
    if n_volumes is None:
        return
    length_s = n_volumes * tr_s
    outside = [event for event in events
               if event.onset_s >= length_s or event.onset_s + event.duration_s > length_s + tr_s]
    if outside:
        event = outside[0]
        raise EventsError(f"{len(outside)} of {len(events)} events in {name} lie outside the run: the first, "
                          f"{event.clip_id or event.trial_type!r}, lasts from {event.onset_s:g} to "
                          f"{event.onset_s + event.duration_s:g} s, the run has {n_volumes} volumes of {tr_s:g} s = "
                          f"{length_s:g} s; give the events of this run, or correct its TR or number of volumes")


def events_of(design: RunDesign) -> tuple[Event, ...]:
    """The trials of a design; a catch trial, in which nothing is imagined, names no clip."""
    return tuple(Event(phase.onset_s, phase.duration_s, "" if phase.kind == "catch" else phase.clip_id,
                       trial_type=phase.kind) for phase in design.measured)


def check_sounds(design: RunDesign, clip_ids: Container[str]) -> None:
    """Refuse a design with clips that there are not; EventsError names them."""
    missing = sorted({sound for sound in design.sounds() if sound not in clip_ids and not is_cue(sound)})
    if missing:
        raise EventsError(f"the design of run {design.name!r} names {len(missing)} clips that the catalogue lacks, "
                          f"{', '.join(missing[:5])}; name clips of that catalogue, or use another")


def check_design_fits(design: RunDesign, n_volumes: int | None, tr_s: float) -> None:
    """Refuse a design that is longer than its run, or was made for another repetition time.

    Raises
    ------
    EventsError
        Which, and what to do.
    """
    made_for_s = design.acquisition.tr_s
    if abs(made_for_s - tr_s) > 0.01 * made_for_s:
        raise EventsError(f"the design of run {design.name!r} is for a TR of {made_for_s:g} s, the run's is "
                          f"{tr_s:g} s; correct acquisition.tr_s in the plan, or the protocol")
    if n_volumes is not None and design.n_volumes > n_volumes:
        raise EventsError(f"the design of run {design.name!r} takes {design.n_volumes} volumes, the scan has "
                          f"{n_volumes}; shorten the design, or scan longer")


def _rows(path: Path) -> list[dict[str, str | None]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise EventsError(f"events file {path} cannot be read ({exc}); give a BIDS events.tsv in UTF-8") from exc
    reader = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = set(reader.fieldnames or ())
    missing = {"onset", "duration"} - columns
    names_clips = columns & {"clip_id", "stim_file", "trial_type"} or {"genre", "track"} <= columns
    if missing or not names_clips:
        lacking = [f"column {name!r}" for name in sorted(missing)]
        lacking += [] if names_clips else ["a column that names the clip (clip_id, stim_file, or genre and track)"]
        raise EventsError(f"{path} lacks {' and '.join(lacking)}; its first line has "
                          f"{sorted(columns)}, separated by tabs; give a BIDS events.tsv")
    rows = list(reader)
    if not rows:
        raise EventsError(f"{path} holds no events below its first line; give the events of the run")
    return rows


def _event(row: dict[str, str | None]) -> Event:
    onset_s, duration_s = _seconds(row, "onset"), _seconds(row, "duration")
    if onset_s < 0:
        raise ValueError(f"onset is {onset_s:g} s, before the run's first volume")
    if duration_s <= 0:
        raise ValueError(f"duration is {duration_s:g} s, wanted more than 0")
    return Event(onset_s, duration_s, _clip_id(row), _text(row, "genre"), _text(row, "trial_type"))


def _seconds(row: dict[str, str | None], column: str) -> float:
    text = (row.get(column) or "").strip()
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} is {text!r}, wanted seconds") from None
    if not math.isfinite(value):
        raise ValueError(f"{column} is {text!r}, wanted finite seconds")
    return value


def _text(row: dict[str, str | None], column: str) -> str:
    text = (row.get(column) or "").strip().strip("'\"")
    return "" if text in _MISSING else text


def _clip_id(row: dict[str, str | None]) -> str:
    named = _text(row, "clip_id") or Path(_text(row, "stim_file")).stem
    genre, track = _text(row, "genre"), _text(row, "track")
    if named or not (genre and track):
        return named
    if not track.isdecimal():
        raise ValueError(f"track is {track!r}, wanted a number")
    return f"{genre}.{int(track):05d}"


def _order_problems(events: list[Event]) -> list[str]:
    problems = []
    for line, (before, event) in enumerate(pairwise(events), start=3):
        if event.onset_s <= before.onset_s:
            problems.append(f"line {line}: onset {event.onset_s:g} s is not after the one before, {before.onset_s:g} s")
        elif event.onset_s < before.onset_s + before.duration_s - _TOLERANCE_S:
            problems.append(f"line {line}: onset {event.onset_s:g} s lies within the event before, which lasts until "
                            f"{before.onset_s + before.duration_s:g} s")
    return problems


def _with_dummy(events: list[Event]) -> tuple[Event, ...]:
    first = events[0]
    repeated = first.clip_id != "" and any(event.clip_id == first.clip_id for event in events[1:])
    return (replace(first, is_dummy=repeated), *events[1:])
