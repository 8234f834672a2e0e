"""What is left alone, what began, what contradicts: every object gets a verdict that names it, and no header value."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from scanner_bridge.sources import open_source
from scanner_bridge.sources.dicom_rules import RULES
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.verdict import Verdict
from scanner_bridge.wire import encode
from tests import dicom_builder as made
from tests.dicom_builder import N_SLICES, changed
from tests.recorded_series import NAMES, contents, needs_data

GE = made.ge_slice(0, 0)
FILES_OF_ONE_VOLUME = {"ge_dv24_slices": 18, "ge_dv26_interleaved": 15}


def take(*objects: bytes) -> list[Verdict]:
    assembler = Assembler()
    return [assembler.take(f"{number}.dcm", content) for number, content in enumerate(objects)]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "EPI"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "ADC", "ND"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, "phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"]}, "phase"),
        ({"ComplexImageComponent": "PHASE"}, "phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOCO", "MOSAIC"]}, "moco"),
        ({"EchoNumbers": 2}, "echo"),
        ({"ImageComments": "Single-band reference SENSE1"}, "reference"),
        ({"SamplesPerPixel": 3}, "unsupported"),
    ],
    ids=str,
)
def test_an_image_that_is_no_part_of_a_run_is_left_alone_by_a_rule(fields: dict[str, Any], rule: str) -> None:
    (verdict,) = take(changed(GE, **fields))
    assert (verdict.kind, verdict.rule) == ("skipped", rule)
    assert verdict.reason.startswith("0.dcm: ")
    assert rule == "unsupported" or verdict.reason == f"0.dcm: {RULES[rule]}"


def test_ge_states_phase_in_a_field_of_its_own() -> None:
    phase = GE.replace(b"\x43\x00\x2f\x10SS\x02\x00\x00\x00", b"\x43\x00\x2f\x10SS\x02\x00\x01\x00")
    assert phase != GE
    assert take(phase)[0].rule == "phase"


def test_an_enhanced_object_of_phase_frames_only_is_left_alone() -> None:
    magnitude = made.enhanced([0])
    phase = magnitude.replace(b"MAGNITUDE ", b"PHASE     ")
    assert take(phase)[0].rule == "phase"


def test_slices_that_cross_are_a_localizer() -> None:
    across = changed(made.xa_classic_slice(0, 1), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    verdicts = take(made.xa_classic_slice(0, 0), across, made.xa_classic_slice(0, 2))
    assert [verdict.kind for verdict in verdicts] == ["part", "skipped", "skipped"]
    assert {verdict.rule for verdict in verdicts[1:]} == {"localizer"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"RepetitionTime": 2000}, "its TR is 2 s, wanted 1.2 s"),
        ({"PixelSpacing": [2, 2]}, "another orientation or spacing"),
        ({"ImagePositionPatient": [0, 0, 0]}, "its slices lie elsewhere"),
        ({"Rows": 5, "Columns": 16}, r"its slices are 5 x 16 pixels \(slices\), wanted 10 x 8 pixels"),
        ({"PixelRepresentation": 1}, "its voxels are <i2, wanted <u2"),
    ],
    ids=str,
)
def test_another_protocol_in_the_same_series_is_named(fields: dict[str, Any], words: str) -> None:
    first = [made.ge_slice(0, number) for number in range(N_SLICES)]
    verdict = take(*first, changed(made.ge_slice(1, 0), **fields))[-1]
    assert (verdict.kind, verdict.rule, verdict.indices) == ("conflicting", "protocol", (1,))
    assert re.search(words, verdict.reason)
    assert verdict.reason.endswith("start a new run")


def test_another_image_of_the_same_slice_is_named() -> None:
    other = changed(GE, SOPInstanceUID="1.2.3.99")
    whole = [made.ge_slice(0, number) for number in range(N_SLICES)]
    for verdict in (take(GE, other)[-1], take(*whole, other)[-1]):
        assert (verdict.kind, verdict.rule) == ("conflicting", "second-image")
        assert "second image of volume 0" in verdict.reason


def test_how_a_new_series_relates_to_the_one_before_is_said() -> None:
    again = changed(GE, SeriesInstanceUID="1.2.3.901", SeriesNumber=10)
    other = changed(GE, SeriesInstanceUID="1.2.3.902", SeriesNumber=11, RepetitionTime=900)
    phase = changed(GE, SeriesInstanceUID="1.2.3.903", SeriesNumber=12, ComplexImageComponent="PHASE")
    verdicts = take(GE, made.ge_slice(0, 1), again, other, phase)
    assert [verdict.began for verdict in verdicts] == [
        "DICOM series 9 begins",
        "",
        "DICOM series 10 begins: DICOM series 9 again, with the same protocol",
        "DICOM series 11 begins, with another protocol than DICOM series 10",
        f"DICOM series 12 begins: {RULES['phase']}",
    ]
    assert len({verdict.run_id for verdict in verdicts}) == 4


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 1000, b"\0" * 128 + b"DICM"], ids=len)
def test_bytes_that_are_no_image_are_foreign_or_unfinished(content: bytes) -> None:
    (verdict,) = take(content)
    assert verdict.kind == ("unfinished" if content.endswith(b"DICM") else "foreign")


def canaries(dataset: pydicom.Dataset) -> None:
    """Write a canary into every text of an object, private and nested ones too, except into what tells kinds apart."""
    kept = {"ImageType", "Manufacturer", "FrameType", "ComplexImageComponent", "SpecificCharacterSet"}
    for element in dataset.iterall():
        is_text = element.VR in ("LO", "SH", "PN", "ST", "LT", "UT", "CS", "AE", "UC")
        if is_text and element.keyword not in kept and not element.tag.is_private_creator:
            element.value = "CANARY"


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_header_gets_into_verdicts_logs_or_messages(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    folder = tmp_path / "run"
    folder.mkdir()
    verdicts = []
    for number, content in enumerate(contents(name, tmp_path)[: FILES_OF_ONE_VOLUME.get(name)]):
        (tmp_path / "one.dcm").write_bytes(content)
        dataset = pydicom.dcmread(tmp_path / "one.dcm")
        canaries(dataset)
        dataset.save_as(folder / f"{number}.dcm")
        verdicts.append(take((folder / f"{number}.dcm").read_bytes())[0])
    assert b"CANARY" in (folder / "0.dcm").read_bytes()
    opened = open_source(folder)
    sent = b"".join(frame for message in (opened.header, *opened) for frame in encode(message))
    assert b"CANARY" not in sent
    assert "CANARY" not in caplog.text + repr(verdicts)


@pytest.mark.parametrize("keyword", ["SeriesNumber", "InstanceNumber", "RepetitionTime", "ImagePositionPatient"])
def test_a_text_where_a_number_belongs_is_not_repeated(keyword: str, caplog: pytest.LogCaptureFixture) -> None:
    dataset, file = pydicom.dcmread(BytesIO(GE)), BytesIO()
    dataset.add_new(keyword, "LO", "CANARY")
    dataset.save_as(file)
    (verdict,) = take(file.getvalue())
    assert verdict.kind == "unfinished"
    assert keyword in verdict.reason
    assert "CANARY" not in verdict.reason + caplog.text
