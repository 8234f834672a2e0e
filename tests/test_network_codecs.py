"""Bytes of AFNI and Pyneal: as documented, there and back; and of vsend, too: never more than an error of ours."""

import contextlib
import json
import math
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge.errors import ProtocolError, SourceError
from scanner_bridge.sources import afni_codec, pyneal_codec, vsend_codec
from scanner_bridge.sources.grid import MAX_VOLUME_BYTES, MAX_VOLUMES, Grid
from tests.codec_bytes import (
    AFFINE,
    AFNI_TYPES,
    ALIGNED,
    PACKED,
    PYNEAL_TYPES,
    VSEND_TYPES,
    assert_same,
    grids,
    sent_by_a_scanner,
    voxels_of,
)

# AFNI


def afni(**changes: str | None) -> bytes:
    """The sample of AFNI's README.realtime, some commands changed."""
    commands = {
        "ACQUISITION_TYPE": "2D+zt", "TR": "5.0", "XYFOV": "240.0 240.0 112.0", "ZNUM": "16",
        "XYZAXES": "S-I A-P L-R", "DATUM": "short", "XYMATRIX": "64 64", **changes,
    }  # fmt: skip
    lines = [f"{name} {words}\n" for name, words in commands.items() if words is not None]
    return "".join(lines).encode("latin-1") + b"\0"


def test_the_sample_of_afnis_documentation_is_understood() -> None:
    run = afni_codec.decode_commands(afni() + b"\1\2")
    assert run is not None
    assert (run.grid.shape, run.grid.dtype, run.grid.tr_s, run.n_channels) == ((64, 64, 16), "<i2", 5.0, 1)
    assert run.slice_order == (0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)  # alt, the documented default
    assert run.n_image_bytes == 8192
    expected = [[0, 0, 7, -52.5], [0, -3.75, 0, 118.125], [-3.75, 0, 0, 118.125], [0, 0, 0, 1]]
    np.testing.assert_allclose(run.grid.affine, expected)


def test_first_positions_are_placed_on_the_side_they_name() -> None:
    run = afni_codec.decode_commands(afni(XYZFIRST="30 20A 50R"))  # AFNI's own example: 30S, 20A, 50R
    assert run is not None
    np.testing.assert_allclose(run.grid.affine[:3, 3], [50, 20, 30])
    other = afni_codec.decode_commands(afni(XYZFIRST="30 20A 50"))  # without R it is 50L
    assert other is not None
    np.testing.assert_allclose(other.grid.affine[:3, 3], [-50, 20, 30])
    only_z = afni_codec.decode_commands(afni(ZFIRST="-12R"))
    assert only_z is not None
    np.testing.assert_allclose(only_z.grid.affine[:3, 3], [-12, 118.125, 118.125])


