"""The page that a visit becomes: what was done, how good the data of each run are, and what was found."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import matplotlib
import numpy as np

from offline_training import report_figures as figures
from offline_training.bids.recordings import DIARY
from offline_training.errors import DatasetError
from offline_training.imagery import read_visit, visit_figures
from offline_training.report_blocks import Banner, Part, Tile
from offline_training.session_view import SessionView, read_session
from realtime.atomic import write_bytes
from realtime.session.record import Document, read_documents

_TEMPLATE = Path(__file__).with_name("visit_template.html")
_LOOK = Path(__file__).with_name("report_style.css")


@dataclass(frozen=True)
class RunRow:
    """One line of the table of runs."""

    folder: str
    report: str
    status: str
    reason: str
    n_volumes: int
    lost: int
    censored: int
    displacement_mm: str
    identification: str


def is_visit(folder: Path) -> bool:
    """Whether the folder is a visit's."""
    return (folder / DIARY).exists()


def write_visit_report(visit: Path, target: Path, allocation: Path | None = None) -> None:
    """Make the page of a visit, also of one that is not over.

    Parameters
    ----------
    visit : Path
        Folder of an `innerear session`.
    target : Path
        HTML file to write; replaced atomically.
    allocation : Path, optional
        Opened: without it nothing is shown by which a blinded arm could be known.

    Raises
    ------
    DatasetError
        The diary does not begin with a plan.
    SessionError
        The allocation is sealed, or another study's.
    """
    diary = list(read_documents(visit / DIARY))
    if not diary or diary[0].get("what") != "plan":
        raise DatasetError(f"no visit in {visit}: {DIARY} does not begin with a plan; name the folder of an `innerear "
                           "session`")
    ended = {str(entry["run"]): entry for entry in diary if entry["what"] == "ended"}
    views = {run: view for run in ended if (view := _view(visit / run, allocation)) is not None}
    hidden = any(view.hidden for view in views.values())
    found = None if hidden else _found(visit)
    with matplotlib.rc_context(figures.style()):
        parts = [part for part in (_motion(views), _learning(found)) if part is not None]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        style=markupsafe.Markup(_LOOK.read_text(encoding="utf-8")), title=visit.resolve().name,
        subtitle=f"{diary[0]['subject']} · {len(diary[0]['runs'])} runs planned", banner=_banner(hidden),
        tiles=_tiles(ended, views, found), parts=parts, diary=[_line(entry) for entry in diary[1:]],
        runs=[_row(visit, run, ended[run], views.get(run)) for run in ended])
    write_bytes(target, page.encode())


def _view(folder: Path, allocation: Path | None) -> SessionView | None:
    """A run as it may be shown; None for one that was aborted before anything came."""
    try:
        return read_session(folder, allocation)
    except DatasetError:
        return None


def _found(visit: Path) -> dict[str, Any] | None:
    try:
        return visit_figures(read_visit(visit))
    except DatasetError:  # no trials yet
        return None


def _banner(hidden: bool) -> Banner | None:
    if not hidden:
        return None
    return Banner("A blinded visit", "What was decoded, scored and fed back could tell the arm, and is not shown. Once "
                  "the allocation was opened, make this page again with: innerear report VISIT --allocation FILE")


def _tiles(ended: dict[str, Document], views: dict[str, SessionView], found: dict[str, Any] | None) -> list[Tile]:
    complete = sum(entry.get("status") == "complete" for entry in ended.values())
    tiles = [Tile(str(complete), "runs complete"), Tile(str(len(ended) - complete), "runs aborted"),
             Tile(str(sum(view.steps.n_lost for view in views.values())),
                  f"volumes lost of {sum(len(view.steps.volume) for view in views.values())}")]
    for task, label in (("listen", "heard music identified"), ("imagine", "imagined music identified")):
        if found is not None and found[task]["trials"]:
            known = found[task]
            tiles.append(Tile(_number(known["identification"]),
                              f"{label}, {known['trials']} trials; 95 % of chance is below "
                              f"{_number(known['chance_p95'])}"))
    return tiles


def _row(visit: Path, run: str, entry: Document, view: SessionView | None) -> RunRow:
    report = f"{run}/report.html" if (visit / run / "report.html").exists() else ""
    if view is None:
        return RunRow(run, report, str(entry["status"]), str(entry["reason"]), 0, 0, 0, "–", "–")
    moved = view.steps.displacement_mm[np.isfinite(view.steps.displacement_mm)]
    return RunRow(run, report, str(entry["status"]), str(entry["reason"]), len(view.steps.volume), view.steps.n_lost,
                  view.steps.status.count("CENSORED"), _number(float(moved.mean()) if len(moved) else None),
                  _number(view.summary.get("identification_accuracy")))


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _motion(views: dict[str, SessionView]) -> Part | None:
    """Framewise displacement of every run, as boxes on one axis."""
    moved = {run: view.steps.displacement_mm[np.isfinite(view.steps.displacement_mm)] for run, view in views.items()}
    moved = {run: values for run, values in moved.items() if len(values)}
    if not moved:
        return None
    figure = figures.blank_figure(0.9 + 0.42 * len(moved))
    axes = figure.subplots()
    axes.boxplot(list(moved.values()), orientation="horizontal", tick_labels=list(moved), whis=(5, 95),
                 showfliers=False, widths=0.55, medianprops={"color": figures.ACCENT, "linewidth": 2})
    axes.invert_yaxis()
    axes.set(xlabel="framewise displacement (mm)", xlim=(0, None))
    return Part("How still the person lay", "Each box holds the middle half of a run's volumes, the lines nine in ten.",
                figures.as_svg(figure), "Framewise displacement of every run")


def _learning(found: dict[str, Any] | None) -> Part | None:
    """The person's own score over the feedback runs."""
    if found is None or not found["learning"]["runs"]:
        return None
    learning = found["learning"]
    figure = figures.blank_figure(2.6)
    axes = figure.subplots()
    axes.plot(list(learning["runs"]), list(learning["runs"].values()), "o-", color=figures.ACCENT)
    axes.axhline(0.0, color=figures.INK, linewidth=0.8)
    axes.set(ylabel="mean score")
    slope = learning["slope_per_run"]
    tested = "" if slope is None else (f" It changes by {slope:+.2f} a run (permutation test, p = "
                                       f"{learning['p_value']:.3f}).")
    return Part("The score over feedback runs", "Nearness to the target by the person's own decoder, in standard "
                f"deviations of other clips' similarity; {learning['trials']} trials.{tested}",
                figures.as_svg(figure), "Mean score of each feedback run")


def _line(entry: Document) -> str:
    more = [str(entry[key]) for key in ("run", "status", "reason", "text") if entry.get(key)]
    return f"{entry.get('at', '')[11:19]} {entry['what']}" + (f": {', '.join(more)}" if more else "")
