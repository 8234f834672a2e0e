"""Music that is made while it plays: chunks in order, no further ahead than needed, and what breaks off is bridged."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import PlaybackError
from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.client import PlayerClient
from realtime.playback.clips import Loop
from realtime.playback.feed import StreamFeed
from realtime.playback.mixer import CueStart, Mixer
from realtime.playback.recorder import read_played
from realtime.playback.settings import PlayerSettings
from realtime.playback.streams import ChunkHeader, StreamSource

RATE_HZ = 1000  # of the tests without a process; the reserve is then 10 frames
HZ = 48000
PATIENCE_S = 30.0


def counted(start: int, n_frames: int) -> np.ndarray:
    return np.repeat(np.arange(start, start + n_frames, dtype=np.float32)[:, None], 2, axis=1)


def streaming(mixer: Mixer, sizes: list[int], condition: int = 0, beat_frames: float = 0.0) -> StreamSource:
    """A stream that has these chunks, each frame its own number, cued in the mixer."""
    source, start = StreamSource("s", RATE_HZ), 1
    for size in sizes:
        source.feed(ChunkHeader(condition, size, beat_frames), counted(start, size))
        start += size
    mixer.cue(0, source)
    return source


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=8), cuts=st.lists(st.integers(1, 90), min_size=1))
def test_every_frame_of_a_stream_sounds_once_and_in_order_however_it_is_cut(sizes: list[int], cuts: list[int]) -> None:
    mixer = Mixer(RATE_HZ, fade_s=0.001)
    source = streaming(mixer, [*sizes, 11])
    heard = []
    for cut in cuts:
        if mixer.playing is not None and source.ready < cut:
            break
        heard.append(mixer.mix(min(cut, source.ready)))
    sound = np.concatenate(heard)[1:, 0]  # the first frame is the cross-fade
    np.testing.assert_array_equal(sound, np.arange(2, 2 + len(sound)))


def test_a_stream_without_its_next_chunk_fades_out_over_its_last_ten_milliseconds_and_in_again() -> None:
    mixer = Mixer(RATE_HZ, fade_s=0.001)
    source = StreamSource("s", RATE_HZ)
    source.feed(ChunkHeader(0, 100), np.ones((100, 2), np.float32))
    mixer.cue(0, source)
    sound = mixer.mix(150)[:, 0]
    assert source.starved
    assert not sound[100:].any()
    assert np.abs(np.diff(sound[1:])).max() <= 0.1 + 1e-6
    source.feed(ChunkHeader(0, 100), np.ones((100, 2), np.float32))
    back = mixer.mix(50)[:, 0]
    assert not source.starved
    assert np.abs(np.diff(np.concatenate([[0.0], back]))).max() <= 0.1 + 1e-6
    assert back[-1] == 1.0


def test_a_clip_follows_a_stream_on_the_streams_beat() -> None:
    mixer = Mixer(RATE_HZ)
    source = StreamSource("s", RATE_HZ)
    source.feed(ChunkHeader(0, 3000, beat_frames=400.0, to_beat=100), counted(1, 3000))
    mixer.cue(0, source)
    mixer.mix(950)
    mixer.cue(1, Loop("a", np.ones((500, 2), np.float32), 0.0))
    mixer.mix(1000)
    assert mixer.take_news() == [CueStart(0, "stream s", 0), CueStart(1, "a", 1300)]
    mixer.mix(500)
    assert source.queued == 0  # faded out and forgotten


def test_a_stream_begins_on_a_beat_of_the_clip_and_not_before_it_has_sound() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.cue(0, Loop("a", np.ones((1000, 2), np.float32), 250.0))
    mixer.mix(600)
    source = StreamSource("s", RATE_HZ)
    mixer.cue(1, source)
    mixer.mix(300)  # its beat at 750 passes without a chunk
    source.feed(ChunkHeader(0, 500), counted(1, 500))
    mixer.mix(200)
    assert mixer.take_news() == [CueStart(0, "a", 0), CueStart(1, "stream s", 1000)]


def test_what_follows_a_stream_that_broke_off_does_not_wait_for_a_beat() -> None:
    mixer = Mixer(RATE_HZ)
    source = streaming(mixer, [300], beat_frames=250.0)
    mixer.mix(600)
    assert source.starved
    mixer.cue(1, Loop("a", np.ones((1000, 2), np.float32), 250.0))
    mixer.mix(10)
    assert mixer.take_news()[-1] == CueStart(1, "a", 600)


@pytest.mark.parametrize(
    "header", [ChunkHeader(0, 0), ChunkHeader(0, HZ * 5), ChunkHeader(0, 10, -1.0), ChunkHeader(0, 10, 1.0, -1)]
)
def test_a_chunk_that_says_nonsense_of_itself_is_a_problem(header: ChunkHeader) -> None:
    assert header.problem(HZ)


# with the real player -----------------------------------------------------------------


class Producer:
    """Feeds a counted sound, each chunk under the newest condition, from a thread; stalls on request."""

    def __init__(self, door: Path, condition: int = 0, chunk_frames: int = 6000) -> None:
        self.feed = StreamFeed(door, "made", HZ)
        self.condition = condition
        self.sent = 0
        self.starts = 0
        self.stalled = threading.Event()
        self.poisoned = threading.Event()
        self._chunk_frames = chunk_frames
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(PlaybackError):  # the player has ended
            self._serve()

    def _serve(self) -> None:
        while not self._ending.is_set():
            want = self.feed.wait_until_wanted(0.05)
            if want is None or self.stalled.is_set():
                continue
            self.starts += want.begins
            if self.poisoned.is_set():
                self.feed.send(ChunkHeader(self.condition, 600), np.full((600, 2), np.nan, np.float32))
                continue
            # a ramp of 2^-20 a frame: every sample says which one it is
            frames = counted(self.sent, self._chunk_frames) * np.float32(2.0**-20)
            self.feed.send(ChunkHeader(self.condition, len(frames), beat_frames=HZ / 2), frames)
            self.sent += len(frames)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self.feed.close()


@contextmanager
def producing(player: PlayerClient, condition: int = 0) -> Iterator[Producer]:
    producer = Producer(Path(player.started.door), condition)
    try:
        yield producer
    finally:
        producer.close()


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "a.wav"
    tone = 0.25 * np.cos(2 * np.pi * 440.0 * np.arange(2 * HZ) / HZ)
    soundfile.write(path, tone.astype(np.float32), HZ, subtype="FLOAT")
    return Clip("a", path, bpm=240.0, duration_s=2.0)


@pytest.fixture
def quiet(tmp_path: Path) -> PlayerSettings:
    return PlayerSettings(played_wav=tmp_path / "session" / "played.wav", sink="wav", volume_db=0.0, fade_s=0.1)


async def until(
    events: AsyncIterator[protocol.Event], kind: type[Any], wanted: Callable[[Any], bool] = lambda _event: True
) -> Any:
    """The next event of this kind that is the wanted one."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if isinstance(event, kind) and wanted(event):
                return event
    raise AssertionError(f"the player ended without a {kind.__name__}")


