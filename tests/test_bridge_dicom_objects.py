"""One object, however it is encoded: the walk agrees with pydicom, the geometry with nibabel, damage is named."""

import random
import sys
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.dicom_fields import FIELDS, PRIVATE_FIELDS
from scanner_bridge.sources.dicom_object import read_object
from scanner_bridge.sources.dicom_reader import read_image
from scanner_bridge.sources.series import Assembler
from scanner_bridge.volume import Volume
from tests import dicom_builder as made
from tests.recorded_series import NAMES, contents, needs_data, voxels_there

COMPRESSED = {
    "JPEG lossless": "JPEGLosslessProcess14_1", "JPEG-LS": "JPEGLSLossless", "JPEG 2000": "JPEG2000Lossless",
}  # fmt: skip


def only_volume(content: bytes) -> Volume:
    assembler = Assembler()
    verdict = assembler.take("1.dcm", content)
    assert verdict.kind == "complete", verdict
    (series,) = assembler.series.values()
    return series.pop(series.ready[0])


def saved(dataset: pydicom.Dataset, **how: Any) -> bytes:
    file = BytesIO()
    dataset.save_as(file, **how)
    return file.getvalue()


def parsed(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(content))


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_the_walk_finds_what_pydicom_finds(name: str, tmp_path: Path) -> None:
    content = contents(name, tmp_path)[0]
    fields, dataset = read_object(content).fields, parsed(content)
    n_compared = 0
    for tag, (keyword, _) in FIELDS.items():
        if tag in dataset and tag >> 16 != 2:
            assert fields.raw(keyword) == (dataset.get_item(tag).value or b""), keyword
            n_compared += 1
    for (group, creator, element), (keyword, _) in PRIVATE_FIELDS.items():
        try:
            block = dataset.private_block(group, creator)
        except KeyError:
            continue
        if element in block:
            assert fields.raw(keyword) == dataset.get_item(block.get_tag(element)).value, keyword
            n_compared += 1
    assert n_compared >= 15
    np.testing.assert_array_equal(read_object(content).pixels.squeeze(), dataset.pixel_array)


@needs_data
@pytest.mark.parametrize("name", ["siemens_xa30_enhanced"])
def test_the_walk_finds_every_frames_fields(name: str, tmp_path: Path) -> None:
    content = contents(name, tmp_path)[0]
    frames, groups = read_object(content).frames, parsed(content).PerFrameFunctionalGroupsSequence
    assert len(frames) == len(groups) == 33
    for frame, group in zip(frames, groups, strict=True):
        assert frame.vector("ImagePositionPatient", 3) == tuple(group.PlanePositionSequence[0].ImagePositionPatient)
        assert frame.text("FrameAcquisitionDateTime") == group.FrameContentSequence[0].FrameAcquisitionDateTime
        index = tuple(int(value) for value in group.FrameContentSequence[0].DimensionIndexValues)
        assert frame.numbers("DimensionIndexValues") == index
        private = group[0x0021, 0x11FE].value[0]
        assert frame.number("SiemensTimeAfterStart") == float(private[0x0021, 0x1104].value)


