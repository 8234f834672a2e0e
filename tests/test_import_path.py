"""The packages that run are ours, and the live path stays light."""

import subprocess
import sys
from pathlib import Path

import offline_training
import realtime
import scanner_bridge

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("torch", "sklearn", "scipy.signal", "scipy.linalg", "matplotlib", "nilearn", "onnx")
LIVE = ("numba", "onnxruntime", "sounddevice", "aiomqtt")
OURS = ("realtime", "offline_training")


def test_the_packages_that_run_are_ours() -> None:
    for package in (realtime, scanner_bridge, offline_training):
        assert Path(package.__path__[0]).resolve().parent == ROOT


def loaded_by(statement: str, *names: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_live_program_loads_no_training_library() -> None:
    assert loaded_by("import realtime.app, realtime.__main__, realtime.rehearsal", *TRAINING) == set()


def test_the_bridge_loads_nothing_of_the_decoder() -> None:
    everything = ("import scanner_bridge.__main__, scanner_bridge.sources.dicom_folder, scanner_bridge.sources.replay, "
                  "scanner_bridge.sources.simulated")
    assert loaded_by(everything, *TRAINING, *LIVE, *OURS) == set()


def test_the_player_loads_nothing_of_the_decoder() -> None:
    assert loaded_by("import realtime.playback.player", *TRAINING, *LIVE, "nibabel") == {"numba"}


def run_beside_a_stranger(folder: Path, first: str) -> subprocess.CompletedProcess[str]:
    (folder / "realtime").mkdir()
    (folder / "realtime" / "__init__.py").write_text("")
    code = (f"import sys; sys.path.insert(0, {str(folder)!r}); {first}; sys.argv = ['innerear', 'check', '--help']; "
            "import innerear; innerear.main()")
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_ours_wins_over_a_stranger_of_the_same_name(tmp_path: Path) -> None:
    done = run_beside_a_stranger(tmp_path, "pass")
    assert done.returncode == 0, done.stderr


def test_a_stranger_that_was_there_first_is_refused_by_name(tmp_path: Path) -> None:
    done = run_beside_a_stranger(tmp_path, "import realtime")
    assert done.returncode == 1
    assert "package 'realtime' comes from" in done.stderr
    assert "Traceback" not in done.stderr
