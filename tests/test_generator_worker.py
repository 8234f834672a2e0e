"""A worker that is late, wrong, gone or back again: the music goes on, and says who made it. Real processes."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from realtime.errors import GeneratorError
from realtime.generators.bank import Bank
from realtime.generators.worker_generator import WorkerGenerator
from realtime.generators.worker_link import WorkerLink
from realtime.generators.worker_protocol import (
    LARGEST_BYTES,
    Hello,
    Make,
    decode_answer,
    decode_request,
    encode_message,
    samples_of,
)
from realtime.music.catalogue import read_catalogue
from realtime.playback.clips import ClipLibrary
from tests.builders import write_corpus
from tests.generators import RATE_HZ, condition, start_worker

FAULTS = {"late": "no chunk within", "garbage": "answered nonsense", "nan": "not numbers", "short": "bytes of samples",
          "raise": "RuntimeError: out of memory", "other": "no chunk within", "long": "bytes of samples"}


def bank(folder: Path) -> Bank:
    catalogue = read_catalogue(write_corpus(folder / "corpus", 4))
    return Bank(catalogue, ClipLibrary(catalogue.clips, RATE_HZ), RATE_HZ)


@contextmanager
def worker(*fault: str, endpoint: str = "tcp://127.0.0.1:*") -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = start_worker("1", *(fault or ("", "0")), endpoint)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def music(folder: Path, endpoint: str, deadline_s: float = 0.2) -> Iterator[WorkerGenerator]:
    generator = WorkerGenerator(WorkerLink(endpoint), bank(folder), 1, deadline_s)
    generator.condition(condition(0))
    try:
        yield generator
    finally:
        generator.close()


def sound(generator: WorkerGenerator, n_chunks: int) -> np.ndarray:
    frames = np.concatenate([generator.chunk().frames for _ in range(n_chunks)])
    assert np.isfinite(frames).all()
    assert np.abs(frames).max() <= 1.0
    return frames


def is_unbroken(frames: np.ndarray) -> bool:
    """Whether no fiftieth of a second is silent."""
    blocks = frames[: len(frames) // 960 * 960].reshape(-1, 1920)
    return bool((np.abs(blocks).max(axis=1) > 0.01).all())


def until(generator: WorkerGenerator, *, stands_in: bool, most: int = 2000) -> int:
    """Chunks until the corpus stands in, or no longer does."""
    for number in range(most):
        if bool(generator.stands_in) is stands_in:
            return number
        sound(generator, 1)
    pytest.fail(f"after {most} chunks still: {generator.stands_in!r}")


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_wrong_with_a_chunk_the_corpus_plays_on(tmp_path: Path, fault: str) -> None:
    with worker(fault, "5") as (_, endpoint), music(tmp_path, endpoint) as generator:
        assert is_unbroken(sound(generator, 5))
        assert generator.stands_in == ""
        after = sound(generator, 8)
        assert is_unbroken(after)
        assert FAULTS[fault] in generator.stands_in


def test_a_killed_worker_is_replaced_at_once_and_its_successor_gets_the_music_back(tmp_path: Path) -> None:
    with worker() as (process, endpoint), music(tmp_path, endpoint) as generator:
        before = sound(generator, 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
        during = [sound(generator, 1) for _ in range(until(generator, stands_in=True) + 20)]
        assert is_unbroken(np.concatenate([before, *during]))
        with worker(endpoint=endpoint):
            until(generator, stands_in=False, most=20000)
            assert is_unbroken(sound(generator, 20))
            assert generator.stands_in == ""


def test_a_worker_that_stands_still_is_waited_for_no_longer_than_the_deadline_once(tmp_path: Path) -> None:
    with worker() as (process, endpoint), music(tmp_path, endpoint) as generator:
        sound(generator, 3)
        os.kill(process.pid, signal.SIGSTOP)
        assert is_unbroken(sound(generator, 30))
        assert "no chunk within 0.2 s" in generator.stands_in
        os.kill(process.pid, signal.SIGCONT)
        until(generator, stands_in=False, most=20000)
        assert is_unbroken(sound(generator, 10))


def test_a_worker_of_another_space_is_never_asked(tmp_path: Path) -> None:
    with worker("foreign", "0") as (_, endpoint), music(tmp_path, endpoint) as generator:
        assert is_unbroken(sound(generator, 15))
        assert "takes conditions of space 'other'" in generator.stands_in


def test_a_worker_comes_later_than_the_music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.generators.worker_generator.PATIENCE_S", 0.0)
    endpoint = f"ipc://{tmp_path}/worker"
    with music(tmp_path, endpoint) as generator:
        assert is_unbroken(sound(generator, 15))
        assert generator.stands_in
        monkeypatch.setattr("realtime.generators.worker_generator.PATIENCE_S", 5.0)
        with worker(endpoint=endpoint):
            until(generator, stands_in=False, most=20000)
            assert is_unbroken(sound(generator, 10))


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(GeneratorError, match="cannot be connected to"):
        WorkerLink("nowhere")


def test_messages_survive_the_wire_and_junk_does_not() -> None:
    for request in (Hello(), Make(3, 7)):
        assert decode_request(encode_message(request, b"xyz")) == (request, b"xyz")
    for junk in ([], [b""], [b"a", b"b", b"c"], [b"\xc1", b""]):
        with pytest.raises((ValueError, msgspec.MsgspecError)):
            decode_answer(junk)
    with pytest.raises(ValueError, match="8 bytes of samples, wanted 16"):
        samples_of(b"\0" * 8, 2)


def test_a_message_larger_than_any_of_ours_costs_its_sender_the_connection_and_the_worker_nothing() -> None:
    with worker() as (process, endpoint), zmq.Context() as context:
        with context.socket(zmq.DEALER) as stranger:
            stranger.linger = 0
            with stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                stranger.connect(endpoint)
                stranger.send(bytes(LARGEST_BYTES + 1), copy=False)
                assert monitor.poll(20_000)
                stranger.disable_monitor()
        link = WorkerLink(endpoint)
        assert link.ask(Hello(), within_s=20.0)
        assert link.answer(20.0) is not None
        link.close()
        assert process.poll() is None
