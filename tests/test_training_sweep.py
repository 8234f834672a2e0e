"""Many regions, folds, targets and people on many workers: one result whoever works, and nothing is done twice."""

import json
import tracemalloc
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.sweep import Problem, RegionFold, averaged, sweep
from offline_training.workers import workers
from tests import builders

ALPHAS = (10.0, 100.0, 1000.0)


class Here(Executor):
    """Works at once, in this process, and gives up after so many jobs."""

    def __init__(self, last: int = 10**6) -> None:
        self.done, self._last = 0, last

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.done < self._last:
            self.done += 1
            future.set_result(function(*arguments, **named))
        else:
            future.set_exception(KeyboardInterrupt())
        return future


def problems(folder: Path, n_subjects: int = 2) -> list[Problem]:
    """Three regions of 30 voxels, two of which hold the music; two kinds of target; 24 rows in 4 folds."""
    made = []
    for subject in range(n_subjects):
        rng = np.random.default_rng(subject)
        music = rng.standard_normal((24, 5)).astype(np.float32)
        features = rng.standard_normal((24, 90)).astype(np.float32)
        features[:, :60] += 2 * music @ rng.standard_normal((5, 60)).astype(np.float32)
        path = folder / f"sub-{subject}.npy"
        np.save(path, features)
        for target, values in (("sound", music), ("words", music[:, :2] ** 2)):
            made.append(Problem(f"{subject}", target, path, np.repeat([0, 1, 2], 30), values, np.arange(24) // 6))
    return made


def bits(found: tuple[RegionFold, ...]) -> list[tuple[Any, ...]]:
    return [(one.subject, one.target, one.region, one.fold, one.correlation, one.predictions.tobytes())
            for one in found]


def test_processes_a_dask_cluster_and_one_thread_give_the_same_bits(tmp_path) -> None:
    pytest.importorskip("distributed", reason="dask is not installed: pip install 'innerear[cluster]'")
    from distributed import LocalCluster

    given = problems(tmp_path)
    here = bits(sweep(given, Here(), tmp_path / "here", alphas=ALPHAS))
    assert len(here) == 2 * 2 * 3 * 4
    with workers("2") as executor:
        assert bits(sweep(given, executor, tmp_path / "processes", alphas=ALPHAS)) == here
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, \
            workers(cluster.scheduler_address) as executor:
        assert bits(sweep(given, executor, tmp_path / "dask", alphas=ALPHAS)) == here


def test_a_sweep_that_was_cut_off_goes_on_and_a_stale_or_torn_result_is_never_used(tmp_path) -> None:
    given, keep, told = problems(tmp_path, 1), tmp_path / "keep", []
    with pytest.raises(KeyboardInterrupt):
        sweep(given, Here(last=7), keep, alphas=ALPHAS)
    kept = {path.name: path.stat().st_mtime_ns for path in keep.iterdir()}
    assert len(kept) == 7
    torn = keep / sorted(kept)[0]
    torn.write_bytes(torn.read_bytes()[:50])
    found = sweep(given, Here(), keep, lambda *said: told.append(said), ALPHAS)
    assert told[-1] == ("regions and folds", 24, 24)
    assert bits(found) == bits(sweep(given, Here(), tmp_path / "other", alphas=ALPHAS))
    untouched = [name for name, at in kept.items() if (keep / name).stat().st_mtime_ns == at]
    assert len(untouched) == 6
    features = np.load(given[0].features)
    np.save(given[0].features, 2 * features)
    assert bits(sweep(given, Here(), keep, alphas=ALPHAS)) != bits(found)


def test_the_best_regions_are_averaged_and_chosen_without_the_fold_they_predict(tmp_path) -> None:
    sound, _ = problems(tmp_path, 1)
    found = sweep([sound], Here(), tmp_path / "keep", alphas=ALPHAS)
    best = {fold: sorted((one.correlation, one.region) for one in found if one.fold == fold)[1:] for fold in range(4)}
    assert all({region for _, region in pairs} == {0, 1} for pairs in best.values())
    predicted = averaged(found, sound, 2)
    for fold in range(4):
        wanted = np.mean([one.predictions for one in found if one.fold == fold and one.region < 2], axis=0)
        np.testing.assert_array_equal(predicted[sound.fold == fold], wanted)
    sound.targets[sound.fold == 3] = 99.0  # what is held out moves neither its predictions nor what it is chosen by
    again = sweep([sound], Here(), tmp_path / "keep", alphas=ALPHAS)
    assert [(one.correlation, one.predictions.tobytes()) for one in again if one.fold == 3] == [
        (one.correlation, one.predictions.tobytes()) for one in found if one.fold == 3]


def test_a_job_holds_its_region_and_not_the_person(tmp_path) -> None:
    path = tmp_path / "features.npy"
    stored = np.lib.format.open_memmap(path, "w+", np.float32, (40, 400_000))
    stored[:] = np.random.default_rng(0).standard_normal((40, 1)).astype(np.float32)
    stored[:, ::3] = 1.0
    regions = np.full(400_000, -1)
    regions[:500] = 0
    rng = np.random.default_rng(1)
    problem = Problem("0", "sound", path, regions, rng.standard_normal((40, 3)).astype(np.float32), np.arange(40) // 10)
    tracemalloc.start()
    sweep([problem], Here(), tmp_path / "keep", alphas=ALPHAS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < stored.nbytes / 4


@pytest.mark.parametrize("pool", [lambda: ThreadPoolExecutor(1), lambda: ProcessPoolExecutor(1, get_context("spawn"))])
def test_any_executor_will_do(tmp_path, pool) -> None:
    given = problems(tmp_path, 1)[:1]
    with pool() as executor:
        assert len(sweep(given, executor, tmp_path / "keep", alphas=ALPHAS)) == 12


def test_a_sweep_over_arrays_comes_from_the_command_line_with_its_band_of_chance(tmp_path) -> None:
    folder, corpus = tmp_path / "arrays", builders.write_corpus(tmp_path / "corpus", 24)
    folder.mkdir()
    vectors, rng = np.load(corpus / "embeddings.npy"), np.random.default_rng(0)
    mixing, rows = rng.standard_normal((builders.DIM, 60)), []
    for run in range(4):
        clips = [(6 * run - 1) % 24, *range(6 * run, 6 * run + 6)]
        lines = "".join(f"{15 * k}\t15\tclip{clip:02d}\n" for k, clip in enumerate(clips))
        path = folder / f"sub-001_task-Training_run-{run + 1:02d}_events.tsv"
        path.write_text("onset\tduration\tclip_id\n" + lines)
        signal = np.roll(np.repeat(vectors[clips[1:]], 10, axis=0) @ mixing, 3, axis=0)
        rows.append(signal + 2 * rng.standard_normal(signal.shape))
    np.save(folder / "sub-001_Resp_Training.npy", np.concatenate(rows).T.astype(np.float32))
    (folder / "sub-001_regions.tsv").write_text("region\n" + "STG\n" * 30 + "HG\n" * 30)
    arguments = ["sweep", str(folder), str(tmp_path / "keep"), "--catalogue", str(corpus), "--workers", "1", "--json",
                 str(tmp_path / "figures.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    row, = json.loads((tmp_path / "figures.json").read_text()).values()
    assert (row["n_trials"], row["n_folds"], row["n_voxels"]) == (24, 4, 60)
    assert row["cross_validated_identification"] > row["chance_p99"] > 0.5
    assert set(row["correlation_by_region"]) == {"STG", "HG"}
    done = CliRunner().invoke(app, [*arguments, "--workers", "nobody"])
    assert done.exit_code != 0
    assert "cannot work on 'nobody'" in done.output
