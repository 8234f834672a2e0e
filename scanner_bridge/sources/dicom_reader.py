"""One DICOM object's bytes to the slices it holds: finds out which kind of object it is."""

from scanner_bridge.errors import SkippedError
from scanner_bridge.sources.dicom_frames import read_frames
from scanner_bridge.sources.dicom_image import Image, maker_of
from scanner_bridge.sources.dicom_object import DicomObject, read_object
from scanner_bridge.sources.dicom_rules import RULES, rule_against
from scanner_bridge.sources.dicom_slices import read_slice
from scanner_bridge.sources.dicom_tiles import read_grid, read_mosaic


def read_image(content: bytes) -> Image:
    """Read one object of a series.

    Parameters
    ----------
    content : bytes
        The whole of a DICOM file.

    Raises
    ------
    ForeignError
        No DICOM, or no MR image.
    UnfinishedError
        It ends early, is damaged, or its header lacks something needed.
    SkippedError
        A rule of `dicom_rules` leaves it alone.
    """
    return interpret(read_object(content))


def interpret(image: DicomObject) -> Image:
    """The slices of an object; errors as of `read_image`."""
    if image.enhanced:
        return read_frames(image)
    rule = rule_against(image.fields)
    if rule is not None:
        raise SkippedError(rule, RULES[rule])
    words = image.fields.words("ImageType")
    if "MOSAIC" in words:
        return read_mosaic(image)
    if maker_of(image.fields) == "UIH" and image.frames:
        return read_grid(image)
    return read_slice(image)
