"""Every source keeps the contract of VolumeSource; recordings come out as they were stored."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner_bridge.errors import SourceError
from scanner_bridge.ports import VolumeSource
from scanner_bridge.sources import open_source
from scanner_bridge.sources.pacing import clock_id, paced
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import WIRE_DTYPES, RunHeader, Volume
from scanner_bridge.wire import decode, encode
from tests.emitting import VOLUME_KINDS, emitted, stored

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MOSAIC = DATA / "dicom" / "siemens_ve11_mosaic" / "dicom"
REAL_RUN = DATA / "nifti" / "real_epi_ge_60vol" / "bold.nii.gz"
nibabel: Any = untyped_nibabel
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded scanner data are not here")

AFFINE = np.array([[-3.0, 0, 0, 90], [0, 2.9, -0.7, -120], [0, 0.6, 3.4, -60], [0, 0, 0, 1]])


def voxels(shape: tuple[int, ...] = (5, 4, 3, 6), dtype: str = "<i2") -> NDArray[Any]:
    return np.arange(np.prod(shape)).reshape(shape, order="F").astype(dtype)


def write_run(path: Path, data: NDArray[Any], *, tr: float = 0.0, unit: str = "unknown", **sidecar: object) -> Path:
    image = nibabel.Nifti1Image(data, AFFINE)
    image.header["pixdim"][4] = tr
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, path)
    if sidecar:
        write_sidecar(path.with_name(path.name.partition(".nii")[0] + ".json"), **sidecar)
    return path


def write_sidecar(path: Path, **fields: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))


def simulated(**changes: Any) -> SourceSettings:
    return SourceSettings(kind="simulated", **{"n_volumes": 6, "shape": (8, 8, 5), **changes})


RECORDED_KINDS = ("mosaic", "xa", "philips", "par_rec", "cstore")


@pytest.fixture(
    params=[
        *("replay", "simulated", "paced", *VOLUME_KINDS),
        *(pytest.param(kind, marks=[needs_data, pytest.mark.data]) for kind in RECORDED_KINDS),
    ]
)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VolumeSource]:
    make: dict[str, Callable[[], VolumeSource]] = {
        "replay": lambda: open_source(write_run(tmp_path / "run.nii.gz", voxels(), RepetitionTime=1.5)),
        "simulated": lambda: open_source(simulated()),
        "paced": lambda: paced(open_source(simulated()), None),
        "mosaic": lambda: open_source(MOSAIC),
        "xa": lambda: open_source(DATA / "dicom" / "siemens_xa30_enhanced"),
        "philips": lambda: open_source(DATA / "dicom" / "philips_classic_phantom"),
        "par_rec": lambda: open_source(DATA / "parrec" / "philips_dump"),
    }
    if request.param == "cstore":
        with stored(MOSAIC) as heard:
            yield heard
        return
    if request.param in VOLUME_KINDS:
        with emitted(request.param, open_source(simulated()), expect=6) as heard:
            yield heard
        return
    opened = make[request.param]()
    yield opened
    opened.close()
    opened.close()


def test_every_source_keeps_the_contract(source: VolumeSource) -> None:
    header = source.header
    decoded = decode(encode(header))
    assert isinstance(decoded, RunHeader)
    assert header.dtype in WIRE_DTYPES
    volumes = list(source)
    assert [volume.index for volume in volumes] == list(range(len(volumes)))
    for volume in volumes:
        assert volume.data.shape == header.shape
        assert volume.data.dtype.newbyteorder("<").str == header.dtype
        np.testing.assert_allclose(volume.affine, header.affine, atol=1e-3)
        assert (volume.tr_s, volume.run_id) == (header.tr_s, header.run_id)
        assert isinstance(decode(encode(volume)), Volume)
    assert header.slice_times_s is None or len(header.slice_times_s) == header.shape[2]


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", "<i4", "<f4", "<f8", "|u1"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_recording_is_replayed_as_it_is_stored(tmp_path: Path, dtype: str, ending: str) -> None:
    data = voxels(dtype=dtype)
    image = nibabel.Nifti1Image(data, AFFINE, dtype=data.dtype)
    image.header.set_data_dtype(np.dtype(dtype))
    nibabel.save(image, tmp_path / f"run{ending}")
    write_sidecar(tmp_path / "run.json", RepetitionTime=2.0)
    opened = open_source(tmp_path / f"run{ending}")
    volumes = list(opened)
    np.testing.assert_array_equal(np.stack([volume.data for volume in volumes], axis=-1), data)
    np.testing.assert_allclose(opened.header.affine, AFFINE, atol=1e-6)
    assert opened.header.n_volumes == 6


def test_scanner_units_come_from_stored_value_slope_and_inter(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((5, 4, 3, 6))
    header.set_sform(AFFINE, code=1)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = 0.5, -3.0, 352
    with open(tmp_path / "run.nii", "wb") as file:
        header.write_to(file)
        file.write(voxels().tobytes(order="F"))
    write_sidecar(tmp_path / "run.json", RepetitionTime=2.0)
    expected = nibabel.load(tmp_path / "run.nii").get_fdata()
    for volume in open_source(tmp_path / "run.nii"):
        assert volume.data.dtype == np.int16
        np.testing.assert_array_equal(volume.slope * volume.data + volume.inter, expected[..., volume.index])


@pytest.mark.data
@needs_data
def test_the_real_run_replays_voxel_for_voxel() -> None:
    opened = open_source(REAL_RUN)
    expected = np.asanyarray(nibabel.load(REAL_RUN).dataobj)
    for volume in opened:
        np.testing.assert_array_equal(volume.data, expected[..., volume.index])
    assert (opened.header.tr_s, opened.header.n_volumes, opened.header.dtype) == (1.0, 60, "<i2")
    assert opened.header.slice_times_s is not None
    assert opened.header.slice_times_s[1] == 0.5


@pytest.mark.parametrize(("tr", "unit", "tr_s"), [(1.5, "sec", 1.5), (1500, "msec", 1.5), (720_000, "usec", 0.72)])
def test_without_a_sidecar_the_tr_is_the_headers(tmp_path: Path, tr: float, unit: str, tr_s: float) -> None:
    assert open_source(write_run(tmp_path / "run.nii", voxels(), tr=tr, unit=unit)).header.tr_s == tr_s


def test_the_sidecar_outranks_the_header(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.nii", voxels(), tr=1.0, unit="sec", RepetitionTime=0.8)
    assert open_source(path).header.tr_s == 0.8


@pytest.mark.parametrize(("tr", "unit"), [(0, "sec"), (2, "unknown"), (float("nan"), "sec"), (-1, "sec"), (1, "hz")])
def test_a_run_without_a_tr_is_refused_with_a_remedy(tmp_path: Path, tr: float, unit: str) -> None:
    path = write_run(tmp_path / "run.nii", voxels(), tr=tr, unit=unit)
    with pytest.raises(SourceError, match=r"states no repetition time.*RepetitionTime in run\.json.*in seconds"):
        open_source(path)


@pytest.mark.parametrize("stated", [0, -1, 2000, "fast", True, [2], float("inf")])
def test_a_tr_that_cannot_be_is_refused(tmp_path: Path, stated: object) -> None:
    path = write_run(tmp_path / "run.nii", voxels(), RepetitionTime=stated)
    with pytest.raises(SourceError, match=r"run\.json \(RepetitionTime\) states a TR of"):
        open_source(path)


def test_sidecars_are_inherited_key_by_key_the_nearest_first(tmp_path: Path) -> None:
    func = tmp_path / "sub-01" / "func"
    write_sidecar(tmp_path / "dataset_description.json", Name="test")
    write_sidecar(tmp_path / "task-music_bold.json", RepetitionTime=1.5, SliceTiming=[0, 0.5, 1.0])
    write_sidecar(tmp_path / "task-rest_bold.json", RepetitionTime=9.0)
    write_sidecar(tmp_path / "task-music_events.json", RepetitionTime=8.0)
    write_sidecar(func / "sub-01_task-music_run-1_bold.json", RepetitionTime=1.25)
    header = open_source(write_run(func / "sub-01_task-music_run-1_bold.nii.gz", voxels())).header
    assert (header.tr_s, header.slice_times_s) == (1.25, (0.0, 0.5, 1.0))


def test_slice_times_run_with_the_third_axis(tmp_path: Path) -> None:
    timing: dict[str, Any] = {"RepetitionTime": 1, "SliceTiming": [0, 0.3, 0.6]}
    forward = open_source(write_run(tmp_path / "a.nii", voxels(), **timing)).header
    backward = open_source(write_run(tmp_path / "b.nii", voxels(), **timing, SliceEncodingDirection="k-")).header
    assert (forward.slice_times_s, backward.slice_times_s) == ((0.0, 0.3, 0.6), (0.6, 0.3, 0.0))
    with pytest.raises(SourceError, match="2 times for 3 slices"):
        open_source(write_run(tmp_path / "c.nii", voxels(), RepetitionTime=1, SliceTiming=[0, 0.3]))


def test_a_recording_that_ends_early_gives_its_whole_volumes_and_then_says_so(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.nii", voxels(), RepetitionTime=1)
    path.write_bytes(path.read_bytes()[:-130])
    volumes = iter(open_source(path))
    assert [next(volumes).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(SourceError, match="ends in volume 4 of 6"):
        next(volumes)


def test_a_header_that_states_a_volume_too_large_to_send_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.nii", voxels(), RepetitionTime=1)
    content = bytearray(path.read_bytes())
    content[42:48] = b"\xff\x7f" * 3  # dim[1] to dim[3]: 32767 each, 70 TB a volume
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"run\.nii states volumes of 32767 x 32767 x 32767 voxels"):
        open_source(path)


def test_a_damaged_compressed_recording_says_where(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write_run(tmp_path / "run.nii.gz", rng.integers(0, 9999, (16, 16, 8, 6)).astype("<i2"), RepetitionTime=1)
    path.write_bytes(path.read_bytes()[:20_000])
    opened = open_source(path)
    with pytest.raises(SourceError, match=r"damaged in volume \d of 6|ends in volume \d of 6"):
        list(opened)
    opened.close()


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 3, 2, 2)])
def test_what_is_not_a_run_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(SourceError, match="dimensions, wanted 4"):
        open_source(write_run(tmp_path / "run.nii", voxels(shape), RepetitionTime=1))


def test_voxels_that_cannot_travel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="complex64"):
        open_source(write_run(tmp_path / "run.nii", voxels(dtype="<c8"), RepetitionTime=1))


@pytest.mark.parametrize("content", [b"", b"not an image", gzip.compress(b"neither", mtime=0), b"\x1f\x8b\x08"])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("run.nii", "run.nii.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match="as NIfTI"):
            open_source(tmp_path / name)


def test_a_path_is_enough_to_find_the_source(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run.nii.gz", voxels(), RepetitionTime=1)
    for way in (run, str(run), tmp_path, SourceSettings(path=run), SourceSettings(kind="replay", path=run)):
        assert open_source(way).header.source == "replay of a NIfTI file"
    assert "phantom" in open_source("simulated").header.source


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / "missing.nii")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"notes\.txt is not a file the bridge reads"):
        open_source(tmp_path / "notes.txt")
    for name in ("a.nii", "b.nii"):
        write_run(tmp_path / name, voxels(), RepetitionTime=1)
    with pytest.raises(SourceError, match=r"holds 2 NIfTI files \(a\.nii, b\.nii"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "tape"}, "kind"), ({"kind": "replay"}, "path"), ({}, "path"), ({"follow_s": -1.0}, "follow_s"),
        ({"poll_s": 0.0}, "poll_s"), ({"n_volumes": 0}, "n_volumes"), ({"shape": (8, 8)}, "shape"),
        ({"voxel_mm": (3.0, 0.0, 3.0)}, "voxel_mm"), ({"tr_s": float("nan")}, "tr_s"), ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(SourceError, match=word):
        SourceSettings(**changes)


def test_all_broken_settings_are_named_at_once() -> None:
    with pytest.raises(SourceError, match=r"poll_s.*n_volumes.*tr_s"):
        SourceSettings(kind="simulated", poll_s=0, n_volumes=0, tr_s=0)


def test_every_simulated_volume_carries_its_index_and_losses_show() -> None:
    volumes = list(open_source(simulated(lost_volumes=(2, 4))))
    assert [volume.index for volume in volumes] == [0, 1, 3, 5]
    assert [int(volume.data[0, 0, 0]) for volume in volumes] == [0, 1, 3, 5]


def test_a_simulated_volume_depends_on_seed_and_index_only() -> None:
    whole, again = list(open_source(simulated())), list(open_source(simulated(lost_volumes=(0, 1))))
    np.testing.assert_array_equal(whole[2].data, again[0].data)
    other = next(iter(open_source(simulated(seed=1))))
    assert not np.array_equal(whole[0].data, other.data)
    inside = whole[0].data[4, 4, 2]
    assert inside > 10 * whole[0].data[0, :, 0].mean()


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        self.now_s += duration_s


@given(st.floats(0.1, 20), st.floats(0.3, 3), st.lists(st.integers(0, 5), unique=True, max_size=5), st.floats(0, 4))
def test_volumes_are_handed_over_when_they_are_due(speed: float, tr_s: float, lost: list[int], busy_s: float) -> None:
    time = FakeTime()
    source = open_source(simulated(tr_s=tr_s, lost_volumes=tuple(lost), shape=(4, 4, 4)))
    run = paced(source, speed, clock=time.clock, sleep=time.sleep)
    header = run.header
    assert header.start_s == 1000.0
    free_s = time.now_s
    for volume in run:
        assert volume.due_s == pytest.approx(1000.0 + (volume.index + 1) * tr_s / speed)
        assert time.now_s == pytest.approx(max(volume.due_s, free_s))  # late only when the taker was
        time.now_s += busy_s
        free_s = time.now_s


def test_an_unpaced_volume_is_due_the_moment_it_is_handed_over() -> None:
    time = FakeTime()
    run = paced(open_source(simulated()), None, clock=time.clock, sleep=time.sleep)
    for number, volume in enumerate(run):
        assert volume.due_s == 1000.0 + number
        time.now_s += 1
    assert time.slept_s == []


def test_a_run_keeps_its_name_when_it_is_served_again_and_names_its_clock() -> None:
    one, two = paced(open_source(simulated()), None), paced(open_source(simulated()), None)
    assert one.header.run_id == two.header.run_id != ""
    assert one.header is one.header
    assert one.header.clock_id == two.header.clock_id == clock_id() != ""
    assert {volume.run_id for volume in one} == {one.header.run_id}


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(SourceError, match="speed is a positive number"):
        paced(open_source(simulated()), speed)
