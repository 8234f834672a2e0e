"""SIGKILL of either end at random moments: what the bridge took is stored, once, in order, and soon."""

import contextlib
import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.live_end import a_header
from tests.loopback import free_endpoint
from tests.road import Road, road, said

TWO_TR_S = 2 * a_header().tr_s
HANGS_S = 30.0


def kill(setting: Road, victim: str) -> None:
    """Kill an end, whatever it does, and start it again."""
    process = getattr(setting, victim)
    process.kill()
    process.communicate()
    getattr(setting, f"start_{victim}")()


def run_of_kills(setting: Road, n_kills: int, rng: random.Random) -> None:
    while n_kills > 0:
        victim = rng.choice(("sender", "receiver"))
        for _ in range(rng.randrange(6)):
            setting.give()
        if victim == "sender" and rng.random() < 0.7:
            setting.sender.stdin.write(f"{setting.n_taken}\n")  # type: ignore[union-attr]  # taken or not: nobody hears
        kill(setting, victim)
        n_kills -= 1
        while n_kills > 0 and rng.random() < 0.2:  # again, somewhere in its start
            with contextlib.suppress(subprocess.TimeoutExpired):
                getattr(setting, victim).wait(rng.uniform(0.0, 0.5))
            kill(setting, victim)
            n_kills -= 1
        assert said(getattr(setting, victim)) == "ready"
        setting.catch_up()


@pytest.mark.parametrize(("n_kills", "seed", "bound_s"), [
    (12, 1, HANGS_S), pytest.param(200, 2, TWO_TR_S, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_nothing_that_was_taken_is_lost_whichever_end_is_killed(tmp_path: Path, n_kills: int, seed: int,
                                                                 bound_s: float) -> None:
    with road(Road(tmp_path, free_endpoint())) as setting:
        run_of_kills(setting, n_kills, random.Random(seed))
        for _ in range(3):
            setting.give()
        setting.catch_up()
        n_taken = setting.n_taken
        stored = setting.stored()
    assert stored == list(range(n_taken))
    slowest_s = max(setting.catch_ups_s)
    print(json.dumps({"kills": n_kills, "volumes": n_taken, "lost": 0, "slowest_catch_up_s": round(slowest_s, 3)}))
    assert slowest_s <= bound_s
