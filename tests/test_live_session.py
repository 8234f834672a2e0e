"""Live sessions as operators run them: real processes, real sockets, real kills."""

import json
import random
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from realtime.session.folder import SessionFolder
from realtime.session.journal import scan_journal
from realtime.session.record import read_documents
from tests.loopback import free_endpoint
from tests.processes import World, command, finish, live_command, make_world, running, until

N_VOLUMES = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), N_VOLUMES)


@pytest.fixture(scope="module")
def undisturbed(world: World) -> Path:
    """A session that nothing happened to."""
    session = world.folder / "undisturbed"
    stream(world, session)
    return session


def stream(world: World, session: Path, *pace: str, more: tuple[object, ...] = ()) -> None:
    endpoint = free_endpoint()
    with running(live_command(world, session, endpoint, *more)) as live, running(
            command("bridge", "serve", world.run, "--connect", endpoint, *(pace or ("--unpaced",)))) as bridge:
        finish(bridge)
        finish(live)


def steps(session: Path) -> list[dict[str, object]]:
    return [document for document in read_documents(SessionFolder(session).record) if document["doc"] == "step"]


def summary(session: Path) -> dict[str, object]:
    figures: dict[str, object] = json.loads(SessionFolder(session).summary.read_text())
    return figures


def n_records(session: Path) -> int:
    journal = SessionFolder(session).journal
    return len(scan_journal(journal).records) if journal.exists() else 0


def test_every_volume_is_journaled_decided_and_summed_up(undisturbed: Path) -> None:
    figures = summary(undisturbed)
    assert figures["volumes_sent"] == figures["volumes_journaled"] == N_VOLUMES
    assert figures["gaps"] == figures["rejected"] == 0
    assert figures["status"] == "complete"
    assert figures["compiled_during_run"] == figures["full_collections_during_run"] == 0
    assert [step["volume"] for step in steps(undisturbed)] == list(range(N_VOLUMES))
    assert (undisturbed / "played.wav").stat().st_size > 44
    assert figures["latency_ms"]["volume_to_decision"]["n"] == N_VOLUMES  # type: ignore[index]
    assert figures["clock"] == {"offset_s": 0.0, "uncertainty_ms": 0.0, "drift_ppm": None}  # one host, one clock


def test_a_recorded_session_replays_byte_for_byte(undisturbed: Path, tmp_path: Path) -> None:
    done = subprocess.run(command("replay", undisturbed, "--json", tmp_path / "f.json"), capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["identical"]
    assert figures["steps"] == N_VOLUMES
    assert figures["embeddings"] > N_VOLUMES / 2


def test_a_replay_that_would_decide_otherwise_says_where(undisturbed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(undisturbed), str(copy)], check=True)
    lines = (copy / "record.jsonl").read_text().splitlines(keepends=True)
    altered = next(number for number, line in enumerate(lines) if '"embedding":"' in line)
    document = json.loads(lines[altered])
    document["embedding"] = "A" * len(document["embedding"])
    lines[altered] = json.dumps(document, separators=(",", ":")) + "\n"
    (copy / "record.jsonl").write_text("".join(lines))
    done = subprocess.run(command("replay", copy), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"line {altered + 1}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 11))])
def test_ten_kills_at_random_moments_lose_nothing_and_change_no_decision(world: World, undisturbed: Path,
                                                                         seed: int) -> None:
    session, endpoint, rng = world.folder / f"killed-{seed}", free_endpoint(), random.Random(seed)
    with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "1")) as bridge:
        acknowledged = 0
        for _ in range(10):
            grow_to = n_records(session) + rng.randint(0, 3)  # 0: kill it somewhere in its start
            with running(live_command(world, session, endpoint)) as live:
                until(lambda grown=grow_to: n_records(session) >= grown, "the journal grows")  # type: ignore[misc]
                try:
                    live.wait(timeout=rng.uniform(0.0, 0.5))  # and from there on anywhere within a volume
                except subprocess.TimeoutExpired:
                    live.send_signal(signal.SIGKILL)
                assert live.wait() == -signal.SIGKILL, "the run was over before the tenth kill"
            assert n_records(session) >= acknowledged
            acknowledged = n_records(session)
        with running(live_command(world, session, endpoint)) as live:
            finish(bridge)
            finish(live)
    figures = summary(session)
    assert figures["volumes_journaled"] == figures["volumes_sent"] == N_VOLUMES
    assert figures["gaps"] == 0
    assert steps(session) == steps(undisturbed)
    assert subprocess.run(command("verify", session), capture_output=True, check=False).returncode == 0


def test_a_disk_that_refuses_for_a_while_delays_and_loses_nothing(world: World, undisturbed: Path) -> None:
    session, endpoint = world.folder / "full", free_endpoint()
    with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "8")) as bridge, \
            running(live_command(world, session, endpoint)) as live:
        until(lambda: n_records(session) > 10, "ten volumes are journaled")
        end = scan_journal(SessionFolder(session).journal).end
        resource.prlimit(live.pid, resource.RLIMIT_FSIZE, (end, resource.RLIM_INFINITY))
        until(lambda: bridge.poll() is None and n_records(session) < N_VOLUMES, "the disk refuses")
        stuck = n_records(session)
        resource.prlimit(live.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        finish(bridge)
        assert finish(live) is not None
    assert stuck < N_VOLUMES
    assert summary(session)["volumes_journaled"] == N_VOLUMES
    assert steps(session) == steps(undisturbed)


def test_when_volumes_stop_coming_the_music_fades_and_comes_back(world: World, tmp_path: Path) -> None:
    session, endpoint = tmp_path / "stalled", free_endpoint()
    config = tmp_path / "live.toml"
    config.write_text("[bridge]\nstale_after_volumes = 1\n")
    with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "8")) as bridge, \
            running(live_command(world, session, endpoint, "--config", config)) as live:
        until(lambda: any(step["playing"] for step in steps(session)), "music plays")
        bridge.send_signal(signal.SIGSTOP)
        until(lambda: '"name":"stale"' in SessionFolder(session).record.read_text(), "the stall is noticed")
        bridge.send_signal(signal.SIGCONT)
        finish(bridge)
        finish(live)
    documents = list(read_documents(SessionFolder(session).record))
    names = [document.get("name") for document in documents if document["doc"] == "event"]
    assert names[0] == "stale"
    stale_at = next(place for place, document in enumerate(documents) if document.get("name") == "stale")
    assert documents[stale_at + 1]["doc"] == "cue"
    assert documents[stale_at + 1]["clip_id"] == ""
    assert any(document["doc"] == "cue" and document["clip_id"] for document in documents[stale_at + 2:])
    assert summary(session)["volumes_journaled"] == N_VOLUMES
    assert subprocess.run(command("verify", session), capture_output=True, check=False).returncode == 0


def test_sigterm_ends_the_session_in_order_and_keeps_it(world: World, tmp_path: Path) -> None:
    session, endpoint = tmp_path / "aborted", free_endpoint()
    with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "4")) as bridge, \
            running(live_command(world, session, endpoint)) as live:
        until(lambda: len(steps(session)) > 8 if (session / "record.jsonl").exists() else False, "eight steps")
        live.send_signal(signal.SIGTERM)
        finish(live)
        bridge.send_signal(signal.SIGTERM)
    figures = summary(session)
    assert figures["status"] == "aborted"
    assert "SIGTERM" in str(figures["reason"])
    assert figures["volumes_journaled"] >= 8  # type: ignore[operator]
    again = subprocess.run(live_command(world, session, endpoint), capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "is finished; choose another folder" in again.stderr
