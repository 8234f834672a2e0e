"""Thousands of connections that have no business here: refused, seen, and the service goes on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scanner_bridge.client import BridgeClient
from scanner_bridge.keys import ClientKeys, load_client_keys, load_server_keys, write_key_files
from scanner_bridge.sockets import new_key_pair
from tests.live_end import a_header, a_volume, live_program

SERVICE_S = 0.1
HANGS_S = 30.0


def flood(kind: str, endpoint: str, n_connections: int, keys: ClientKeys) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("bridge_flood.py")
    return subprocess.Popen([sys.executable, str(script), kind, endpoint, str(n_connections), keys.server.decode()],
                            env={**os.environ, "PYTHONPATH": str(script.parents[1])})


@pytest.mark.parametrize(("n_garbage", "n_strangers", "bound_s"), [
    (250, 50, HANGS_S), pytest.param(4000, 1000, SERVICE_S, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_a_flood_is_refused_and_seen_and_volumes_are_stored_in_time(
        tmp_path: Path, n_garbage: int, n_strangers: int, bound_s: float) -> None:
    live, bridge = (write_key_files(tmp_path, name, new_key_pair()) for name in ("live", "bridge"))
    keys = load_client_keys(bridge[1], live[0])
    waits_s: list[float] = []
    with live_program(keys=load_server_keys(live[1], [bridge[0]])) as program, BridgeClient(
            program.endpoint, keys=keys, timeout_s=5.0) as client:
        client.send(a_header())
        client.flush(HANGS_S)
        floods = [flood("garbage", program.endpoint, n_garbage, keys),
                  flood("strangers", program.endpoint, n_strangers, keys)]
        index = 0
        while any(process.poll() is None for process in floods):
            begun_s = time.monotonic()
            client.send(a_volume(index))
            client.flush(HANGS_S)
            waits_s.append(time.monotonic() - begun_s)
            index += 1
            time.sleep(0.02)
        client.send(a_volume(index))
        client.flush(HANGS_S)
        deadline_s = time.monotonic() + 10
        while program.statuses[-1].tried <= n_garbage + n_strangers and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert [process.returncode for process in floods] == [0, 0]
        status = program.statuses[-1]
        assert program.indices == list(range(index + 1))
    waits_s.sort()
    figures = {"garbage": n_garbage, "wrong_key": n_strangers, "tried": status.tried,
               "let_in": status.let_in, "refused": dict(status.refused), "n": len(waits_s),
               "service_ms": {"p50": round(1e3 * waits_s[len(waits_s) // 2], 1),
                              "p99": round(1e3 * waits_s[int(0.99 * len(waits_s))], 1),
                              "max": round(1e3 * waits_s[-1], 1)}}
    print(json.dumps(figures))
    (tmp_path / "floods.json").write_text(json.dumps(figures))
    assert status.refused["wrong key"] == n_strangers
    assert status.tried == n_garbage + n_strangers + 1
    assert status.let_in == 1
    assert waits_s[int(0.99 * len(waits_s))] <= bound_s
