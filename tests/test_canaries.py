"""Canaries in everything a header can say, and in file names: none of them leaves the bridge, on any road.

What leaves: bytes on the wire and in the spool, lines of the log, what a live program is told of the line,
exported files, what `inspect` says. A canary is a text, a UID, a date or bytes that stand nowhere else.
"""

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from typer.testing import CliRunner

from realtime.broker import free_port
from scanner_bridge.__main__ import app
from scanner_bridge.emitters.cstore import CStoreEmitter
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.rehearsal import Pace, send_volumes
from scanner_bridge.errors import BridgeError, ProtocolError
from scanner_bridge.export import export_run
from scanner_bridge.serve import serve
from scanner_bridge.sources import afni_codec, open_source, pyneal_codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.dicom_fields import FIELDS
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.sources.store_settings import StoreSettings
from scanner_bridge.volume import RunEnd, Volume
from tests import dicom_builder as made
from tests.emitting import VOLUME_KINDS, WAIT_S, doing, emitter
from tests.live_end import live_program
from tests.loopback import free_endpoint
from tests.recorded_series import DATA, needs_data, series_folder

TEXT, UID, DATE = "CANARY", "987654321987", "19010203"
CANARIES = (TEXT.encode(), UID.encode(), DATE.encode())
TEXTS = ("LO", "SH", "PN", "ST", "LT", "UT", "CS", "AE", "UC", "UR", "AS")
READ = {keyword for keyword, _ in FIELDS.values()}
SYNTHETIC: dict[str, list[bytes]] = {
    "siemens xa": [made.xa_classic_slice(volume, number) for volume in range(2) for number in range(made.N_SLICES)],
    "ge": [made.ge_slice(volume, number) for volume in range(made.N_VOLUMES) for number in range(made.N_SLICES)],
    "philips": [made.philips_slice(volume, number, slice_major=False)
                for volume in range(made.N_VOLUMES) for number in range(made.N_SLICES)],
    "enhanced": [made.enhanced([volume]) for volume in range(made.N_VOLUMES)],
}  # fmt: skip
RECORDED = ("siemens_ve11_mosaic", "siemens_xa30_enhanced", "philips_classic_phantom")


def canary_of(representation: str, number: int) -> Any:
    if representation == "UI":
        return f"1.2.{UID}.{number}"
    if representation in ("DA", "DT"):
        return DATE
    if representation in ("OB", "UN"):
        return b"CANARY"
    return "099Y" if representation == "AS" else TEXT


def with_canaries(path: Path, content: bytes, number: int, *, dictionary: bool) -> None:
    """The object with a canary in every element that can hold one and is not needed to read it, nested ones too.

    With `dictionary` also in every such element of the standard that it does not have.
    """
    path.write_bytes(content)
    dataset = pydicom.dcmread(path)
    series = f"1.2.{UID}.1"
    for element in dataset.iterall():
        known = element.keyword in READ or element.tag.is_private_creator or element.VR in ("SQ", "OW")
        if not known and element.VR in (*TEXTS, "UI", "DA", "DT") and element.keyword != "SpecificCharacterSet":
            element.value = canary_of(element.VR, number)
    if dictionary:
        for tag, (representation, *_) in DicomDictionary.items():
            keyword = keyword_for_tag(tag)
            if keyword in READ or tag in dataset or tag >> 16 < 8 or keyword == "SpecificCharacterSet":
                continue
            if representation in (*TEXTS, "UI", "DA", "DT", "OB", "UN"):
                dataset.add_new(tag, representation, canary_of(representation, number))
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, f"1.2.{UID}.{number + 2}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.SourceApplicationEntityTitle = dataset.file_meta.ImplementationVersionName = TEXT
    dataset.ImageComments = TEXT
    for keyword in ("ImageType", "SoftwareVersions"):
        if keyword in dataset:
            dataset[keyword].value = [*np.atleast_1d(dataset[keyword].value).tolist(), TEXT]
    dataset.Manufacturer = f"{dataset.Manufacturer} {TEXT}"
    for tag in ((0x0029, 0x1010), (0x0029, 0x1020), (0x0021, 0x1019)):  # Siemens' headers: a text in a block of bytes
        if tag in dataset and isinstance(dataset[tag].value, bytes):
            dataset[tag].value = dataset[tag].value.replace(b"PatientName", b"CANARY_Name").replace(
                b"tProtocolName", b"tCANARY_xName") + b"CANARY"
    hide(dataset, number)
    dataset.save_as(path)