def test_what_dimon_sends_is_understood() -> None:
    header = afni(
        ACQUISITION_TYPE="3D+timing", ZORDER="seq", TPATTERN="explicit 0.000 1.000 0.500 1.500", TR="2.000000",
        XYFOV="192.000000 192.000000 16.000000", XYMATRIX="64 64 4", ZNUM=None, XYZAXES="R-L A-P I-S",
        XYZFIRST="94.5R 94.5A 6I", BYTEORDER="MSB_FIRST", NUM_CHAN="1", GRAPH_XRANGE="120",
        OBLIQUE_XFORM="3 0 0 -94.5 0 2.9 0.7 -90 0 -0.7 2.9 -20 0 0 0 1",
        DRIVE_AFNI="OPEN_WINDOW axialimage", NOTE="created by NOBODY^KNOWN",
    )  # fmt: skip
    run = afni_codec.decode_commands(header)
    assert run is not None
    assert (run.grid.shape, run.grid.dtype, run.slice_order) == ((64, 64, 4), ">i2", ())
    assert run.slice_times_s == (0.0, 1.0, 0.5, 1.5)
    # OBLIQUE_XFORM is voxel to DICOM's patient system, whose x and y point left and back
    np.testing.assert_allclose(run.grid.affine[:3], [[-3, 0, 0, 94.5], [0, -2.9, -0.7, 90], [0, -0.7, 2.9, -20]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"XYMATRIX": None}, "no XYMATRIX"), ({"ZNUM": None}, "no ZNUM"), ({"XYZAXES": None}, "no XYZAXES"),
        ({"XYFOV": None}, "no XYFOV"), ({"XYFOV": "240 240"}, "no ZDELTA"), ({"DATUM": "complex"}, "DATUM"),
        ({"XYMATRIX": "64"}, "1 values, wanted 2"), ({"XYMATRIX": "64 x"}, "wanted numbers"),
        ({"XYMATRIX": "64 0"}, "1 to 1024"), ({"XYMATRIX": f"64 {'9' * 400}"}, "finite"), ({"TR": "nan"}, "finite"),
        ({"XYMATRIX": "1024 1024", "ZNUM": "1024"}, "at most"), ({"XYZAXES": "S-I A-P I-S"}, "XYZAXES"),
        ({"XYZAXES": "S-X A-P I-S"}, "XYZAXES"), ({"XYZFIRST": "1A 2A 3R"}, "first position"),
        ({"XYZFIRST": "1 2 R"}, "first position"), ({"BYTEORDER": "PDP"}, "BYTEORDER"),
        ({"NUM_CHAN": "99"}, "NUM_CHAN"),
        ({"OBLIQUE_XFORM": "1 2"}, "2 values, wanted 16"), ({"OBLIQUE_XFORM": "0 " * 16}, "position that no volume"),
        ({"TR": "-1"}, "repetition time"), ({"XYMATRIX": "2 2"}, "the end of a run would not fit"),
        ({"TPATTERN": "explicit 0 1"}, "3 values, wanted 17"),
    ],
)  # fmt: skip
def test_an_afni_header_that_cannot_be_is_refused_by_name(changes: dict[str, str | None], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        afni_codec.decode_commands(afni(**changes))


@pytest.mark.parametrize(
    ("line", "port"),
    [(b"tcp:localhost:7953\0", 7953), (b"tcp:10.0.0.2:40000\n3T_toafni\0", 40000), (b"tcp:loc", None), (b"", None)],
)
def test_a_control_line_names_the_data_port(line: bytes, port: int | None) -> None:
    assert afni_codec.decode_control(line) == port


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"shm:grv:1M\0", "shared memory"), (b"tcp:here:80\0", "from 1024"), (b"tcp:here:99999999\0", "from 1024"),
        (b"GET / HTTP/1.1\0", "tcp:HOST:PORT"), (b"\x16\x03\x01", "it begins with 16 03 01"), (b"\0", "no data chan"),
    ],
)  # fmt: skip
def test_a_control_line_of_something_else_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        afni_codec.decode_control(line)


@settings(deadline=None)  # a noisy machine
@given(st.data(), grids(AFNI_TYPES), st.booleans())
def test_afni_runs_and_images_go_there_and_back(data: st.DataObject, grid: Grid, by_slice: bool) -> None:
    n_slices = grid.shape[2]
    order = (*range(0, n_slices, 2), *range(1, n_slices, 2)) if by_slice else ()
    times = tuple(round(0.1 * number, 6) for number in range(n_slices))
    run = afni_codec.AfniRun(grid, order, times)
    decoded = afni_codec.decode_commands(afni_codec.encode_commands(run))
    assert decoded is not None
    assert_same(decoded.grid, grid)
    assert (decoded.slice_order, decoded.slice_times_s) == (order, times)
    voxels = voxels_of(data.draw, grid)
    np.testing.assert_array_equal(afni_codec.decode_image(afni_codec.encode_image(voxels, run), decoded), voxels)


def test_slices_lie_in_the_order_in_which_they_are_sent() -> None:
    run = afni_codec.AfniRun(Grid((6, 5, 3), "<i2", AFFINE, 1.0), (0, 2, 1))
    slices = [np.full(30, value, "<i2").tobytes() for value in (10, 30, 20)]
    voxels = afni_codec.decode_image(b"".join(slices), run)
    assert [int(voxels[0, 0, z]) for z in range(3)] == [10, 20, 30]


def test_the_end_of_an_afni_run_is_a_block_like_an_image() -> None:
    run = afni_codec.AfniRun(Grid((6, 5, 3), "<i2", AFFINE, 1.0))
    assert afni_codec.encode_end(run) == b"Et Earello Endorenna utulien!!" + bytes(150)


# Pyneal


def pyneal(**changes: Any) -> bytes:
    fields = {
        "volIdx": 3, "dtype": "float64", "shape": [4, 3, 2], "affine": json.dumps(AFFINE.tolist()), "TR": "1.5",
        **changes,
    }  # fmt: skip
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


@pytest.mark.parametrize(("tr", "tr_s"), [("1.5", 1.5), ("1500", 1.5), (2, 2.0)])
def test_a_header_as_pyneal_writes_it_is_understood(tr: Any, tr_s: float) -> None:
    header = pyneal_codec.decode_header(pyneal(TR=tr, extra={"of": ["a", "fork"]}))
    assert header.index == 3
    assert_same(header.grid, Grid((4, 3, 2), "<f8", AFFINE, tr_s))


