"""What was heard in a session, trial by trial, without any brain: what controls predict from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.session.events import Event


class HasEvents(Protocol):
    """A run, recorded or already turned into responses."""

    @property
    def run_id(self) -> str:
        """Its name."""
        ...

    @property
    def events(self) -> tuple[Event, ...]:
        """What was heard in it."""
        ...


class HasSession(Protocol):
    """Runs of one person, those to learn from and those held out."""

    @property
    def training(self) -> Sequence[HasEvents]:
        """Runs that may be learnt from."""
        ...

    @property
    def test(self) -> Sequence[HasEvents]:
        """Runs held out."""
        ...


@dataclass(frozen=True)
class ClipFacts:
    """What is known of clips besides the events: their genres, and the recordings they were cut from."""

    genres: Mapping[str, str] = field(default_factory=dict)
    tracks: Mapping[str, str] = field(default_factory=dict)


NOTHING = ClipFacts()


@dataclass(frozen=True)
class Heard:
    """Trials that count: no dummy, and a clip named.

    Attributes
    ----------
    clip_ids, genres, run_ids, tracks : tuples of str
        `tracks` are the recordings that clips were cut from; a clip is its own where nothing is known.
    numbers : tuple of int
        Place of the trial in its run's events.
    previous : tuple of str
        Clip before it in its run, a dummy as well; "" at a run's beginning and after silence.
    onsets_s : tuple of float
    lengths_s : tuple of float
        Where the run's last event ends.
    """

    clip_ids: tuple[str, ...]
    genres: tuple[str, ...]
    run_ids: tuple[str, ...]
    tracks: tuple[str, ...]
    numbers: tuple[int, ...]
    previous: tuple[str, ...]
    onsets_s: tuple[float, ...]
    lengths_s: tuple[float, ...]

    def only(self, rows: NDArray[np.intp]) -> "Heard":
        """Some of the trials."""
        return Heard(*(tuple(getattr(self, column.name)[row] for row in rows) for column in fields(self)))


def heard_in(runs: Sequence[HasEvents], known: ClipFacts = NOTHING) -> Heard:
    """The trials of these runs, in order; the genre that is known of a clip goes before that of the event."""
    rows = []
    for run in runs:
        end_s = max((event.onset_s + event.duration_s for event in run.events), default=0.0)
        before = ""
        for number, event in enumerate(run.events):
            if event.clip_id and not event.is_dummy:
                rows.append((event.clip_id, known.genres.get(event.clip_id, event.genre), run.run_id,
                             known.tracks.get(event.clip_id, event.clip_id), number, before, event.onset_s, end_s))
            before = event.clip_id
    return Heard(*(zip(*rows, strict=True) if rows else ((),) * 8))


def time_features(heard: Heard) -> NDArray[np.float32]:
    """When a trial came: six smooth functions of the time in its run, and its place in the run, shape (n_trials, 7)."""
    at = np.array(heard.onsets_s) / np.maximum(np.array(heard.lengths_s), 1e-9)
    waves = [np.cos(np.pi * k * at) for k in range(1, 7)]
    return np.stack([*waves, np.array(heard.numbers, np.float64) / 10], axis=1).astype(np.float32)
