"""The image header of MURFI's vsend protocol, and the pixels behind it: bytes to values and back, no sockets.

A message is a C struct (`RtExternalImageInfo` of MURFI2, header version 4) as the sender's compiler laid it
out, followed by pixels: 616 bytes where fields are aligned, 605 where they are packed, in the sender's byte
order. MURFI2 itself sends two int32 before it, the sizes of header and pixels; other senders do not.
Both are read. `currentTR` counts from 1; `voxelToWorldMatrix` is taken as RAS+ (MURFI2 fills it from a
NIfTI's qform); a mosaic has ceil(sqrt(slices)) tiles per side, row by row.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ProtocolError
from scanner_bridge.sources.grid import MAX_VOLUME_BYTES, Grid, affine_of, checked_index

DEFAULT_PORT = 15000
SIZES = struct.Struct("<ii")
MAX_GREETING_BYTES = 616 + SIZES.size

_MAGICS = (b"ERTI", b"SIMU")
_HEADER_VERSIONS = range(1, 17)
_TEXTS = "64s64s16s256s16s"  # seriesUID scanType imageType note dataType
_PACKED = struct.Struct("<5si" + _TEXTS + "??4d3i16f4i?5s6d")
_ALIGNED = struct.Struct("<5s3xi" + _TEXTS + "??2x4d3i16f4i?5s6x6d")
_DATA_TYPES = {
    "char": "i1", "uchar": "u1", "char8_t": "i1", "uchar8_t": "u1", "int16_t": "i2", "uint16_t": "u2",
    "int32_t": "i4", "uint32_t": "u4", "float32_t": "f4", "float64_t": "f8",
}  # fmt: skip
_NAMES = {"i1": "char", "u1": "uchar", "i2": "int16_t", "u2": "uint16_t", "i4": "int32_t", "u4": "uint32_t",
          "f4": "float32_t", "f8": "float64_t"}  # fmt: skip
_HEADER_SIZES = [struct.pack(order + "i", size) for size in (605, 616) for order in "<>"]

Layout = Literal["aligned", "packed"]
_LAYOUTS: dict[Layout, struct.Struct] = {"aligned": _ALIGNED, "packed": _PACKED}


@dataclass(frozen=True, eq=False)
class VsendHeader:
    """What a sender says of the volume that follows.

    Attributes
    ----------
    grid : Grid
        Shape, type with byte order, position, repetition time (its delay included).
    series_uid : str
        Names the series; for telling series apart, never for people.
    scan_type : str
        Such as ``EPI``.
    index : int
        currentTR - 1: the protocol counts from 1.
    n_volumes : int or None
        totalTR; None when it is 0.
    is_mosaic : bool
        Whether the slices come as tiles of one picture.
    is_motion_corrected : bool
        Whether the scanner has moved the volume already.
    size : int
        Bytes of the header, the two sizes before it included.
    """

    grid: Grid
    series_uid: str
    scan_type: str
    index: int
    n_volumes: int | None
    is_mosaic: bool
    is_motion_corrected: bool
    size: int

    @property
    def n_tiles(self) -> int:
        """Tiles along each side of the mosaic."""
        return math.isqrt(self.grid.shape[2] - 1) + 1

    @property
    def n_pixel_bytes(self) -> int:
        """Bytes of pixels that follow; a mosaic has empty tiles at its end."""
        slices = self.n_tiles**2 if self.is_mosaic else self.grid.shape[2]
        return self.grid.n_bytes // self.grid.shape[2] * slices


def decode_header(data: bytes) -> VsendHeader | None:
    """The header at the start of what was received so far.

    Parameters
    ----------
    data : bytes
        Any number of them; what follows the header is not looked at.

    Returns
    -------
    header : VsendHeader or None
        None when more bytes are needed.

    Raises
    ------
    ProtocolError
        No vsend header, or one of a volume that cannot be.
    """
    at = 0 if data[:4] in _MAGICS else SIZES.size
    begun = data[:4] in (*_MAGICS, *_HEADER_SIZES) or len(data) < 4
    if not begun or (len(data) >= at + 4 and data[at : at + 4] not in _MAGICS):
        raise ProtocolError(f"it begins with {data[:12].hex(' ')}, wanted 'ERTI' after none or 8 bytes")
    if len(data) < at + _PACKED.size:
        return None
    for layout in _LAYOUTS.values():
        for order in "<>":
            shape = struct.Struct(order + layout.format[1:])
            if len(data) >= at + shape.size:
                fields = shape.unpack_from(data, at)
                if fields[1] in _HEADER_VERSIONS and _text(fields[6]) in _DATA_TYPES_ALLOWED:
                    header = _checked(fields, order, at + shape.size)
                    if at:
                        _compare_sizes(data, header)
                    return header
    if len(data) < at + _ALIGNED.size:
        return None
    raise ProtocolError("it sent a vsend header of a version or voxel type that is not known")


_DATA_TYPES_ALLOWED = {*_DATA_TYPES, *(f"c_{name}" for name in _DATA_TYPES)}


def _checked(fields: tuple[Any, ...], order: str, size: int) -> VsendHeader:
    (_, _, uid, scan_type, image_type, _, data_type, little, mosaic, *_spacing) = fields[:13]
    n_read, n_phase, n_slices = fields[13:16]
    tr_ms, delay_ms, current, total, corrected = fields[32:37]
    if _text(image_type) in ("2Dz", "2Dzt"):
        raise ProtocolError(f"it sends single slices ({_text(image_type)}), wanted whole volumes (3D, 3Dt)")
    dtype = np.dtype(("<" if little else ">") + _DATA_TYPES[_text(data_type).removeprefix("c_")]).str
    header = VsendHeader(
        grid=Grid((n_read, n_phase, n_slices), dtype, affine_of(fields[16:32]), (tr_ms + max(delay_ms, 0)) / 1000),
        series_uid=_text(uid),
        scan_type=_text(scan_type),
        index=checked_index(current - 1),
        n_volumes=checked_index(total) or None,
        is_mosaic=mosaic,
        is_motion_corrected=corrected,
        size=size,
    )
    if header.n_pixel_bytes > MAX_VOLUME_BYTES:
        raise ProtocolError(f"it announces {header.n_pixel_bytes} bytes of mosaic; at most {MAX_VOLUME_BYTES} are read")
    return header


def _compare_sizes(data: bytes, header: VsendHeader) -> None:
    wanted = (header.size - SIZES.size, header.n_pixel_bytes)
    sizes = [struct.unpack_from(order + "ii", data) for order in "<>"]
    if wanted not in sizes:
        raise ProtocolError(f"it announces {sizes[0]} bytes of header and pixels; its header says {wanted}")


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("latin-1").strip()


def decode_pixels(data: bytes | bytearray, header: VsendHeader) -> NDArray[Any]:
    """Voxels of shape `header.grid.shape`, little-endian.

    Raises
    ------
    ProtocolError
        Not as many bytes as the header announces.
    """
    if len(data) != header.n_pixel_bytes:
        raise ProtocolError(f"it sent {len(data)} bytes of pixels, wanted {header.n_pixel_bytes}")
    if not header.is_mosaic:
        return header.grid.voxels(data, "F")
    (nx, ny, nz), n = header.grid.shape, header.n_tiles
    tiles = np.frombuffer(data, header.grid.dtype).reshape(n, ny, n, nx).transpose(0, 2, 3, 1)
    slices = tiles.reshape(n * n, nx, ny)[:nz]
    return np.ascontiguousarray(slices.transpose(1, 2, 0)).astype(header.grid.stored_dtype, copy=False)


def encode(voxels: NDArray[Any], header: VsendHeader, *, layout: Layout = "aligned", sizes: bool = True) -> bytes:
    """Header and pixels of one volume, as a sender on a little-endian host puts them on the wire.

    Parameters
    ----------
    voxels : array of shape `header.grid.shape`
        What to send, of type `header.grid.dtype`.
    header : VsendHeader
        What to say of it; `size` is ignored.
    layout : {"aligned", "packed"}
        How the sender's compiler lays out the struct: 616 or 605 bytes.
    sizes : bool
        Whether to send the sizes of header and pixels before, as MURFI2 does.
    """
    grid, pixels = header.grid, _pixels(voxels, header)
    spacing_mm = np.linalg.norm(grid.affine[:3, :3], axis=0)
    packed = _LAYOUTS[layout].pack(
        b"ERTI", 4, header.series_uid.encode("ascii", "replace"), header.scan_type.encode("ascii", "replace"),
        b"3D", b"", _NAMES[grid.dtype[1:]].encode(), grid.dtype[0] != ">", header.is_mosaic,
        *spacing_mm, 0.0, *grid.shape, *grid.affine.ravel(),
        round(grid.tr_s * 1000), 0, header.index + 1, header.n_volumes or 0,
        header.is_motion_corrected, b"", *(0.0,) * 6,
    )  # fmt: skip
    return (SIZES.pack(len(packed), len(pixels)) if sizes else b"") + packed + pixels


def _pixels(voxels: NDArray[Any], header: VsendHeader) -> bytes:
    voxels = voxels.astype(header.grid.dtype, copy=False)
    if not header.is_mosaic:
        return voxels.tobytes(order="F")
    (nx, ny, nz), n = header.grid.shape, header.n_tiles
    tiles = np.zeros((n * n, nx, ny), header.grid.dtype)
    tiles[:nz] = voxels.transpose(2, 0, 1)
    return tiles.reshape(n, n, nx, ny).transpose(0, 3, 1, 2).tobytes()
