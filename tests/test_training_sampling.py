"""Aligned runs are kept and found again, and only while nothing that made them has changed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from offline_training import sampling
from offline_training.design import Frame, RunSamples
from offline_training.runs import Dataset, read_dataset
from realtime.preprocessing import PreprocessorSettings
from tests.test_training_pipeline import PREPROCESSING, head, write_run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("bids")
    for run in range(2):
        write_run(folder, f"task-Training_run-{run + 1:02d}", [2 * run, 2 * run + 1], seed=run)
    return read_dataset(folder)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were really aligned."""
    names: list[str] = []
    real = sampling.sample_run

    def counting(run: sampling.RecordedRun, frame: Frame, path: Path) -> RunSamples:
        names.append(run.run_id)
        return real(run, frame, path)

    monkeypatch.setattr(sampling, "sample_run", counting)
    return names


def frame(settings: PreprocessorSettings = PREPROCESSING) -> Frame:
    voxels = np.array([[6, 12, 7], [16, 12, 7], [10, 10, 6]], np.int32)
    return Frame(head().astype(np.float32), np.diag([4.0, 4, 5, 1]), voxels, settings)


def sample(dataset: Dataset, where: Path, at: Frame) -> tuple[RunSamples, ...]:
    with ThreadPoolExecutor(1) as executor:
        return sampling.sample_runs(dataset.training, at, where, executor)


def test_a_training_that_goes_on_aligns_only_what_is_missing_and_reads_the_same(
        dataset: Dataset, tmp_path: Path, made: list[str]) -> None:
    first = sample(dataset, tmp_path, frame())
    first[1].samples.with_suffix(".npz").unlink()  # as when it was killed while this run was at work
    again = sample(dataset, tmp_path, frame())
    assert made == [first[0].run.run_id, first[1].run.run_id, first[1].run.run_id]
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(np.load(before.samples), np.load(after.samples))
        for field in fields(RunSamples):
            if field.name not in ("run", "samples"):
                np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))


def test_another_frame_setting_or_image_is_aligned_anew(dataset: Dataset, tmp_path: Path, made: list[str]) -> None:
    one = replace(dataset, training=dataset.training[:1])
    sample(one, tmp_path, frame())
    sample(one, tmp_path, frame(replace(PREPROCESSING, settle_s=4.0)))
    moved = frame()
    sample(one, tmp_path, replace(moved, voxels=moved.voxels + 1))
    assert len(made) == 3
    image = bytearray(dataset.training[0].bold.read_bytes())
    copy = tmp_path / dataset.training[0].bold.name
    copy.write_bytes(bytes(image) + b"\0")
    sample(replace(one, training=(replace(one.training[0], bold=copy),)), tmp_path, frame())
    assert len(made) == 4


def test_damaged_leftovers_count_for_nothing(dataset: Dataset, tmp_path: Path, made: list[str]) -> None:
    one = replace(dataset, training=dataset.training[:1])
    kept = sample(one, tmp_path, frame())[0].samples.with_suffix(".npz")
    for content in (b"", kept.read_bytes()[:100]):
        kept.write_bytes(content)
        sample(one, tmp_path, frame())
    assert len(made) == 3
