"""One DICOM object: its allowed fields, its frames, its pixels; or why it is none."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ForeignError, SkippedError, UnfinishedError
from scanner_bridge.sources.dicom_elements import Elements, read_elements, read_meta
from scanner_bridge.sources.dicom_fields import Fields

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
MAX_PIXEL_BYTES = 2**31

_IMPLICIT = "1.2.840.10008.1.2"
_REWRITTEN = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""Deflated and big-endian objects: pydicom turns them into the usual encoding first."""


@dataclass(frozen=True, eq=False)
class DicomObject:
    """One MR image object.

    Attributes
    ----------
    fields : Fields
        The header's allowed fields, and those of the functional groups that all frames share.
    frames : tuple of Fields
        The fields of each frame (or of each slice of a UIH grid), with `fields` behind them.
    temporal_dimension : int or None
        Place of the temporal position among the dimension index values.
    enhanced : bool
        Whether it is an enhanced multi-frame object.
    pixels : array of shape (n_frames, rows, columns)
        Stored values, read-only.
    """

    fields: Fields
    frames: tuple[Fields, ...]
    temporal_dimension: int | None
    enhanced: bool
    pixels: NDArray[Any]


def read_object(content: bytes) -> DicomObject:
    """Read one object.

    Parameters
    ----------
    content : bytes
        The whole of a DICOM file.

    Raises
    ------
    ForeignError
        No DICOM, or no MR image.
    UnfinishedError
        It ends early, or is damaged.
    SkippedError
        Its pixels are in a form that is not read (rule ``unsupported``).
    """
    if content[128:132] != b"DICM":
        raise ForeignError("it is not DICOM")
    meta, at = read_meta(memoryview(content))
    syntax = meta.text("TransferSyntaxUID") if "TransferSyntaxUID" in meta else _IMPLICIT
    kind = meta.text("MediaStorageSOPClassUID") if "MediaStorageSOPClassUID" in meta else MR_IMAGE
    if kind not in (MR_IMAGE, ENHANCED_MR_IMAGE):
        raise ForeignError("it is no MR image")
    if syntax in _REWRITTEN:
        return read_object(_rewritten(content))
    found = read_elements(memoryview(content), at, explicit=syntax != _IMPLICIT)
    fields = Fields({**found.shared, **found.values})
    if "SOPClassUID" in fields and fields.text("SOPClassUID") not in (MR_IMAGE, ENHANCED_MR_IMAGE):
        raise ForeignError("it is no MR image")
    if not found.has_pixels:
        raise UnfinishedError("it has no pixel data yet")
    return DicomObject(
        fields=fields,
        frames=tuple(Fields({**fields.values, **frame}) for frame in found.frames),
        temporal_dimension=_temporal_dimension(found),
        enhanced=kind == ENHANCED_MR_IMAGE,
        pixels=_pixels(content, found, fields),
    )


def _temporal_dimension(found: Elements) -> int | None:
    """TemporalPositionIndex (0020,9128) among the pointers of the Dimension Index Sequence."""
    for place, dimension in enumerate(found.dimensions):
        if Fields(dimension).raw("DimensionIndexPointer") == b"\x20\x00\x28\x91":
            return place
    return None


def _pixels(content: bytes, found: Elements, fields: Fields) -> NDArray[Any]:
    n_frames = fields.integer("NumberOfFrames", 1)
    rows, columns, bits = fields.integer("Rows"), fields.integer("Columns"), fields.integer("BitsAllocated")
    if bits not in (8, 16, 32) or fields.integer("SamplesPerPixel", 1) != 1:
        raise SkippedError("unsupported", f"its pixels have {bits} bits or colours, wanted 8, 16 or 32 bits of grey")
    if min(n_frames, rows, columns) < 1 or n_frames * rows * columns * bits // 8 > MAX_PIXEL_BYTES:
        raise UnfinishedError(f"it states {n_frames} frames of {rows} x {columns} pixels: the header is damaged")
    shape = (n_frames, rows, columns)
    if found.pixels is None:
        return _decompressed(content, shape)
    dtype = np.dtype(f"<{'i' if fields.integer('PixelRepresentation', 0) else 'u'}{bits // 8}")
    wanted = n_frames * rows * columns * dtype.itemsize
    if len(found.pixels) < wanted:
        raise UnfinishedError(f"it has {len(found.pixels)} of {wanted} bytes of pixels")
    return np.frombuffer(found.pixels, dtype, wanted // dtype.itemsize).reshape(shape)


def _decompressed(content: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Pixels of an encapsulated object: RLE by pydicom, the JPEG family by gdcm."""
    try:
        from pydicom.pixels.utils import pixel_array  # noqa: PLC0415  # an extra: most scanners send plain pixels

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its warnings repeat header values
            pixels: NDArray[Any] = pixel_array(BytesIO(content), raw=True)
    except ImportError as error:
        reason = "its pixels are compressed: install what reads them with pip install 'innerear[dicom]'"
        raise SkippedError("unsupported", reason) from error
    except NotImplementedError as error:
        raise SkippedError("unsupported", "its pixels are compressed in a way that no decoder here reads") from error
    except Exception as error:  # decoders raise nearly anything over damaged streams
        raise UnfinishedError("its compressed pixels are cut or damaged") from error
    if pixels.size != np.prod(shape):
        raise UnfinishedError("its compressed pixels are not as many as its header states")
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).reshape(shape)


def _rewritten(content: bytes) -> bytes:
    """The same object in the usual encoding."""
    rewritten = BytesIO()
    try:
        from pydicom import dcmread, dcmwrite, uid  # noqa: PLC0415  # an extra: rare encodings only

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its warnings repeat header values
            dataset = dcmread(BytesIO(content))
            for _ in dataset.iterall():  # only what was looked at is written in another byte order
                pass
            if dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian and dataset.BitsAllocated > 8:
                swapped = np.frombuffer(dataset.PixelData, f"u{dataset.BitsAllocated // 8}").byteswap()
                dataset.PixelData = swapped.tobytes()
            dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
            dcmwrite(rewritten, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    except ImportError as error:
        reason = "its encoding is rare: install what reads it with pip install 'innerear[dicom]'"
        raise SkippedError("unsupported", reason) from error
    except Exception as error:  # damaged, it makes pydicom raise nearly anything
        raise UnfinishedError("it is cut or damaged") from error
    return rewritten.getvalue()