def hide(dataset: Dataset, number: int) -> None:
    """Canaries in private elements, and three sequences deep."""
    inner = Dataset()
    for keyword in ("PatientName", "PatientID", "CodeMeaning", "TextValue"):
        setattr(inner, keyword, TEXT)
    inner.PatientBirthDate, inner.ReferencedSOPInstanceUID = DATE, f"1.2.{UID}.{number}"
    for _ in range(3):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([inner])
        block = outer.private_block(0x0099, f"{TEXT} PRIVATE", create=True)
        for element, representation in enumerate(("LO", "PN", "UI", "OB", "UN", "UT", "DA"), 1):
            block.add_new(element, representation, canary_of(representation, number))
        inner = outer
    dataset.private_block(0x0099, f"{TEXT} PRIVATE", create=True).add_new(0x50, "SQ", Sequence([inner]))
    dataset.RequestAttributesSequence = Sequence([inner])
    for group in (0x0019, 0x0029, 0x0021, 0x0043, 0x2001, 0x2005):
        dataset.private_block(group, f"{TEXT} {group:04X}", create=True).add_new(0x10, "LO", TEXT)


def assert_none(leaving: bytes, where: str) -> None:
    for canary in CANARIES:
        at = leaving.find(canary)
        assert at < 0, f"{where}: {leaving[max(0, at - 60) : at + 60]!r}"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Every line that the bridge can log; pynetdicom's own are switched off by the command."""
    caplog.set_level(logging.DEBUG)
    for name in ("pynetdicom", "pydicom"):
        caplog.set_level(logging.CRITICAL, name)
    return lambda: caplog.text


def serve_and_look(
    settings: SourceSettings, log: Callable[[], str], send: Callable[[], object], tmp_path: Path
) -> RunEnd:
    """Serve to nobody, then to a live program; look at all that is stored, sent, logged and told."""
    spool = tmp_path / "spool"
    with doing(send), pytest.raises(BridgeError, match="are not stored") as unanswered:
        serve(settings, free_endpoint(), speed=None, spool=spool, flush_s=0.0)
    spooled = b"".join(path.name.encode() + path.read_bytes() for path in spool.rglob("*") if path.is_file())
    assert len(spooled) > 1000
    assert_none(spooled, "spool")
    assert_none(str(unanswered.value).encode(), "sentence")
    with live_program() as program, doing(send):
        end = serve(settings, program.endpoint, speed=None, spool=tmp_path / "another")
        assert program.indices
    assert_none(b"".join(received.blob for received in program.received), "wire")
    assert_none(repr([(received.rejected, received.message) for received in program.received]).encode(), "messages")
    assert_none(repr(program.statuses).encode(), "status")
    assert_none(log().encode(), "log")
    return end


def nothing() -> None:
    """A folder sends nothing."""


def hidden_folder(contents: list[bytes], tmp_path: Path, *, dictionary: bool = False) -> Path:
    folder = tmp_path / "CANARY^JOHN" / UID
    folder.mkdir(parents=True)
    for number, content in enumerate(contents):
        with_canaries(folder / f"CANARY_{DATE}_{number:04d}.dcm", content, number, dictionary=dictionary and number < 2)
    assert all(canary in (folder / f"CANARY_{DATE}_0000.dcm").read_bytes() for canary in CANARIES)
    return folder


def recorded(name: str, tmp_path: Path) -> list[bytes]:
    folder = tmp_path / "recorded"
    folder.mkdir()
    return [path.read_bytes() for path in sorted(series_folder(name, folder).iterdir()) if path.is_file()]


