"""Whoever computes, the result is the same: processes and a Dask cluster; and what a SLURM job asks for."""

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from offline_training.errors import TrainingError
from offline_training.ridge import fit_kernel_ridge
from offline_training.workers import slurm_cluster, workers

pytest.importorskip("dask_jobqueue", reason="dask is not installed: pip install 'innerear[cluster]'")


def fit_subject(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    features, targets = rng.normal(size=(40, 90)).astype(np.float32), rng.normal(size=(40, 3)).astype(np.float32)
    return fit_kernel_ridge(features, targets, np.arange(40) % 4, (1.0, 100.0)).weights.tobytes()


@pytest.fixture
def scheduler() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_a_dask_cluster_and_processes_give_the_same_bits(scheduler: str) -> None:
    results = {}
    for where in ("2", scheduler):
        with workers(where) as executor:
            results[where] = [future.result() for future in [executor.submit(fit_subject, seed) for seed in range(4)]]
    assert results["2"] == results[scheduler] == [fit_subject(seed) for seed in range(4)]


def test_an_error_on_a_dask_worker_arrives_as_itself(scheduler: str) -> None:
    with workers(scheduler) as executor, pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()


def test_a_slurm_job_asks_for_what_the_configuration_says() -> None:
    import dask

    own = {"cores": 4, "memory": "12GB", "queue": "normal", "walltime": "02:00:00"}
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in own.items()}), slurm_cluster() as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p normal" in script
    assert "#SBATCH --cpus-per-task=4" in script
    assert "#SBATCH -t 02:00:00" in script
    assert "distributed.cli.dask_worker" in script


def test_an_incomplete_slurm_configuration_is_named() -> None:
    with pytest.raises(TrainingError, match=r"jobqueue.slurm.cores and .memory missing"):
        slurm_cluster()


def test_words_that_name_no_workers_are_refused() -> None:
    for where in ("many", "0", "-1", "slurm:", "http://host"):
        with pytest.raises(TrainingError, match="cannot work on"), workers(where):
            pass


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TrainingError, match=f"no Dask scheduler answers at tcp://127.0.0.1:{port}"), \
            workers(f"tcp://127.0.0.1:{port}", answer_s=0.5):
        pass
