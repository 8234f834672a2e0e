"""A folder in which a Siemens scanner writes one mosaic DICOM file per volume, while it does or afterwards.

The folder is listed again and again (shared folders send no change events); a file counts when all
its declared pixels are there. Its place in the run is its InstanceNumber, never its name or its time.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.mosaic import MosaicVolume, NoVolume, read_mosaic
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)

_SAME_AFFINE_MM = 1e-3
_SUPPORTED = "the bridge reads Siemens mosaic series (software VB to VE); convert others with dcm2niix and replay them"


class DicomFolderSource:
    """One series of mosaic files.

    Parameters
    ----------
    folder : Path
        Where the files are, or appear.
    settings : SourceSettings
        `follow_s`, `wait_s`, `poll_s`, `series` and `only_new` count here.
    sleep, clock : callable
        How to wait between two looks at the folder, and monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        settings: SourceSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._looked_at: dict[str, tuple[int, int]] = {}
        self._no_volume: dict[str, NoVolume] = {}
        self._paths: dict[int, Path] = {}
        self._uids: dict[int, str] = {}
        self._series: MosaicVolume | None = None
        self._others: dict[str, MosaicVolume] = {}
        self._opened_s = self._last_new_s = clock()
        self._wait_s = settings.wait_s if settings.follow_s > 0 else 0.0
        if settings.only_new:
            self._looked_at = dict(self._list())

    @property
    def header(self) -> RunHeader:
        """The run's header; waits up to `wait_s` for the first file while following. SourceError when none comes."""
        first = self._first()
        return RunHeader(
            run_id=first.run_id,
            shape=(first.data.shape[0], first.data.shape[1], first.data.shape[2]),
            dtype=first.data.dtype.newbyteorder("<").str,
            affine=first.affine,
            tr_s=first.tr_s,
            n_volumes=first.n_volumes,
            slice_times_s=first.slice_times_s,
            source=f"DICOM series {first.series_number}",  # its free texts may hold a name
        )

    def __iter__(self) -> Iterator[Volume]:
        """Volumes in order of InstanceNumber. One that has not come a TR after a later one is left out.

        Ends when the announced number was reached or nothing of the series came for `follow_s`.

        Raises
        ------
        SourceError
            The series changes its geometry, type or TR, the folder cannot be read, or the run ended
            with a file that was never finished.
        """
        first = self._first()
        next_index, gap_since_s = 0, None
        while first.n_volumes is None or next_index < first.n_volumes:
            if next_index in self._paths:
                yield self._load(next_index)
                next_index, gap_since_s = next_index + 1, None
                continue
            later = [index for index in self._paths if index > next_index]
            over = self._clock() - self._last_new_s >= self._settings.follow_s
            if later:
                gap_since_s = self._clock() if gap_since_s is None else gap_since_s
                if over or self._clock() - gap_since_s >= first.tr_s:
                    logger.warning("volumes %d to %d of %s did not come", next_index, min(later) - 1, self._folder)
                    next_index, gap_since_s = min(later), None
                    continue
            elif over:
                self._refuse_unfinished()
                return
            self._sleep(self._settings.poll_s)
            self._look()

    def close(self) -> None:
        """Nothing to let go of: files are opened and closed one by one."""

    def _refuse_unfinished(self) -> None:
        unfinished = [none.reason for none in self._no_volume.values() if none.kind == "unfinished"]
        if unfinished:
            raise SourceError(
                f"the run in {self._folder} ended with unfinished or damaged files: {'; '.join(unfinished[:3])}"
            )

    def _first(self) -> MosaicVolume:
        """Any volume of the series to read, waited for."""
        self._look()
        while self._series is None:
            if self._clock() - self._opened_s >= self._wait_s:
                raise SourceError(self._nothing_found())
            self._sleep(self._settings.poll_s)
            self._look()
        if self._others and self._settings.series is None and self._settings.follow_s == 0:
            numbers = sorted({volume.series_number for volume in (self._series, *self._others.values())})
            raise SourceError(f"{self._folder} holds the series {numbers}: say which one to read")
        return self._series

    def _nothing_found(self) -> str:
        unsupported = [none.reason for none in self._no_volume.values() if none.kind == "unsupported"]
        unfinished = [none.reason for none in self._no_volume.values() if none.kind == "unfinished"]
        others = sorted({volume.series_number for volume in self._others.values()})
        if others:
            return f"{self._folder} holds the series {others}, wanted {self._settings.series}: name one that is there"
        if unsupported:
            return f"{self._folder} holds {len(unsupported)} files like {unsupported[0]}; {_SUPPORTED}"
        if unfinished:
            return f"{self._folder} holds unfinished or damaged files only: {unfinished[0]}; wait for the export to end"
        waited = f" within {self._wait_s:g} s" if self._wait_s else ""
        return f"no DICOM file was found in {self._folder}{waited}: check the path and the scanner's export"

    def _list(self) -> list[tuple[str, tuple[int, int]]]:
        """Name and (size, time) of every file that is there now."""
        files = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.is_file():
                        status = entry.stat()
                        files.append((entry.name, (status.st_size, status.st_mtime_ns)))
        except OSError as error:
            raise SourceError(f"cannot list {self._folder}: {error}; check that the share is mounted") from error
        return sorted(files)

    def _look(self) -> None:
        """Take in every file that is new or changed since it was last looked at."""
        for name, signature in self._list():
            if self._looked_at.get(name) == signature:
                continue
            self._looked_at[name] = signature
            found = read_mosaic(self._folder / name)
            if isinstance(found, MosaicVolume):
                self._no_volume.pop(name, None)
                self._take(found, self._folder / name)
            else:
                if found.kind == "unsupported" and name not in self._no_volume:
                    logger.warning("%s is left alone", found.reason)
                if found.kind == "unfinished":
                    self._last_new_s = self._clock()
                self._no_volume[name] = found

    def _take(self, volume: MosaicVolume, path: Path) -> None:
        wanted = self._settings.series
        if wanted is not None and volume.series_number != wanted:
            self._others[volume.series_uid] = volume
            return
        if self._series is None:
            self._series = volume
        if volume.series_uid == self._series.series_uid:
            self._last_new_s = self._clock()  # files of other series do not keep this run alive
        if volume.series_uid != self._series.series_uid:
            if volume.series_uid not in self._others:
                logger.warning("series %d in %s is left alone", volume.series_number, self._folder)
            self._others[volume.series_uid] = volume
        elif self._uids.setdefault(volume.index, volume.uid) != volume.uid:
            logger.warning("%s is a second image number %d: the first one counts", path.name, volume.index + 1)
        else:
            self._paths.setdefault(volume.index, path)

    def _load(self, index: int) -> Volume:
        """Read a volume again, now that its turn has come: a long run is never held in memory."""
        first, path = self._first_of_series(), self._paths[index]
        volume = read_mosaic(path)
        if isinstance(volume, NoVolume) or volume.uid != self._uids[index]:
            raise SourceError(f"{path.name} changed after it was complete: something rewrites {self._folder}")
        moved_mm = float(np.abs(volume.affine - first.affine).max())
        got = (volume.data.shape, volume.data.dtype, volume.tr_s)
        wanted = (first.data.shape, first.data.dtype, first.tr_s)
        if got != wanted or moved_mm > _SAME_AFFINE_MM:
            raise SourceError(
                f"{path.name} is no longer of the run that began: shape, type and TR are {got}, wanted {wanted}, "
                f"position differs by {moved_mm:.3g} mm; the protocol was changed: start a new run"
            )
        return Volume(
            index=index,
            data=volume.data,
            affine=volume.affine,
            tr_s=volume.tr_s,
            run_id=volume.run_id,
            slope=volume.slope,
            inter=volume.inter,
        )

    def _first_of_series(self) -> MosaicVolume:
        if self._series is None:
            raise SourceError(f"no series in {self._folder} yet: ask for the header first")
        return self._series