@pytest.mark.parametrize("maker", SYNTHETIC)
def test_a_folder_of_objects_keeps_its_canaries(maker: str, log: Callable[[], str], tmp_path: Path) -> None:
    folder = hidden_folder(SYNTHETIC[maker], tmp_path, dictionary=True)
    assert serve_and_look(SourceSettings(path=folder), log, nothing, tmp_path).status == "complete"
    look_at_files(folder, tmp_path)


@needs_data
@pytest.mark.parametrize("name", RECORDED)
def test_a_folder_as_a_scanner_wrote_it_keeps_its_canaries(name: str, log: Callable[[], str], tmp_path: Path) -> None:
    folder = hidden_folder(recorded(name, tmp_path), tmp_path)
    serve_and_look(SourceSettings(path=folder), log, nothing, tmp_path)
    look_at_files(folder, tmp_path)


def look_at_files(source: Path, tmp_path: Path) -> None:
    """What `export` and `inspect` write and say."""
    out, figures = tmp_path / "out.nii.gz", tmp_path / "figures.json"
    for arguments in (["export", str(source), str(out)], ["inspect", str(source), "--json", str(figures)]):
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code == 0, said.output
        assert_none(said.output.encode(), arguments[0])
    assert_none(gzip.decompress(out.read_bytes()), "export")
    assert_none(out.with_name("out.json").read_bytes(), "sidecar")
    assert_none(figures.read_bytes(), "inspect --json")
    assert json.loads(figures.read_text())


@pytest.mark.parametrize("maker", ["ge", "enhanced"])
def test_objects_that_are_stored_over_the_network_keep_their_canaries(
    maker: str, log: Callable[[], str], tmp_path: Path
) -> None:
    folder, port = hidden_folder(SYNTHETIC[maker], tmp_path), free_port()
    titles = StoreSettings("INNEREAR", ("SCANNER",))

    def send() -> None:
        sender = CStoreEmitter(Address("127.0.0.1", port), "INNEREAR", "SCANNER", wait_s=WAIT_S)
        for path in sorted(folder.iterdir()):
            sender.send(path)
        sender.close()

    settings = SourceSettings(kind="cstore", listen=f"127.0.0.1:{port}", store=titles, follow_s=1.0, wait_s=WAIT_S)
    serve_and_look(settings, log, send, tmp_path)


def test_damaged_and_foreign_objects_keep_their_canaries_from_the_wire(
    log: Callable[[], str], tmp_path: Path
) -> None:
    folder = hidden_folder(SYNTHETIC["ge"], tmp_path)
    whole = (folder / f"CANARY_{DATE}_0003.dcm").read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "text": b"CANARY" * 100, "swapped": whole.replace(b"1200", b"CANA")}
    for number, (name, content) in enumerate(damaged.items()):
        (folder / f"{number}_{name}.dcm").write_bytes(content)
    with live_program() as program:
        serve(SourceSettings(path=folder), program.endpoint, speed=None, spool=tmp_path / "spool")
    assert_none(b"".join(received.blob for received in program.received), "wire")


@needs_data
def test_a_par_file_keeps_its_canaries(log: Callable[[], str], tmp_path: Path) -> None:
    folder = tmp_path / "CANARY"
    folder.mkdir()
    for path in (DATA / "parrec" / "philips_dump").glob("*.par"):
        lines = path.read_bytes().split(b"\r\n")
        free = (b"name", b"date", b"Examination", b"Protocol", b"Series Type", b"Technique", b"Patient position")
        for number, line in enumerate(lines):
            if line.startswith(b".") and any(word in line for word in free):
                lines[number] = line[: line.index(b":") + 1] + b"   CANARY 19010203"
        assert b"CANARY" in b"\r\n".join(lines)
        comment = [b"# CANARY 19010203"]
        (folder / f"CANARY_{path.name}").write_bytes(b"\r\n".join([*lines[:5], *comment, *lines[5:]]))
        (folder / f"CANARY_{path.stem}.rec").write_bytes(path.with_suffix(".rec").read_bytes())
    serve_and_look(SourceSettings(path=folder), log, nothing, tmp_path)
    look_at_files(folder, tmp_path)


