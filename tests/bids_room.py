"""The BIDS validator for tests, and a recorded session with everything in it that goes wrong with volumes."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from realtime.experiment.arms import Arm
from realtime.experiment.run_design import write_run_design
from realtime.session.record import read_documents
from scanner_bridge.client import BridgeClient
from scanner_bridge.volume import RunEnd, RunHeader, Volume
from tests import builders
from tests.loopback import free_endpoint
from tests.processes import World, command, finish, live_command, make_world, running, until
from tests.test_session_design import SETTINGS, a_design

_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
VALIDATOR = shutil.which("bids-validator-deno", path=_PLACES) or ""
NO_VALIDATOR = "no BIDS validator (pip install 'innerear[bids]')"
LATE, LOST, CONSTANT, NOT_NUMBERS = 12, 17, 23, 31
A_LIMIT_MM = 0.7  # another than the bundle has
TURN = 0.013
SPEED = 2.0
PAGE_TIMEOUT_S = 300.0  # a page is made at a low priority


def validate(dataset: Path) -> Counter[tuple[str, str]]:
    """Findings of the official validator: how often each (severity, code) came."""
    found = subprocess.run([VALIDATOR, "--format", "json", str(dataset)], capture_output=True, text=True,
                           timeout=120, check=False)
    document = json.loads(found.stdout)
    return Counter((issue["severity"], f"{issue['code']} {issue.get('location', '')}")
                   for issue in document["issues"]["issues"])


def awkward_affine() -> np.ndarray:
    """A place that no float32 can say exactly."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]
    affine: np.ndarray = turn @ builders.AFFINE
    affine[:3, 3] += 1 / 3
    return affine


def awkward_run(n_volumes: int, run_id: str) -> tuple[RunHeader, list[Volume]]:
    """Scaled differently from volume to volume; one comes last, one never, one is constant, one is full of NaN."""
    header = replace(builders.header(n_volumes, run_id), affine=awkward_affine(), dtype="<f4",
                     slice_times_s=tuple(np.round(np.linspace(0, 0.9, builders.SHAPE[2]), 3).tolist()))
    volumes = []
    for index, data in enumerate(builders.volumes(n_volumes)):
        slope = 1.0 if index % 2 else 0.3
        stored = (data / slope).astype(np.float32)
        if index == CONSTANT:
            stored[:] = 7
        if index == NOT_NUMBERS:
            stored[::2] = np.nan
        volumes.append(Volume(index, stored, header.affine, builders.TR_S, run_id, slope=slope, inter=0.0))
    there = [volume for volume in volumes if volume.index != LOST]
    return header, sorted(there, key=lambda volume: volume.index == LATE)


def stream_awkward(world: World, session: Path) -> None:
    """A live session by its real program: an attempt that is aborted, then one that comes to its end."""
    endpoint, config = free_endpoint(), session.with_name(f"{session.name}.toml")
    config.write_text(f"[decoding]\nmotion_limit_mm = {A_LIMIT_MM}\n")
    with running(live_command(world, session, endpoint, "--retry-wait", 60, "--config", config)) as live:
        with BridgeClient(endpoint, spool=session.with_name(f"{session.name}-spool")) as client:
            for run_id, n_sent, end in (("first", 9, "aborted"), ("second", world.n_volumes, "complete")):
                header, volumes = awkward_run(world.n_volumes, run_id)
                client.send(header)
                for volume in volumes[:n_sent]:
                    client.send(volume)
                client.send(RunEnd(run_id, n_sent, end, "the subject moved" if end == "aborted" else ""))  # type: ignore[arg-type]
                client.flush(60.0)
        finish(live)


def steps_of(session: Path, attempt: int) -> list[dict[str, Any]]:
    """Steps of one attempt, as they were recorded."""
    number, steps = 0, []
    for document in read_documents(session / "record.jsonl"):
        number += document["doc"] == "start"
        if document["doc"] == "step" and number == attempt:
            steps.append(document)
    return steps


def stream_designed(folder: Path, arm: Arm, more: Sequence[str] = ()) -> Path:
    """A blinded session with a design, by its real programs, twice as fast as a scanner."""
    listening = replace(SETTINGS, trial=("cue", "listen", "imagine", "wait", "feedback"),
                        clips=("clip01", "clip02"))
    design = a_design("mirror", arm, settings=listening)
    world = make_world(folder, design.n_volumes)
    write_run_design(folder / "design.json", design)
    session, endpoint = folder / "session", free_endpoint()
    (folder / "live.toml").write_text(f'''bundle = "{world.bundle}"
catalogue = "{world.catalogue}"
session = "{session}"
design = "{folder / "design.json"}"
[bridge]
endpoint = "{endpoint}"
[playback]
sink = "wav"
''')
    with running(command("live", "--config", folder / "live.toml", "--quiet", *more)) as live:
        until(lambda: _listens(endpoint), "the live program listens")  # volumes that wait come all at once
        with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", SPEED)) as bridge:
            finish(bridge)
        finish(live, PAGE_TIMEOUT_S)
    return session


def _listens(endpoint: str) -> bool:
    address = urlsplit(endpoint)
    with socket.socket() as there:
        return there.connect_ex((address.hostname or "", address.port or 0)) == 0
