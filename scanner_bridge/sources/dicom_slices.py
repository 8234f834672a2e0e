"""One object per slice: GE, Philips and Canon, Siemens without mosaics, XA exported as classic objects."""

from dataclasses import dataclass

import numpy as np

from scanner_bridge.errors import UnfinishedError
from scanner_bridge.sources.dicom_fields import Fields
from scanner_bridge.sources.dicom_ge import ge_slice_time_s, ge_slices, ge_tr_s
from scanner_bridge.sources.dicom_image import (
    Image,
    Slices,
    acquisition_of,
    announced,
    clock_s,
    index_of,
    maker_of,
    rescale_of,
)
from scanner_bridge.sources.dicom_object import DicomObject
from scanner_bridge.sources.dicom_tiles import siemens_slices, siemens_volumes


@dataclass(frozen=True)
class _Place:
    """Where a slice belongs: number of its volume (from 1), and the counts that the header announces."""

    number: int
    n_volumes: int | None
    n_slices: int | None
    time_s: float | None
    tr_s: float | None = None


def read_slice(image: DicomObject) -> Image:
    """The slice of a classic object; UnfinishedError where its header lacks something needed."""
    fields = image.fields
    place = {"GE": _ge, "Philips": _philips, "Siemens": _siemens}.get(maker_of(fields), _other)(fields)
    rows, columns = image.pixels.shape[1:]
    counts = {"n_volumes": place.n_volumes, "n_slices": place.n_slices}
    run = acquisition_of(fields, "slices", rows=rows, columns=columns, tr_s=place.tr_s, **counts)
    slope, inter = rescale_of(fields)
    slices = Slices(
        index=index_of(place.number),
        positions_mm=np.array([fields.vector("ImagePositionPatient", 3)]),
        pixels=image.pixels[:1],
        slopes=np.array([slope]),
        inters=np.array([inter]),
        times_s=None if place.time_s is None else np.array([place.time_s]),
    )
    return Image(fields.text("SOPInstanceUID"), run, (slices,))


def _ge(fields: Fields) -> _Place:
    """GE counts all images of a run: a volume after the other, InstanceNumber within it from the first slice on."""
    n_slices, instance = ge_slices(fields), index_of(fields.integer("InstanceNumber"))
    if n_slices is None:
        raise UnfinishedError("its header does not say how many slices a volume has")
    time_s = ge_slice_time_s(fields, instance % n_slices, n_slices)
    n_volumes = announced(fields, "NumberOfTemporalPositions")
    return _Place(instance // n_slices + 1, n_volumes, n_slices, time_s, ge_tr_s(fields))


def _philips(fields: Fields) -> _Place:
    """Philips counts slice by slice (all volumes of slice 1, then of slice 2), and names the volume apart."""
    n_slices = announced(fields, "PhilipsSlices")
    n_volumes = announced(fields, "NumberOfTemporalPositions") or announced(fields, "PhilipsDynamics")
    if "TemporalPositionIdentifier" in fields:
        return _Place(fields.integer("TemporalPositionIdentifier"), n_volumes, n_slices, None)
    passed = fields.number("TriggerTime", -1.0) / max(fields.number("RepetitionTime"), 1.0)  # since the run's start
    if passed < 0 or abs(passed - round(passed)) > 0.1:
        raise UnfinishedError("its header does not say which volume it belongs to")
    return _Place(round(passed) + 1, n_volumes, n_slices, None)


def _siemens(fields: Fields) -> _Place:
    """Siemens numbers the volumes as acquisitions; slices state the time of day they were taken at."""
    number = fields.integer("TemporalPositionIdentifier", 0) or fields.integer("AcquisitionNumber", 1)
    return _Place(number, siemens_volumes(fields), siemens_slices(fields), clock_s(fields, "AcquisitionTime"))


def _other(fields: Fields) -> _Place:
    """Canon and unknown makers: what the standard has for it."""
    n_slices, n_volumes = announced(fields, "ImagesInAcquisition"), announced(fields, "NumberOfTemporalPositions")
    number = fields.integer("TemporalPositionIdentifier", 0) or fields.integer("TemporalPositionIndex", 0)
    if not number and n_slices:
        number = index_of(fields.integer("InstanceNumber")) // n_slices + 1
    number = number or fields.integer("AcquisitionNumber", 1)
    return _Place(number, n_volumes, n_slices, clock_s(fields, "AcquisitionTime"))