def test_a_stream_is_played_frame_by_frame_and_made_no_further_ahead_than_the_look_ahead(
    clip: Clip, quiet: PlayerSettings
) -> None:
    async def session() -> tuple[protocol.Sounding, list[protocol.Conditioned], int]:
        async with await PlayerClient.start(quiet, [clip]) as player:
            events = player.events()
            with producing(player) as producer:
                player.play_stream(Cue(0, 0, ""), "made")
                sounding = await until(events, protocol.Sounding)
                conditions = [await until(events, protocol.Conditioned)]
                for condition in (1, 2):
                    producer.condition = condition
                    conditions.append(await until(events, protocol.Conditioned))
                assert producer.starts == 1
                summary = await player.close()
                assert summary.underruns == 0
                return sounding, conditions, producer.sent

    sounding, conditions, sent = asyncio.run(session())
    assert (sounding.cue, sounding.clip_id) == (0, "stream made")
    assert [heard.condition for heard in conditions] == [0, 1, 2]
    assert all((heard.frame - sounding.frame) % 6000 == 0 for heard in conditions)
    frames = read_played(quiet.played_wav).frames[:, 0]
    begin, end = sounding.position, conditions[-1].position
    fade = 4800
    np.testing.assert_allclose(
        frames[begin + fade : end], np.arange(fade, end - begin) * 2.0**-20, atol=2.0**-22, err_msg="gap or repeat"
    )
    assert sent - (len(frames) - begin) <= 6000 + 0.3 * HZ


