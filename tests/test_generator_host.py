"""The process that generates, a listener at the other end of its socket: the same samples again, kills, refusals."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

from realtime.errors import GeneratorError, SpaceMismatchError
from realtime.generators.client import GeneratorClient, HostFiles
from realtime.generators.diary import make_again, read_diary
from realtime.generators.host_protocol import Broken, Feeding
from realtime.generators.make import check_generator, make_generator
from realtime.generators.settings import GeneratorSettings
from realtime.playback.feed import Chunk, StreamFeed, Want, Welcome, decode_from_producer, encode_feed, read_frames
from tests.builders import write_corpus
from tests.generators import condition, write_untrained
from tests.loopback import free_endpoint
from tests.processes import World, command, finish, make_world, running, until

PATIENCE_S = 60.0


class Listener:
    """The player's end of the wire: wants a chunk when it is told to, and keeps what comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chunks: list[np.ndarray] = []
        self.conditions: list[int] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(2)
        self._connection: socket.socket | None = None
        self._there = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._hang_up()
            self._pipe, self._connection = connection.makefile("rb"), connection
            decode_from_producer(self._pipe.readline())
            connection.sendall(encode_feed(Welcome()))
            self._there.set()

    def take(self, n: int) -> None:
        """Want n chunks, one after the other."""
        assert self._there.wait(PATIENCE_S)
        assert self._connection is not None
        for _ in range(n):
            self._connection.sendall(encode_feed(Want(begins=False)))
            message = decode_from_producer(self._pipe.readline())
            assert isinstance(message, Chunk)
            self.chunks.append(read_frames(self._pipe, message.header.n_frames))
            self.conditions.append(message.header.condition)

    def lost(self) -> None:
        """Wait for the producer to be gone, and for the next."""
        self._there.clear()
        with suppress(OSError):
            while self._pipe.readline():
                pass
        self._hang_up()

    def close(self) -> None:
        self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._pipe.close()
            self._connection.close()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    write_corpus(folder / "corpus", 4)
    write_untrained(folder / "generator")
    return folder


def settings_of(kind: str, music: Path) -> GeneratorSettings:
    return GeneratorSettings(kind=kind, folder=music / ("corpus" if kind == "bank" else "generator"), seed=5)


async def ask(client: GeneratorClient, number: int) -> None:
    """Send a condition and make sure that it is there before the next chunk is wanted."""
    client.condition(condition(number))
    await asyncio.sleep(0)


def wait_for_diary(diary: Path, listener: Listener, number: int) -> None:
    """Want chunks until the condition of this number was taken up."""
    while number not in listener.conditions:
        listener.take(1)


@pytest.mark.parametrize("kind", ["director", "model", "bank"])
def test_what_was_generated_can_be_made_again_bit_for_bit(kind: str, music: Path, tmp_path: Path) -> None:
    listener = Listener(tmp_path / "door")
    diary = tmp_path / "generated.jsonl"

    async def session() -> None:
        client = await GeneratorClient.start(settings_of(kind, music), HostFiles(music / "corpus", diary),
                                             listener.path)
        for number in range(4):
            await ask(client, number)
            await asyncio.to_thread(wait_for_diary, diary, listener, number)
            await asyncio.to_thread(listener.take, 7)
        await client.close()

    try:
        asyncio.run(session())
    finally:
        listener.close()
    life, = read_diary(diary)
    assert life.n_chunks == len(listener.chunks)
    assert [asked.number for asked in life.conditions.values()] == [0, 1, 2, 3]
    again = make_again(make_generator(settings_of(kind, music), music / "corpus").generator, life)
    np.testing.assert_array_equal(np.concatenate([chunk.frames for chunk in again]), np.concatenate(listener.chunks))


def test_a_killed_process_is_replaced_with_its_condition_and_begins_another_life(music: Path, tmp_path: Path) -> None:
    listener = Listener(tmp_path / "door")
    diary = tmp_path / "generated.jsonl"
    news: list[object] = []

    async def session() -> None:
        client = await GeneratorClient.start(settings_of("director", music), HostFiles(music / "corpus", diary),
                                             listener.path)
        fed = asyncio.Event()

        async def read() -> None:
            async for item in client.events():
                news.append(item)
                if isinstance(item, Feeding):
                    fed.set()

        reading = asyncio.create_task(read())
        await fed.wait()
        fed.clear()
        await ask(client, 3)
        await asyncio.to_thread(wait_for_diary, diary, listener, 3)
        os.kill(client.pid, signal.SIGKILL)
        await asyncio.to_thread(listener.lost)
        await asyncio.wait_for(fed.wait(), PATIENCE_S)
        listener.conditions.clear()
        await asyncio.to_thread(wait_for_diary, diary, listener, 3)
        await client.close()
        await reading

    try:
        asyncio.run(session())
    finally:
        listener.close()
    assert [type(item) for item in news] == [Feeding, Broken, Feeding]
    first, second = read_diary(diary)
    assert (first.n_chunks, next(iter(first.conditions.values())).number) == (None, 3)
    assert second.n_chunks is not None
    assert [asked.number for asked in second.conditions.values()] == [3]


