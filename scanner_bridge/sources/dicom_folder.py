"""A folder in which a scanner writes DICOM files or PAR/REC pairs, while it does or afterwards; or one file.

The folder is listed when it tells of a change, or again and again where it cannot (shared folders); a
file counts when all its declared pixels are there. Where it belongs is said by its header, never by
its name or its time.
"""

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.assembly import SeriesAssembly, run_name
from scanner_bridge.sources.dicom_reader import read_image
from scanner_bridge.sources.folder_watch import FolderWatch
from scanner_bridge.sources.object_files import Signature, list_objects, read_content
from scanner_bridge.sources.ordering import Ordering
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.sources.survey import run_to_stream
from scanner_bridge.sources.verdict import Verdict
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class _Place:
    """Where a recorded file belongs."""

    run_id: str
    series_number: int
    indices: tuple[int, ...]


class DicomFolderSource:
    """One series of a folder.

    Parameters
    ----------
    path : Path
        The folder where files are, or appear; or one file.
    settings : SourceSettings
        `follow_s`, `wait_s`, `poll_s`, `watching`, `series` and `only_new` count here.
    sleep, clock : callable
        How to wait between two looks at the folder, and monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        settings: SourceSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._assembler = Assembler(scope=str(path.absolute()))
        self._series: SeriesAssembly | None = None
        self._chosen_run = ""
        self._looked_at: dict[Path, Signature] = {}
        self._queue: deque[Path] = deque()
        self._refused: dict[Path, Verdict] = {}
        self._unread: set[Path] = set()
        self._gone = ""
        # what is only read, once, is neither waited for nor watched
        watching = settings.watching if settings.follow_s > 0 else "poll"
        self._watch = FolderWatch(path, watching, settings.poll_s, sleep)
        self._opened_s = self._last_new_s = clock()
        if settings.only_new:
            self._looked_at = dict(list_objects(self._path))

    @property
    def header(self) -> RunHeader:
        """The run's header; waits up to `wait_s` for its first volume while following. SourceError when none comes."""
        header = self._first().header
        assert header is not None  # _first() waits for it
        return header

    def __iter__(self) -> Iterator[Volume]:
        """Volumes in order of their index. One that has not come a TR after a later one is left out.

        Ends when the announced number was reached or nothing of the series came for `follow_s`.

        Raises
        ------
        SourceError
            The folder cannot be read, or the run ended with files that were never finished or are of
            another protocol.
        """
        series = self._first()
        ordering = Ordering(self.header.tr_s, self.header.n_volumes)
        while True:
            for index in series.ready:
                if index < ordering.next_index:
                    series.pop(index)
                    logger.warning("volume %d of series %d came too late", index, series.number)
            if self._queue and ordering.next_index not in series.ready:
                self._take(self._queue.popleft())
                continue
            over = self._is_over()
            step = ordering.step(series.ready, self._clock(), over=over)
            if step.kind == "volume":
                yield from self._hand_over(series.pop(step.index))
            elif step.kind == "gap":
                logger.warning("volumes %d to %d of series %d did not come", step.index, step.last, series.number)
            elif step.kind == "end":
                if over:
                    self._refuse_leftovers()
                return
            else:
                self._wait_and_look()

    def close(self) -> None:
        """Let go of the watch; files are opened and closed one by one."""
        self._watch.close()

    def _first(self) -> SeriesAssembly:
        """The series to read, once a volume of it is whole."""
        if self._series is None:
            self._look()
            self._choose()
        wait_s = self._settings.wait_s if self._settings.follow_s > 0 else 0.0
        while self._series is None:
            if self._queue:
                self._take(self._queue.popleft())
            elif self._clock() - self._opened_s < wait_s:
                self._wait_and_look()
            else:
                for series in self._assembler.series.values():
                    series.finish()
                    self._settle(series)
                if self._series is None:
                    raise SourceError(self._nothing_found())
        return self._series

    def _hand_over(self, volume: Volume) -> Iterator[Volume]:
        """Hand a volume over; where that took long, look at once: what came meanwhile is no silence."""
        handed_s = self._clock()
        yield volume
        if 0 < self._settings.follow_s and self._clock() - handed_s > self._settings.poll_s:
            self._look()

    def _is_over(self) -> bool:
        """Whether nothing more will come; the volume that only the end makes whole is then made."""
        over = self._clock() - self._last_new_s >= self._settings.follow_s
        if over and self._series is not None:
            self._series.finish()
        return over

    def _wait_and_look(self) -> None:
        if self._watch.wait() or self._unread or self._gone:
            self._look()

    def _look(self) -> None:
        """Queue every file that is new or changed since it was last looked at, in order of volumes."""
        for path, signature in self._list():
            if self._looked_at.get(path) != signature:
                self._looked_at[path] = signature
                self._queue.append(path)

    def _list(self) -> list[tuple[Path, Signature]]:
        """What is there; nothing while a followed share is away: the run goes on when it is back."""
        try:
            files = list_objects(self._path)
        except SourceError as error:
            if self._settings.follow_s == 0 or self._clock() - self._last_new_s >= self._patience_s:
                raise
            if not self._gone:
                logger.warning("%s; waiting for it", error)
            self._gone = str(error)
            return []
        if self._gone:
            logger.warning("%s can be listed again", self._path)
            self._gone = ""
            self._watch.restart()
        return files

    @property
    def _patience_s(self) -> float:
        """How long nothing may come: for the first volume, or between two."""
        return self._settings.wait_s if self._series is None else self._settings.follow_s

    def _choose(self) -> None:
        """Sort what is recorded by series and volume, so that a long run is never held in memory; choose a series."""
        if len(self._queue) < 2:
            return
        places = {path: _place_of(path) for path in self._queue}
        self._queue = deque(sorted(self._queue, key=lambda path: (places[path], path)))
        if self._settings.series is not None or self._settings.follow_s > 0:
            return
        volumes: dict[str, set[int]] = defaultdict(set)
        numbers: dict[str, int] = {}
        for place in places.values():
            if place.indices:
                volumes[place.run_id].update(place.indices)
                numbers[place.run_id] = place.series_number
        chosen = run_to_stream({run_id: len(indices) for run_id, indices in volumes.items()})
        if volumes and chosen is None:
            raise SourceError(f"{self._path} holds the series {sorted(numbers.values())}: say which one to read")
        self._chosen_run = chosen or ""

    def _take(self, path: Path) -> None:
        """Take a file in, and say what people should know of it."""
        try:
            content = read_content(path)
        except OSError as error:
            if path not in self._unread:
                logger.warning("%s cannot be read (%s): it is tried again", path.name, error.strerror)
            self._unread.add(path)
            self._looked_at.pop(path, None)
            return
        self._unread.discard(path)
        verdict = self._assembler.take(path.name, content)
        series = self._assembler.series.get(verdict.run_id)
        if series is not None:
            self._settle(series)
        if verdict.began:
            other = "" if self._series in (None, series) else f"; {self._series.name} goes on"
            logger.warning("%s%s", verdict.began, other)
        self._remember(path, verdict, of_run=not verdict.run_id or series is self._series)

    def _settle(self, series: SeriesAssembly) -> None:
        """The first wanted series with a whole volume is the one to read; volumes of all others are let go."""
        if self._series is None and series.header is not None and self._is_wanted(series):
            self._series = series
        if series is not self._series:
            for index in series.ready:
                series.pop(index)

    def _remember(self, path: Path, verdict: Verdict, *, of_run: bool) -> None:
        if of_run and verdict.kind in ("part", "complete", "unfinished", "skipped"):
            self._last_new_s = self._clock()  # files of other series do not keep this run alive
        if verdict.kind in ("part", "complete", "repeated"):
            self._refused.pop(path, None)
            return
        if verdict.kind == "conflicting":
            logger.warning("%s", verdict.reason)
        self._refused[path] = verdict

    def _is_wanted(self, series: SeriesAssembly) -> bool:
        if self._series is not None:
            return series is self._series
        if self._settings.series is not None:
            return series.number == self._settings.series
        return self._chosen_run in ("", series.run_id)

    def _refuse_leftovers(self) -> None:
        """End the run with an error where files of it were left; their names are for the log, not for the wire."""
        for path, verdict in self._refused.items():
            if verdict.kind == "unfinished":
                logger.warning("%s was never finished", path.name)
        left = Counter(
            verdict.kind
            for verdict in self._refused.values()
            if verdict.kind == "unfinished" or (verdict.kind == "conflicting" and verdict.rule == "protocol")
        )
        if left["conflicting"]:
            raise SourceError(
                f"{left['conflicting']} images of the run are of another protocol than its first: they were left out; "
                "start a new run after changing the protocol"
            )
        if left["unfinished"]:
            raise SourceError(f"the run ended with {left['unfinished']} unfinished or damaged files: export them again")

    def _nothing_found(self) -> str:
        series = list(self._assembler.series.values())
        numbers = sorted(one.number for one in series if one.acquisition is not None)
        first = {verdict.kind: verdict.reason for verdict in reversed(self._refused.values())}
        rules = sum((one.left_alone for one in series), Counter())
        wanted = [one for one in series if one.acquisition is not None and self._is_wanted(one)]
        if wanted:
            return f"{self._path}: {wanted[0].missing}"
        if numbers:
            return f"{self._path} holds the series {numbers}, wanted {self._settings.series}: name one that is there"
        if "unfinished" in first:
            only = f"{self._path} holds unfinished or damaged files only"
            return f"{only}: {first['unfinished']}; wait for the export to end"
        if "skipped" in first:
            counts = ", ".join(f"{count} as {rule!r}" for rule, count in rules.items())
            return f"{self._path} holds only images that are left alone ({counts}): {first['skipped']}"
        waited = f" within {self._settings.wait_s:g} s" if self._settings.follow_s > 0 else ""
        return f"no DICOM file was found in {self._path}{waited}: check the path and the scanner's export"


def _place_of(path: Path) -> _Place:
    try:
        image = read_image(path.read_bytes())
    except (OSError, SourceError):
        return _Place("", 0, ())
    run = image.acquisition
    indices = tuple(slices.index for slices in image.volumes)
    return _Place(run_name(run.series_number, run.series_uid), run.series_number, indices)