def test_when_a_producer_stalls_its_fallback_plays_on_without_a_click(clip: Clip, quiet: PlayerSettings) -> None:
    async def session() -> protocol.Sounding:
        async with await PlayerClient.start(quiet, [clip]) as player:
            events = player.events()
            with producing(player) as producer:
                player.play_stream(Cue(5, 0, "a"), "made")
                await until(events, protocol.Sounding)
                producer.stalled.set()
                stalled = await until(events, protocol.Stalled)
                assert (stalled.stream, stalled.fallback_clip_id) == ("made", "a")
                fallback = await until(events, protocol.Sounding)
                assert (fallback.cue, fallback.clip_id) == (5, "a")
                await until(events, protocol.Status, lambda status: status.frames_played > fallback.position + 24_000)
                assert (await player.close()).underruns == 0
                return fallback

    position = asyncio.run(session()).position
    frames = read_played(quiet.played_wav).frames[:, 0]
    assert np.abs(frames[position + 4800 : position + 20_000]).max() == pytest.approx(0.25, abs=1e-3)
    assert np.abs(np.diff(frames)).max() < 0.02


def test_sound_that_is_not_finite_is_silent_and_alarms(clip: Clip, quiet: PlayerSettings) -> None:
    async def session() -> None:
        async with await PlayerClient.start(quiet, [clip]) as player:
            events = player.events()
            with producing(player) as producer:
                player.play_stream(Cue(0, 0, ""), "made")
                await until(events, protocol.Sounding)
                producer.poisoned.set()
                assert "not finite" in (await until(events, protocol.Failed)).reason
                status = await until(events, protocol.Status, lambda status: status.peak_dbfs == -200.0)
                assert status.bad_chunks > 0
                producer.poisoned.clear()
                await until(events, protocol.Status, lambda status: status.peak_dbfs > -60.0)
                assert (await player.close()).underruns == 0

    asyncio.run(session())
    assert np.isfinite(read_played(quiet.played_wav).frames).all()


def test_without_a_fallback_a_stall_is_silence_until_the_stream_comes_back(clip: Clip, quiet: PlayerSettings) -> None:
    async def session() -> int:
        async with await PlayerClient.start(quiet, [clip]) as player:
            events = player.events()
            with producing(player) as producer:
                player.play_stream(Cue(0, 0, ""), "made")
                await until(events, protocol.Sounding)
                producer.stalled.set()
                assert (await until(events, protocol.Stalled)).fallback_clip_id == ""
                silent = await until(events, protocol.Status, lambda status: status.peak_dbfs == -200.0)
            with producing(player, condition=7):  # another producer of the same stream
                back = await until(events, protocol.Conditioned, lambda heard: heard.condition == 7)
                assert back.position > silent.frames_played
                await until(events, protocol.Status, lambda status: status.frames_played > back.position + 12_000)
                assert (await player.close()).underruns == 0
                return int(back.position)

    position = asyncio.run(session())
    frames = read_played(quiet.played_wav).frames[:, 0]
    assert not frames[position - 100 : position].any()
    assert frames[position + 1 : position + 9000].all()


PRODUCER = """
import sys, numpy as np
from pathlib import Path
from realtime.playback.feed import StreamFeed
from realtime.playback.streams import ChunkHeader
feed = StreamFeed(Path(sys.argv[1]), "made", 48000)
print("ready", flush=True)
while True:
    if feed.wait_until_wanted(1.0) is not None:
        feed.send(ChunkHeader(0, 12000, 24000.0), np.full((12000, 2), 0.25, np.float32))
"""


