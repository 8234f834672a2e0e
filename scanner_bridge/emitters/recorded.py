"""Recorded DICOM and PAR/REC files in the order, and at the times, in which a scanner wrote them, by their headers."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from scanner_bridge.emitters.disturbance import Arrival
from scanner_bridge.errors import SourceError
from scanner_bridge.sources.assembly import run_name
from scanner_bridge.sources.dicom_image import Image
from scanner_bridge.sources.dicom_reader import read_image
from scanner_bridge.sources.object_files import list_objects, read_content
from scanner_bridge.sources.par_rec import is_par, read_par_rec
from scanner_bridge.sources.survey import run_to_stream


@dataclass(frozen=True)
class _Taken:
    """One file: the last of its volumes, when that began in the run, when its last slice was taken within that."""

    path: Path
    index: int
    begin_s: float | None
    time_s: float
    place: tuple[float, ...]
    tr_s: float | None


def recorded_files(path: Path, series: int | None = None) -> tuple[Arrival[Path], ...]:
    """The files of one recorded series, in order of acquisition.

    A file that holds whole volumes comes when its last one has ended; of a volume that is spread over
    files each comes when its slice was taken, evenly through the TR, in the order of the slice times, or
    along the slices where no times are stated.

    Parameters
    ----------
    path : Path
        Folder of DICOM files or PAR/REC pairs, or one of them.
    series : int, optional
        SeriesNumber, when there are several.

    Raises
    ------
    SourceError
        No image is there that belongs to a run, or several series.
    """
    runs: dict[str, list[_Taken]] = defaultdict(list)
    numbers: dict[str, int] = {}
    for file, _ in list_objects(path):
        try:
            image = _read(file)
        except (OSError, SourceError):
            continue  # no image, or one that a rule leaves alone
        run = image.acquisition
        run_id = run_name(run.series_number, run.series_uid)
        runs[run_id].append(_taken(file, image))
        numbers[run_id] = run.series_number
    if series is not None:
        runs = defaultdict(list, {run_id: files for run_id, files in runs.items() if numbers[run_id] == series})
    if not runs:
        wanted = "" if series is None else f" of series {series}"
        raise SourceError(
            f"{path} holds no DICOM or PAR/REC file{wanted} that belongs to a run: "
            "recordings of other kinds can be replayed with --to afni, pyneal or vsend"
        )
    chosen = run_to_stream({run_id: len({taken.index for taken in files}) for run_id, files in runs.items()})
    if chosen is None:
        raise SourceError(f"{path} holds the series {sorted(numbers.values())}: say which one with --series")
    return _in_time(runs[chosen])


def _read(file: Path) -> Image:
    content = read_content(file)
    return read_par_rec(content, "recorded") if is_par(content) else read_image(content)


def _taken(path: Path, image: Image) -> _Taken:
    last = max(image.volumes, key=lambda slices: slices.index)
    time_s = 0.0 if last.times_s is None else float(last.times_s.max())
    return _Taken(path, last.index, last.begin_s, time_s, tuple(last.positions_mm[-1].tolist()), image.acquisition.tr_s)


def _in_time(files: list[_Taken]) -> tuple[Arrival[Path], ...]:
    volumes: dict[int, list[_Taken]] = defaultdict(list)
    for taken in files:
        volumes[taken.index].append(taken)
    tr_s = _tr_s(files)
    arrivals: list[Arrival[Path]] = []
    for index, parts in sorted(volumes.items()):
        parts.sort(key=lambda taken: (taken.time_s, taken.place[::-1], taken.path.name))
        for rank, taken in enumerate(parts):
            at_s = (index + (rank + 1) / len(parts)) * tr_s
            arrivals.extend(Arrival(at_s, path) for path in _written(taken.path))
    return tuple(arrivals)


def _written(path: Path) -> list[Path]:
    """What a scanner writes of an image: of a PAR/REC pair the voxels first."""
    recs = [path.with_suffix(ending) for ending in (".rec", ".REC") if path.suffix.lower() == ".par"]
    return [*(rec for rec in recs if rec.is_file()), path]


def _tr_s(files: list[_Taken]) -> float:
    """The TR that the headers state, else that between two volumes of which they say when they began, else 1 s."""
    if files[0].tr_s is not None:
        return files[0].tr_s
    began_s = {taken.index: taken.begin_s for taken in files if taken.begin_s is not None}
    if len(began_s) > 1:
        first, *_, last = sorted(began_s)
        if began_s[last] > began_s[first]:
            return (began_s[last] - began_s[first]) / (last - first)
    return 1.0
