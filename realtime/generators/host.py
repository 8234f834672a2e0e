"""The process that generates: `python -m realtime.generators.host`, started by `realtime.generators.client`.

One thread makes a chunk whenever the player wants one, under the newest condition there is then; a
second reads commands. What is made, and under what, goes to the diary before it goes to the player.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from realtime.errors import PlaybackError, RealtimeError
from realtime.generators.diary import Diary
from realtime.generators.host_protocol import (
    STREAM,
    Ask,
    Broken,
    Close,
    Configure,
    Feed,
    Feeding,
    News,
    Ready,
    StandIn,
    decode_command,
    encode_line,
)
from realtime.generators.make import Made, make_generator
from realtime.generators.worker_generator import WorkerGenerator
from realtime.messages import Condition
from realtime.playback.feed import StreamFeed
from realtime.playback.streams import ChunkHeader
from realtime.ports import Generator

LOOK_EVERY_S = 0.05  # for another door, or the end
_WARM_CHUNKS = 40


class Host:
    """Feeds a player from a generator until it is told to end or its parent is gone.

    Parameters
    ----------
    made : Made
        The generator, and what it says of itself.
    diary : Path
        File of what was asked for.
    pipe : binary file
        Takes the news.
    """

    def __init__(self, made: Made, diary: Path, pipe: BinaryIO) -> None:
        self._generator = made.generator
        self._diary = Diary(diary, made.about)
        self._pipe = pipe
        self._lock = threading.Lock()
        self._asked: Condition | None = None
        self._door: Path | None = None
        self._over, self._conditioned = threading.Event(), threading.Event()
        self._stands_in = ""
        self._n_chunks = 0

    def read_commands(self, pipe: BinaryIO) -> None:
        """Take commands until the pipe ends; for a thread of its own."""
        for line in pipe:
            try:
                command = decode_command(line)
            except msgspec.MsgspecError:  # not one of ours: the music goes on
                continue
            with self._lock:
                match command:
                    case Ask():
                        self._asked = command.condition()
                        self._conditioned.set()
                    case Feed():
                        self._door = command.door
            if isinstance(command, Close):
                break
        self._over.set()

    def run(self) -> None:
        """Feed whatever door there is, until the end."""
        while not self._over.is_set():
            door = self._door
            if door is None:
                self._over.wait(LOOK_EVERY_S)
                continue
            try:
                with StreamFeed(door, STREAM, self._generator.rate_hz) as feed:
                    self.tell(Feeding())
                    self._feed(feed, door)
            except PlaybackError:  # that player is gone; the live program names the next one's door
                self._over.wait(LOOK_EVERY_S)
        self._diary.end(self._n_chunks)

    def tell(self, news: News) -> None:
        """Send to the parent, if it still listens."""
        with contextlib.suppress(OSError):
            self._pipe.write(encode_line(news))
            self._pipe.flush()

    def _feed(self, feed: StreamFeed, door: Path) -> None:
        wanted = False
        while not self._over.is_set() and self._door == door:
            wanted = wanted or feed.wait_until_wanted(LOOK_EVERY_S) is not None
            if wanted and self._conditioned.wait(LOOK_EVERY_S):  # a stream does not begin with silence
                self._make(feed)
                wanted = False

    def _make(self, feed: StreamFeed) -> None:
        with self._lock:
            asked, self._asked = self._asked, None
        if asked is not None:
            self._generator.condition(asked)
            self._diary.adopt(asked, self._n_chunks)
        chunk = self._generator.chunk()
        self._note_stand_in()
        self._n_chunks += 1
        feed.send(ChunkHeader(chunk.condition, len(chunk.frames), chunk.beat_frames, chunk.to_beat),
                  chunk.frames)

    def _note_stand_in(self) -> None:
        if not isinstance(self._generator, WorkerGenerator) or self._generator.stands_in == self._stands_in:
            return
        self._stands_in = self._generator.stands_in
        self._diary.stand_in(self._n_chunks, begins=bool(self._stands_in), reason=self._stands_in)
        self.tell(StandIn(self._stands_in))


def warm_up(generator: Generator) -> None:
    """Compile and load everything before the first chunk is wanted, and leave the generator as it was."""
    fresh = generator.state()
    rng = np.random.default_rng(0)
    for number in range(4):
        generator.condition(Condition(number, 0, rng.standard_normal(generator.space.dim).astype(np.float32)))
        for _ in range(_WARM_CHUNKS // 4):
            generator.chunk()
    generator.restore(fresh)


def main() -> int:
    """Generate; the exit status is 0 after an orderly end."""
    news = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the live program, which ends this one in order
    try:
        first = decode_command(sys.stdin.buffer.readline())
        if not isinstance(first, Configure):
            news.write(encode_line(Broken(f"the first command was {first}, wanted configure")))
            return 1
        made = make_generator(first.settings, first.corpus)
        warm_up(made.generator)
        host = Host(made, first.diary, news)
        threading.Thread(target=host.read_commands, args=(sys.stdin.buffer,), name="commands", daemon=True).start()
        host.tell(Ready(made.about))
        gc.freeze()
        gc.disable()
        host.run()
    except (RealtimeError, msgspec.MsgspecError) as exc:
        news.write(encode_line(Broken(str(exc))))
        return 1
    finally:
        with contextlib.suppress(OSError):
            news.flush()
    return 0


if __name__ == "__main__":
    # The thread that reads commands may hold the lock of standard input: a usual exit would wait for it.
    status = main()
    sys.stderr.flush()
    os._exit(status)
