"""Images stored over DICOM's network protocol: whole runs, known titles, TLS, and peers who behave badly."""

import contextlib
import logging
import os
import resource
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from realtime.broker import free_port
from scanner_bridge.emitters.cstore import CStoreEmitter
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.recorded import recorded_files
from scanner_bridge.emitters.rehearsal import Pace, send_files
from scanner_bridge.errors import SourceError
from scanner_bridge.sources import open_source
from scanner_bridge.sources.cstore import CStoreSource
from scanner_bridge.sources.settings import SourceSettings, settings_for
from scanner_bridge.sources.store_settings import StoreSettings, Tls
from scanner_bridge.volume import Volume
from tests.emitting import TITLES, WAIT_S, StandingClock, doing
from tests.test_bridge_transport import live_program

ROOT = Path(__file__).resolve().parents[1]
DICOM = ROOT.parent / "shared" / "data" / "dicom"
MOSAIC = DICOM / "siemens_ve11_mosaic" / "dicom"
needs_data = [pytest.mark.data, pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")]


@pytest.fixture(autouse=True)
def _quiet_library() -> Iterator[None]:
    library = logging.getLogger("pynetdicom")
    before = library.level
    library.setLevel(logging.CRITICAL)
    yield
    library.setLevel(before)


def listening(store: StoreSettings = TITLES, **changes: Any) -> Any:
    settings = {"listen": "127.0.0.1:0", "wait_s": WAIT_S, "follow_s": 1.0, "store": store, **changes}
    return open_source(SourceSettings(kind="cstore", **settings))


def followed(clock: Callable[[], float], store: StoreSettings = TITLES) -> CStoreSource:
    """A receiver whose run ends with a second of silence, by a clock of ours."""
    asked = SourceSettings(kind="cstore", listen="127.0.0.1:0", wait_s=WAIT_S, follow_s=1.0, store=store)
    return CStoreSource(asked, clock=clock)


def sender(source: Any, **changes: Any) -> CStoreEmitter:
    return CStoreEmitter(source.address, **{"called": "INNEREAR", "calling": "SCANNER", **changes})


def store(source: Any, path: Path, disturbance: Disturbance = Disturbance(), **changes: Any) -> int:  # noqa: B008
    return send_files(recorded_files(path), sender(source, **changes), Pace(None), disturbance)


def assert_same(heard: list[Volume], sent: list[Volume]) -> None:
    assert [volume.index for volume in heard] == [volume.index for volume in sent]
    for one, other in zip(heard, sent, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.affine, other.affine)


def image(path: Path, *, n_frames: int = 1, **fields: Any) -> Path:
    """A small MR image object of our own."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = pydicom.uid.MRImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.SamplesPerPixel = 64, 64, 16, 1
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes(64 * 64 * 2 * n_frames)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    "series",
    [
        pytest.param(name, marks=needs_data)
        for name in ("siemens_ve11_mosaic", "siemens_xa30_enhanced", "philips_classic_phantom")
    ]
    + [pytest.param("ge_dv26_interleaved", marks=[*needs_data, pytest.mark.long])],
)
def test_a_series_arrives_as_it_was_recorded(series: str) -> None:
    clock = StandingClock()
    source, recorded = followed(clock), open_source(DICOM / series / "dicom")
    disturbed = Disturbance(shuffle_s=2.0, duplicate=0.2)
    with clock.standing_for(lambda: store(source, DICOM / series / "dicom", disturbed)):
        header, heard = source.header, list(source)
    source.close()
    source.close()
    assert_same(heard, list(recorded))
    assert (header.run_id, header.tr_s, header.shape) == (
        recorded.header.run_id, recorded.header.tr_s, recorded.header.shape,
    )  # fmt: skip


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_lost_images_are_gaps_and_a_long_run_ends_with_the_expected_number(caplog: pytest.LogCaptureFixture) -> None:
    source = listening(expect=6)
    files = [arrival for arrival in recorded_files(MOSAIC) if arrival.item.name[-5] not in "35"]

    with doing(lambda: send_files(files, sender(source), Pace(None), Disturbance())):
        assert [volume.index for volume in source] == [0, 1, 3, 5]
        source.close()
    assert "volumes 2 to 2 did not come" in caplog.text


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_what_came_while_the_program_was_held_up_is_no_silence() -> None:
    """A disk, or a suspended computer, may hold us up for longer than a run may be silent."""
    clock = HeldUp()
    source = followed(clock)
    store(source, MOSAIC)
    heard = []
    for volume in source:
        heard.append(volume)
        clock.now_s += 60.0  # as when its spool cannot be written
    assert_same(heard, list(open_source(MOSAIC)))
    source.close()


class HeldUp:
    """A clock whose every look is a tick later."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


def test_without_titles_nothing_listens() -> None:
    with pytest.raises(SourceError, match=r"needs its own title \(--ae-title\) and those who may send \(--allow\)"):
        settings_for("cstore")
    with pytest.raises(SourceError, match=r"needs its own title"):
        StoreSettings("INNEREAR", ())
    for title in ("", " " * 4, "x" * 17, "naïve", "back\\slash", "tab\t"):
        with pytest.raises(SourceError, match=r"title"):
            StoreSettings(title, ("SCANNER",))
    with pytest.raises(SourceError, match="1 to 4096 MiB"):
        StoreSettings("A", ("B",), max_object_mib=0)


@pytest.mark.parametrize("titles", [{"calling": "STRANGER"}, {"called": "OTHER"}])
def test_who_uses_a_wrong_title_is_refused_and_both_sides_say_so(
    tmp_path: Path, titles: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    source = listening(wait_s=0.3)
    with pytest.raises(SourceError, match=r"refuses .* correct the titles on one side"):
        sender(source, **titles).send(image(tmp_path / "a.dcm"))
    with pytest.raises(SourceError, match=r"no volume was stored at .*: let SCANNER send to INNEREAR there"):
        _ = source.header
    source.close()
    assert next(iter(titles.values())) in caplog.text
    assert "is refused at the C-STORE port" in caplog.text


def test_an_echo_is_answered_and_other_images_are_not_taken(tmp_path: Path) -> None:
    source = listening()
    entity: Any = AE("SCANNER")
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2")  # CT
    association = entity.associate(source.address.host, source.address.port, ae_title="INNEREAR")
    assert association.send_c_echo().Status == 0
    assert [context.abstract_syntax for context in association.rejected_contexts] == ["1.2.840.10008.5.1.4.1.1.2"]
    association.release()
    emitter = sender(source)
    with pytest.raises(SourceError, match=r"ct\.dcm cannot be stored"):
        emitter.send(image(tmp_path / "ct.dcm", SOPClassUID=pydicom.uid.CTImageStorage))
    emitter.close()
    source.close()


def test_objects_that_make_no_volume_are_named_by_numbers_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = listening(wait_s=1.0)
    emitter = sender(source)
    emitter.send(image(tmp_path / "a.dcm", PatientName="CANARY^NAME", SOPInstanceUID="1.2.999"))
    emitter.close()
    with pytest.raises(SourceError, match=r"though 1 objects came: see what was said of them"):
        _ = source.header
    source.close()
    assert "object 1: " in caplog.text
    assert "CANARY" not in caplog.text
    assert "1.2.999" not in caplog.text


def test_an_object_that_is_too_large_costs_its_sender_the_connection_and_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = listening(StoreSettings("INNEREAR", ("SCANNER",), max_object_mib=1), wait_s=0.2)
    emitter = sender(source)
    emitter.send(image(tmp_path / "small.dcm"))
    path = image(tmp_path / "large.dcm", n_frames=4000)  # 31 MiB
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=r"went away|cannot be stored"):
        emitter.send(path)
    emitter.close()
    assert "sent more than 1048576 bytes at once" in caplog.text
    again = sender(source)
    again.send(image(tmp_path / "again.dcm"))
    again.close()
    source.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 300 * 1024


GARBAGE = [
    b"GET / HTTP/1.0\r\n\r\n", os.urandom(3000), b"\0" * 64,
    struct.pack(">BBL", 1, 0, 0xFFFFFFFF), struct.pack(">BBL", 4, 0, 0xFFFFFFFF) + bytes(999),
]  # fmt: skip


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_strangers_and_the_silent_keep_nobody_out() -> None:
    clock = StandingClock()
    source = followed(clock)
    connections = [socket.create_connection((source.address.host, source.address.port)) for _ in range(8)]
    for connection, garbage in zip(connections, GARBAGE, strict=False):
        connection.sendall(garbage)
    for connection in connections[:6]:
        connection.close()
    with clock.standing_for(lambda: store(source, MOSAIC)):
        assert_same(list(source), list(open_source(MOSAIC)))
    source.close()
    for connection in connections[6:]:
        connection.close()


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_a_sender_that_is_killed_may_come_back_and_store_everything_again() -> None:
    clock = StandingClock()
    source = followed(clock)
    replaying = [sys.executable, "-m", "scanner_bridge", "replay", str(MOSAIC), str(source.address), "--to", "cstore"]
    with subprocess.Popen([*replaying, "--speed", "5"], cwd=ROOT) as first:
        volumes = iter(source)
        heard = [next(volumes)]
        first.kill()
    with clock.standing_for(lambda: store(source, MOSAIC)):  # and sends all again
        assert_same([*heard, *volumes], list(open_source(MOSAIC)))
    source.close()


def test_a_port_that_is_taken_is_an_error_with_the_remedy() -> None:
    source = listening()
    with pytest.raises(SourceError, match=r"cannot listen for C-STORE at .* end it, or name another address"):
        listening(listen=str(source.address))
    source.close()
    listening(listen=str(source.address)).close()


def test_nobody_there_is_a_sentence_of_the_sender(tmp_path: Path) -> None:
    nobody = settings_for(f"vsend://:{free_port()}").address(0)
    with pytest.raises(SourceError, match="nobody takes a connection at"):
        CStoreEmitter(nobody, "INNEREAR", "SCANNER", wait_s=0).send(image(tmp_path / "a.dcm"))


def test_without_the_library_a_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("scanner_bridge.sources.cstore")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(SourceError, match=r"receiving C-STORE needs pynetdicom: .*innerear\[dicom\]"):
        listening()


def tls(folder: Path, name: str) -> Tls:
    return Tls(folder / f"{name}.pem", folder / f"{name}.key", folder / "authority.pem")


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_over_tls_known_peers_store_and_strangers_and_the_silent_do_not(
    certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = StandingClock()
    source = followed(clock, StoreSettings("INNEREAR", ("SCANNER",), tls(certificates, "bridge")))
    address = (source.address.host, source.address.port)
    with socket.create_connection(address):  # never says a word
        with socket.create_connection(address) as plain:
            plain.sendall(struct.pack(">BBL", 1, 0, 68) + bytes(68))
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(1) in (b"", b"\x15")  # closed, or TLS's alert
        context = tls(certificates, "stranger").context(ssl.Purpose.SERVER_AUTH)
        with socket.create_connection(address) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as unknown:
                with pytest.raises(ssl.SSLError, match="unknown ca"):
                    unknown.recv(1)
        with clock.standing_for(lambda: store(source, MOSAIC, tls=tls(certificates, "scanner"))):
            assert_same(list(source), list(open_source(MOSAIC)))
    source.close()
    assert caplog.text.count("no TLS connection") >= 2


def test_tls_files_that_cannot_be_used_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(SourceError, match=r"TLS files cannot be used: .* as PEM files"):
        listening(StoreSettings("A", ("B",), Tls(tmp_path / "x.pem", tmp_path / "missing")))


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_as_processes_a_replay_by_cstore_reaches_the_live_program() -> None:
    port = free_port()
    python = [sys.executable, "-m", "scanner_bridge"]
    with live_program() as program:
        serving = [
            *python, "serve", f"cstore://:{port}", "--ae-title", "INNEREAR", "--allow", "SCANNER",
            "--connect", program.endpoint, "--expect", "8",
        ]  # fmt: skip
        with subprocess.Popen(serving, cwd=ROOT, stderr=subprocess.PIPE) as served:
            until_open(port)
            replaying = [*python, "replay", str(MOSAIC), f":{port}", "--to", "cstore", "--speed", "20"]
            told = subprocess.run(replaying, cwd=ROOT, capture_output=True, timeout=90, check=False)
            assert served.stderr is not None
            said = served.stderr.read().decode()
            assert served.wait(60) == 0, said
        assert (told.returncode, told.stderr) == (0, b"8 files sent\n")
        assert program.indices == list(range(8))


def until_open(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError(f"nobody listens at {port}")


def test_a_sender_that_is_faster_than_we_are_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("scanner_bridge.sources.cstore_server._ROOM_S", 0.1)
    source = listening(StoreSettings("INNEREAR", ("SCANNER",), max_object_mib=1))
    emitter = sender(source)
    path = image(tmp_path / "a.dcm", n_frames=70)  # 0.6 MB, and nobody reads
    emitter.send(path)
    with pytest.raises(SourceError, match=r"does not take a\.dcm: status A700"):
        emitter.send(path)
    emitter.close()
    source.close()
    assert "an object was refused: 57" in caplog.text


def test_who_has_not_said_a_known_title_cannot_send_much(caplog: pytest.LogCaptureFixture) -> None:
    source = listening()
    with socket.create_connection((source.address.host, source.address.port)) as stranger:
        with contextlib.suppress(ConnectionError):
            stranger.sendall(struct.pack(">BBL", 1, 0, 0x7FFFFFFF) + bytes(4_000_000))
            while stranger.recv(4096):
                pass
    source.close()
    assert "is cut off: it sent more than 1048576 bytes at once" in caplog.text
