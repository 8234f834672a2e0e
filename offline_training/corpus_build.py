"""A corpus of one's own music: many files, in parallel, and again from where it was cut off.

Beside what `offline_training.corpus` describes, the folder holds tracks/*.json: what became of each
file. Files that are as they were are not decoded again, after a crash or when music was added.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from offline_training.corpus import (
    Corpus,
    CorpusClip,
    Skipped,
    fit_and_index,
    index_corpus,
    read_entries,
    write_entries,
)
from offline_training.corpus_sources import Track, Wanted, find_tracks
from offline_training.corpus_track import SHORTEST_S, Cutting, UnusableTrackError, make_clips
from offline_training.errors import DatasetError
from offline_training.progress import Progress, counted
from realtime.atomic import write_json
from realtime.ports import Embedder

_RECIPE = 2
"""Of cutting and levelling; raised when the same file would give other clips."""
_AT_ONCE = 256


@dataclass(frozen=True)
class BuildSettings:
    """What to make of a folder of music.

    Attributes
    ----------
    clip_s : float
        Length of a clip, 2 to 120; with excerpts theirs.
    most_per_track : int
        Clips taken of one file.
    dim : int
        Of the embedder fitted on the clips where none is given.
    wanted : Wanted
        Which files, and what is known of them.
    """

    clip_s: float = 10.0
    most_per_track: int = 4
    dim: int = 32
    wanted: Wanted = field(default_factory=Wanted)

    def __post_init__(self) -> None:
        checks = [(SHORTEST_S <= self.clip_s <= 120.0, f"clip_s is {self.clip_s:g}, wanted {SHORTEST_S:g} to 120"),
                  (1 <= self.most_per_track <= 1000, f"most_per_track is {self.most_per_track}, wanted 1 to 1000"),
                  (1 <= self.dim <= 184, f"dim is {self.dim}, wanted 1 to 184")]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise DatasetError(f"no corpus can be made with these settings: {'; '.join(problems)}; correct them")


@dataclass(frozen=True)
class TrackJob:
    """One file to import: where it is, what it is, how to cut it, and where its clips go."""

    path: Path
    track: Track
    cutting: Cutting
    out: Path

    @property
    def note(self) -> Path:
        """Where what became of it is written down."""
        return self.out / "tracks" / f"{self.track.track_id}.json"

    def key(self) -> str:
        """Changes with the file, with what is known of it, and with how it is cut; "" when the file has vanished."""
        try:
            stat = self.path.stat()
        except OSError:
            return ""
        what = [_RECIPE, stat.st_size, stat.st_mtime_ns, asdict(self.track), asdict(self.cutting)]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Imported:
    """What became of a file: its clips, or why there are none."""

    clips: tuple[CorpusClip, ...]
    reason: str = ""


def make_corpus_of(folder: Path, out: Path, settings: BuildSettings, executor: Executor,
                   embedder: Embedder | None = None, progress: Progress | None = None) -> Corpus:
    """Import a folder of music and index it.

    Parameters
    ----------
    folder : Path
        Audio, in any depth.
    out : Path
        The corpus; made where absent, brought up to date where one is. The result does not depend on what was
        there, nor on how often its making was cut off.
    settings : BuildSettings
    executor : Executor
        Decodes files in parallel.
    embedder : Embedder, optional
        Puts the clips in its space; without one a log-mel embedder is fitted on the training clips.
    progress : Progress, optional

    Raises
    ------
    DatasetError
        No music, `out` cannot be written, or no clip came of any file.
    FitError
        Too few clips to fit an embedder.
    """
    found = find_tracks(folder, settings.wanted)
    _prepare(out, folder)
    cutting = Cutting(settings.clip_s, settings.most_per_track)
    jobs = [TrackJob(folder / track.file, track, cutting, out) for track in found.tracks]
    imported = _import_all(jobs, executor, progress)
    skipped = [Skipped(*pair) for pair in found.left_out]
    skipped += [Skipped(job.track.file, done.reason) for job, done in zip(jobs, imported, strict=True) if done.reason]
    clips = tuple(clip for done in imported for clip in done.clips)
    if not clips:
        raise DatasetError(f"none of the {len(skipped)} files in {folder} gave a clip; the first, {skipped[0].file}: "
                           f"{skipped[0].reason}")
    corpus = Corpus(out, _heard_s(found.tracks, settings), clips, None, np.zeros((len(clips), 0), np.float32),
                    tuple(sorted(skipped, key=lambda one: one.file)))
    _remove_strays(out, corpus, jobs)
    write_entries(corpus)
    return fit_and_index(corpus, settings.dim, progress) if embedder is None else index_corpus(out, embedder, progress)


def import_track(job: TrackJob) -> Imported:
    """Make the clips of one file, unless they are there; runs in a worker process.

    Raises
    ------
    OSError
        The corpus's folder cannot be written.
    """
    key = job.key()
    done = _noted(job, key)
    if done is not None:
        return done
    try:
        done = Imported(tuple(make_clips(job.path, job.track, job.cutting, job.out)))
    except UnusableTrackError as exc:
        done = Imported((), str(exc))
    if key:
        write_json(job.note, {"key": key, **asdict(done)})
    return done


def _noted(job: TrackJob, key: str) -> Imported | None:
    """What an earlier run made of this very file, if its clips are still there."""
    try:
        note = json.loads(job.note.read_bytes())
        clips = tuple(CorpusClip(**entry) for entry in note["clips"])
        whole = all((job.out / clip.file).stat().st_size == clip.n_bytes for clip in clips)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Imported(clips, note["reason"]) if key and note["key"] == key and whole else None


def _import_all(jobs: list[TrackJob], executor: Executor, progress: Progress | None) -> list[Imported]:
    """Results in the order of the jobs."""
    results: dict[int, Imported] = {}
    try:
        results.update(counted(_completed(jobs, executor), "importing", len(jobs), progress))
    except BrokenProcessPool as exc:
        raise DatasetError(f"a worker died while importing, {len(results)} of {len(jobs)} files are done: start it "
                           "again; if it dies again, a file among the next kills the decoder: name it with "
                           "--exclude") from exc
    except OSError as exc:
        raise DatasetError(f"the corpus {jobs[0].out} cannot be written ({exc.strerror or exc}); make room, and start "
                           f"it again: it goes on after the {len(results)} of {len(jobs)} files that are done") from exc
    return [results[number] for number in range(len(jobs))]


def _completed(jobs: list[TrackJob], executor: Executor) -> Iterator[tuple[int, Imported]]:
    """Number and result of each job as it is done; a bounded number of them waits in the pool."""
    waiting = iter(enumerate(jobs))
    while batch := list(islice(waiting, _AT_ONCE)):
        futures: dict[Future[Imported], int] = {executor.submit(import_track, job): number for number, job in batch}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _heard_s(tracks: tuple[Track, ...], settings: BuildSettings) -> float:
    """What the embeddings describe of each clip, from its start."""
    lengths = [track.excerpt.end_s - track.excerpt.start_s for track in tracks if track.excerpt is not None]
    return max(lengths, default=settings.clip_s)


def _prepare(out: Path, folder: Path) -> None:
    """Make the folders; refuse a corpus that is not of this kind, and to write among the music itself."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"the corpus {out} would lie in the music folder {folder} and become part of the next one; "
                           "choose another folder with --out")
    if (out / "corpus.json").exists() and not (out / "tracks").is_dir():
        read_entries(out)
        raise DatasetError(f"{out} holds a corpus that was not made from files; choose another folder with --out")
    try:
        for name in ("clips", "tracks"):
            (out / name).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DatasetError(f"the corpus {out} cannot be written ({exc.strerror}); choose another folder with "
                           "--out") from exc


def _remove_strays(out: Path, corpus: Corpus, jobs: list[TrackJob]) -> None:
    """What belongs to files that are gone, or was cut otherwise before."""
    wanted = {out / clip.file for clip in corpus.clips} | {job.note for job in jobs}
    for path in [*(out / "clips").iterdir(), *(out / "tracks").iterdir()]:
        if path not in wanted:
            path.unlink() if path.is_file() else shutil.rmtree(path)
