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

N_LANES, N_ROWS = 16, 4
"""Numbers of a row, and rows, that `add_scaled_rows` adds at once."""

_BYTE, _LANE = ir.IntType(8), ir.IntType(32)


def make_block_sum(table: Table) -> Any:
    """An intrinsic (volume, z, y, x, tz, ty, tx) → float32 for weights that are polynomials.

    (z, y, x) is the block's first voxel, and t the place of the point between the block's two
    middle voxels, 0 to 1. The whole block must lie inside the volume, a float32 array of shape
    (nz, ny, nx) whose last axis is contiguous.
    """
    polynomials = _Polynomials(table)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        volume = context.make_array(signature.args[0])(context, builder, args[0])
        return _weighted_sum(builder, volume, args[1:4], [polynomials.at(builder, t) for t in args[4:]])

    @intrinsic
    def block_sum(typing_context: Any, volume: Any, z: Any, y: Any, x: Any, tz: Any, ty: Any, tx: Any) -> Any:
        return types.float32(volume, *(types.intp,) * 3, *(types.float32,) * 3), codegen

    return block_sum


def make_block_sum_in_steps(table: Table) -> tuple[Any, Any]:
    """Two intrinsics that do together what `make_block_sum`'s does: for many points, one loop after the other.

    A processor that waits for the weights of one point cannot begin with its sum; with the weights of
    many points at hand it does several sums at once, in half the time.

    Returns
    -------
    put_weights : intrinsic (weights, i, tz, ty, tx)
        Writes `weights[i]` of a contiguous float32 array of shape (m, 3, n).
    block_sum : intrinsic (volume, z, y, x, weights, i) → float32
        z and y may be tuples of the block's n planes and rows.
    """
    polynomials = _Polynomials(table)

    def code_of_weights(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = _places(context, builder, signature.args[0], args[0], args[1], polynomials.vector)
        for place, t in zip(places, args[2:], strict=True):
            builder.store(polynomials.at(builder, t), place, align=4)
        return context.get_dummy_value()

    def code_of_sum(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        volume = context.make_array(signature.args[0])(context, builder, args[0])
        places = _places(context, builder, signature.args[4], args[4], args[5], polynomials.vector)
        return _weighted_sum(builder, volume, args[1:4], [builder.load(place, align=4) for place in places])

    @intrinsic
    def put_weights(typing_context: Any, weights: Any, i: Any, tz: Any, ty: Any, tx: Any) -> Any:
        return types.void(weights, types.intp, *(types.float32,) * 3), code_of_weights

    @intrinsic
    def block_sum(typing_context: Any, volume: Any, z: Any, y: Any, x: Any, weights: Any, i: Any) -> Any:
        return types.float32(volume, z, y, types.intp, weights, types.intp), code_of_sum

    return put_weights, block_sum


class _Polynomials:
    """The weights of a block along one axis, one per lane of a vector."""

    def __init__(self, table: Table) -> None:
        self.vector = ir.VectorType(ir.FloatType(), len(table[0]))
        self._rising = [ir.Constant(self.vector, [float(np.float32(value)) for value in row]) for row in table]

    def at(self, builder: Any, t: Any) -> Any:
        everywhere = _splat(builder, builder.insert_element(ir.Constant(self.vector, ir.Undefined), t, _LANE(0)), 0)
        value = self._rising[-1]
        for coefficient in self._rising[-2::-1]:
            value = builder.fadd(builder.fmul(value, everywhere), coefficient)
        return value


def _places(context: Any, builder: Any, kind: Any, weights: Any, i: Any, vector: Any) -> list[Any]:
    """Pointers to the three vectors of `weights[i]`."""
    array = context.make_array(kind)(context, builder, weights)
    step = cgutils.unpack_tuple(builder, array.strides, 3)[0]
    place = builder.gep(builder.bitcast(array.data, _BYTE.as_pointer()), [builder.mul(i, step)])
    first = builder.bitcast(place, vector.as_pointer())
    return [builder.gep(first, [_LANE(axis)]) for axis in range(3)]


def _weighted_sum(builder: Any, volume: Any, block: Any, weights: list[Any]) -> Any:
    """Sum over the block that begins at (z, y, x) with weights along z, y and x."""
    vector = weights[0].type
    n = vector.count
    steps = cgutils.unpack_tuple(builder, volume.strides, 3)
    planes, rows = (_offsets(builder, index, step, n) for index, step in zip(block[:2], steps[:2], strict=True))
    first = builder.gep(builder.bitcast(volume.data, _BYTE.as_pointer()), [builder.mul(block[2], steps[2])])
    scale_z, scale_y = ([_splat(builder, w, lane) for lane in range(n)] for w in weights[:2])
    total = None
    for k in range(n):
        plane, in_plane = builder.gep(first, [planes[k]]), None
        for j in range(n):
            samples = builder.load(builder.bitcast(builder.gep(plane, [rows[j]]), vector.as_pointer()), align=4)
            in_plane = _added(builder, in_plane, builder.fmul(samples, scale_y[j]))
        total = _added(builder, total, builder.fmul(in_plane, scale_z[k]))
    lanes = builder.fmul(total, weights[2])
    sums = [builder.extract_element(lanes, _LANE(lane)) for lane in range(n)]
    while len(sums) > 1:
        sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0]


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
def _add_scaled_rows(typing_context: Any, sums: Any, rows: Any, row: Any, factors: Any, first: Any) -> Any:
    """Add to sums factors[first + i] · rows[row + i] for i from 0 to 3, one row after the other.

    float64 sums (16,) and factors (n,), float32 rows (n, 16), all contiguous.
    """
    single, double = (ir.VectorType(kind(), N_LANES) for kind in (ir.FloatType, ir.DoubleType))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        totals, table, scales = (context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 1, 3))
        step = cgutils.unpack_tuple(builder, table.strides, 2)[0]
        place = builder.gep(builder.bitcast(table.data, _BYTE.as_pointer()), [builder.mul(args[2], step)])
        first_row, first_scale = builder.bitcast(place, single.as_pointer()), builder.gep(scales.data, [args[4]])
        target = builder.bitcast(totals.data, double.as_pointer())
        total = builder.load(target, align=8)
        for i in range(N_ROWS):
            numbers = builder.fpext(builder.load(builder.gep(first_row, [_LANE(i)]), align=4), double)
            scale = builder.load(builder.gep(first_scale, [_LANE(i)]))
            splat = _splat(builder, builder.insert_element(ir.Constant(double, ir.Undefined), scale, _LANE(0)), 0)
            total = builder.fadd(total, builder.fmul(numbers, splat))
        builder.store(total, target, align=8)
        return context.get_dummy_value()

    return types.void(sums, rows, types.intp, factors, types.intp), codegen


add_scaled_rows: Any = _add_scaled_rows
