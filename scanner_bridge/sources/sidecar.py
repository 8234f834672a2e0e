"""TR and slice times of a recorded run: from its JSON sidecar (BIDS), else from the NIfTI header.

Sidecars are inherited as BIDS says (specification 1.10, "The Inheritance Principle"): a JSON file
in the same folder or above it, up to the folder of dataset_description.json, counts when its suffix
is the image's and its entities are all among the image's; the nearest file wins, key by key.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import SourceError

EXACT_AFFINE = "VoxelToWorld"
"""Sidecar's key for the affine as it was, voxel index to mm, RAS+: NIfTI-1 rounds it to float32."""

_MAX_TR_S = 60.0
_SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def run_name(image: Path) -> str:
    """Name of a NIfTI file without its endings."""
    return image.name.removesuffix(".gz").removesuffix(".nii")


@dataclass(frozen=True)
class Timing:
    """When a run's images were taken.

    Attributes
    ----------
    tr_s : float
        Repetition time.
    slice_times_s : tuple of float or None
        Start of each slice after the start of its volume, in storage order; None when unknown.
    """

    tr_s: float
    slice_times_s: tuple[float, ...] | None


def read_timing(image: Path, header: Any, n_slices: int) -> Timing:
    """Timing of a recording.

    Parameters
    ----------
    image : Path
        The NIfTI file; its sidecars are looked for around it.
    header : nibabel.Nifti1Header
        The image's header, for when no sidecar states the TR.
    n_slices : int
        Extent of the third axis.

    Raises
    ------
    SourceError
        Neither states a TR, or what is stated cannot be.
    """
    fields, name = read_sidecars(image)
    stated = fields.get("RepetitionTime")
    tr_s = _header_tr_s(header) if stated is None else stated
    if tr_s is None:
        raise SourceError(
            f"{image.name} states no repetition time: its header has no TR with a unit and there is no RepetitionTime "
            f"in {name}; write it there in seconds"
        )
    if isinstance(tr_s, bool) or not isinstance(tr_s, int | float) or not 0 < tr_s <= _MAX_TR_S:
        where = f"the header of {image.name}" if stated is None else f"{name} (RepetitionTime)"
        raise SourceError(f"{where} states a TR of {tr_s!r}, wanted seconds between 0 and {_MAX_TR_S:g}: correct it")
    return Timing(float(tr_s), _slice_times(fields, name, n_slices))


def exact_affine(image: Path, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sidecar's affine where it rounds to the header's; else the header's: the image was moved since."""
    fields, _ = read_sidecars(image)
    try:
        exact = np.array(fields.get(EXACT_AFFINE), np.float64)
    except (TypeError, ValueError):
        return affine
    rounds = exact.shape == (4, 4) and np.array_equal(exact.astype(np.float32), affine.astype(np.float32))
    return exact if rounds else affine


def _header_tr_s(header: Any) -> float | None:
    tr, unit = float(header["pixdim"][4]), header.get_xyzt_units()[1]
    if unit not in _SECONDS_PER_UNIT or not math.isfinite(tr) or tr <= 0:
        return None
    return round(tr * _SECONDS_PER_UNIT[unit], 6)  # pixdim is float32: 1.5e3 ms must not become 1.50000006


def _slice_times(fields: dict[str, Any], name: str, n_slices: int) -> tuple[float, ...] | None:
    times = fields.get("SliceTiming")
    direction = fields.get("SliceEncodingDirection", "k")
    if times is None or direction not in ("k", "k-"):
        return None
    if not isinstance(times, list) or len(times) != n_slices or not all(isinstance(t, int | float) for t in times):
        got = len(times) if isinstance(times, list) else times
        raise SourceError(f"{name} (SliceTiming) has {got} times for {n_slices} slices: correct or remove it")
    ordered = [float(time) for time in times]
    return tuple(ordered if direction == "k" else ordered[::-1])


def read_sidecars(image: Path) -> tuple[dict[str, Any], str]:
    """Fields of all sidecars that apply, and the name of the nearest one (existing or wanted).

    Raises
    ------
    SourceError
        A sidecar that cannot be read, or is no JSON object.
    """
    stem = run_name(image)
    fields: dict[str, Any] = {}
    nearest = f"{stem}.json"
    for path in _sidecars(image.absolute().parent, stem):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot read {path}: {error}; correct or remove it") from error
        if not isinstance(found, dict):
            raise SourceError(f"{path} holds {type(found).__name__}, wanted a JSON object: correct or remove it")
        if not fields:
            nearest = path.name
        fields = {**found, **fields}
    return fields, nearest


def _sidecars(folder: Path, stem: str) -> list[Path]:
    """Sidecars that apply to an image, nearest first."""
    entities, suffix = set(stem.split("_")[:-1]), stem.split("_")[-1]
    root = next((up for up in (folder, *folder.parents) if (up / "dataset_description.json").is_file()), folder)
    found: list[Path] = []
    for up in (folder, *folder.parents):
        here = [
            path
            for path in up.glob(f"*{suffix}.json")
            if path.stem.split("_")[-1] == suffix and set(path.stem.split("_")[:-1]) <= entities
        ]
        found += sorted(here, key=lambda path: len(path.stem), reverse=True)
        if up == root:
            return found
    return found
