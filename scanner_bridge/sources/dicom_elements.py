"""The elements of a DICOM object, as bytes: a walk over tags and lengths that keeps only the allowed fields.

Written for the live path instead of `pydicom.dcmread`, which takes longer for one enhanced
multi-frame object than a volume may take in all, and which repeats header values in its warnings
(docs/decisions/0010-dicom-by-allow-list.md). Both little-endian encodings of DICOM PS3.5, section 7;
pydicom is the oracle in the tests.
"""

import struct
from dataclasses import dataclass, field

from scanner_bridge.errors import UnfinishedError
from scanner_bridge.sources.dicom_fields import FIELDS, PRIVATE_FIELDS, Fields

Values = dict[str, tuple[str, bytes | memoryview]]

PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_MAX_DEPTH = 16
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))

_MAYBE_NESTED = frozenset((b"SQ", b"UN", b""))

_SHARED, _PER_FRAME, _DIMENSIONS = 0x52009229, 0x52009230, 0x00209222
_UIH_SLICES = (0x0065, "IMAGE PRIVATE HEADER", 0x51)
_NESTED = frozenset((
    0x00189112, 0x00189114, 0x00189226, 0x00209111, 0x00209113, 0x00209116, 0x00289110, 0x00289145,
))  # fmt: skip
"""Macros of an enhanced image whose fields are read: timing, echo, frame type, content, plane, measures, rescale."""
_NESTED_PRIVATE = frozenset((
    (0x0021, "SIEMENS MR SDS 01", 0xFE), (0x0021, "SIEMENS MR SDI 02", 0xFE),
    (0x2005, "PHILIPS MR IMAGING DD 005", 0x0F),
))  # fmt: skip
"""The makers' own macros. They follow the standard ones, and of a field that comes twice the first counts."""
_PRIVATE = {(group, creator.upper(), element): named for (group, creator, element), named in PRIVATE_FIELDS.items()}

_TAG = struct.Struct("<HH")
_EXPLICIT = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<I")


@dataclass
class Elements:
    """What a walk found.

    Attributes
    ----------
    values : dict
        Fields of the header.
    shared : dict
        Fields of the functional groups that all frames share.
    frames : list of dict
        Fields of each frame's own functional groups, or of each slice of a UIH grid.
    dimensions : list of dict
        Fields of each dimension of the frames.
    pixels : memoryview or None
        Pixel data as they are stored; None when they are encapsulated (compressed).
    has_pixels : bool
        Whether the pixel data began.
    """

    values: Values = field(default_factory=dict)
    shared: Values = field(default_factory=dict)
    frames: list[Values] = field(default_factory=list)
    dimensions: list[Values] = field(default_factory=list)
    pixels: memoryview | None = None
    has_pixels: bool = False


def read_meta(content: memoryview) -> tuple[Fields, int]:
    """The file meta information (always explicit, PS3.10 section 7.1), and where the data set begins."""
    values: Values = {}
    at = 132
    while at + 12 <= len(content) and _TAG.unpack_from(content, at)[0] == 0x0002:
        _, element, representation, length = _EXPLICIT.unpack_from(content, at)
        at += 8
        if representation in _LONG:
            length, at = _LENGTH.unpack_from(content, at)[0], at + 4
        named = FIELDS.get(0x00020000 | element)
        end = _end(content, at, length, len(content), 0x00020000 | element)
        if named:
            values[named[0]] = (named[1], content[at:end])
        at = end
    return Fields(values), at


def read_elements(content: memoryview, at: int, *, explicit: bool) -> Elements:
    """Walk the data set up to its pixel data.

    Parameters
    ----------
    content : memoryview of bytes
        A whole object, or as much of it as is there.
    at : int
        Where its data set begins.
    explicit : bool
        Whether elements state their value representation.

    Raises
    ------
    UnfinishedError
        The bytes end before the object does, or are damaged.
    """
    walk = _Walk(content)
    try:
        walk.data_set(at, len(content), explicit, walk.found.values, 0)
    except struct.error as error:  # the bytes end within a length
        raise UnfinishedError(f"it ends within an element after {len(content)} bytes") from error
    return walk.found


