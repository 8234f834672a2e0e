"""Scanners that no recorded series is from: synthetic objects of known voxels come out as these voxels, in place."""

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from scanner_bridge.sources.assembly import SeriesAssembly
from scanner_bridge.sources.dicom_ge import ge_slice_time_s
from scanner_bridge.sources.dicom_object import read_object
from scanner_bridge.sources.series import Assembler
from tests import dicom_builder as made
from tests.dicom_builder import N_SLICES, N_VOLUMES, ROWS, VOXELS

SLICE_PER_OBJECT: dict[str, Callable[[int, int], bytes]] = {
    "XA classic": made.xa_classic_slice,
    "GE": made.ge_slice,
    "GE multiband": lambda volume, number: made.ge_slice(volume, number, bands=2),
    "Philips, slice-major": made.philips_slice,
    "Philips, volume-major": lambda volume, number: made.philips_slice(volume, number, slice_major=False),
    "Philips without volume, slice-major": lambda volume, number: made.philips_slice(volume, number, named=False),
    "Philips without volume, volume-major": lambda volume, number: made.philips_slice(
        volume, number, slice_major=False, named=False
    ),
    "of unknown length": made.plain_slice,
}
ENHANCED: dict[str, list[bytes]] = {
    "Philips, the run in one object": [made.enhanced([0, 1, 2, 3])],
    "Philips, an object per volume": [made.enhanced([volume]) for volume in range(N_VOLUMES)],
    "Philips with phase": [made.enhanced([0, 1, 2, 3], with_phase=True)],
    "time as a dimension": [made.enhanced([0, 1, 2, 3], timed="dimension")],
    "no time at all": [made.enhanced([0, 1, 2, 3], timed="none")],
    "Siemens, an object per volume": [made.enhanced([volume], maker="SIEMENS") for volume in range(N_VOLUMES)],
}


def assemble(contents: list[bytes]) -> SeriesAssembly:
    assembler = Assembler()
    for number, content in enumerate(contents):
        verdict = assembler.take(f"{number}.dcm", content)
        assert verdict.kind in ("part", "complete"), verdict
    (series,) = assembler.series.values()
    series.finish()
    return series


def assert_known(series: SeriesAssembly, slope: float = 1.0, inter: float = 0.0) -> None:
    """All volumes are there, with the voxels that were written, where they were written."""
    assert series.whole == tuple(range(N_VOLUMES))
    header = series.header
    assert header is not None
    for number in range(N_SLICES):
        corner = header.affine @ [0, ROWS - 1, number, 1]
        np.testing.assert_allclose(corner[:3] * [-1, -1, 1], made.position_mm(number), atol=1e-4)
    first = header.affine[:3, :3] * np.array([[-1], [-1], [1]])
    np.testing.assert_allclose(first[:, 0], made.ROW * made.SPACING_MM[1], atol=1e-5)
    np.testing.assert_allclose(first[:, 1], -made.COLUMN * made.SPACING_MM[0], atol=1e-5)
    for index in series.ready:
        volume = series.pop(index)
        planes = volume.data[:, ::-1, :].transpose(2, 1, 0)
        np.testing.assert_array_equal(planes, VOXELS[index])
        assert (volume.slope, volume.inter) == (slope, inter)


@pytest.mark.parametrize("name", SLICE_PER_OBJECT)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_an_object_per_slice_in_any_order(name: str, seed: int | None) -> None:
    write = SLICE_PER_OBJECT[name]
    contents = [write(volume, number) for volume, number in itertools.product(range(N_VOLUMES), range(N_SLICES))]
    if seed is not None:
        random.Random(seed).shuffle(contents)
    precise = (4.0, -3 / (1.5 * 0.25)) if "Philips" in name else (1.0, 0.0)
    assert_known(assemble(contents), *precise)


@pytest.mark.parametrize("name", ENHANCED)
def test_an_enhanced_object_holds_a_volume_or_a_run(name: str) -> None:
    assert_known(assemble(ENHANCED[name]))


def test_philips_precise_scale_is_found_in_its_nested_fields_and_its_second_position_is_not() -> None:
    assert_known(assemble([made.enhanced([0, 1, 2, 3], slopes=[1.5] * N_SLICES, scale_slope=0.25)]), slope=4.0)


