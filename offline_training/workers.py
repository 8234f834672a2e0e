"""Who shares long work: processes of this machine, a Dask cluster, or jobs of a SLURM queue.

All of them are a `concurrent.futures.Executor`, and nothing else of them is used: results are the
same whoever computes them. Workers elsewhere read the data set and write samples under the same
paths, so both have to lie on a file system that all of them share.
"""

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from offline_training.errors import TrainingError

_WANTED = "a number of processes, the address of a Dask scheduler (tcp://HOST:PORT) or slurm:JOBS"


@contextmanager
def worker_processes(n_workers: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, one BLAS thread each: forking a process with numba threads deadlocks."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(n_workers or os.cpu_count(), get_context("spawn"), _end_with_parent) as executor:
        yield executor


def _end_with_parent() -> None:
    """A pool whose owner was killed would wait for work for ever, with all the memory it holds."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def workers(where: str = "", *, answer_s: float = 10.0) -> Iterator[Executor]:
    """The workers that a few words name.

    Parameters
    ----------
    where : str
        Empty: a process per core. ``4``: so many processes. ``tcp://HOST:PORT``: the workers of that Dask
        scheduler. ``slurm:8``: so many jobs of a SLURM queue, each started as dask-jobqueue's own
        configuration says (``~/.config/dask/jobqueue.yaml``: queue, cores, memory, walltime).
    answer_s : float
        How long a scheduler may take to answer.

    Raises
    ------
    TrainingError
        It names none of these, dask is not installed, the scheduler does not answer, or the queue's
        configuration is incomplete.
    """
    if re.fullmatch(r"[1-9]\d*|", where):
        with worker_processes(int(where) if where else None) as processes:
            yield processes
    elif where.startswith(("tcp://", "tls://")) or re.fullmatch(r"slurm:[1-9]\d*", where):
        with _dask_client(where, answer_s) as client:
            yield client.get_executor()
    else:
        raise TrainingError(f"cannot work on {where!r}; wanted {_WANTED}")


@contextmanager
def _dask_client(where: str, answer_s: float) -> Iterator[Any]:
    try:
        from distributed import Client  # noqa: PLC0415  # dask is an extra
    except ModuleNotFoundError as exc:
        raise TrainingError(f"{where} needs dask: install it with pip install 'innerear[cluster]'") from exc
    if where.startswith("slurm:"):
        with slurm_cluster() as cluster, Client(cluster) as client:
            cluster.scale(jobs=int(where.removeprefix("slurm:")))
            yield client
        return
    try:
        client = Client(where, timeout=answer_s)
    except (OSError, ValueError) as exc:
        raise TrainingError(f"no Dask scheduler answers at {where}: {exc}; start one with dask scheduler") from exc
    with client:
        yield client


def slurm_cluster() -> Any:
    """A cluster of SLURM jobs, none started yet, as dask-jobqueue's configuration describes them.

    Raises
    ------
    TrainingError
        dask-jobqueue is not installed, or its configuration lacks cores or memory.
    """
    try:
        import dask  # noqa: PLC0415  # an extra, as is the next
        from dask_jobqueue import SLURMCluster  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise TrainingError("SLURM needs dask-jobqueue: install it with pip install 'innerear[cluster]'") from exc
    missing = [key for key in ("cores", "memory") if dask.config.get(f"jobqueue.slurm.{key}", None) is None]
    if missing:
        raise TrainingError(f"the SLURM jobs are not described: jobqueue.slurm.{' and .'.join(missing)} missing in "
                            "~/.config/dask/jobqueue.yaml; say what a job gets")
    return SLURMCluster()
