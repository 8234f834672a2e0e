"""The whole loop on images that real scanners made; what is decoded from them is noise, and must be called so."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.processes import command

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = [pytest.mark.data, pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded scanner data in {DATA}")]


def ge_run(_: Path) -> Path:
    return DATA / "nifti" / "real_epi_ge_60vol" / "bold.nii.gz"


def siemens_folder(scratch: Path) -> Path:
    folder = DATA / "dicom" / "siemens_ve11_mosaic"
    if (folder / "dicom").is_dir():
        return folder / "dicom"
    with tarfile.open(folder / "dicom.tar.xz") as archive:
        archive.extractall(scratch / "dicom", filter="data")
    return scratch / "dicom"


def rehearse(source: Path, folder: Path, clip_s: float) -> dict[str, Any]:
    """Bundle from the run, then the run through bridge, journal, decoder and player."""
    corpus = builders.write_corpus(folder / "corpus")
    steps = (
        command("export", "untrained", source, folder / "bundle", "--catalogue", corpus, "--clip-s", clip_s,
                "--events", folder / "events.tsv"),
        command("replay", source, "--bundle", folder / "bundle", "--catalogue", corpus, "--events",
                folder / "events.tsv", "--session", folder / "session", "--speed", 10, "--sink", "wav", "--json",
                folder / "figures.json"),
        command("verify", folder / "session"),
        command("report", folder / "session"),
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return figures


def test_a_real_ge_run_goes_all_the_way_to_sound_and_is_called_noise(tmp_path: Path) -> None:
    figures = rehearse(ge_run(tmp_path), tmp_path, 5.0)
    assert figures["volumes_sent"] == figures["volumes_journaled"] == 60
    assert figures["gaps"] == figures["rejected"] == 0
    assert figures["status"] == "complete"
    assert figures["identification_accuracy"] <= figures["identification_chance_p95"]
    assert "inside the chance band" in figures["verdict"]
    assert figures["latency_ms"]["volume_to_sound"]["n"] > 0
    assert (tmp_path / "session" / "played.wav").stat().st_size > 48000


def test_a_real_siemens_mosaic_folder_goes_all_the_way_to_the_record(tmp_path: Path) -> None:
    figures = rehearse(siemens_folder(tmp_path), tmp_path, 1.0)
    assert figures["volumes_sent"] == figures["volumes_journaled"] == 8
    assert figures["gaps"] == figures["rejected"] == 0
    assert "the music heard was decoded." not in figures["verdict"].replace("not show that the music heard", "")
    assert (tmp_path / "session" / "report.html").stat().st_size > 10_000