@needs_data
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("siemens")])
def test_voxels_and_place_are_those_of_nibabels_reader(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import dicomwrappers

        wrapper: Any = dicomwrappers.wrapper_from_data(parsed(contents(name, tmp_path)[0]))
    affine = np.diag([-1, -1, 1, 1]) @ wrapper.affine
    wanted: NDArray[Any] = wrapper.get_data()
    volume = only_volume(contents(name, tmp_path)[0])
    there = voxels_there(volume.affine, volume.data.shape, affine)
    np.testing.assert_array_equal(volume.data.ravel(), wanted[there[0], there[1], there[2]])


@needs_data
@pytest.mark.parametrize("name", ["siemens_ve11_mosaic", "siemens_xa30_enhanced", "ge_dv24_slices", "uih_grid_dti"])
@pytest.mark.parametrize("syntax", ["implicit", "big-endian", "deflated", "defined-length", "undefined-length"])
def test_every_plain_encoding_gives_the_same_image(name: str, syntax: str, tmp_path: Path) -> None:
    content = contents(name, tmp_path)[0]
    dataset = parsed(content)
    if syntax == "implicit":
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        other = saved(dataset, implicit_vr=True)
    elif syntax == "big-endian":
        dataset.PixelData = dataset.pixel_array.astype(dataset.pixel_array.dtype.newbyteorder(">")).tobytes()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        list(dataset.iterall())
        file = BytesIO()
        pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
        other = file.getvalue()
    elif syntax == "deflated":
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        other = saved(dataset)
    else:
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = syntax == "undefined-length"
                for item in element.value:
                    item.is_undefined_length_sequence_item = syntax == "undefined-length"
        other = saved(dataset)
    one, two = read_image(content), read_image(other)
    assert (one.uid, one.acquisition) == (two.uid, two.acquisition)
    for before, after in zip(one.volumes, two.volumes, strict=True):
        assert before.index == after.index
        np.testing.assert_array_equal(before.pixels, after.pixels)
        np.testing.assert_array_equal(before.positions_mm, after.positions_mm)


@needs_data
@pytest.mark.parametrize("name", ["siemens_ve11_mosaic", "ge_dv24_slices", "siemens_xa30_enhanced"])
@pytest.mark.parametrize("way", ["RLE", *COMPRESSED])
def test_compressed_pixels_are_the_pixels(name: str, way: str, tmp_path: Path) -> None:
    content = contents(name, tmp_path)[0]
    compressed = run_length_encoded(content) if way == "RLE" else compressed_by_gdcm(content, way, tmp_path)
    assert len(compressed) < len(content)
    one, two = read_image(content), read_image(compressed)
    for before, after in zip(one.volumes, two.volumes, strict=True):
        np.testing.assert_array_equal(before.pixels, after.pixels)
        assert before.pixels.dtype == after.pixels.dtype
    verdict = Assembler().take("cut.dcm", compressed[: len(compressed) // 2])
    assert verdict.kind == "unfinished"


@needs_data
def test_plain_pixels_need_no_pydicom_and_compressed_ones_say_what_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = contents("siemens_ve11_mosaic", tmp_path)[0]
    compressed = run_length_encoded(content)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pydicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert Assembler().take("plain.dcm", content).kind == "complete"
    verdict = Assembler().take("compressed.dcm", compressed)
    assert (verdict.kind, verdict.rule) == ("skipped", "unsupported")
    assert "pip install 'innerear[dicom]'" in verdict.reason


def run_length_encoded(content: bytes) -> bytes:
    dataset = parsed(content)
    dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    return saved(dataset)


def compressed_by_gdcm(content: bytes, way: str, scratch: Path) -> bytes:
    import gdcm

    (scratch / "plain.dcm").write_bytes(content)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(scratch / "plain.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, COMPRESSED[way])))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(scratch / "compressed.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (scratch / "compressed.dcm").read_bytes()


@needs_data
def test_a_mosaic_does_without_the_private_count_or_without_the_csa_header(tmp_path: Path) -> None:
    content = contents("siemens_ve11_mosaic", tmp_path)[0]
    whole = only_volume(content)
    for missing in ((0x0019, 0x100A), (0x0019, 0x1029), (0x0029, 0x1010)):
        dataset = parsed(content)
        del dataset[missing]
        volume = only_volume(saved(dataset))
        np.testing.assert_array_equal(volume.data, whole.data)
        np.testing.assert_allclose(volume.affine, whole.affine, atol=1e-6)
    del dataset[0x0019, 0x100A]
    verdict = Assembler().take("1.dcm", saved(dataset))
    assert verdict.reason == "1.dcm: its header does not say how many slices the mosaic has"


@needs_data
def test_a_reversed_mosaic_lies_where_its_slices_lie(tmp_path: Path) -> None:
    """Tiles from the last slice to the first, the normal of the CSA header turned round: the same voxels in space."""
    content = contents("siemens_ve11_mosaic", tmp_path)[0]
    whole, dataset = only_volume(content), parsed(content)
    tiles = dataset.pixel_array.reshape(5, 64, 5, 64).swapaxes(1, 2).reshape(25, 64, 64).copy()
    tiles[:18] = tiles[17::-1]
    dataset.PixelData = tiles.reshape(5, 5, 64, 64).swapaxes(1, 2).tobytes()
    normal = np.cross(*np.reshape([float(part) for part in dataset.ImageOrientationPatient], (2, 3)))
    last = np.array([float(part) for part in dataset.ImagePositionPatient]) + 17 * 3.8 * normal
    dataset.ImagePositionPatient = [f"{part:.8f}" for part in last]
    csa = dataset[0x0029, 0x1010].value
    for plus, minus in ((b"0.16332594\0", b"-0.1633259\0"), (b"0.98657216\0", b"-0.9865721\0")):
        assert csa.count(plus) == 1
        csa = csa.replace(plus, minus)
    dataset[0x0029, 0x1010].value = csa
    volume = only_volume(saved(dataset))
    np.testing.assert_array_equal(volume.data, whole.data)
    np.testing.assert_allclose(volume.affine, whole.affine, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Rows": None}, "header field Rows is missing"),
        ({"RepetitionTime": 0}, "repetition time of 0 s"),
        ({"InstanceNumber": 0}, "gives it the number 0"),
        ({"PixelSpacing": [0, 1]}, "a spacing that cannot be"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "an orientation or a spacing that cannot be"),
        ({"BitsAllocated": 64}, "its pixels have 64 bits"),
        ({"SamplesPerPixel": 3}, "or colours"),
        ({"Rows": 60000, "Columns": 60000}, "the header is damaged"),
        ({"Rows": 1000}, r"has 160 of 16000 bytes of pixels"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "it is no MR image"),
    ],
    ids=str,
)
def test_a_header_that_cannot_be_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read_image(made.changed(made.ge_slice(0, 0), **fields))


OBJECTS = {"GE": made.ge_slice(0, 0), "enhanced": made.enhanced([0, 1]), "Philips": made.philips_slice(0, 0)}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_cut_anywhere_is_not_taken(name: str) -> None:
    whole = OBJECTS[name]
    for n_bytes in [*range(0, len(whole), 7), *range(len(whole) - 64, len(whole))]:
        verdict = Assembler().take("cut.dcm", whole[:n_bytes])
        assert verdict.kind in ("unfinished", "foreign"), n_bytes
        assert verdict.reason.startswith("cut.dcm: ")


@given(st.sampled_from(sorted(OBJECTS)), st.integers(0, 2**32))
@settings(max_examples=600, deadline=None)
def test_no_damage_raises_anything(name: str, seed: int) -> None:
    rng, damaged = random.Random(seed), bytearray(OBJECTS[name])
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(128, len(damaged))
        damaged[start : start + rng.randint(1, 4)] = rng.randbytes(rng.randint(1, 5))
    assembler = Assembler()
    verdict = assembler.take("1.dcm", bytes(damaged))
    for series in assembler.series.values():
        series.finish()
    assert verdict.kind in ("part", "complete") or verdict.reason.startswith("1.dcm: ")
