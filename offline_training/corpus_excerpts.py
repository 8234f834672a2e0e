"""What people heard of each recording, as the events files of a data set say it.

ds003720 names a genre and a track of GTZAN and the stretch that was cut from it, played with fades of two seconds.
Data sets with stimulus files (`stim_file`) played them as they are, from `start` to `end` where events say so, else
from their beginning for as long as the event lasts.
"""

import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from offline_training.errors import DatasetError

_FADE_S = 2.0


@dataclass(frozen=True)
class Excerpt:
    """The stretch of a track that people heard.

    Attributes
    ----------
    start_s, end_s : float
        In seconds of the track.
    fade_s : float
        Length of the fades at its beginning and end; 0 for a recording played as it is.
    """

    start_s: float
    end_s: float
    fade_s: float = 0.0


@dataclass(frozen=True)
class Heard:
    """A clip of the events.

    Attributes
    ----------
    excerpt : Excerpt
    genre : str
        "" when the events do not say it.
    split : str
        "test" when only test runs name it.
    """

    excerpt: Excerpt
    genre: str
    split: str


def read_excerpts(folder: Path) -> dict[str, Heard]:
    """What events files say of each clip, by the name the events give it.

    Raises
    ------
    DatasetError
        No events file names recordings, a line that cannot be read, or two stretches of one track.
    """
    heard: dict[str, Heard] = {}
    for path in sorted(folder.rglob("*_events.tsv")):
        split = "test" if "task-test" in path.name.lower() else "training"
        for name, genre, excerpt in _lines(path):
            known = heard.setdefault(name, Heard(excerpt, genre, split))
            if known.excerpt != excerpt:
                raise DatasetError(
                    f"{path} says that {name} was heard from {excerpt.start_s:g} to {excerpt.end_s:g} s, another "
                    f"events file from {known.excerpt.start_s:g} s to {known.excerpt.end_s:g} s; a clip has one "
                    "stretch: correct the events")
            if split == "training":
                heard[name] = Heard(excerpt, genre, split)
    if not heard:
        raise DatasetError(f"no *_events.tsv below {folder} has the columns genre, track, start and end, or stim_file; "
                           "give the data set that was recorded with this music")
    return heard


def check_heard(heard: Mapping[str, Heard], have: Collection[str], genres: Collection[str], folder: Path) -> None:
    """Refuse a folder that lacks what was heard.

    Parameters
    ----------
    heard : mapping of str to Heard
    have : collection of str
        Ids of the folder's tracks.
    genres : collection of str
        Genres of the folder's tracks.
    folder : Path
        For the message.

    Raises
    ------
    DatasetError
        Clips without audio, genres that no file has.
    """
    missing = sorted(set(heard) - set(have))
    if not missing:
        return
    unknown = sorted({heard[name].genre for name in missing} - set(genres) - {""})
    strange = f"; no file there is of genre {', '.join(map(repr, unknown))}" if unknown else ""
    raise DatasetError(f"{folder} lacks the audio of {len(missing)} of {len(heard)} clips that the events name, the "
                       f"first is {missing[0]}{strange}; give the folder of all recordings, or correct the events")


def _lines(path: Path) -> Iterator[tuple[str, str, Excerpt]]:
    rows = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t")
    columns = set(rows.fieldnames or ())
    gtzan, named = {"genre", "track", "start", "end"} <= columns, "stim_file" in columns
    for line, row in enumerate(rows if gtzan or named else (), start=2):
        text = {key: (value or "").strip().strip("'\"") for key, value in row.items() if key}
        try:
            if gtzan:
                excerpt = Excerpt(float(text["start"]), float(text["end"]), _FADE_S)
                yield f"{text['genre']}.{int(text['track']):05d}", text["genre"], excerpt
            elif text["stim_file"] not in ("", "n/a"):
                yield PurePosixPath(text["stim_file"]).stem, text.get("genre", ""), _stretch(text)
        except ValueError as exc:
            raise DatasetError(f"{path}, line {line}, does not say what was heard ({exc}); correct it") from exc


def _stretch(text: Mapping[str, str]) -> Excerpt:
    start_s = float(text["start"]) if text.get("start", "n/a") not in ("", "n/a") else 0.0
    end_s = float(text["end"]) if text.get("end", "n/a") not in ("", "n/a") else start_s + float(text["duration"])
    return Excerpt(start_s, end_s)
