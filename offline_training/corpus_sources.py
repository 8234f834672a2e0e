"""Which files a corpus is made of, and what is known of each: plain folders, GTZAN, FMA, and one's own table."""

import csv
import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from offline_training.corpus_excerpts import Excerpt, Heard, check_heard, read_excerpts
from offline_training.errors import DatasetError

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf")
_FMA_FILE = re.compile(r"\d{3}/\d{6}\.mp3")
_KEY_COLUMNS = ("file", "track_id", "clip_id")


@dataclass(frozen=True)
class Track:
    """A file to take clips from.

    Attributes
    ----------
    track_id : str
        Unique; clip ids begin with it.
    file : str
        Relative to the folder, with slashes.
    genre, split, licence : str
        "" when unknown; split "training" unless something says otherwise.
    labels : dict of str to str
        Whatever else is known.
    excerpt : Excerpt or None
        When exactly this stretch is wanted.
    """

    track_id: str
    file: str
    genre: str = ""
    split: str = "training"
    licence: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    excerpt: Excerpt | None = None


@dataclass(frozen=True)
class Wanted:
    """Which tracks of a folder to take.

    Attributes
    ----------
    table : Path or None
        CSV with a first line of column names: `file` (relative path, name, or name without suffix), or `genre` and
        `track` as ds003720's events name them, and any of `genre`, `split`, `licence`; other columns become labels.
        What is said in words is read from the first column with "caption" in its name.
    licences : tuple of str
        Patterns such as "CC BY*"; with any, tracks of another or unknown licence are left out.
    exclude : Path or None
        A pattern per line: ids or files that are left out.
    genre_folders : bool
        The folder a file lies in is its genre.
    excerpts : Path or None
        Data set whose events name the recordings (`corpus_excerpts`): of each track, the stretch that was heard is
        taken, under the name the events give it, and tracks that nobody heard are left out.
    """

    table: Path | None = None
    licences: tuple[str, ...] = ()
    exclude: Path | None = None
    genre_folders: bool = False
    excerpts: Path | None = None


@dataclass(frozen=True)
class Found:
    """Tracks in order of their files, and the files left out with the reason."""

    tracks: tuple[Track, ...]
    left_out: tuple[tuple[str, str], ...]


def find_tracks(folder: Path, wanted: Wanted) -> Found:
    """All tracks below a folder that are wanted.

    GTZAN's names ("blues/blues.00012.wav") give the genre; FMA's ("000/000002.mp3") are looked up
    in its tracks.csv, in the folder, in its fma_metadata, or beside it.

    Raises
    ------
    DatasetError
        No folder, no audio in it, a table or list that cannot be read, or clips of the events without audio.
    """
    if not folder.is_dir():
        raise DatasetError(f"no folder of music in {folder}; for music of the program's own: innerear corpus compose "
                           f"{folder}")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                   if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise DatasetError(f"{folder} holds no audio; wanted files ending in {', '.join(SUFFIXES)}")
    tracks: Sequence[Track] = _named(files, wanted.genre_folders)
    if all(_FMA_FILE.search(file) for file in files):
        tracks = _with_fma(tracks, folder)
    if wanted.table is not None:
        tracks = _with_table(tracks, wanted.table)
    excerpts = read_excerpts(wanted.excerpts) if wanted.excerpts is not None else None
    patterns = _lines(wanted.exclude) if wanted.exclude is not None else []
    kept, left_out = [], []
    for track in tracks:
        reason = _reason(track, wanted.licences, patterns)
        if excerpts is not None and not reason and track.track_id not in excerpts:
            reason = "no event names it"
        if reason:
            left_out.append((track.file, reason))
        else:
            kept.append(_as_heard(track, excerpts) if excerpts is not None else track)
    if excerpts is not None:
        on_purpose = {track.track_id for track in tracks if _reason(track, wanted.licences, patterns)}
        there = {track.track_id for track in kept} | on_purpose
        check_heard(excerpts, there, {track.genre for track in tracks}, folder)
    return Found(tuple(kept), tuple(left_out))


def _as_heard(track: Track, heard: Mapping[str, Heard]) -> Track:
    """The track with the stretch that was heard of it."""
    said = heard[track.track_id]
    return replace(track, excerpt=said.excerpt, split=said.split, genre=track.genre or said.genre)


