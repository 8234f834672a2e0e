"""What a folder of recorded images holds: its series, what is left alone and why, what would be streamed."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.assembly import SeriesAssembly
from scanner_bridge.sources.dicom_rules import RULES
from scanner_bridge.sources.object_files import list_objects, read_content
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.verdict import Verdict
from scanner_bridge.volume import RunHeader


@dataclass(frozen=True, eq=False)
class SeriesReport:
    """One series.

    Attributes
    ----------
    run_id, number, maker, layout : str, int, str, str
        Names of the series and of the scanner's maker, and how slices are laid into files; the layout
        is empty where every image is left alone.
    header : RunHeader or None
        Geometry and timing; None where no volume is whole.
    volumes : tuple of int
        Indices of the whole volumes.
    partial : dict of int to str
        Volumes that are not whole, with how much of them is there.
    left_alone : dict of str to int
        Rule to number of images.
    problems : dict of str to int
        ``repeated``, ``conflicting``, ``unfinished`` to number of images.
    streamed : bool
        Whether it is the one that is read when nobody says which.
    """

    run_id: str
    number: int
    maker: str
    layout: str
    header: RunHeader | None
    volumes: tuple[int, ...]
    partial: dict[int, str]
    left_alone: dict[str, int]
    problems: dict[str, int]
    streamed: bool

    @property
    def reason(self) -> str:
        """Why it would not be streamed; empty where it would."""
        if self.streamed:
            return ""
        if self.header is None and self.left_alone:
            return "; ".join(RULES[rule] for rule in self.left_alone)
        if self.header is None:
            return "no volume of it is whole"
        return "it has one volume" if len(self.volumes) == 1 else "another could be meant: choose one by --series"


@dataclass(frozen=True, eq=False)
class Survey:
    """A folder.

    Attributes
    ----------
    series : tuple of SeriesReport
        In order of appearance.
    foreign, unreadable : int
        Files that are no MR images; files that are unfinished or damaged, of no known series.
    """

    series: tuple[SeriesReport, ...]
    foreign: int
    unreadable: int


@dataclass
class _Tally:
    problems: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> None:
        if verdict.kind not in ("part", "complete", "skipped"):
            self.problems.setdefault(verdict.run_id, Counter())[verdict.kind] += 1


def survey(path: Path) -> Survey:
    """Read every image of a folder (or one file) and say what it holds; voxels are let go at once.

    Raises
    ------
    SourceError
        The folder cannot be read, or holds no image.
    """
    assembler, tally = Assembler(scope=str(path.absolute())), _Tally()
    for file, _ in list_objects(path):
        try:
            content = read_content(file)
        except OSError as error:
            raise SourceError(f"cannot read {file}: {error}; check its permissions") from error
        tally.count(assembler.take(file.name, content))
        for series in assembler.series.values():
            _let_go(series)
    for series in assembler.series.values():
        series.finish()
        _let_go(series)
    if not assembler.series:
        raise SourceError(f"{path} holds no image that can be read: check the path")
    chosen = run_to_stream({series.run_id: len(series.whole) for series in assembler.series.values() if series.whole})
    nowhere = tally.problems.get("", Counter())
    return Survey(
        series=tuple(_report(series, tally, series.run_id == chosen) for series in assembler.series.values()),
        foreign=nowhere["foreign"],
        unreadable=nowhere["unfinished"],
    )


def run_to_stream(n_volumes: dict[str, int]) -> str | None:
    """Which of several recorded series is meant when nobody says: the only one, or the only one with several volumes.

    Parameters
    ----------
    n_volumes : dict of str to int
        Number of volumes of each run_id.
    """
    runs = list(n_volumes) if len(n_volumes) == 1 else [run_id for run_id, count in n_volumes.items() if count > 1]
    return runs[0] if len(runs) == 1 else None


def _let_go(series: SeriesAssembly) -> None:
    for index in series.ready:
        series.pop(index)


def _report(series: SeriesAssembly, tally: _Tally, streamed: bool) -> SeriesReport:
    return SeriesReport(
        run_id=series.run_id,
        number=series.number,
        maker=series.maker,
        layout=series.acquisition.layout if series.acquisition is not None else "",
        header=series.header,
        volumes=series.whole,
        partial=series.partial,
        left_alone=dict(series.left_alone),
        problems=dict(tally.problems.get(series.run_id, Counter())),
        streamed=streamed,
    )
