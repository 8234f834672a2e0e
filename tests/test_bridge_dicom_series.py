"""DICOM objects of every maker become the volumes that dcm2niix makes of them, in any order, one by one."""

import random
from pathlib import Path

import numpy as np
import pytest

from scanner_bridge.sources.series import Assembler, SeriesAssembly
from scanner_bridge.volume import RunHeader, Volume
from tests.benchmarks.bridge import KINDS, parse_cost
from tests.recorded_series import NAMES, both_marks, contents, reference, voxels_there

pytestmark = both_marks

ANNOUNCED = {
    "siemens_ve11_mosaic": 60, "siemens_ve11_mosaic_5slices_PE_AP": 2, "siemens_ve11_mosaic_5slices_PE_RL": 2,
    "siemens_xa30_enhanced": 20, "ge_dv24_slices": 60, "ge_dv26_interleaved": 10, "philips_classic_phantom": 3,
    "canon_classic_slices": None, "uih_grid_dti": None,
}  # fmt: skip
SLICE_TIME_S = {"siemens_xa30_enhanced": 0.0026, "uih_grid_dti": 0.013}
"""How far dcm2niix's slice times are from the files' own: XA30 states 0.8 s where it has 0.8025 s, UIH 5.559 s where
it has 5.5625 s (float32 of the time of day)."""


def assemble(files: list[bytes]) -> SeriesAssembly:
    assembler = Assembler()
    for number, content in enumerate(files):
        verdict = assembler.take(f"{number}.dcm", content)
        assert verdict.kind in ("part", "complete"), verdict
    (series,) = assembler.series.values()
    series.finish()
    return series


def header_of(series: SeriesAssembly) -> RunHeader:
    assert series.header is not None
    return series.header


def volumes_of(series: SeriesAssembly) -> list[Volume]:
    return [series.pop(index) for index in series.ready]


@pytest.mark.parametrize("name", NAMES)
def test_a_series_equals_its_dcm2niix_conversion_in_world_space(name: str, tmp_path: Path) -> None:
    wanted, series = reference(name), assemble(contents(name, tmp_path))
    header, volumes = header_of(series), volumes_of(series)
    assert len(volumes) == wanted.values.shape[3]
    there = voxels_there(header.affine, header.shape, wanted.affine)
    first = volumes[0].index
    for volume in volumes:
        values = volume.slope * volume.data.astype(np.float64) + volume.inter
        expected = wanted.values[there[0], there[1], there[2], volume.index - first]
        np.testing.assert_allclose(values.ravel(), expected, rtol=1e-7)  # NIfTI states slopes in float32
    assert header.tr_s == pytest.approx(wanted.sidecar["RepetitionTime"], abs=1e-5)
    assert header.n_volumes == ANNOUNCED[name]


@pytest.mark.parametrize("name", NAMES)
def test_slice_times_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    wanted, header = reference(name), header_of(assemble(contents(name, tmp_path)))
    if "SliceTiming" not in wanted.sidecar:
        assert header.slice_times_s is None
        return
    assert header.slice_times_s is not None
    slices = voxels_there(header.affine, header.shape, wanted.affine)[2].reshape(header.shape)[0, 0]
    expected = np.array(wanted.sidecar["SliceTiming"])[slices]
    np.testing.assert_allclose(header.slice_times_s, expected, atol=SLICE_TIME_S.get(name, 1e-5))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_arrival_changes_nothing(name: str, tmp_path: Path) -> None:
    files = contents(name, tmp_path)
    in_order, shuffled = assemble(files), assemble(random.Random(7).sample(files, len(files)))
    assert header_of(in_order).run_id == header_of(shuffled).run_id
    assert in_order.ready == shuffled.ready
    for one, other in zip(volumes_of(in_order), volumes_of(shuffled), strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.affine, other.affine)


@pytest.mark.parametrize("name", NAMES)
def test_what_came_before_is_told_apart_from_what_contradicts_it(name: str, tmp_path: Path) -> None:
    assembler, files = Assembler(), contents(name, tmp_path)
    for content in files:
        assembler.take("first.dcm", content)
    assert {assembler.take("again.dcm", content).kind for content in files} == {"repeated"}
    changed = bytearray(files[0])
    changed[-5000] ^= 1
    verdict = assembler.take("other.dcm", bytes(changed))
    assert (verdict.kind, verdict.rule) == ("conflicting", "second-image")
    assert verdict.reason.startswith("other.dcm: it came before with other content")


def test_the_benchmark_reads_every_kind_of_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # without dcm2niix: its ratios are left out, and it is named as missing
    figures = parse_cost(rounds=1)
    assert figures["missing"] == ["dcm2niix"]
    assert {f"parse_{kind}_ms" for kind in KINDS} == figures.keys() - {"missing"}
    assert all(figures[f"parse_{kind}_ms"]["median"] > 0 for kind in KINDS)