def _named(files: Sequence[str], genre_folders: bool) -> list[Track]:
    """Ids from names: the stem where it is the only one, else the path; letters, digits, dots, dashes only."""
    stems = Counter(_safe(Path(file).stem) for file in files)
    tracks, taken = [], set()
    for file in files:
        path = Path(file)
        name = _safe(path.stem) if stems[_safe(path.stem)] == 1 else _safe(path.with_suffix("").as_posix())
        track_id, number = name, 1
        while track_id in taken:  # "a.wav" beside "a.flac"
            number += 1
            track_id = f"{name}~{number}"
        taken.add(track_id)
        gtzan = path.stem.startswith(path.parent.name + ".")
        tracks.append(Track(track_id, file, path.parent.name if genre_folders or gtzan else ""))
    return tracks


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _with_fma(tracks: Sequence[Track], folder: Path) -> list[Track]:
    places = [place / "tracks.csv" for place in (folder, folder / "fma_metadata", folder.parent / "fma_metadata")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return list(tracks)
    known = {int(row[0]): row for row in _fma_rows(path)}
    return [replace(track, genre=row[1], split=row[2] or "training", licence=row[3],
                    labels={name: value for name, value in zip(("title", "artist"), row[4:], strict=True) if value})
            if (row := known.get(int(Path(track.file).stem))) is not None else track for track in tracks]


def _fma_rows(path: Path) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Id, top genre, split, licence, title and artist of FMA's table, whose columns have names of two rows."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            columns = list(zip(next(rows), next(rows), strict=True))
            next(rows)  # the index's own name
            places = [columns.index(name) for name in (("track", "genre_top"), ("set", "split"), ("track", "license"),
                                                       ("track", "title"), ("artist", "name"))]
            for row in rows:
                genre, split, licence, title, artist = (row[place] for place in places)
                yield row[0], genre, split, licence, title, artist
    except (OSError, ValueError, IndexError, StopIteration) as exc:
        raise DatasetError(f"{path} is not FMA's tracks.csv ({exc!r}); take it as it ships in fma_metadata") from exc


def _with_table(tracks: Sequence[Track], path: Path) -> list[Track]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"the table {path} cannot be read ({exc}); give a CSV file in UTF-8") from exc
    rows = [_with_caption(_with_track_id(row)) for row in rows]
    key = next((column for column in _KEY_COLUMNS if rows and column in rows[0]), None)
    if key is None:
        raise DatasetError(f"the table {path} has {len(rows)} rows and no column of {', '.join(_KEY_COLUMNS)}, nor "
                           "genre and track; its first line must name the columns, separated by commas")
    by_key = {row[key]: row for row in rows}
    labelled = []
    for track in tracks:
        name = Path(track.file)
        row = next((by_key[alias] for alias in (track.file, name.name, name.stem, track.track_id) if alias in by_key),
                   None)
        labelled.append(track if row is None else _labelled(track, row))
    if labelled == list(tracks):
        raise DatasetError(f"none of the {len(rows)} rows of {path} names one of the {len(tracks)} files; its column "
                           f"{key!r} must hold paths below the folder, file names, or names without suffix")
    return labelled


def _with_track_id(row: dict[str, str]) -> dict[str, str]:
    """A row that names a genre and a number, as the events of ds003720 do, names a track of GTZAN."""
    genre, number = ((row.get(name) or "").strip().strip("'\"") for name in ("genre", "track"))
    if any(row.get(name) for name in _KEY_COLUMNS) or not (genre and number.isdecimal()):
        return row
    others = {name: value for name, value in row.items() if name not in ("genre", "track")}
    return {**others, "genre": genre, "track_id": f"{genre}.{int(number):05d}"}


def _with_caption(row: dict[str, str]) -> dict[str, str]:
    """The first column about captions under the name by which text targets look for it."""
    name = next((name for name in row if name and name != "caption" and "caption" in name.lower()), None)
    if name is None or "caption" in row:
        return row
    return {"caption" if column == name else column: value for column, value in row.items()}


def _labelled(track: Track, row: dict[str, str]) -> Track:
    values = {name: value.strip() for name, value in row.items() if name and value and value.strip()}
    licence = values.pop("licence", "") or values.pop("license", "") or track.licence
    genre, split = values.pop("genre", track.genre), values.pop("split", track.split)
    others = {name: value for name, value in values.items() if name not in _KEY_COLUMNS}
    return replace(track, genre=genre, split=split, licence=licence, labels={**track.labels, **others})


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        raise DatasetError(f"the list {path} of what to leave out cannot be read ({exc}); give a text file") from exc


def _reason(track: Track, licences: Sequence[str], patterns: Sequence[str]) -> str:
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in (track.track_id, track.file)):
        return "on the list of what to leave out"
    if licences and not any(fnmatch.fnmatchcase(track.licence.lower(), pattern.lower()) for pattern in licences):
        return f"its licence is {track.licence or 'unknown'!r}"
    return ""
