"""Bundles: written and read back unchanged, and refused when anything in them is not what it says."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bundle import Bundle, Manifest, check_fits, read_bundle, write_bundle
from realtime.errors import BundleError
from realtime.messages import EmbeddingSpace
from realtime.preprocessing.settings import PreprocessorSettings
from scanner_bridge.volume import RunHeader

N_VOXELS, DIM = 30, 5
AFFINE = np.diag([3.0, 3.0, 3.5, 1.0])


def bundle(**changes: object) -> Bundle:
    rng = np.random.default_rng(0)
    space, preprocessing = EmbeddingSpace("logmel", DIM, "a" * 64), PreprocessorSettings(tr_s=1.0, settle_s=3.0)
    manifest = Manifest("test", "sub-01", space, preprocessing, 4, 3, {"identification": 0.9}, "make")
    maps = rng.random((2, 3, 2, DIM), np.float32)
    made = Bundle(manifest, rng.random((8, 9, 7), np.float32), AFFINE, rng.integers(0, 7, (N_VOXELS, 3), np.int32),
                  rng.random(N_VOXELS, np.float32), rng.random(DIM, np.float32), *maps,
                  np.linspace(0, 0.2, 3, dtype=np.float32), b"\x08\x09 graph")
    return replace(made, **changes)  # type: ignore[arg-type]


def header(**changes: object) -> RunHeader:
    return replace(RunHeader("run", (8, 9, 7), "<i2", AFFINE, 1.0), **changes)  # type: ignore[arg-type]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    wrote = bundle()
    write_bundle(tmp_path / "b", wrote)
    read = read_bundle(tmp_path / "b")
    assert read.manifest == wrote.manifest
    assert read.onnx == wrote.onnx
    for name in ("reference", "affine", "voxels", "feature_scale", "embedding_mean", "evidence_map", "clip_map",
                 "tail"):
        got, wanted = getattr(read, name), getattr(wrote, name)
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype
    assert read.sha256 == hashlib.sha256((tmp_path / "b" / "manifest.json").read_bytes()).hexdigest()


def test_writing_again_replaces_the_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path, bundle())
    write_bundle(tmp_path, bundle(onnx=b"other"))
    assert read_bundle(tmp_path).onnx == b"other"


@settings(deadline=None, max_examples=60)
@given(file=st.sampled_from(["decoder.onnx", "arrays.npz"]), where=st.floats(0, 1, exclude_max=True),
       bit=st.integers(0, 7))
def test_any_changed_bit_of_a_file_is_refused(tmp_path_factory: pytest.TempPathFactory, file: str, where: float,
                                              bit: int) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, bundle())
    payload = bytearray((folder / file).read_bytes())
    payload[int(where * len(payload))] ^= 1 << bit
    (folder / file).write_bytes(payload)
    with pytest.raises(BundleError, match=f"{file} has changed since the export"):
        read_bundle(folder)


@pytest.mark.parametrize("file", ["decoder.onnx", "arrays.npz"])
def test_a_bundle_torn_while_it_was_written_has_no_manifest(tmp_path: Path, file: str) -> None:
    write_bundle(tmp_path, bundle())
    (tmp_path / file).unlink()
    (tmp_path / file).mkdir()  # writing it fails, as on a full disk
    with pytest.raises(IsADirectoryError):
        write_bundle(tmp_path, bundle(onnx=b"new"))
    with pytest.raises(BundleError, match="no bundle in"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("missing", ["manifest.json", "decoder.onnx", "arrays.npz"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    write_bundle(tmp_path, bundle())
    (tmp_path / missing).unlink()
    with pytest.raises(BundleError, match=missing):
        read_bundle(tmp_path)


@pytest.mark.parametrize(("text", "sentence"), [
    ("{", "is not JSON"),
    ("{}", "format version None"),
    ('{"format_version": 99}', "format version 99, this program reads"),
    ('{"format_version": 3}', "names no files"),
])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    write_bundle(tmp_path, bundle())
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=sentence):
        read_bundle(tmp_path)


@pytest.mark.parametrize("key", ["space", "preprocessing", "lag_volumes", "window_volumes"])
def test_a_manifest_without_a_key_is_refused(tmp_path: Path, key: str) -> None:
    write_bundle(tmp_path, bundle())
    document = json.loads((tmp_path / "manifest.json").read_text())
    del document[key]
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=f"does not describe a bundle.*{key}"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"affine": np.eye(3)}, r"affine has shape \(3, 3\), wanted \(4, 4\)"),
    ({"feature_scale": np.ones(4, np.float32)}, r"feature_scale has shape \(4,\), wanted \(30,\)"),
    ({"embedding_mean": np.ones(9, np.float32)}, r"embedding_mean has shape \(9,\), wanted \(5,\)"),
    ({"reference": np.full((8, 9, 7), np.nan, np.float32)}, "reference holds NaN"),
    ({"reference": np.ones((8, 9), np.float32)}, "reference has 2 dimensions"),
    ({"voxels": np.full((N_VOXELS, 3), 7, np.int32)}, "voxels lie outside the reference"),
    ({"voxels": np.full((N_VOXELS, 3), -1, np.int32)}, "voxels lie outside the reference"),
    ({"voxels": np.empty((0, 3), np.int32), "feature_scale": np.empty(0, np.float32)}, "voxels lie outside"),
    ({"manifest": replace(bundle().manifest, window_volumes=4)},
     r"evidence_map and clip_map have shapes \(3, 2, 5\) and \(3, 2, 5\), wanted \(4, k, 5\)"),
    ({"clip_map": np.ones((3, 1, 5), np.float32)}, r"shapes \(3, 2, 5\) and \(3, 1, 5\), wanted"),
    ({"tail": np.zeros(2, np.float32)}, r"tail has shape \(2,\), wanted \(3,\)"),
    ({"tail": np.array([0.0, -0.5, 0.1], np.float32)}, "tail is -0.5 somewhere, wanted at least 0"),
])
def test_inconsistent_arrays_are_refused(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    write_bundle(tmp_path, bundle(**changes))
    with pytest.raises(BundleError, match=sentence):
        read_bundle(tmp_path)


def test_a_run_of_the_same_protocol_fits_wherever_the_head_lies() -> None:
    check_fits(bundle(), header())
    moved = AFFINE.copy()
    moved[:3, 3] = 40
    check_fits(bundle(), header(affine=moved))
    turned = AFFINE @ np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    check_fits(bundle(), header(affine=turned))


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"shape": (8, 9, 8)}, r"volumes are \(8, 9, 8\), the bundle wants \(8, 9, 7\)"),
    ({"affine": np.diag([3.0, 3.0, 4.0, 1.0])}, r"\[3.0, 3.0, 4.0\] mm, the bundle wants \[3.0, 3.0, 3.5\] mm"),
    ({"tr_s": 1.5}, "TR is 1.5 s, the bundle wants 1 s"),
    ({"tr_s": 2.0, "shape": (1, 1, 1)}, "volumes are .*; the run's TR is 2 s"),
])
def test_a_run_of_another_protocol_is_refused_with_every_mismatch(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        check_fits(bundle(), header(**changes))


def test_slices_acquired_at_other_times_are_refused_where_the_bundle_uses_them() -> None:
    times_s = tuple(k / 7 for k in range(7))
    preprocessing = replace(bundle().manifest.preprocessing, slice_times_s=times_s)
    made = replace(bundle(), manifest=replace(bundle().manifest, preprocessing=preprocessing))
    check_fits(made, header())
    check_fits(made, header(slice_times_s=times_s))
    check_fits(bundle(), header(slice_times_s=times_s[::-1]))
    with pytest.raises(BundleError, match="slices are acquired at other times"):
        check_fits(made, header(slice_times_s=times_s[::-1]))