def test_voxels_of_pyneal_are_in_c_order() -> None:
    header = pyneal_codec.decode_header(pyneal(dtype="int16"))
    voxels = np.arange(24, dtype="<i2").reshape(4, 3, 2)
    np.testing.assert_array_equal(pyneal_codec.decode_voxels(voxels.tobytes(), header), voxels)
    with pytest.raises(ProtocolError, match="sent 3 bytes of voxels, wanted 48"):
        pyneal_codec.decode_voxels(b"abc", header)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"volIdx": -1}, "volume -1"), ({"volIdx": MAX_VOLUMES}, "wanted 0 to"), ({"volIdx": "3"}, "volIdx"),
        ({"dtype": "object"}, "its dtype is not known"), ({"dtype": "int64"}, "its dtype is not known"),
        ({"shape": [4, 3]}, "shape"),
        ({"shape": [4, 3, 0]}, "1 to 1024"), ({"shape": [1024, 1024, 1024]}, "at most"), ({"TR": None}, "TR"),
        ({"TR": "soon"}, "no number"), ({"TR": "inf"}, "repetition time"), ({"affine": "[[1, 2]]"}, "affine"),
        ({"affine": "[" * 100_000}, "at most"), ({"affine": "[" * 10_000}, "wanted Pyneal's header"),
        ({"affine": json.dumps(np.zeros((4, 4)).tolist())}, "position that no volume"),
        ({"affine": json.dumps([[1, 2, 3, 4]] * 3)}, "12 numbers"),
    ],
)  # fmt: skip
def test_a_pyneal_header_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        pyneal_codec.decode_header(pyneal(**changes))


@settings(deadline=None)  # a noisy machine
@given(st.data(), grids(PYNEAL_TYPES))
def test_pyneal_volumes_go_there_and_back(data: st.DataObject, grid: Grid) -> None:
    header = pyneal_codec.PynealHeader(data.draw(st.integers(0, 9999)), grid)
    voxels = voxels_of(data.draw, grid)
    decoded = pyneal_codec.decode_header(pyneal_codec.encode_header(header))
    assert decoded.index == header.index
    assert_same(decoded.grid, grid)
    np.testing.assert_array_equal(
        pyneal_codec.decode_voxels(pyneal_codec.encode_voxels(voxels, header), decoded), voxels
    )


def test_answers_are_pyneals() -> None:
    assert pyneal_codec.reply(12, stop=False) == b"received volIdx 12"
    assert pyneal_codec.reply(12, stop=True) == b"received volIdx 12 STOP"


# whatever comes

DECODERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "control": (afni_codec.decode_control, b"tcp:localhost:7953\0"),
    "commands": (afni_codec.decode_commands, afni(XYZFIRST="30 20A 50R", TPATTERN="alt+z")),
    "vsend": (vsend_codec.decode_header, bytes(sent_by_a_scanner(ALIGNED))),
    "vsend packed, with sizes": (
        vsend_codec.decode_header, struct.pack("<ii", 605, 120) + bytes(sent_by_a_scanner(PACKED)),
    ),
    "pyneal": (pyneal_codec.decode_header, pyneal()),
}  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
@settings(deadline=None)  # a noisy machine
@given(st.data())
def test_whatever_comes_a_decoder_raises_nothing_but_our_errors(name: str, data: st.DataObject) -> None:
    decode, valid = DECODERS[name]
    received = bytearray(valid)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(valid) - 1), st.integers(0, 255)), max_size=8)):
        received[at] = value
    cut = data.draw(st.integers(0, len(valid)))
    for candidate in (bytes(received), bytes(received[:cut]) + data.draw(st.binary(max_size=64))):
        with contextlib.suppress(SourceError):
            decode(candidate)


@pytest.mark.parametrize("name", ["commands", "vsend", "pyneal"])
def test_no_claim_makes_a_decoder_reserve_memory(name: str) -> None:
    decode, _ = DECODERS[name]
    claims = {
        "commands": afni(XYMATRIX="1024 1024 1024"),
        "vsend": bytes(sent_by_a_scanner(ALIGNED, nRead=1024, nPhase=1024, nSlices=1024)),
        "pyneal": pyneal(shape=[1024, 1024, 1024]),
    }
    for _ in range(2):  # the first may load something
        tracemalloc.start()
        with pytest.raises(ProtocolError, match="at most"):
            decode(claims[name])
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


@given(st.tuples(*[st.integers(-2, 2000)] * 3), st.sampled_from(VSEND_TYPES))
def test_no_grid_is_larger_than_what_is_read(shape: tuple[int, int, int], dtype: str) -> None:
    try:
        grid = Grid(shape, dtype, AFFINE, 1.0)
    except ProtocolError:
        return
    assert math.prod(shape) * np.dtype(dtype).itemsize == grid.n_bytes <= MAX_VOLUME_BYTES
