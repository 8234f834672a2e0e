"""Processes that share long work; any `concurrent.futures.Executor` serves in their place."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def worker_processes(n_workers: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, one BLAS thread each: forking a process with numba threads deadlocks."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ProcessPoolExecutor(n_workers or os.cpu_count(), get_context("spawn")) as executor:
        yield executor