def test_when_a_producer_is_killed_its_fallback_plays_on(clip: Clip, quiet: PlayerSettings) -> None:
    async def session() -> None:
        async with await PlayerClient.start(quiet, [clip]) as player:
            events = player.events()
            command = [sys.executable, "-c", PRODUCER, player.started.door]
            producer = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": ROOT}
            )
            assert producer.stdout is not None
            await producer.stdout.readline()
            player.play_stream(Cue(0, 0, "a"), "made")
            await until(events, protocol.Sounding)
            producer.kill()
            await until(events, protocol.Stalled)
            assert (await until(events, protocol.Sounding)).clip_id == "a"
            player.play_stream(Cue(1, 1, "a"), "made")
            rejected = await until(events, protocol.Rejected)
            assert "Nobody feeds stream 'made'" in rejected.reason
            assert (await player.close()).underruns == 0
            await producer.wait()

    asyncio.run(session())


def test_a_stream_at_another_rate_is_converted_and_keeps_its_pitch(quiet: PlayerSettings) -> None:
    async def session() -> Path:
        async with await PlayerClient.start(quiet, []) as player:
            asked = asyncio.Event()
            ending = asyncio.Event()

            def produce() -> None:
                with StreamFeed(Path(player.started.door), "made", 44100) as feed:
                    made = 0
                    while not ending.is_set():
                        if feed.wait_until_wanted(0.05) is not None:
                            t = (made + np.arange(4410)) / 44100
                            tone = 0.2 * np.sin(2 * np.pi * 500 * t)
                            feed.send(ChunkHeader(1, 4410), np.repeat(tone[:, None], 2, axis=1).astype(np.float32))
                            made += 4410
                        loop.call_soon_threadsafe(asked.set)

            loop = asyncio.get_running_loop()
            producer = asyncio.create_task(asyncio.to_thread(produce))
            await asked.wait()
            events = player.events()
            player.play_stream(Cue(0, 0, ""), "made")
            assert (await until(events, protocol.Conditioned)).condition == 1
            for _ in range(3):
                await until(events, protocol.Status)
            ending.set()
            await producer
            await player.close()
            return Path(player.started.played_wav)

    frames = read_played(asyncio.run(session())).frames[:, 0]
    sounding = frames[np.flatnonzero(np.abs(frames) > 0.01)[0] + 24000 :][:24000]
    spectrum = np.abs(np.fft.rfft(sounding * np.hanning(len(sounding))))
    assert int(spectrum.argmax()) == 250  # 500 Hz in half a second
    assert spectrum[300:].max() < 1e-3 * spectrum.max()


PLAY = b'{"command":"play","cue":1,"clip_id":""}\n'
ROOT = str(Path(__file__).resolve().parents[1])


def test_bad_guests_are_told_why_and_the_music_goes_on(clip: Clip, quiet: PlayerSettings) -> None:
    async def session() -> None:
        async with await PlayerClient.start(quiet, [clip]) as player:
            events = player.events()
            door = Path(player.started.door)
            player.play(Cue(0, 0, "a"))
            await until(events, protocol.Sounding)
            with pytest.raises(PlaybackError, match="'made' at 500 Hz, wanted 1000 to 384000 Hz"):
                StreamFeed(door, "made", 500)
            with StreamFeed(door, "made", HZ) as feed:
                feed.send(ChunkHeader(0, 100), np.zeros((100, 2), np.float32))  # nobody asked
                with pytest.raises(PlaybackError, match="chunk that was not wanted"):
                    feed.wait_until_wanted(PATIENCE_S)
            for rubbish in (b"\n", b"\xff\x00" * 5000, b'{"feed":"chunk"', PLAY):
                with socket.socket(socket.AF_UNIX) as guest:
                    guest.settimeout(PATIENCE_S)
                    guest.connect(str(door))
                    guest.sendall(rubbish)
                    guest.shutdown(socket.SHUT_WR)
                    assert b"rejected" in guest.recv(4096)
            await until(events, protocol.Status)
            assert (await until(events, protocol.Status)).peak_dbfs > -20
            assert (await player.close()).underruns == 0

    asyncio.run(session())


def test_a_stream_that_nobody_takes_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PlaybackError, match=r"No player at .*nowhere.sock takes stream 'made'"):
        StreamFeed(tmp_path / "nowhere.sock", "made", HZ)