def test_a_nifti_run_keeps_its_name_and_its_texts(log: Callable[[], str], tmp_path: Path) -> None:
    path = tmp_path / "sub-CANARY_19010203_bold.nii"
    export_run(open_source(SourceSettings(kind="simulated", n_volumes=4, shape=(8, 8, 5))), path)
    sidecar = path.with_suffix(".json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "PatientName": TEXT, "ProtocolName": TEXT}))
    head = bytearray(path.read_bytes())
    head[148:154], head[228:234], head[14:20] = (b"CANARY",) * 3  # descrip, aux_file, db_name
    path.write_bytes(head)
    serve_and_look(SourceSettings(path=path), log, nothing, tmp_path)
    look_at_files(path, tmp_path)
    path.write_bytes(head[:-100])
    with live_program() as program:
        end = serve(SourceSettings(path=path), program.endpoint, speed=None, spool=tmp_path / "third")
    assert (end.status, end.n_volumes) == ("aborted", 3)
    assert_none(b"".join(received.blob for received in program.received), "wire")


class Named:
    """A run whose sender names it by a person."""

    def __init__(self) -> None:
        self._run = open_source(SourceSettings(kind="simulated", n_volumes=4, shape=(8, 8, 5)))
        self.header = replace(self._run.header, run_id=f"1.2.{UID}.CANARY", source=TEXT)

    def __iter__(self) -> Iterator[Volume]:
        return iter(self._run)

    def close(self) -> None:
        self._run.close()


@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_a_sender_of_volumes_keeps_its_texts(
    kind: str, log: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    afni_commands, pyneal_header = afni_codec.encode_commands, pyneal_codec.encode_header
    more = "".join(f"{name} CANARY 19010203 987654321987\n" for name in ("NAME", "NOTE", "PREFIX", "PATIENT", "CANARY"))
    monkeypatch.setattr(afni_codec, "encode_commands", lambda run: more.encode() + afni_commands(run))
    monkeypatch.setattr(pyneal_codec, "encode_header", lambda header: json.dumps(
        {**json.loads(pyneal_header(header)), "patient": TEXT, "CANARY": {"birth": DATE, "uid": UID}}).encode())
    port = free_port()
    settings = SourceSettings(kind=kind, listen=f"127.0.0.1:{port}", wait_s=WAIT_S, follow_s=1.0, expect=4)  # type: ignore[arg-type]

    def send() -> None:
        send_volumes(Named(), emitter(kind, Address("127.0.0.1", port)), Pace(None), Disturbance())

    serve_and_look(settings, log, send, tmp_path)


@pytest.mark.parametrize("name", ["XYZAXES", "XYMATRIX", "XYFOV", "XYZFIRST", "DATUM", "BYTEORDER", "TR", "NUM_CHAN"])
def test_an_afni_header_that_cannot_be_is_refused_without_repeating_it(name: str) -> None:
    header = f"XYMATRIX 8 8\nZNUM 5\nXYFOV 240 240 150\nXYZAXES R-L A-P I-S\n{name} CANARY CANARY CANARY\n\0"
    with pytest.raises(ProtocolError) as refused:
        afni_codec.decode_commands(header.encode())
    assert_none(str(refused.value).encode(), "sentence")


@pytest.mark.parametrize("name", ["dtype", "TR", "affine", "shape", "volIdx"])
def test_a_pyneal_header_that_cannot_be_is_refused_without_repeating_it(name: str) -> None:
    fields = {"volIdx": 0, "dtype": "int16", "shape": [4, 4, 4], "affine": "[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]",
              "TR": "1.5", name: TEXT}
    with pytest.raises(ProtocolError) as refused:
        pyneal_codec.decode_header(json.dumps(fields).encode())
    assert_none(str(refused.value).encode(), "sentence")