def test_what_cannot_generate_is_refused_before_the_session(music: Path, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="no generator in"):
        check_generator(GeneratorSettings("model", tmp_path), music / "corpus")
    broken = tmp_path / "generator"
    write_untrained(broken)
    (broken / "model.onnx").write_bytes((broken / "model.onnx").read_bytes()[:-1])
    with pytest.raises(GeneratorError, match="the file has changed"):
        check_generator(settings_of("model", tmp_path), music / "corpus")
    document = msgspec.json.decode((music / "corpus" / "corpus.json").read_bytes())
    document["space"]["sha256"] = "9" * 64
    other = tmp_path / "corpus"
    subprocess.run(["cp", "-r", str(music / "corpus"), str(other)], check=True)
    (other / "corpus.json").write_bytes(msgspec.json.encode(document))
    with pytest.raises(SpaceMismatchError, match="train a generator"):
        check_generator(settings_of("director", music), other)


def test_a_process_that_cannot_start_says_why(music: Path, tmp_path: Path) -> None:
    async def session() -> None:
        await GeneratorClient.start(GeneratorSettings("model", tmp_path / "absent"),
                                    HostFiles(music / "corpus", tmp_path / "generated.jsonl"), tmp_path / "door")

    with pytest.raises(GeneratorError, match="no generator in"):
        asyncio.run(session())


def test_a_session_generates_its_music_and_says_when_each_condition_was_heard(tmp_path: Path) -> None:
    """Volumes, decisions, conditions, chunks, player: all the processes there are."""
    world: World = make_world(tmp_path / "world", 24)
    write_untrained(tmp_path / "generator")
    session, config, endpoint = tmp_path / "session", tmp_path / "live.toml", free_endpoint()
    config.write_text(f'bundle = "{world.bundle}"\ncatalogue = "{world.catalogue}"\nsession = "{session}"\n'
                      f'events = "{world.events}"\n[bridge]\nendpoint = "{endpoint}"\n[playback]\nsink = "wav"\n'
                      f'[generator]\nkind = "director"\nfolder = "{tmp_path / "generator"}"\nseed = 5\n')
    with running(command("live", "--config", config, "--quiet")) as live:
        # else all volumes wait for it, and come in one burst
        until((session / "generated.jsonl").is_file, "the process that generates is warm")
        with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "4")) as bridge:
            finish(bridge)
            finish(live)
    timing = [msgspec.json.decode(line) for line in (session / "timing.jsonl").read_bytes().splitlines()]
    record = [msgspec.json.decode(line) for line in (session / "record.jsonl").read_bytes().splitlines()]
    conditions = [step["condition"] for step in record if step.get("condition")]
    life, = read_diary(session / "generated.jsonl")
    heard = [entry["condition"] for entry in timing if "condition" in entry]
    assert len(conditions) > 5
    taken_up = [asked.number for asked in life.conditions.values()]
    assert taken_up == sorted({*taken_up})
    assert heard == taken_up[:len(heard)]  # what was made last may not have left the ring when the session ended
    assert len(heard) > 3
    assert any(str(entry.get("clip_id", "")).startswith("stream") for entry in timing)
    replayed = subprocess.run(command("replay", session), capture_output=True, text=True, check=False)
    assert replayed.returncode == 0, replayed.stderr
    again = make_again(make_generator(GeneratorSettings("director", session / "generator", 5),
                                      world.catalogue).generator, life)
    assert np.sqrt((np.concatenate([chunk.frames for chunk in again]) ** 2).mean()) > 0.02


def test_a_want_that_comes_with_the_welcome_is_not_lost(tmp_path: Path) -> None:
    """Both in one packet: a reader that buffered the second would wait for a third."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "door"))
    listener.listen(1)

    def welcome() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as pipe:
            pipe.readline()
            connection.sendall(encode_feed(Welcome()) + encode_feed(Want(begins=True)))
            pipe.readline()

    thread = threading.Thread(target=welcome)
    thread.start()
    with StreamFeed(tmp_path / "door", "generated", 48000) as feed:
        assert feed.wait_until_wanted(5.0) == Want(begins=True)
    thread.join()
    listener.close()
