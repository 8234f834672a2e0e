"""A pool whose owner is killed ends, too: nothing that waits for ever is left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

OWNER = """
import os, time
from offline_training.workers import worker_processes
if __name__ == "__main__":
    with worker_processes(1) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_of_a_pool_end_when_its_owner_is_killed(tmp_path: Path) -> None:
    (tmp_path / "owner.py").write_text(OWNER)
    root = str(Path(__file__).resolve().parents[1])
    with subprocess.Popen([sys.executable, "owner.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONPATH": root}) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        assert is_running(worker)
        owner.kill()
    deadline = time.monotonic() + 30
    while is_running(worker):
        assert time.monotonic() < deadline, f"worker {worker} outlives its owner"
        time.sleep(0.01)