def test_slices_of_one_volume_with_different_scales_become_scanner_units() -> None:
    slopes = [1.0, 1.5, 2.0, 0.5, 3.0, 1.25]
    series = assemble([made.enhanced([0, 1, 2, 3], slopes=slopes)])
    assert series.header is not None
    assert series.header.dtype == "<f4"
    for index in series.ready:
        planes = series.pop(index).data[:, ::-1, :].transpose(2, 1, 0)
        np.testing.assert_array_equal(planes, VOXELS[index] * np.array(slopes)[:, None, None])


def test_a_volume_of_several_scales_in_a_run_of_one_is_named() -> None:
    assembler = Assembler()
    assembler.take("0.dcm", made.enhanced([0]))
    verdict = assembler.take("1.dcm", made.enhanced([1], slopes=[1.0, 2.0, 1.0, 1.0, 1.0, 1.0]))
    assert (verdict.kind, verdict.rule) == ("conflicting", "protocol")
    assert "different scales" in verdict.reason


def test_slice_times_of_xa_slices_pass_midnight_unharmed() -> None:
    contents = [made.xa_classic_slice(0, number) for number in range(N_SLICES)]
    late = made.changed(contents[2], AcquisitionTime="000000.100000")
    header = assemble([*contents[:2], late, *contents[3:], *(made.xa_classic_slice(1, n) for n in range(6))]).header
    assert header is not None
    assert header.slice_times_s == (0.0, 0.1, 0.6, 0.0, 0.1, 0.2)


@pytest.mark.parametrize(
    ("options", "tr_s", "steps"),
    [
        ({"order": "0"}, 1.2, (0, 1, 2, 3, 4, 5)),
        ({"order": "1"}, 1.2, (0, 3, 1, 4, 2, 5)),
        ({"order": "1", "delay_s": 0.8}, 2.0, (0, 3, 1, 4, 2, 5)),
        ({"order": "1", "bands": 2}, 1.2, (0, 4, 2, 0, 4, 2)),
        ({"order": "1", "bands": 3}, 1.2, (0, 3, 0, 3, 0, 3)),
        ({"order": "1", "bands": 3, "release": "26.0_R01"}, 1.2, (0, 4, 2, 0, 4, 2)),
        ({"order": ""}, 1.2, (0, 0.5, 1, 1.5, 2, 2.5)),
    ],
    ids=["sequential", "interleaved", "with a delay", "multiband 2", "multiband 3", "old release", "slice timer"],
)
def test_ge_slice_times_follow_order_bands_and_delay(
    options: dict[str, object], tr_s: float, steps: tuple[float, ...]
) -> None:
    """Steps of a sixth of the TR without its delay; older releases made an even number of multiband excitations odd."""
    write = made.ge_slice
    header = assemble([write(volume, n, **options) for volume in range(2) for n in range(N_SLICES)]).header  # type: ignore[arg-type]
    assert header is not None
    assert header.tr_s == pytest.approx(tr_s)
    assert header.n_volumes == N_VOLUMES
    assert header.slice_times_s is not None
    np.testing.assert_allclose(header.slice_times_s, np.array(steps) * 0.2, atol=1e-6)


def test_ge_multiband_exchanges_the_last_odd_slices_from_release_27_r03_on() -> None:
    fields = read_object(made.ge_slice(0, 0, bands=2)).fields
    times_s = [ge_slice_time_s(fields, rank, 8) for rank in range(8)]
    np.testing.assert_allclose(np.array(times_s) / 0.3, [0, 3, 1, 2, 0, 3, 1, 2])


def test_volumes_of_unknown_length_are_whole_when_a_third_begins_and_two_have_the_same_places() -> None:
    assembler = Assembler()
    verdicts = [
        assembler.take("x", made.plain_slice(volume, number)) for volume in range(2) for number in range(N_SLICES)
    ]
    assert {verdict.kind for verdict in verdicts} == {"part"}
    third = assembler.take("x", made.plain_slice(2, 0))
    assert (third.kind, third.indices) == ("complete", (0, 1))


def test_a_few_slices_of_two_volumes_that_come_in_turns_are_not_taken_for_whole_volumes() -> None:
    assembler = Assembler()
    kinds = [assembler.take("x", made.plain_slice(volume, number)).kind for number in range(3) for volume in range(2)]
    assert set(kinds) == {"part"}


def test_a_volume_with_missing_slices_is_never_whole() -> None:
    assembler = Assembler()
    for number in (0, 1, 3, 4, 5):
        assembler.take("x", made.ge_slice(0, number))
    for number in (0, 1, 3, 4, 5):
        assembler.take("x", made.plain_slice(2, number))
    for series in assembler.series.values():
        assert series.finish() == series.whole == ()
        assert list(series.partial) in ([0], [0, 2])
