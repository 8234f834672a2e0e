"""What one DICOM object says of a run, whatever its maker: slices with a volume, a place and a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import UnfinishedError
from scanner_bridge.sources.dicom_fields import Fields

_DAY_S = 86400.0
_LEAST = 1e-12
_SKEWED = 1e-3
_MAX_VOLUMES = 2**31
_MAKERS = {
    "SIEMENS": "Siemens", "PHILIPS": "Philips", "GE MEDICAL": "GE", "GE HEALTHCARE": "GE", "CANON": "Canon",
    "TOSHIBA": "Canon", "UIH": "UIH", "UNITED IMAGING": "UIH",
}  # fmt: skip


@dataclass(frozen=True)
class Acquisition:
    """What all objects of a series share.

    Attributes
    ----------
    series_uid : str
        Tells series apart; never leaves the bridge but hashed.
    series_number : int
        As the console shows it.
    maker : {"Siemens", "GE", "Philips", "Canon", "UIH", "other"}
        Of the scanner.
    layout : {"mosaic", "grid", "frames", "slices", "par-rec"}
        How slices are laid into objects: tiles of one picture (Siemens, UIH), frames of an enhanced
        object, one object each, a Philips PAR/REC pair.
    rows, columns : int
        Of one slice.
    orientation : tuple of 6 floats
        Directions along a row and along a column, DICOM patient coordinates.
    spacing_mm : tuple of 2 floats
        Between rows, between columns.
    tr_s : float or None
        Time from volume to volume; None where only the volumes' own times tell.
    n_volumes, n_slices : int or None
        What the protocol announces; None where it does not say.
    """

    series_uid: str
    series_number: int
    maker: str
    layout: str
    rows: int
    columns: int
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    tr_s: float | None
    n_volumes: int | None
    n_slices: int | None


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of one volume that came together in one object.

    Attributes
    ----------
    index : int
        Number of the volume in its run, from 0.
    positions_mm : float64 array of shape (n, 3)
        Centre of each slice's first pixel, DICOM patient coordinates (LPS).
    pixels : array of shape (n, rows, columns)
        Stored values.
    slopes, inters : float64 arrays of shape (n,)
        Scanner units = slope × stored value + inter.
    times_s : float64 array of shape (n,) or None
        When each slice was taken, from any origin common to the volume; None where that is not stated.
    begin_s : float or None
        When the volume began, from any origin common to the run; None where that is not stated.
    """

    index: int
    positions_mm: NDArray[np.float64]
    pixels: NDArray[Any]
    slopes: NDArray[np.float64]
    inters: NDArray[np.float64]
    times_s: NDArray[np.float64] | None
    begin_s: float | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """One object of a series.

    Attributes
    ----------
    uid : str
        SOPInstanceUID: the same image copied twice has the same.
    acquisition : Acquisition
        The series it belongs to.
    volumes : tuple of Slices
        What it holds, one entry per volume.
    """

    uid: str
    acquisition: Acquisition
    volumes: tuple[Slices, ...]


def maker_of(fields: Fields) -> str:
    """The scanner's maker, of a closed set of names."""
    words = fields.words("Manufacturer")
    return next((name for mark, name in _MAKERS.items() if words and mark in words[0]), "other")


def acquisition_of(
    fields: Fields,
    layout: str,
    *,
    rows: int,
    columns: int,
    tr_s: float | None = None,
    n_volumes: int | None,
    n_slices: int | None,
) -> Acquisition:
    """What a header says of its series; UnfinishedError where something needed is missing or cannot be."""
    orientation, spacing_mm = fields.vector("ImageOrientationPatient", 6), fields.vector("PixelSpacing", 2)
    tr_s = fields.number("RepetitionTime") / 1000 if tr_s is None else tr_s
    row, column = orientation[:3], orientation[3:]
    sizes = (sum(part * part for part in row), sum(part * part for part in column))
    skew = sum(one * other for one, other in zip(row, column, strict=True))
    if max(abs(sizes[0] - 1), abs(sizes[1] - 1), abs(skew)) > _SKEWED or min(spacing_mm) <= 0:
        raise UnfinishedError("its header states an orientation or a spacing that cannot be")
    if tr_s <= 0:
        raise UnfinishedError(f"its header states a repetition time of {tr_s:g} s, wanted more than 0")
    return Acquisition(
        series_uid=fields.text("SeriesInstanceUID"),
        series_number=fields.integer("SeriesNumber"),
        maker=maker_of(fields),
        layout=layout,
        rows=rows,
        columns=columns,
        orientation=orientation,
        spacing_mm=spacing_mm,
        tr_s=tr_s,
        n_volumes=n_volumes,
        n_slices=n_slices,
    )


def announced(fields: Fields, keyword: str) -> int | None:
    """A count that a header announces; None where it is missing or says no more than one."""
    count = fields.integer(keyword, 0)
    return count if count > 1 else None


def index_of(number: int) -> int:
    """Index of a volume that its header numbers from 1."""
    if not 1 <= number <= _MAX_VOLUMES:
        raise UnfinishedError(f"its header gives it the number {number}, wanted 1 or more")
    return number - 1


def rescale_of(fields: Fields) -> tuple[float, float]:
    """Slope and intercept from stored values to scanner units.

    Philips states two scales; the precise one (2005,100E) compares between volumes, as dcm2niix has it:
    precise = (slope × stored + intercept) / (slope × scale slope).
    """
    slope, inter = fields.number("RescaleSlope", 1.0), fields.number("RescaleIntercept", 0.0)
    scale = fields.number("PhilipsScaleSlope", 0.0)
    if scale > _LEAST and slope > _LEAST:
        return 1 / scale, inter / (slope * scale)
    return (slope, inter) if slope != 0 else (1.0, 0.0)


def clock_s(fields: Fields, *keywords: str) -> float | None:
    """Time of day of the first of these fields that is there (TM or DT); None where none is."""
    for keyword in keywords:
        if keyword not in fields:
            continue
        whole, _, fraction = fields.text(keyword).partition(".")
        digits, fraction = whole[-6:], fraction[:6]
        if len(digits) == 6 and digits.isascii() and digits.isdigit() and (fraction or "0").isdigit():
            hours, minutes, seconds = (int(digits[at : at + 2]) for at in (0, 2, 4))
            return hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")
    return None


def since_first(times_s: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Slice times from the first on, whole microseconds; None where they do not differ. Midnight may lie between."""
    passed = times_s - times_s.min()
    passed = np.where(passed > _DAY_S / 2, passed - _DAY_S, passed)
    passed = np.round(passed - passed.min(), 6)
    return passed if passed.max() > 0 else None
