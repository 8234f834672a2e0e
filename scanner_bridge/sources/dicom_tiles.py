"""One volume as one picture of tiles: Siemens mosaics and UIH grids.

Geometry of a mosaic: nibabel's account ("dicom_mosaic"). ImagePositionPatient is that of the corner
of the whole picture, had it been acquired with slices as large as that; the slices go along the normal
of the CSA header, whose sign is that of a reversed mosaic. A UIH grid states every slice's position.
"""

import math
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import UnfinishedError
from scanner_bridge.sources.dicom_fields import Fields
from scanner_bridge.sources.dicom_image import (
    Acquisition,
    Image,
    Slices,
    acquisition_of,
    clock_s,
    index_of,
    rescale_of,
)
from scanner_bridge.sources.dicom_object import DicomObject

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # the package warns of itself on import
    from nibabel.nicom import csareader

_read_csa: Any = csareader.read  # nibabel's readers are not typed
_REPETITIONS = re.compile(rb"lRepetitions\s*=\s*(\d{1,6})")
_SLICES = re.compile(rb"sSliceArray\.lSize\s*=\s*(\d{1,4})")


def read_mosaic(image: DicomObject) -> Image:
    """The volume of a Siemens mosaic; UnfinishedError where its header lacks something needed."""
    fields, csa = image.fields, _csa_tags(image.fields)
    n_slices = fields.integer("SiemensImagesInMosaic", 0) or int(_first(csa, "NumberOfImagesInMosaic", 0))
    if n_slices < 1:
        raise UnfinishedError("its header does not say how many slices the mosaic has")
    tiles = _tiles(image.pixels[0], n_slices, math.ceil(math.sqrt(n_slices)), math.ceil(math.sqrt(n_slices)))
    run = _acquisition(image, "mosaic", tiles, siemens_volumes(fields))
    row, column = np.reshape(run.orientation, (2, 3))
    normal = np.cross(row, column)
    stated = np.array(csa.get("SliceNormalVector", ()), dtype=np.float64)
    if stated.shape == (3,) and normal @ stated < 0:
        normal = -normal
    margin = (np.array(image.pixels.shape[1:]) - tiles.shape[1:]) / 2  # rows, columns of the picture beyond one slice
    corner = (
        np.array(fields.vector("ImagePositionPatient", 3))
        + column * margin[0] * run.spacing_mm[0]
        + row * margin[1] * run.spacing_mm[1]
    )
    gap_mm = fields.number("SpacingBetweenSlices", 0.0) or fields.number("SliceThickness")
    positions = corner + np.outer(np.arange(n_slices) * gap_mm, normal)
    times_ms = fields.numbers("SiemensSliceTimes") or tuple(csa.get("MosaicRefAcqTimes", ()))
    times_s = np.array(times_ms, dtype=np.float64) / 1000 if len(times_ms) == n_slices else None
    return _image(image, run, tiles, positions, times_s)


def read_grid(image: DicomObject) -> Image:
    """The volume of a UIH grid; UnfinishedError where its header lacks something needed."""
    n_slices = len(image.frames)
    across = math.ceil(math.sqrt(n_slices))
    tiles = _tiles(image.pixels[0], n_slices, math.ceil(n_slices / across), across)
    run = _acquisition(image, "grid", tiles, None)
    positions = np.array([frame.vector("ImagePositionPatient", 3) for frame in image.frames])
    times = [clock_s(frame, "AcquisitionDateTime", "AcquisitionTime") for frame in image.frames]
    return _image(image, run, tiles, positions, None if None in times else np.array(times, dtype=np.float64))


def siemens_volumes(fields: Fields) -> int | None:
    """Volumes that a Siemens protocol announces: its repetitions, and the first."""
    found = _REPETITIONS.search(fields.raw("SiemensProtocol"))
    return int(found.group(1)) + 1 if found else None


def siemens_slices(fields: Fields) -> int | None:
    """Slices of a volume, of a Siemens protocol."""
    found = _SLICES.search(fields.raw("SiemensProtocol"))
    return int(found.group(1)) if found else None


def _csa_tags(fields: Fields) -> dict[str, list[Any]]:
    """Tags of the CSA image header; none where there is no readable one."""
    if "SiemensImageHeader" not in fields:
        return {}
    try:
        tags = _read_csa(fields.raw("SiemensImageHeader"))["tags"]
        return {name: list(tag["items"]) for name, tag in tags.items()}
    except Exception as error:  # damaged, it makes nibabel raise nearly anything
        raise UnfinishedError("its CSA header is damaged") from error


def _first(tags: dict[str, list[Any]], name: str, default: float) -> float:
    items = tags.get(name) or [default]
    return float(items[0])


def _tiles(picture: NDArray[Any], n_slices: int, down: int, across: int) -> NDArray[Any]:
    """The tiles of a picture, row by row: (n_slices, rows, columns)."""
    rows, columns = picture.shape[0] // down, picture.shape[1] // across
    if rows * down != picture.shape[0] or columns * across != picture.shape[1] or rows < 1 or columns < 1:
        raise UnfinishedError(f"its {n_slices} slices do not fill a picture of {picture.shape[0]} x {picture.shape[1]}")
    return picture.reshape(down, rows, across, columns).swapaxes(1, 2).reshape(-1, rows, columns)[:n_slices]


def _acquisition(image: DicomObject, layout: str, tiles: NDArray[Any], n_volumes: int | None) -> Acquisition:
    n_slices, rows, columns = tiles.shape
    return acquisition_of(image.fields, layout, rows=rows, columns=columns, n_volumes=n_volumes, n_slices=n_slices)


def _image(
    image: DicomObject,
    run: Acquisition,
    tiles: NDArray[Any],
    positions_mm: NDArray[np.float64],
    times_s: NDArray[np.float64] | None,
) -> Image:
    slope, inter = rescale_of(image.fields)
    index = index_of(image.fields.integer("InstanceNumber"))
    n_slices = len(tiles)
    slices = Slices(index, positions_mm, tiles, np.full(n_slices, slope), np.full(n_slices, inter), times_s)
    return Image(image.fields.text("SOPInstanceUID"), run, (slices,))
