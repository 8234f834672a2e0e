"""The DICOM fields that are read: an allow-list. What is not named here never enters the program.

Of those that are words, `Manufacturer`, `ImageType`, `ImageComments` and the like are only compared
with known words, `SeriesInstanceUID` leaves the bridge only hashed, and of `SoftwareVersions` and of
the protocols only the numbers named in the readers are looked for.
No error or log line repeats a value of a header.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from scanner_bridge.errors import UnfinishedError

FIELDS: Mapping[int, tuple[str, str]] = {
    0x00020002: ("MediaStorageSOPClassUID", "UI"),
    0x00020010: ("TransferSyntaxUID", "UI"),
    0x00080008: ("ImageType", "CS"),
    0x00080016: ("SOPClassUID", "UI"),
    0x00080018: ("SOPInstanceUID", "UI"),
    0x0008002A: ("AcquisitionDateTime", "DT"),
    0x00080032: ("AcquisitionTime", "TM"),
    0x00080070: ("Manufacturer", "LO"),
    0x00089007: ("FrameType", "CS"),
    0x00089208: ("ComplexImageComponent", "CS"),
    0x00180050: ("SliceThickness", "DS"),
    0x00180080: ("RepetitionTime", "DS"),
    0x00180086: ("EchoNumbers", "IS"),
    0x00180088: ("SpacingBetweenSlices", "DS"),
    0x00181020: ("SoftwareVersions", "LO"),
    0x00181060: ("TriggerTime", "DS"),
    0x00189074: ("FrameAcquisitionDateTime", "DT"),
    0x00189082: ("EffectiveEchoTime", "FD"),
    0x0020000E: ("SeriesInstanceUID", "UI"),
    0x00200011: ("SeriesNumber", "IS"),
    0x00200012: ("AcquisitionNumber", "IS"),
    0x00200013: ("InstanceNumber", "IS"),
    0x00200032: ("ImagePositionPatient", "DS"),
    0x00200037: ("ImageOrientationPatient", "DS"),
    0x00200100: ("TemporalPositionIdentifier", "IS"),
    0x00200105: ("NumberOfTemporalPositions", "IS"),
    0x00201002: ("ImagesInAcquisition", "IS"),
    0x00204000: ("ImageComments", "LT"),
    0x00209057: ("InStackPositionNumber", "UL"),
    0x00209128: ("TemporalPositionIndex", "UL"),
    0x00209157: ("DimensionIndexValues", "UL"),
    0x00209165: ("DimensionIndexPointer", "AT"),
    0x00280002: ("SamplesPerPixel", "US"),
    0x00280008: ("NumberOfFrames", "IS"),
    0x00280010: ("Rows", "US"),
    0x00280011: ("Columns", "US"),
    0x00280030: ("PixelSpacing", "DS"),
    0x00280100: ("BitsAllocated", "US"),
    0x00280103: ("PixelRepresentation", "US"),
    0x00281052: ("RescaleIntercept", "DS"),
    0x00281053: ("RescaleSlope", "DS"),
}
"""Standard fields: tag to keyword and value representation (DICOM PS3.6)."""

PRIVATE_FIELDS: Mapping[tuple[int, str, int], tuple[str, str]] = {
    (0x0019, "SIEMENS MR HEADER", 0x0A): ("SiemensImagesInMosaic", "US"),
    (0x0019, "SIEMENS MR HEADER", 0x29): ("SiemensSliceTimes", "FD"),
    (0x0029, "SIEMENS CSA HEADER", 0x10): ("SiemensImageHeader", "OB"),
    (0x0029, "SIEMENS CSA HEADER", 0x20): ("SiemensProtocol", "OB"),
    (0x0021, "SIEMENS MR SDS 01", 0x19): ("SiemensProtocol", "OB"),
    (0x0021, "SIEMENS MR SDI 02", 0x04): ("SiemensTimeAfterStart", "DS"),
    (0x0021, "SIEMENS MR SDI 02", 0x75): ("SiemensImageType", "CS"),
    (0x0021, "GEMS_RELA_01", 0x4F): ("GeLocationsInAcquisition", "SS"),
    (0x0021, "GEMS_RELA_01", 0x5E): ("GeSliceTimer", "DS"),
    (0x0025, "GEMS_SERS_01", 0x1B): ("GeProtocol", "OB"),
    (0x0043, "GEMS_PARM_01", 0x2F): ("GeImageComponent", "SS"),
    (0x0043, "GEMS_PARM_01", 0x7C): ("GeGroupDelay", "FL"),
    (0x0043, "GEMS_PARM_01", 0xB6): ("GeMultiband", "LO"),
    (0x2001, "Philips Imaging DD 001", 0x18): ("PhilipsSlices", "SL"),
    (0x2001, "Philips Imaging DD 001", 0x81): ("PhilipsDynamics", "IS"),
    (0x2005, "Philips MR Imaging DD 001", 0x0E): ("PhilipsScaleSlope", "FL"),
}
"""Private fields: group, creator and element within its block to a keyword of ours and its representation."""

_MAX = 1e12  # neither a position in mm nor a count; also false of NaN
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_TEXT = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UI"))


@dataclass(frozen=True)
class Fields:
    """The allowed fields of a header, or of one frame.

    A field that is missing, empty or not what its representation says raises UnfinishedError where it
    is needed; the sentence names the field, never its value.

    Attributes
    ----------
    values : mapping of str to (str, bytes-like)
        Keyword to value representation and bytes.
    """

    values: Mapping[str, tuple[str, bytes | memoryview]] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        """Whether the header has this field, with a value."""
        return keyword in self.values and bool(len(self.values[keyword][1]))

    def raw(self, keyword: str) -> bytes:
        """The bytes of a field; none where it is missing."""
        return bytes(self.values[keyword][1]) if keyword in self.values else b""

    def words(self, keyword: str) -> tuple[str, ...]:
        """The words of a field, upper case; none where it is missing."""
        text = self.raw(keyword).decode("latin-1").replace("\0", " ").upper()
        return tuple(word.strip() for word in text.split("\\")) if text.strip() else ()

    def text(self, keyword: str) -> str:
        """A field of one word, as it is written."""
        text = self.raw(keyword).decode("latin-1").strip(" \0")
        if not text:
            raise _wrong(keyword)
        return text

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The numbers of a field, none of them beyond reason; none where it is missing."""
        if keyword not in self:
            return ()
        numbers = tuple(_numbers(*self.values[keyword], keyword))
        if not all(abs(number) <= _MAX for number in numbers):
            raise _wrong(keyword)
        return numbers

    def vector(self, keyword: str, size: int) -> tuple[float, ...]:
        """A field of so many numbers."""
        numbers = self.numbers(keyword)
        if len(numbers) != size:
            raise _wrong(keyword)
        return numbers

    def number(self, keyword: str, default: float | None = None) -> float:
        """A field of one number (the first, where there are several)."""
        numbers = self.numbers(keyword)
        if numbers:
            return numbers[0]
        if default is None:
            raise _wrong(keyword)
        return default

    def integer(self, keyword: str, default: int | None = None) -> int:
        """A field of one whole number."""
        number = self.number(keyword, default)
        if number != int(number):
            raise _wrong(keyword)
        return int(number)


def _numbers(representation: str, value: bytes | memoryview, keyword: str) -> Iterator[float]:
    letter = _BINARY.get(representation)
    if letter is not None:
        size = struct.calcsize(letter)
        if len(value) % size:
            raise _wrong(keyword)
        yield from (float(number) for number in struct.unpack(f"<{len(value) // size}{letter}", value))
    elif representation in _TEXT:
        try:
            yield from [float(word) for word in bytes(value).decode("ascii").strip(" \0").split("\\") if word.strip()]
        except ValueError:  # its own message would repeat the value
            raise _wrong(keyword) from None
    else:
        raise _wrong(keyword)


def _wrong(keyword: str) -> UnfinishedError:
    return UnfinishedError(f"its header field {keyword} is missing or not what it has to be")
