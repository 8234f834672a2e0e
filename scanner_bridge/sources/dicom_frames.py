"""Enhanced multi-frame objects: one volume each (Siemens XA, Philips), or a whole run in one (Philips)."""

from collections import Counter, defaultdict

import numpy as np

from scanner_bridge.errors import SkippedError, UnfinishedError
from scanner_bridge.sources.dicom_fields import Fields
from scanner_bridge.sources.dicom_image import (
    Acquisition,
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
from scanner_bridge.sources.dicom_rules import RULES, rule_against
from scanner_bridge.sources.dicom_tiles import siemens_volumes


def read_frames(image: DicomObject) -> Image:
    """The volumes of an enhanced object.

    A frame's volume is its TemporalPositionIndex. Siemens numbers every object's frames from 1 again,
    and the volume is then the object's InstanceNumber. Frames that state no time at all are counted:
    the second frame at a position is of the second volume. Frames that a rule leaves alone, and later
    echoes, are left out.

    Raises
    ------
    UnfinishedError
        Its header lacks something needed.
    SkippedError
        Every frame is left alone.
    """
    if len(image.frames) != len(image.pixels):
        raise UnfinishedError(f"it describes {len(image.frames)} of its {len(image.pixels)} frames")
    kept = _kept(image)
    numbers = _volume_numbers(image, kept)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for at, number in zip(kept, numbers, strict=True):
        groups[number].append(at)
    if len(groups) == 1 and maker_of(image.fields) == "Siemens":
        groups = defaultdict(list, {image.fields.integer("InstanceNumber"): kept})
    run = _acquisition(image, kept[0], groups)
    slices = (_slices(image, index_of(number), frames) for number, frames in sorted(groups.items()))
    return Image(image.fields.text("SOPInstanceUID"), run, tuple(slices))


def _kept(image: DicomObject) -> list[int]:
    """Frames that belong to a run."""
    rules = [rule_against(frame) for frame in image.frames]
    echoes_ms = {frame.number("EffectiveEchoTime") for frame in image.frames if "EffectiveEchoTime" in frame}
    kept = [
        at
        for at, (rule, frame) in enumerate(zip(rules, image.frames, strict=True))
        if rule is None and frame.number("EffectiveEchoTime", 0.0) <= min(echoes_ms, default=0.0)
    ]
    if not kept:
        rule = next((rule for rule in rules if rule), "echo")
        raise SkippedError(rule, RULES[rule])
    return kept


def _volume_numbers(image: DicomObject, kept: list[int]) -> list[int]:
    """Number of the volume of each frame, from 1."""
    frames = [image.frames[at] for at in kept]
    if all("TemporalPositionIndex" in frame for frame in frames):
        return [frame.integer("TemporalPositionIndex") for frame in frames]
    place = image.temporal_dimension
    if place is not None:
        values = [frame.numbers("DimensionIndexValues") for frame in frames]
        if all(len(value) > place for value in values):
            return [int(value[place]) for value in values]
    seen: Counter[tuple[float, ...]] = Counter()
    numbers = []
    for frame in frames:
        position = frame.vector("ImagePositionPatient", 3)
        seen[position] += 1
        numbers.append(seen[position])
    return numbers


def _acquisition(image: DicomObject, first: int, groups: dict[int, list[int]]) -> Acquisition:
    frame: Fields = image.frames[first]
    n_volumes = siemens_volumes(frame) if maker_of(frame) == "Siemens" else None
    n_volumes = n_volumes or announced(frame, "NumberOfTemporalPositions")
    if len(groups) > 1:
        n_volumes = max(n_volumes or 0, *groups)
    rows, columns = image.pixels.shape[1:]
    n_slices = max(len(frames) for frames in groups.values())
    return acquisition_of(frame, "frames", rows=rows, columns=columns, n_volumes=n_volumes, n_slices=n_slices)


def _time_s(frame: Fields) -> float | None:
    """When a frame was taken: Siemens states it finer apart (0021,1104) than in FrameAcquisitionDateTime."""
    after_start = frame.numbers("SiemensTimeAfterStart")
    return after_start[0] if after_start else clock_s(frame, "FrameAcquisitionDateTime")


def _slices(image: DicomObject, index: int, at: list[int]) -> Slices:
    frames = [image.frames[place] for place in at]
    scales = np.array([rescale_of(frame) for frame in frames])
    times = [_time_s(frame) for frame in frames]
    whole = at == list(range(at[0], at[0] + len(at)))
    return Slices(
        index=index,
        positions_mm=np.array([frame.vector("ImagePositionPatient", 3) for frame in frames]),
        pixels=image.pixels[at[0] : at[0] + len(at)] if whole else image.pixels[at],
        slopes=scales[:, 0],
        inters=scales[:, 1],
        times_s=None if None in times else np.array(times, dtype=np.float64),
    )
