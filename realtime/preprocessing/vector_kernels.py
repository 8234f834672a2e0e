"""Sums over the samples around one point, written in vector instructions. The rules are in `kernels`.

LLVM does not vectorise these short sums by itself (2026-11, LLVM 20; it takes twice the time). Lanes are added in
the order written here whether a processor's registers hold all of them or not, so that the bits are the same.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from realtime.preprocessing.weights import Table

N_LANES = 16
"""Numbers of a row that `add_scaled_row` adds at once."""

_BYTE, _LANE = ir.IntType(8), ir.IntType(32)


def make_block_sum(table: Table) -> Any:
    """An intrinsic (volume, z, y, x, tz, ty, tx) → float32 for weights that are polynomials.

    (z, y, x) is the block's first voxel, and t the place of the point between the block's two
    middle voxels, 0 to 1; z and y may instead be tuples of the block's n planes and rows. The whole
    block must lie inside the volume, a float32 array of shape (nz, ny, nx) whose last axis is contiguous.
    """
    n = len(table[0])
    vector = ir.VectorType(ir.FloatType(), n)
    rising = [ir.Constant(vector, [float(np.float32(value)) for value in row]) for row in table]

    def weights(builder: Any, t: Any) -> Any:
        everywhere = _splat(builder, builder.insert_element(ir.Constant(vector, ir.Undefined), t, _LANE(0)), 0)
        value = rising[-1]
        for coefficient in rising[-2::-1]:
            value = builder.fadd(builder.fmul(value, everywhere), coefficient)
        return value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        volume = context.make_array(signature.args[0])(context, builder, args[0])
        steps = cgutils.unpack_tuple(builder, volume.strides, 3)
        planes, rows = (_offsets(builder, index, step, n) for index, step in zip(args[1:3], steps[:2], strict=True))
        first = builder.gep(builder.bitcast(volume.data, _BYTE.as_pointer()), [builder.mul(args[3], steps[2])])
        along_z, along_y, along_x = (weights(builder, t) for t in args[4:])
        scale_z, scale_y = ([_splat(builder, w, lane) for lane in range(n)] for w in (along_z, along_y))
        total = None
        for k in range(n):
            plane, in_plane = builder.gep(first, [planes[k]]), None
            for j in range(n):
                samples = builder.load(builder.bitcast(builder.gep(plane, [rows[j]]), vector.as_pointer()), align=4)
                in_plane = _added(builder, in_plane, builder.fmul(samples, scale_y[j]))
            total = _added(builder, total, builder.fmul(in_plane, scale_z[k]))
        lanes = builder.fmul(total, along_x)
        sums = [builder.extract_element(lanes, _LANE(lane)) for lane in range(n)]
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    @intrinsic
    def block_sum(typing_context: Any, volume: Any, z: Any, y: Any, x: Any, tz: Any, ty: Any, tx: Any) -> Any:
        return types.float32(volume, z, y, types.intp, *(types.float32,) * 3), codegen

    return block_sum


def _offsets(builder: Any, index: Any, step: Any, n: int) -> list[Any]:
    """Bytes from the volume's first voxel to `n` planes or rows, from `index` on or those of a tuple."""
    if not isinstance(index.type, ir.IntType):
        return [builder.mul(each, step) for each in cgutils.unpack_tuple(builder, index, n)]
    offsets = [builder.mul(index, step)]
    for _ in range(n - 1):
        offsets.append(builder.add(offsets[-1], step))
    return offsets


def _added(builder: Any, total: Any | None, term: Any) -> Any:
    return term if total is None else builder.fadd(total, term)


def _splat(builder: Any, vector: Any, lane: int) -> Any:
    """A vector that holds one lane of `vector` in every lane."""
    n = vector.type.count
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined),
                                  ir.Constant(ir.VectorType(_LANE, n), [lane] * n))


@intrinsic
def _add_scaled_row(typing_context: Any, sums: Any, rows: Any, row: Any, factor: Any) -> Any:
    """Add to sums factor · rows[row]: float64 sums (16,), float32 rows (n, 16), both contiguous."""
    single, double = (ir.VectorType(kind(), N_LANES) for kind in (ir.FloatType, ir.DoubleType))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        totals, table = (context.make_array(kind)(context, builder, value)
                         for kind, value in zip(signature.args[:2], args[:2], strict=True))
        step = cgutils.unpack_tuple(builder, table.strides, 2)[0]
        place = builder.gep(builder.bitcast(table.data, _BYTE.as_pointer()), [builder.mul(args[2], step)])
        numbers = builder.fpext(builder.load(builder.bitcast(place, single.as_pointer()), align=4), double)
        scale = _splat(builder, builder.insert_element(ir.Constant(double, ir.Undefined), args[3], _LANE(0)), 0)
        target = builder.bitcast(totals.data, double.as_pointer())
        total = builder.fadd(builder.load(target, align=8), builder.fmul(numbers, scale))
        builder.store(total, target, align=8)
        return context.get_dummy_value()

    return types.void(sums, rows, types.intp, types.float64), codegen


add_scaled_row: Any = _add_scaled_row
