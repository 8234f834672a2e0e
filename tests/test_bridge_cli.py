"""The bridge's command line, as processes: what it sends, what it writes, what it says when it cannot."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from scanner_bridge.__main__ import app
from scanner_bridge.errors import BridgeError, SourceError
from scanner_bridge.export import export_run
from scanner_bridge.serve import serve
from scanner_bridge.sources import open_source
from scanner_bridge.sources.pacing import clock_id
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunEnd, RunHeader, Volume
from scanner_bridge.waiting import Stop
from tests import dicom_builder as made
from tests.dicom_builder import changed
from tests.loopback import free_endpoint
from tests.recorded_series import NAMES, needs_data, reference, series_folder, voxels_there
from tests.test_bridge_transport import live_program

nibabel: Any = untyped_nibabel
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
MOSAIC = DATA / "dicom" / "siemens_ve11_mosaic"
runner = CliRunner()


def simulated(**changes: Any) -> SourceSettings:
    return SourceSettings(kind="simulated", **{"n_volumes": 6, "shape": (8, 8, 5), **changes})


def write_run_without_tr(path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4)), path)
    return path


def test_a_served_run_arrives_whole_between_header_and_end() -> None:
    with live_program() as program:
        end = serve(simulated(), program.endpoint, speed=None)
        messages = [received.message for received in program.received]
    header, *volumes, last = messages
    assert isinstance(header, RunHeader)
    assert header.clock_id == clock_id()
    indices = [(volume.index, int(volume.data[0, 0, 0])) for volume in volumes if isinstance(volume, Volume)]
    assert indices == [(index, index) for index in range(6)]
    assert last == end == RunEnd(header.run_id, 6, "complete")


def test_lost_volumes_are_told_and_do_not_abort_the_run() -> None:
    with live_program() as program:
        end = serve(simulated(lost_volumes=(2,)), program.endpoint, speed=None)
    assert (end.n_volumes, end.status, end.reason) == (5, "complete", "1 volumes never came")


def test_a_run_that_falls_short_is_aborted_with_the_reason() -> None:
    with live_program() as program:
        end = serve(simulated(lost_volumes=(4, 5)), program.endpoint, speed=None)
        assert program.received[-1].message == end
    assert (end.n_volumes, end.status, end.reason) == (4, "aborted", "the run ended after volume 4 of 6")


def test_a_source_that_fails_ends_the_run_with_its_sentence(tmp_path: Path) -> None:
    path = tmp_path / "run.nii"
    export_run(open_source(simulated()), path)
    path.write_bytes(path.read_bytes()[:-100])
    with live_program() as program:
        end = serve(SourceSettings(path=path), program.endpoint, speed=None)
        assert program.received[-1].message == end
    assert (end.n_volumes, end.status) == (5, "aborted")
    assert end.reason == "the NIfTI file ends in volume 5 of 6: copy it again"


def test_a_stop_ends_the_run_as_aborted() -> None:
    stop = Stop()
    with live_program() as program:
        end = serve(
            simulated(), program.endpoint, speed=None, stop=stop,
            on_volume=lambda volume: stop.request("enough") if volume.index == 2 else None,
        )  # fmt: skip
        assert program.received[-1].message == end
    assert (end.n_volumes, end.status, end.reason) == (3, "aborted", "enough")


def test_nobody_listening_is_an_error_after_the_wait() -> None:
    with pytest.raises(BridgeError, match="8 messages are not stored"):
        serve(simulated(), free_endpoint(), speed=None, flush_s=0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_an_aborted_end_and_exit_code_1(number: signal.Signals) -> None:
    with live_program() as program:
        command = [sys.executable, "-m", "scanner_bridge", "serve", "simulated", "--connect", program.endpoint]
        process = subprocess.Popen([*command, "--volumes", "5000", "--tr", "0.02"], cwd=ROOT, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert program.arrived.wait(60)
        process.send_signal(number)
        said = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait() == 1
        end = program.received[-1].message
    assert isinstance(end, RunEnd)
    assert (end.status, end.reason) == ("aborted", f"stopped by {number.name}")
    assert end.n_volumes == len(program.indices) < 5000
    assert f"aborted: stopped by {number.name}" in said


def test_serve_says_what_was_stored() -> None:
    with live_program() as program:
        options = ["--connect", program.endpoint, "--unpaced", "--volumes", "4", "--progress"]
        result = runner.invoke(app, ["serve", "simulated", *options])
        assert program.indices == [0, 1, 2, 3]
    assert result.exit_code == 0
    assert "4 volumes stored" in result.stderr


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_series_is_exported_as_dcm2niix_converts_it(name: str, tmp_path: Path) -> None:
    out, wanted = tmp_path / "out.nii.gz", reference(name)
    result = runner.invoke(app, ["export", str(series_folder(name, tmp_path)), str(out)])
    assert result.exit_code == 0, result.stderr
    exported = nibabel.load(out)
    values = exported.get_fdata()
    assert values.shape[3] == wanted.values.shape[3]
    for matrix in (exported.header.get_sform(), exported.header.get_qform()):
        there = voxels_there(matrix, values.shape, wanted.affine)
        expected = wanted.values[there[0], there[1], there[2]]
        np.testing.assert_allclose(values.reshape(-1, values.shape[3]), expected, rtol=1e-7)
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert sidecar["RepetitionTime"] == pytest.approx(wanted.sidecar["RepetitionTime"], abs=1e-5)
    assert ("SliceTiming" in sidecar) == ("SliceTiming" in wanted.sidecar)
    assert sidecar.get("FirstVolume", 0) == (1 if name == "ge_dv24_slices" else 0)


@needs_data
def test_a_par_rec_dump_is_exported_as_nibabel_reads_it_magnitude_only(tmp_path: Path) -> None:
    out, dump = tmp_path / "out.nii", DATA / "parrec" / "philips_dump"
    assert runner.invoke(app, ["export", str(dump), str(out)]).exit_code == 0
    exported = nibabel.load(out)
    assert exported.shape == (80, 80, 15, 3)
    for index in range(3):
        wanted = nibabel.load(dump / f"ref_Dump-000{index}.nii.gz")
        there = voxels_there(exported.affine, exported.shape, wanted.affine)
        expected = np.asanyarray(wanted.dataobj)[there[0], there[1], there[2], 1]  # 0 is the phase
        np.testing.assert_array_equal(np.asanyarray(exported.dataobj)[..., index].ravel(), expected)
    assert json.loads((tmp_path / "out.json").read_text()) == {"RepetitionTime": 1.0}


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_inspect_tells_every_series_of_a_folder_and_what_is_left_alone(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for file in series_folder(name, tmp_path).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "localizer.dcm").write_bytes(changed(made.ge_slice(0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    (folder / "notes.txt").write_text("hello")
    result = runner.invoke(app, ["inspect", str(folder), "--json", str(tmp_path / "found.json")])
    assert result.exit_code == 0, result.stderr
    assert "1 images are left alone by the rule 'localizer': it is a localizer" in result.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["foreign_files"] == 1
    by_streamed = {series["streamed"]: series for series in found["series"]}
    run, localizer = by_streamed[True], by_streamed[False]
    wanted = reference(name)
    assert (run["shape"], run["volumes"]) == (list(wanted.values.shape[:3]), wanted.values.shape[3])
    assert run["tr_s"] == pytest.approx(wanted.sidecar["RepetitionTime"], abs=1e-5)
    assert (localizer["left_alone"], localizer["reason"]) == ({"localizer": 1}, "it is a localizer")
    assert [volume.index for volume in open_source(folder)][-1] == run["first_volume"] + run["volumes"] - 1


@needs_data
def test_one_enhanced_file_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "run.dcm").write_bytes(made.enhanced([0, 1, 2, 3]))
    (tmp_path / "other.dcm").write_bytes(made.ge_slice(0, 0))
    assert runner.invoke(app, ["export", str(tmp_path / "run.dcm"), str(tmp_path / "out.nii")]).exit_code == 0
    assert nibabel.load(tmp_path / "out.nii").shape == (8, 10, 6, 4)
    assert "streamed" in runner.invoke(app, ["inspect", str(tmp_path / "run.dcm")]).stdout


@needs_data
@pytest.mark.parametrize("source", [MOSAIC, MOSAIC / "dicom"], ids=["series folder", "dicom folder"])
def test_an_exported_mosaic_series_equals_the_dcm2niix_reference_in_world_space(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nii.gz"
    result = runner.invoke(app, ["export", str(source), str(out)])
    assert result.exit_code == 0, result.stderr
    ours, reference = nibabel.load(out), nibabel.load(MOSAIC / "ref.nii.gz")
    assert ours.header.get_zooms()[3] == reference.header.get_zooms()[3] == 1.0
    assert ours.header.get_xyzt_units() == ("mm", "sec")
    for matrix in (ours.header.get_sform(), ours.header.get_qform()):
        to_reference = np.linalg.inv(reference.affine) @ matrix
        grid = np.indices(ours.shape[:3]).reshape(3, -1)
        there = to_reference[:3, :3] @ grid + to_reference[:3, 3:]
        whole = np.rint(there).astype(int)
        np.testing.assert_allclose(there, whole, atol=1e-3)
        i, j, k = whole
        values, wanted = np.asanyarray(ours.dataobj), np.asanyarray(reference.dataobj)
        np.testing.assert_array_equal(values.reshape(-1, 8, order="C"), wanted[i, j, k])
    sidecar, wanted_sidecar = (json.loads(p.read_text()) for p in (tmp_path / "out.json", MOSAIC / "ref.json"))
    assert sidecar["RepetitionTime"] == wanted_sidecar["RepetitionTime"]
    np.testing.assert_allclose(sidecar["SliceTiming"], wanted_sidecar["SliceTiming"], atol=1e-4)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_an_export_replays_as_the_run_it_came_from(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"run{ending}"
    assert export_run(open_source(simulated()), out) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", out.name]
    before, after = list(open_source(simulated())), list(open_source(out))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        assert one.data.dtype == other.data.dtype
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
    assert open_source(out).header.slice_times_s == open_source(simulated()).header.slice_times_s


def test_volumes_of_different_scale_are_exported_in_scanner_units(tmp_path: Path) -> None:
    class TwoScales:
        header = open_source(simulated(n_volumes=2)).header

        def __iter__(self) -> Any:
            for volume, slope in zip(open_source(simulated(n_volumes=2)), (1.0, 2.5), strict=True):
                yield Volume(volume.index, volume.data, volume.affine, volume.tr_s, slope=slope, inter=-1.0)

        def close(self) -> None: ...

    export_run(TwoScales(), tmp_path / "out.nii")
    exported = np.asanyarray(nibabel.load(tmp_path / "out.nii").dataobj)
    for volume in TwoScales():
        np.testing.assert_array_equal(exported[..., volume.index], volume.slope * volume.data.astype("f4") - 1)


def test_a_run_with_a_missing_volume_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"volume 3 is missing \(volume 4 came\): nothing was exported"):
        export_run(open_source(simulated(lost_volumes=(3,))), tmp_path / "out.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.img", "missing/out.nii"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"cannot (export|write)"):
        export_run(open_source(simulated()), tmp_path / name)


def test_inspect_says_in_words_what_a_source_holds() -> None:
    result = runner.invoke(app, ["inspect", "simulated", "--volumes", "20"])
    assert result.exit_code == 0
    for words in ("32 x 32 x 18 voxels of 3 x 3 x 3.5 mm", "RAS", "TR           1 s", "20 volumes, 20 s", "int16"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "no/such/file.nii"], "does not exist"),
        (["inspect", "RUN"], "states no repetition time"),
        (["export", "RUN", "out.nii"], "states no repetition time"),
        (["serve", "RUN"], "states no repetition time"),
        (["serve", "simulated", "--connect", "nowhere"], "cannot connect to 'nowhere'"),
        (["serve", "simulated", "--speed", "0"], "speed is a positive number"),
        (["serve", "simulated", "--volumes", "0"], "n_volumes is between 1 and 32767"),
        (["serve", "simulated", "--key", "a.key_secret"], "needs both --key"),
        (["serve", "simulated", "--key", "a.key_secret", "--live-key", "b.key"], "cannot read key file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(tmp_path: Path, arguments: list[str], words: str) -> None:
    run = str(write_run_without_tr(tmp_path / "run.nii"))
    result = runner.invoke(app, [run if argument == "RUN" else argument for argument in arguments])
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.startswith("innerear: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_keys_are_made_once_and_not_overwritten(tmp_path: Path) -> None:
    arguments = ["keys", str(tmp_path / "keys"), "--name", "live"]
    assert runner.invoke(app, arguments).exit_code == 0
    assert (tmp_path / "keys" / "live.key_secret").stat().st_mode & 0o777 == 0o600
    assert "secret" not in (tmp_path / "keys" / "live.key").read_text()
    again = runner.invoke(app, arguments)
    assert again.exit_code == 1
    assert "remove the old pair" in again.stderr


def test_what_waits_in_the_spool_is_shown_and_purged_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    serve_arguments = ["serve", "simulated", "--volumes", "2", "--unpaced", "--connect", "tcp://127.0.0.1:9"]
    with pytest.raises(BridgeError, match=r"4 messages are not stored .* they stay in"):
        serve(SourceSettings(kind="simulated", n_volumes=2), "tcp://127.0.0.1:9", None, spool=folder, flush_s=0.1)
    shown = runner.invoke(app, ["spool", "--spool", str(folder)])
    assert shown.exit_code == 0
    assert "run simulated-0 (simulated phantom, seed 0), complete: 2 volumes" in shown.stdout
    assert "4 messages are sent when" in shown.stdout
    assert list(folder.glob("*.spool"))
    assert runner.invoke(app, ["spool", "--spool", str(folder), "--purge"]).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["spool.lock"]
    again = runner.invoke(app, ["spool", "--spool", str(folder)])
    assert again.stdout == ""
    folder.chmod(0o755)
    refused = runner.invoke(app, [*serve_arguments, "--spool", str(folder)])
    assert refused.exit_code == 1
    assert "wanted 0700" in refused.stderr
