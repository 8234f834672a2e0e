"""Grids and voxels for tests of codecs, and vsend's header as a C compiler lays it out."""

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from scanner_bridge.sources.grid import Grid

AFFINE = np.array([[-3.0, 0, 0, 90], [0, 2.9, -0.7, -120], [0, 0.6, 3.4, -60], [0, 0, 0, 1]])

shapes = st.tuples(*[st.integers(1, 7)] * 3)


@st.composite
def grids(draw: st.DrawFn, dtypes: tuple[str, ...]) -> Grid:
    shape = draw(shapes.filter(lambda shape: shape[0] * shape[1] >= 30 or dtypes != AFNI_TYPES))
    turn = draw(st.integers(0, 5))
    affine = np.eye(4)
    affine[:3, :3] = AFFINE[:3, :3][:, list(itertools.permutations(range(3)))[turn]]
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200, 200, width=32)] * 3))
    return Grid(shape, draw(st.sampled_from(dtypes)), affine, draw(st.integers(50, 20_000)) / 1000)


AFNI_TYPES = ("<i2", ">i2", "<i4", ">f4", "<f4", "|u1")
VSEND_TYPES = ("<i2", ">i2", "<u2", "<i4", "<u4", "<f4", ">f4", "<f8", "|u1", "|i1")
PYNEAL_TYPES = ("<i2", "<u2", "<i4", "<u4", "<f4", "<f8", "|u1", "|i1")


def voxels_of(draw: Callable[..., Any], grid: Grid) -> NDArray[Any]:
    return draw(arrays.arrays(np.dtype(grid.stored_dtype), grid.shape, elements={"allow_nan": False}
                              if "f" in grid.dtype else None))  # fmt: skip


def assert_same(one: Grid, other: Grid, atol: float = 1e-5) -> None:
    assert (one.shape, one.dtype, one.tr_s) == (other.shape, other.dtype, other.tr_s)
    np.testing.assert_allclose(one.affine, other.affine, atol=atol)


def c_struct(packing: int) -> type[Any]:
    byte, real, number = ctypes.c_char, ctypes.c_double, ctypes.c_int32
    fields = [
        ("magic", byte * 5), ("headerVersion", number), ("seriesUID", byte * 64), ("scanType", byte * 64),
        ("imageType", byte * 16), ("note", byte * 256), ("dataType", byte * 16), ("isLittleEndian", ctypes.c_bool),
        ("isMosaic", ctypes.c_bool), ("spacing", real * 3), ("sliceGap", real), ("nRead", number),
        ("nPhase", number), ("nSlices", number), ("voxelToWorld", ctypes.c_float * 16), ("trMs", number),
        ("delayMs", number), ("currentTR", number), ("totalTR", number), ("isMotionCorrected", ctypes.c_bool),
        ("mcOrder", byte * 5), ("translations", real * 3), ("rotations", real * 3),
    ]  # fmt: skip
    extra = {"_pack_": packing, "_layout_": "ms"} if packing else {}
    return type("RtExternalImageInfo", (ctypes.LittleEndianStructure,), {**extra, "_fields_": fields})


ALIGNED, PACKED = c_struct(0), c_struct(1)


def sent_by_a_scanner(struct_type: type[Any], **changes: Any) -> Any:
    info = struct_type()
    values = {
        "magic": b"ERTI", "headerVersion": 4, "seriesUID": b"1.2.3", "scanType": b"EPI", "imageType": b"3Dt",
        "note": b"Trio", "dataType": b"int16_t", "isLittleEndian": True, "nRead": 4, "nPhase": 3, "nSlices": 5,
        "trMs": 1500, "delayMs": 500, "currentTR": 7, "totalTR": 120, **changes,
    }  # fmt: skip
    for name, value in values.items():
        setattr(info, name, value)
    info.voxelToWorld[:] = AFFINE.ravel()
    return info
