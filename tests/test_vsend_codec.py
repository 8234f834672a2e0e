"""Bytes of vsend: as a compiler lays them out, there and back, and refused by name."""

import ctypes
import itertools
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge.errors import ProtocolError
from scanner_bridge.sources import vsend_codec
from scanner_bridge.sources.grid import Grid
from tests.codec_bytes import AFFINE, ALIGNED, PACKED, VSEND_TYPES, assert_same, grids, sent_by_a_scanner, voxels_of


@pytest.mark.parametrize(("struct_type", "size"), [(ALIGNED, 616), (PACKED, 605)])
@pytest.mark.parametrize("sizes", [True, False])
def test_a_header_as_a_compiler_lays_it_out_is_understood(struct_type: type[Any], size: int, sizes: bool) -> None:
    assert ctypes.sizeof(struct_type) == size
    prefix = struct.pack("<ii", size, 120) if sizes else b""
    data = prefix + bytes(sent_by_a_scanner(struct_type)) + b"\7" * 120
    header = vsend_codec.decode_header(data)
    assert header is not None
    assert_same(header.grid, Grid((4, 3, 5), "<i2", AFFINE, 2.0))
    assert (header.index, header.n_volumes, header.series_uid, header.scan_type) == (6, 120, "1.2.3", "EPI")
    assert (header.is_mosaic, header.is_motion_corrected, header.size) == (False, False, len(prefix) + size)
    assert all(vsend_codec.decode_header(data[:n]) is None for n in range(len(prefix) + 605))


@pytest.mark.parametrize("layout", ["aligned", "packed"])
def test_a_header_is_written_as_a_compiler_lays_it_out(layout: Any) -> None:
    struct_type = {"aligned": ALIGNED, "packed": PACKED}[layout]
    grid = Grid((4, 3, 5), "<f4", AFFINE, 2.0)
    header = vsend_codec.VsendHeader(grid, "1.2.3", "EPI", 6, 120, False, True, 0)
    message = vsend_codec.encode(np.ones(grid.shape, "<f4"), header, layout=layout)
    assert struct.unpack("<ii", message[:8]) == (ctypes.sizeof(struct_type), 240)
    info = struct_type.from_buffer_copy(message[8:])
    assert (info.magic, info.headerVersion, info.dataType, info.imageType) == (b"ERTI", 4, b"float32_t", b"3D")
    assert (info.nRead, info.nPhase, info.nSlices, info.isMosaic, info.isMotionCorrected) == (4, 3, 5, False, True)
    assert (info.trMs, info.delayMs, info.currentTR, info.totalTR) == (2000, 0, 7, 120)
    np.testing.assert_allclose(list(info.voxelToWorld), AFFINE.ravel(), rtol=1e-6)
    np.testing.assert_allclose(list(info.spacing), np.linalg.norm(AFFINE[:3, :3], axis=0))


def test_padding_that_a_compiler_left_uncleared_does_not_matter() -> None:
    data = bytearray(sent_by_a_scanner(ALIGNED))
    for at in (5, 6, 7, 430, 431, *range(562, 568)):
        data[at] = 0xFF
    header = vsend_codec.decode_header(bytes(data))
    assert header is not None
    assert (header.index, header.size) == (6, 616)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"headerVersion": 99}, "version or voxel type"), ({"dataType": b"quaternion"}, "version or voxel type"),
        ({"nSlices": 0}, "1 to 1024"), ({"nRead": -4}, "1 to 1024"), ({"currentTR": 0}, "volume -1"),
        ({"currentTR": 2**31 - 1}, "wanted 0 to"), ({"totalTR": -1}, "wanted 0 to"),
        ({"trMs": 0, "delayMs": -1}, "repetition"),
        ({"nRead": 1024, "nPhase": 1024, "nSlices": 1024}, "at most"), ({"imageType": b"2Dzt"}, "single slices"),
        ({"nRead": 513, "nPhase": 512, "nSlices": 50, "isMosaic": True}, "of mosaic; at most"),
        ({"magic": b"NOPE"}, "wanted 'ERTI'"),
    ],
)  # fmt: skip
def test_a_vsend_header_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        vsend_codec.decode_header(bytes(sent_by_a_scanner(ALIGNED, **changes)))


def test_sizes_that_contradict_the_header_are_refused() -> None:
    with pytest.raises(ProtocolError, match=r"announces \(616, 121\) .* its header says \(616, 120\)"):
        vsend_codec.decode_header(struct.pack("<ii", 616, 121) + bytes(sent_by_a_scanner(ALIGNED)))


def test_tiles_of_a_mosaic_run_row_by_row() -> None:
    header = vsend_codec.decode_header(bytes(sent_by_a_scanner(ALIGNED, nRead=2, nPhase=3, isMosaic=True)))
    assert header is not None
    assert (header.n_tiles, header.n_pixel_bytes) == (3, 3 * 3 * 2 * 3 * 2)
    picture = np.zeros((9, 6), "<i2")  # rows of three tiles, each three rows high and two columns wide
    for slice_number, y, x in itertools.product(range(5), range(3), range(2)):
        picture[slice_number // 3 * 3 + y, slice_number % 3 * 2 + x] = 100 * slice_number + 10 * y + x
    voxels = vsend_codec.decode_pixels(picture.tobytes(), header)
    assert voxels.shape == (2, 3, 5)
    assert all(voxels[x, y, z] == 100 * z + 10 * y + x for x, y, z in np.ndindex(2, 3, 5))


@settings(deadline=None)  # a noisy machine
@given(st.data(), grids(VSEND_TYPES), st.booleans(), st.booleans(), st.sampled_from(["aligned", "packed"]))
def test_vsend_volumes_go_there_and_back(
    data: st.DataObject, grid: Grid, mosaic: bool, sizes: bool, layout: Any
) -> None:
    header = vsend_codec.VsendHeader(grid, "1.2", "EPI", data.draw(st.integers(0, 9999)), 10_000, mosaic, False, 0)
    voxels = voxels_of(data.draw, grid)
    message = vsend_codec.encode(voxels, header, layout=layout, sizes=sizes)
    decoded = vsend_codec.decode_header(message)
    assert decoded is not None
    assert_same(decoded.grid, grid, atol=1e-4)
    assert (decoded.index, decoded.n_volumes, decoded.is_mosaic) == (header.index, 10_000, mosaic)
    assert len(message) == decoded.size + decoded.n_pixel_bytes
    np.testing.assert_array_equal(vsend_codec.decode_pixels(message[decoded.size :], decoded), voxels)
