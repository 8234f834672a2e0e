"""A live export made again: when what comes, what goes wrong on purpose, and that a receiver gets what was recorded."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from realtime.broker import free_port
from scanner_bridge.__main__ import app
from scanner_bridge.emitters.disturbance import Arrival, Disturbance, disturbed
from scanner_bridge.emitters.folder import FolderEmitter, WriteStyle
from scanner_bridge.emitters.recorded import recorded_files
from scanner_bridge.emitters.rehearsal import Pace, in_time, send_files
from scanner_bridge.errors import SourceError
from scanner_bridge.rehearse import Destination, rehearse
from scanner_bridge.sources import open_source
from scanner_bridge.sources.dicom_folder import DicomFolderSource
from scanner_bridge.sources.dicom_reader import read_image
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunEnd, Volume
from tests.emitting import StandingClock
from tests.test_bridge_sources import FakeTime
from tests.test_bridge_transport import live_program

ROOT = Path(__file__).resolve().parents[1]
DICOM = ROOT.parent / "shared" / "data" / "dicom"
PAR_REC = ROOT.parent / "shared" / "data" / "parrec" / "philips_dump"
SERIES = ("siemens_ve11_mosaic", "siemens_xa30_enhanced", "ge_dv26_interleaved", "philips_classic_phantom")
needs_data = [pytest.mark.data, pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")]
runner = CliRunner()

probabilities = st.floats(0, 1)
disturbances = st.builds(
    Disturbance, drop=probabilities, duplicate=probabilities, delay=probabilities, delay_s=st.floats(0, 9),
    shuffle_s=st.floats(0, 9), seed=st.integers(0, 99),
)  # fmt: skip


def every_second(n: int) -> list[Arrival[int]]:
    return [Arrival(float(number), number) for number in range(n)]


def test_nothing_goes_wrong_unless_it_is_said() -> None:
    assert list(disturbed(every_second(9), Disturbance())) == every_second(9)


@given(disturbances, st.integers(0, 40))
def test_what_goes_wrong_is_bounded_and_in_order_of_time(disturbance: Disturbance, n: int) -> None:
    arrivals = list(disturbed(every_second(n), disturbance))
    assert [arrival.at_s for arrival in arrivals] == sorted(arrival.at_s for arrival in arrivals)
    longest_s = disturbance.shuffle_s + disturbance.delay_s + max(disturbance.shuffle_s, disturbance.delay_s)
    assert all(0 <= arrival.at_s - arrival.item <= longest_s for arrival in arrivals)
    counts = Counter(arrival.item for arrival in arrivals)
    assert set(counts.values()) <= {1, 2}
    if disturbance.drop == 0:
        assert len(counts) == n
    if disturbance.duplicate == 0:
        assert set(counts.values()) <= {1}


@given(disturbances, st.integers(1, 20), st.integers(0, 20))
def test_an_item_is_disturbed_in_the_same_way_whatever_follows_it(disturbance: Disturbance, n: int, more: int) -> None:
    shorter, longer = (list(disturbed(every_second(length), disturbance)) for length in (n, n + more))
    assert Counter(shorter) == Counter(arrival for arrival in longer if arrival.item < n)


def test_shares_are_about_what_was_asked_for() -> None:
    arrivals = list(disturbed(every_second(2000), Disturbance(drop=0.2, duplicate=0.1, delay=0.3, delay_s=5, seed=1)))
    counts = Counter(arrival.item for arrival in arrivals)
    assert 0.75 < len(counts) / 2000 < 0.85
    assert 0.06 < sum(count == 2 for count in counts.values()) / len(counts) < 0.14
    late = Counter(arrival.item for arrival in arrivals if arrival.at_s >= arrival.item + 5)
    assert 0.25 < len(late) / len(counts) < 0.38


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"drop": 1.5}, "drop"), ({"delay_s": -1.0}, "delay_s"), ({"seed": -1}, "seed"), ({"delay": np.nan}, "delay")],
)
def test_a_disturbance_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        Disturbance(**changes)


@given(st.floats(0.2, 20), st.floats(0, 3))
def test_things_come_when_they_are_due_and_a_late_one_delays_no_other(speed: float, busy_s: float) -> None:
    time = FakeTime()
    start_s = free_s = time.now_s
    for item in in_time(every_second(6), Pace(speed, time.clock, time.sleep)):
        assert time.now_s == pytest.approx(max(start_s + item / speed, free_s))
        time.now_s += busy_s
        free_s = time.now_s


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_pace_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(SourceError, match="speed is a positive number"):
        Pace(speed)


def test_a_file_grows_in_the_folder_while_its_second_half_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(bytes(100))
    seen: list[tuple[str, int]] = []
    out = tmp_path / "export"

    def look(duration_s: float) -> None:
        seen.extend((path.name, path.stat().st_size) for path in out.iterdir())
        assert duration_s == 0.2

    FolderEmitter(out, "halves", pause_s=0.4, pace=Pace(2.0, sleep=look)).send(tmp_path / "one.dcm")
    assert seen == [("one.dcm", 50)]
    assert (out / "one.dcm").read_bytes() == bytes(100)


@pytest.mark.parametrize("style", ["whole", "halves", "rename"])
def test_every_style_ends_with_the_same_file_and_no_other(tmp_path: Path, style: WriteStyle) -> None:
    (tmp_path / "one.dcm").write_bytes(b"content")
    emitter = FolderEmitter(tmp_path / "new" / "export", style, pace=Pace(None))
    emitter.send(tmp_path / "one.dcm")
    emitter.send(tmp_path / "one.dcm")
    emitter.close()
    files = {path.name: path.read_bytes() for path in emitter.folder.iterdir()}
    assert files == {"one.dcm": b"content", "one_again1.dcm": b"content"}


def test_files_that_were_there_before_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(b"content")
    with pytest.raises(SourceError, match=r"one\.dcm is there already: replay into an empty folder"):
        FolderEmitter(tmp_path, pace=Pace(None)).send(tmp_path / "one.dcm")
    with pytest.raises(SourceError, match="cannot make"):
        FolderEmitter(tmp_path / "one.dcm" / "folder")
    with pytest.raises(SourceError, match="cannot copy missing"):
        FolderEmitter(tmp_path / "export").send(tmp_path / "missing")


@pytest.mark.parametrize("series", [pytest.param(name, marks=needs_data) for name in SERIES])
def test_recorded_files_come_volume_by_volume_and_slices_as_they_were_taken(series: str) -> None:
    arrivals = recorded_files(DICOM / series / "dicom")
    images = [read_image(arrival.item.read_bytes()) for arrival in arrivals]
    assert len(arrivals) == sum(path.is_file() for path in (DICOM / series / "dicom").iterdir())
    tr_s = images[0].acquisition.tr_s
    for arrival, image in zip(arrivals, images, strict=True):
        assert image.volumes[-1].index * tr_s < arrival.at_s <= (image.volumes[-1].index + 1) * tr_s + 1e-9
    at_s = [arrival.at_s for arrival in arrivals]
    assert at_s == sorted(set(at_s))
    for index in {image.volumes[0].index for image in images}:
        times = [image.volumes[0].times_s for image in images if image.volumes[0].index == index]
        taken = [float(time_s[0]) for time_s in times if time_s is not None]
        assert taken == sorted(taken)


def assert_same(heard: list[Volume], sent: list[Volume]) -> None:
    assert [volume.index for volume in heard] == [volume.index for volume in sent]
    for one, other in zip(heard, sent, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.affine, other.affine)


def followed(folder: Path, clock: StandingClock) -> DicomFolderSource:
    """A watched folder whose run ends with a second of silence, by a clock of ours."""
    return DicomFolderSource(
        folder, SourceSettings(path=folder, kind="dicom_folder", follow_s=1.0, poll_s=0.01), clock=clock
    )


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_a_par_rec_dump_is_replayed_pair_by_pair(tmp_path: Path) -> None:
    arrivals = recorded_files(PAR_REC)
    assert [arrival.item.name for arrival in arrivals] == [
        f"Dump-000{number}.{ending}" for number in range(3) for ending in ("rec", "par")
    ]
    clock = StandingClock()
    source = followed(tmp_path, clock)
    emitter = FolderEmitter(tmp_path, "halves", pace=Pace(500.0))
    with clock.standing_for(lambda: send_files(arrivals, emitter, Pace(500.0), Disturbance())):
        heard = list(source)
    assert_same(heard, list(open_source(PAR_REC)))


@pytest.mark.parametrize(
    ("series", "style"),
    [pytest.param(name, "halves", marks=needs_data) for name in SERIES]
    + [pytest.param("siemens_ve11_mosaic", "rename", marks=needs_data)],
)
def test_a_folder_into_which_a_series_is_replayed_gives_the_same_volumes(
    tmp_path: Path, series: str, style: WriteStyle
) -> None:
    recorded = DICOM / series / "dicom"
    pace = Pace(500.0)
    (tmp_path / "export").mkdir()
    clock = StandingClock()
    source = followed(tmp_path / "export", clock)
    emitter = FolderEmitter(tmp_path / "export", style, pace=pace)
    disturbance = Disturbance(shuffle_s=2.0, duplicate=0.2)
    with clock.standing_for(lambda: send_files(recorded_files(recorded), emitter, pace, disturbance)):
        heard = list(source)
    assert_same(heard, list(open_source(recorded)))


def bridge(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "scanner_bridge", *map(str, arguments)]


@pytest.mark.parametrize(
    "kind", ["vsend", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("afni", "pyneal"))]
)
def test_as_processes_a_replay_reaches_the_live_program_through_a_bridge(kind: str) -> None:
    port, options = free_port(), []
    if kind == "afni":
        options = ["--data-port", str(free_port())]
    with live_program() as program:
        serving = bridge("serve", f"{kind}://:{port}", "--connect", program.endpoint, "--expect", 6, "--wait", 60)
        replaying = bridge("replay", "simulated", f":{port}", "--to", kind, "--volumes", 6, "--speed", 40, *options)
        with subprocess.Popen(serving, cwd=ROOT, stderr=subprocess.PIPE) as served:
            told = subprocess.run(replaying, cwd=ROOT, capture_output=True, timeout=90, check=False)
            assert served.stderr is not None
            said = served.stderr.read().decode()
            assert served.wait(60) == 0, said
        assert (told.returncode, told.stderr) == (0, b"6 volumes sent\n")
        messages = [received.message for received in program.received]
    volumes = [message for message in messages if isinstance(message, Volume)]
    assert [(volume.index, int(volume.data[0, 0, 0])) for volume in volumes] == [(index, index) for index in range(6)]
    assert isinstance(messages[-1], RunEnd)
    assert messages[-1].status == "complete"


def test_a_sender_that_is_killed_ends_the_run_and_the_bridge_says_so() -> None:
    port = free_port()
    with live_program() as program:
        serving = bridge("serve", f"afni://:{port}", "--connect", program.endpoint, "--expect", 500, "--wait", 60)
        replaying = bridge(
            "replay", "simulated", f":{port}", "--to", "afni", "--data-port", free_port(),
            "--volumes", 500, "--tr", 0.02,
        )  # fmt: skip
        with subprocess.Popen(serving, cwd=ROOT, stderr=subprocess.PIPE) as served:
            with subprocess.Popen(replaying, cwd=ROOT) as sender:
                assert program.arrived.wait(60)
                sender.kill()
            assert served.stderr is not None
            said = served.stderr.read().decode()
            assert served.wait(60) == 1
        end = program.received[-1].message
    assert isinstance(end, RunEnd)
    assert end.status == "aborted"
    assert 0 < end.n_volumes < 500
    assert "aborted: " in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulated"], "needs its name: replay SOURCE --to folder FOLDER"),
        (["simulated", "OUT"], "needs recorded DICOM or PAR/REC files, got simulated"),
        (["missing", "OUT"], "got missing: name their folder"),
        (["EMPTY", "OUT"], "holds no DICOM or PAR/REC file that belongs to a run"),
        (["EMPTY", "OUT", "--series", "7"], "holds no DICOM or PAR/REC file of series 7"),
        (["afni", "--to", "vsend"], "afni is a way in: replay a recording"),
        (["simulated", "--to", "vsend", "--speed", "0"], "speed is a positive number"),
        (["simulated", "--to", "vsend", "--drop", "2"], "drop is a probability"),
        (["simulated", ":1", "--to", "vsend", "--wait", "0", "--unpaced"], "nobody takes a connection at 127.0.0.1:1"),
        (["simulated", "host:port", "--to", "pyneal"], "names port 'port'"),
        (["simulated", "--to", "cstore", "--called", "x" * 17], "cannot be a DICOM title"),
        (["EMPTY", "--to", "cstore", "--tls-cert", "c.pem"], "needs both --tls-cert and --tls-key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_replayed_is_one_sentence_and_exit_code_1(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "empty")}
    result = runner.invoke(app, ["replay", *(names.get(argument, argument) for argument in arguments)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert result.stderr.startswith("innerear: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the recorded scanner data are not here")
def test_a_series_is_named_where_there_are_several(tmp_path: Path) -> None:
    for series in ("siemens_ve11_mosaic", "siemens_xa30_enhanced"):
        send_files(recorded_files(DICOM / series / "dicom"), FolderEmitter(tmp_path), Pace(None), Disturbance())
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(SourceError, match=r"holds the series \[7, 13\]: say which one with --series"):
        recorded_files(tmp_path)
    assert len(recorded_files(tmp_path, series=7)) == 3
    result = runner.invoke(app, ["replay", str(tmp_path), str(tmp_path / "out"), "--series", "13", "--unpaced"])
    assert result.stderr == "8 files sent\n"


def test_a_stop_ends_a_replay(tmp_path: Path) -> None:
    def interrupted(duration_s: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        rehearse(
            SourceSettings(kind="simulated"), Destination("vsend", f":{free_port()}"), Pace(1.0, sleep=interrupted),
            Disturbance(),
        )  # fmt: skip
