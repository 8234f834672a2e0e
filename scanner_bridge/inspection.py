"""What a source holds, in words for people and as a document for programs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from rich.table import Table
from rich.text import Text

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.dicom_rules import RULES
from scanner_bridge.sources.survey import SeriesReport, Survey
from scanner_bridge.volume import RunHeader

_axis_codes: Any = nibabel.aff2axcodes  # nibabel is not typed
_LAYOUTS = {
    "mosaic": "mosaic", "grid": "grid", "frames": "enhanced", "slices": "a file per slice", "par-rec": "PAR/REC",
}  # fmt: skip


def describe(run: RunHeader) -> str:
    """What a run holds, in words, one fact per line."""
    length = "unknown until it ends"
    if run.n_volumes is not None:
        length = f"{run.n_volumes} volumes, {run.n_volumes * run.tr_s:g} s"
    return "\n".join(
        (
            f"source       {run.source}",
            f"grid         {_grid(run)}",
            f"orientation  {_axes(run)} (voxel axes point there), voxel type {np.dtype(run.dtype).name}",
            f"TR           {run.tr_s:g} s",
            f"length       {length}",
            f"slice times  {_slice_times(run)}",
        )
    )


def survey_table(found: Survey) -> Table:
    """The series of a folder as a table: one row each, with what becomes of it."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_lines=False)
    for name in ("series", "scanner", "grid", "axes", "TR", "volumes", "slice times", "streamed"):
        table.add_column(name, overflow="fold")
    for series in found.series:
        table.add_row(*map(Text, _row(series)))
    return table


def survey_notes(found: Survey) -> list[str]:
    """What else people should know of a folder, a sentence each."""
    notes = []
    for series in found.series:
        name = f"series {series.number}"
        for rule, count in series.left_alone.items():
            notes.append(f"{name}: {count} images are left alone by the rule {rule!r}: {RULES[rule]}")
        for index, there in series.partial.items():
            notes.append(f"{name}: volume {index} is not whole: {there}")
        notes += [f"{name}: {count} images are {kind}" for kind, count in series.problems.items()]
    if found.foreign:
        notes.append(f"{found.foreign} files are no MR images")
    if found.unreadable:
        notes.append(f"{found.unreadable} files are unfinished or damaged")
    return notes


def survey_document(found: Survey) -> dict[str, Any]:
    """The same as a JSON document."""
    return {
        "series": [
            {
                "run_id": series.run_id,
                "number": series.number,
                "maker": series.maker,
                "layout": series.layout,
                "volumes": len(series.volumes),
                "first_volume": series.volumes[0] if series.volumes else None,
                "partial": {str(index): there for index, there in series.partial.items()},
                "left_alone": series.left_alone,
                "problems": series.problems,
                "streamed": series.streamed,
                "reason": series.reason,
                **(header_document(series.header) if series.header is not None else {}),
            }
            for series in found.series
        ],
        "foreign_files": found.foreign,
        "unreadable_files": found.unreadable,
    }


def header_document(run: RunHeader) -> dict[str, Any]:
    """Geometry and timing of a run as a JSON document."""
    return {
        "source": run.source,
        "shape": list(run.shape),
        "voxel_mm": [round(float(size), 6) for size in _sizes_mm(run)],
        "axes": _axes(run),
        "affine": run.affine.tolist(),
        "dtype": np.dtype(run.dtype).name,
        "tr_s": run.tr_s,
        "announced_volumes": run.n_volumes,
        "slice_times_s": None if run.slice_times_s is None else list(run.slice_times_s),
    }


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document; SourceError where that cannot be."""
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error}; choose another place") from error


def _row(series: SeriesReport) -> Iterable[str]:
    scanner = f"{series.maker}, {_LAYOUTS[series.layout]}" if series.layout else series.maker
    streamed = "yes" if series.streamed else f"no: {series.reason}"
    run = series.header
    if run is None:
        return str(series.number), scanner, "", "", "", "", "", streamed
    volumes = f"{len(series.volumes)}" if run.n_volumes is None else f"{len(series.volumes)} of {run.n_volumes}"
    times = _slice_times(run)
    return str(series.number), scanner, _grid(run), _axes(run), f"{run.tr_s:g} s", volumes, times, streamed


def _sizes_mm(run: RunHeader) -> Any:
    return np.linalg.norm(run.affine[:3, :3], axis=0)


def _grid(run: RunHeader) -> str:
    return f"{' x '.join(map(str, run.shape))} voxels of {' x '.join(f'{size:.3g}' for size in _sizes_mm(run))} mm"


def _axes(run: RunHeader) -> str:
    return "".join(_axis_codes(run.affine))


def _slice_times(run: RunHeader) -> str:
    if run.slice_times_s is None:
        return "not stated"
    times = run.slice_times_s
    return f"{len(set(times))} different, {min(times):g} to {max(times):g} s"
