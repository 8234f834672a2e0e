"""Real processes for tests: the live program and the bridge, as an operator starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from realtime.bundle import write_bundle
from tests import builders

TIMEOUT_S = 90.0


@dataclass(frozen=True)
class World:
    """Everything on disk that a session needs."""

    folder: Path
    bundle: Path
    catalogue: Path
    run: Path
    events: Path
    n_volumes: int


def make_world(folder: Path, n_volumes: int) -> World:
    """A bundle, a catalogue, a recorded run and its events."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bundle(folder / "bundle", builders.bundle())
    builders.write_corpus(folder / "corpus")
    stack = np.stack(builders.volumes(n_volumes), axis=-1)
    image = nibabel.Nifti1Image(stack, builders.AFFINE)
    image.header.set_zooms((*image.header.get_zooms()[:3], builders.TR_S))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / "run_bold.nii")
    (folder / "run_bold.json").write_text(json.dumps({"RepetitionTime": builders.TR_S}))
    lines = [f"{event.onset_s:g}\t{event.duration_s:g}\t{event.clip_id}\t{event.genre}"
             for event in builders.events(n_volumes // 5)]
    (folder / "events.tsv").write_text("\n".join(["onset\tduration\tclip_id\tgenre", *lines]) + "\n")
    return World(folder, folder / "bundle", folder / "corpus", folder / "run_bold.nii", folder / "events.tsv",
                 n_volumes)


def command(*arguments: object) -> list[str]:
    """The `innerear` command of this very tree."""
    return [sys.executable, "-P", "-m", "innerear", *map(str, arguments)]


def live_command(world: World, session: Path, endpoint: str, *more: object) -> list[str]:
    """`innerear live` for this world, without sound."""
    return command("live", "--no-report", "--bundle", world.bundle, "--catalogue", world.catalogue, "--session",
                   session, "--events", world.events, "--endpoint", endpoint, "--sink", "wav", "--retry-wait", 0,
                   "--quiet", *more)


@contextmanager
def running(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the test."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> str:
    """Wait for a good end; returns what it complained about."""
    _, errors = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, errors
    return errors


def until(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait for another process to get somewhere; fails with what did not happen."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s:g} s still not: {what}"
        time.sleep(0.02)
