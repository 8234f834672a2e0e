"""A folder of DICOM files: complete volumes only, in the image's own order."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner_bridge.errors import SourceError
from scanner_bridge.sources import open_source
from scanner_bridge.sources.dicom_folder import DicomFolderSource
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.sources.verdict import Verdict
from scanner_bridge.volume import Volume
from scanner_bridge.wire import encode
from tests import dicom_builder as made

DICOM = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom"
SERIES = DICOM / "siemens_ve11_mosaic"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not SERIES.is_dir(), reason="the recorded scanner data are not here"),
]


def files() -> list[Path]:
    return sorted((SERIES / "dicom").iterdir())


class Scanner:
    """Writes into a folder while the source sleeps: one step of its program per sleep, on a clock of its own."""

    def __init__(self, *program: Callable[[], object]) -> None:
        self.now_s = 0.0
        self.program = list(program)

    def clock(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        if self.program:
            self.program.pop(0)()


def follow(folder: Path, scanner: Scanner, **changes: Any) -> DicomFolderSource:
    settings = SourceSettings(path=folder, **{"follow_s": 3.0, "poll_s": 0.1, "watching": "poll", **changes})
    return DicomFolderSource(folder, settings, sleep=scanner.sleep, clock=scanner.clock)


def put(number: int, folder: Path, name: str | None = None) -> Callable[[], object]:
    """A step: the whole file of a volume (counted from 1) appears."""
    source = files()[number - 1]
    return lambda: shutil.copyfile(source, folder / (name or source.name))


def changed(number: int, path: Path, **fields: object) -> Callable[[], object]:
    """A step: the file of a volume appears with some header fields changed."""
    dataset = pydicom.dcmread(files()[number - 1])
    for name, value in fields.items():
        setattr(dataset, name, value)
    return lambda: dataset.save_as(path)


def wait(n_steps: int) -> list[Callable[[], object]]:
    return [lambda: None] * n_steps


def take(content: bytes) -> tuple[Verdict, Volume | None]:
    """The verdict on one file alone, and the volume it makes, if any."""
    assembler = Assembler()
    verdict = assembler.take("1.dcm", content)
    ready = [series.pop(index) for series in assembler.series.values() for index in series.ready]
    return verdict, ready[0] if ready else None


def test_timing_and_length_come_from_the_headers() -> None:
    header = open_source(SERIES).header
    assert (header.tr_s, header.n_volumes, header.shape) == (1.0, 60, (64, 64, 18))
    assert header.slice_times_s is not None
    assert header.slice_times_s[:3] == (0.49, 0.0, 0.5425)


def test_the_place_in_the_run_is_the_headers_never_the_file_name(tmp_path: Path) -> None:
    for number, name in ((1, "z.dcm"), (2, "a.dcm"), (3, "m.dcm")):
        put(number, tmp_path, name)()
    expected = list(open_source(SERIES))
    volumes = list(open_source(tmp_path))
    assert [volume.index for volume in volumes] == [0, 1, 2]
    for volume in volumes:
        np.testing.assert_array_equal(volume.data, expected[volume.index].data)


def test_a_file_cut_anywhere_is_never_taken_for_a_volume() -> None:
    whole = files()[0].read_bytes()
    _, whole_volume = take(whole)
    assert whole_volume is not None
    places = [*range(0, len(whole), 4096), *range(len(whole) - 64, len(whole))]
    assert len(places) >= 140
    for n_bytes in places:
        verdict, volume = take(whole[:n_bytes])
        if volume is not None:  # cut in the padding behind the pixels
            np.testing.assert_array_equal(volume.data, whole_volume.data)
            assert n_bytes > len(whole) - 64
        else:
            assert verdict.kind == ("unfinished" if n_bytes >= 132 else "foreign")


def test_a_file_that_grows_is_a_volume_once_it_is_whole(tmp_path: Path) -> None:
    whole, path = files()[0].read_bytes(), tmp_path / "1.dcm"
    parts = range(0, len(whole) + 40_000, 40_000)
    scanner = Scanner(*[lambda end=end: path.write_bytes(whole[:end]) for end in parts])
    volumes = list(follow(tmp_path, scanner))
    assert [volume.index for volume in volumes] == [0]
    np.testing.assert_array_equal(volumes[0].data, next(iter(open_source(SERIES))).data)


def test_volumes_come_as_they_are_written_and_the_run_ends_with_silence(tmp_path: Path) -> None:
    scanner = Scanner(*[put(number, tmp_path) for number in range(1, 9)])
    source = follow(tmp_path, scanner)
    seen = [(volume.index, len(list(tmp_path.iterdir()))) for volume in source]
    assert seen == [(index, index + 1) for index in range(8)]
    assert 0.8 + 3.0 <= scanner.now_s <= 0.8 + 3.0 + 0.3


def test_a_volume_that_overtakes_waits_for_the_one_before(tmp_path: Path) -> None:
    scanner = Scanner(put(1, tmp_path), put(3, tmp_path), *wait(3), put(2, tmp_path), put(4, tmp_path))
    assert [volume.index for volume in follow(tmp_path, scanner)] == [0, 1, 2, 3]


def test_a_volume_that_never_came_is_a_missing_index_after_one_tr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scanner = Scanner(put(1, tmp_path), put(3, tmp_path), *wait(20), put(2, tmp_path), put(4, tmp_path))
    when_s = {volume.index: scanner.now_s for volume in follow(tmp_path, scanner)}
    assert list(when_s) == [0, 2, 3]
    assert 1.0 <= when_s[2] - when_s[0] <= 1.4
    assert "did not come" in caplog.text


def test_the_run_ends_at_once_when_all_announced_volumes_came(tmp_path: Path) -> None:
    series = DICOM / "siemens_ve11_mosaic_5slices_PE_AP" / "dicom"
    scanner = Scanner()
    assert [volume.index for volume in follow(series, scanner, follow_s=100.0)] == [0, 1]
    assert scanner.now_s == 0


def test_a_run_that_ends_with_an_unfinished_file_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(1, tmp_path)()
    (tmp_path / "2.dcm").write_bytes(files()[1].read_bytes()[:-10_000])
    volumes = iter(open_source(tmp_path))
    assert next(volumes).index == 0
    with caplog.at_level("WARNING"), pytest.raises(SourceError, match="ended with 1 unfinished or damaged files"):
        next(volumes)
    assert "2.dcm was never finished" in caplog.text


def test_another_file_with_the_same_number_does_not_replace_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(1, tmp_path, "1.dcm")()
    put(1, tmp_path, "copy.dcm")()
    changed(2, tmp_path / "other.dcm", InstanceNumber=1)()
    put(2, tmp_path, "zz.dcm")()
    volumes = list(open_source(tmp_path))
    expected = list(open_source(SERIES))
    assert [volume.index for volume in volumes] == [0, 1]
    np.testing.assert_array_equal(volumes[0].data, expected[0].data)
    assert caplog.text.count("other.dcm: it is a second image of volume 0") == 1


def test_a_second_series_is_left_alone_while_the_first_is_followed(tmp_path: Path) -> None:
    other = changed(2, tmp_path / "other.dcm", SeriesInstanceUID="1.2.3", SeriesNumber=14)
    scanner = Scanner(put(1, tmp_path), other, put(2, tmp_path))
    assert [volume.index for volume in follow(tmp_path, scanner)] == [0, 1]


def test_a_series_that_was_restarted_does_not_keep_the_old_run_alive(tmp_path: Path) -> None:
    restart = [
        changed(number, tmp_path / f"new{number}.dcm", SeriesInstanceUID="1.2.3", SeriesNumber=14)
        for number in range(1, 9)
    ]
    spaced = [step for file in restart for step in (file, *wait(9))]
    scanner = Scanner(put(1, tmp_path), *spaced)
    assert [volume.index for volume in follow(tmp_path, scanner)] == [0]
    assert scanner.now_s < 0.1 + 3.0 + 0.3


def test_a_first_file_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    scanner = Scanner(*wait(100), put(1, tmp_path))
    assert [volume.index for volume in follow(tmp_path, scanner)] == [0]


def test_several_recorded_series_need_a_choice(tmp_path: Path) -> None:
    put(1, tmp_path)()
    changed(2, tmp_path / "other.dcm", SeriesInstanceUID="1.2.3", SeriesNumber=14)()
    with pytest.raises(SourceError, match=r"holds the series \[13, 14\]: say which"):
        _ = open_source(tmp_path).header
    chosen = open_source(SourceSettings(path=tmp_path, series=14))
    assert [volume.index for volume in chosen] == [1]
    with pytest.raises(SourceError, match=r"holds the series \[13, 14\], wanted 15"):
        _ = open_source(SourceSettings(path=tmp_path, series=15)).header


def test_files_that_were_there_before_can_be_left_alone(tmp_path: Path) -> None:
    put(1, tmp_path)()
    scanner = Scanner(put(2, tmp_path), put(3, tmp_path))
    assert [volume.index for volume in follow(tmp_path, scanner, only_new=True)] == [1, 2]


@pytest.mark.parametrize("fields", [{"RepetitionTime": 2000}, {"ImagePositionPatient": [0, 0, 0]}], ids=str)
def test_images_of_another_protocol_are_left_out_and_named(
    tmp_path: Path, fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    put(1, tmp_path)()
    changed(2, tmp_path / "2.dcm", **fields)()
    put(3, tmp_path)()
    volumes = iter(open_source(tmp_path))
    assert [next(volumes).index, next(volumes).index] == [0, 2]
    assert "2.dcm: its" in caplog.text
    with pytest.raises(SourceError, match=r"1 images of the run are of another protocol.*start a new run"):
        next(volumes)


@pytest.mark.parametrize("field", ["InstanceNumber", "RepetitionTime", "PixelSpacing", "ImageOrientationPatient"])
def test_a_mosaic_without_a_needed_header_field_is_named(tmp_path: Path, field: str) -> None:
    dataset = pydicom.dcmread(files()[0])
    delattr(dataset, field)
    dataset.save_as(tmp_path / "1.dcm")
    with pytest.raises(SourceError, match=rf"damaged files only: 1\.dcm: its header field {field} is missing"):
        _ = open_source(tmp_path).header


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_a_volume_or_the_reason_why_not(data: st.DataObject) -> None:
    damaged = bytearray(files()[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.sampled_from([2_000, 20_000, 200_000]).flatmap(lambda end: st.integers(128, end)))
        damaged[place] = data.draw(st.integers(0, 255))
    verdict, volume = take(bytes(damaged))
    assert (volume is not None) == (verdict.kind == "complete")
    assert volume is not None or verdict.kind == "part" or "1.dcm: " in verdict.reason


def test_a_damaged_file_does_not_end_the_run_before_its_end(tmp_path: Path) -> None:
    put(1, tmp_path)()
    (tmp_path / "2.dcm").write_bytes(files()[1].read_bytes()[:400].ljust(20_000, b"x"))
    put(3, tmp_path)()
    volumes = iter(open_source(tmp_path))
    assert [next(volumes).index, next(volumes).index] == [0, 2]
    with pytest.raises(SourceError, match="1 unfinished or damaged files"):
        next(volumes)


def test_no_text_of_the_dicom_header_leaves_the_bridge(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    canary = "CANARY"
    dataset = pydicom.dcmread(files()[0])
    names = ["PatientName", "PatientID", "ReferringPhysicianName", "InstitutionName", "StudyDescription"]
    names += ["SeriesDescription", "ProtocolName", "PatientComments", "StationName", "StudyID", "AccessionNumber"]
    for name in names:
        setattr(dataset, name, canary)
    dataset.add_new((0x0011, 0x1001), "LO", canary)
    dataset.save_as(tmp_path / "1.dcm")
    source = open_source(tmp_path)
    sent = b"".join(frame for message in (source.header, *source) for frame in encode(message))
    assert canary.encode() not in sent
    assert canary not in caplog.text


def test_an_empty_folder_is_waited_for_and_then_named(tmp_path: Path) -> None:
    scanner = Scanner()
    with pytest.raises(SourceError, match=r"no DICOM file was found in .* within 30 s"):
        _ = follow(tmp_path, scanner, wait_s=30.0).header
    assert scanner.now_s == pytest.approx(30.0, abs=0.2)
    with pytest.raises(SourceError, match="no DICOM file"):
        _ = open_source(tmp_path).header


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    put(1, tmp_path)()
    (tmp_path / "notes.txt").write_text("hello " * 100)
    (tmp_path / "empty").touch()
    report = pydicom.dcmread(files()[1])
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = pydicom.uid.BasicTextSRStorage
    report.save_as(tmp_path / "report.dcm")
    assert [volume.index for volume in open_source(tmp_path)] == [0]


def test_a_folder_that_vanishes_is_an_error_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    put(1, folder)()
    source = follow(folder, Scanner(lambda: shutil.rmtree(folder)))
    with pytest.raises(SourceError, match=r"cannot list .*share is mounted"):
        list(source)


def slices(folder: Path, *places: tuple[int, int]) -> list[Callable[[], object]]:
    """Steps: the files of these slices (volume, slice) of a synthetic GE run appear, one by one."""
    return [
        lambda volume=volume, number=number: (folder / f"{volume}-{number}.dcm").write_bytes(
            made.ge_slice(volume, number)
        )
        for volume, number in places
    ]  # fmt: skip


def all_slices(volume: int) -> list[tuple[int, int]]:
    return [(volume, number) for number in range(made.N_SLICES)]


def test_slices_make_volumes_as_they_are_written(tmp_path: Path) -> None:
    places = [place for volume in range(4) for place in all_slices(volume)]
    scanner = Scanner(*slices(tmp_path, *places))
    seen = [(volume.index, len(list(tmp_path.iterdir()))) for volume in follow(tmp_path, scanner)]
    assert seen == [(0, 6), (1, 12), (2, 18), (3, 24)]


def test_a_slice_that_never_came_costs_its_volume_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = [place for volume in range(4) for place in all_slices(volume) if place != (1, 3)]
    scanner = Scanner(*slices(tmp_path, *places))
    assert [volume.index for volume in follow(tmp_path, scanner)] == [0, 2, 3]
    assert "volumes 1 to 1 of series 9 did not come" in caplog.text


def test_a_slice_that_comes_after_its_volume_was_given_up_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_time = [place for volume in range(3) for place in all_slices(volume) if place != (1, 3)]
    scanner = Scanner(*slices(tmp_path, *on_time), *wait(20), *slices(tmp_path, (1, 3), *all_slices(3)))
    assert [volume.index for volume in follow(tmp_path, scanner)] == [0, 2, 3]
    assert "volume 1 of series 9 came too late" in caplog.text


def test_of_a_folder_of_many_series_the_one_with_several_volumes_is_meant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in slices(tmp_path, *all_slices(0), *all_slices(1)):
        step()
    anatomy = {"SeriesInstanceUID": "1.2.3.910", "SeriesNumber": 10}
    for number in range(made.N_SLICES):
        (tmp_path / f"anatomy-{number}.dcm").write_bytes(made.changed(made.ge_slice(0, number), **anatomy))
    phase = {"SeriesInstanceUID": "1.2.3.911", "SeriesNumber": 11, "ComplexImageComponent": "PHASE"}
    (tmp_path / "phase.dcm").write_bytes(made.changed(made.ge_slice(0, 0), **phase))
    source = open_source(tmp_path)
    assert source.header.source == "DICOM series 9, GE"
    assert [volume.index for volume in source] == [0, 1]
    assert "DICOM series 11 begins: it is a phase, real or imaginary image, not a magnitude" in caplog.text


def test_a_localizer_before_the_run_is_not_taken_for_it(tmp_path: Path) -> None:
    def localizer(number: int) -> Callable[[], object]:
        axes = [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]][number]
        content = made.changed(
            made.xa_classic_slice(0, number), SeriesInstanceUID="1.2.3.8", SeriesNumber=8, ImageOrientationPatient=axes
        )
        return lambda: (tmp_path / f"localizer-{number}.dcm").write_bytes(content)

    scanner = Scanner(*map(localizer, range(3)), *wait(50), *slices(tmp_path, *all_slices(0), *all_slices(1)))
    source = follow(tmp_path, scanner)
    assert source.header.source == "DICOM series 9, GE"
    assert [volume.index for volume in source] == [0, 1]


def test_a_folder_of_images_that_are_left_alone_says_by_which_rule(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(
            made.changed(made.ge_slice(0, number), ImageType=["DERIVED", "PRIMARY"])
        )
    with pytest.raises(SourceError, match=r"left alone \(3 as 'derived'\): 0\.dcm: it was computed from other images"):
        _ = open_source(tmp_path).header


def test_slices_that_do_not_make_a_volume_are_named(tmp_path: Path) -> None:
    for step in slices(tmp_path, (0, 0), (0, 1)):
        step()
    with pytest.raises(SourceError, match="no volume of DICOM series 9 is whole: slices are missing"):
        _ = open_source(tmp_path).header


def test_a_recorded_run_is_never_held_whole(tmp_path: Path) -> None:
    """Slice-major names, as Philips has them: the files are taken in order of volumes all the same."""
    for volume in range(made.N_VOLUMES):
        for number in range(made.N_SLICES):
            (tmp_path / f"{number}-{volume}.dcm").write_bytes(made.philips_slice(volume, number))
    source = open_source(tmp_path)
    assert isinstance(source, DicomFolderSource)
    for volume in source:
        assert len(source._queue) == (made.N_VOLUMES - 1 - volume.index) * made.N_SLICES