class _Walk:
    """One pass over an object; positions go in and out, what is found goes to `found`."""

    def __init__(self, content: memoryview) -> None:
        self.content = content
        self.found = Elements()

    def data_set(self, at: int, end: int, explicit: bool, into: Values | None, depth: int) -> int:
        """Read elements up to `end`, to the end of an item, or to the pixel data; return where that is."""
        if depth > _MAX_DEPTH:
            raise UnfinishedError("its sequences are nested too deeply: the header is damaged")
        content = self.content
        creators: dict[int, str] = {}
        while at + 8 <= end:
            group, element, representation, length = _EXPLICIT.unpack_from(content, at)
            if group == 0xFFFE:
                return at + 8  # the end of the item that is being read
            if explicit and representation not in _LONG:
                at += 8
            elif explicit:
                length, at = _LENGTH.unpack_from(content, at + 8)[0], at + 12
            else:
                representation, length, at = b"", _LENGTH.unpack_from(content, at + 4)[0], at + 8
            tag = group << 16 | element
            if tag == PIXEL_DATA and depth == 0:
                self._pixels(at, length)
                return len(content)
            private = (group, creators.get(element >> 8, ""), element & 0xFF) if group & 1 else None
            if length == _UNDEFINED or representation in _MAYBE_NESTED:
                nested = self._target(tag, private, into)
                if length == _UNDEFINED or nested is not None:
                    stop = end if length == _UNDEFINED else _end(content, at, length, end, tag)
                    of_items = explicit and representation != b"UN"  # PS3.5, 6.2.2: UN hides an implicit sequence
                    at = self._sequence(at, stop, length == _UNDEFINED, of_items, nested, depth + 1)
                    continue
            stop = at + length if at + length <= end else _end(content, at, length, end, tag)
            if into is not None:
                if private is not None and 0x10 <= element <= 0xFF:
                    creators[element] = bytes(content[at:stop]).decode("latin-1").strip(" \0").upper()
                named = FIELDS.get(tag) if private is None else _PRIVATE.get(private)
                if named is not None and named[0] not in into:
                    into[named[0]] = (_representation(representation, named[1]), content[at:stop])
            at = stop
        if at > end or (depth == 0 and at != end):
            raise UnfinishedError(f"it ends within an element after {len(content)} bytes")
        return at

    def _sequence(
        self, at: int, end: int, undefined: bool, explicit: bool, into: "Values | list[Values] | None", depth: int
    ) -> int:
        """Read the items of a sequence; return where it ends."""
        content = self.content
        while at + 8 <= end:
            group, element = _TAG.unpack_from(content, at)
            length = _LENGTH.unpack_from(content, at + 4)[0]
            tag, at = group << 16 | element, at + 8
            if tag == _SEQUENCE_END and undefined:
                return at
            if tag != _ITEM:
                raise UnfinishedError("one of its sequences holds something else than items: the header is damaged")
            item: Values | None = {} if isinstance(into, list) else into
            if isinstance(into, list) and item is not None:
                into.append(item)
            stop = end if length == _UNDEFINED else _end(content, at, length, end, tag)
            if item is None and length != _UNDEFINED:
                at = stop
            else:
                at = self.data_set(at, stop, explicit, item, depth)
        if undefined:
            raise UnfinishedError(f"it ends within a sequence after {len(content)} bytes")
        return at

    def _target(
        self, tag: int, private: tuple[int, str, int] | None, into: Values | None
    ) -> "Values | list[Values] | None":
        """Where the fields of a sequence go; None for one that is not read."""
        if into is None:
            return None
        if private is not None:
            if private == _UIH_SLICES:
                return self.found.frames
            return into if private in _NESTED_PRIVATE else None
        if tag in _NESTED:
            return into
        lists = {_PER_FRAME: self.found.frames, _DIMENSIONS: self.found.dimensions}
        return self.found.shared if tag == _SHARED else lists.get(tag)

    def _pixels(self, at: int, length: int) -> None:
        self.found.has_pixels = True
        if length != _UNDEFINED:
            end = _end(self.content, at, length, len(self.content), PIXEL_DATA)
            self.found.pixels = self.content[at:end]


def _end(content: memoryview, at: int, length: int, end: int, tag: int) -> int:
    """Where a value of this length ends, if it does."""
    if at + length > end:
        name = "pixel data" if tag == PIXEL_DATA else f"element ({tag >> 16:04X},{tag & 0xFFFF:04X})"
        raise UnfinishedError(f"its {name} has {max(end - at, 0)} of {length} bytes")
    return at + length


def _representation(stated: bytes, listed: str) -> str:
    return listed if stated in (b"", b"UN", b"OB", b"OW") else stated.decode("latin-1")
