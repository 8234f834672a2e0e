"""Ring, recording and the two clocks that drain them: a made one and a sound card's callback."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.clock import VirtualClock
from realtime.playback.device_sink import DeviceSink
from realtime.playback.gate import Gate
from realtime.playback.outlet import Outlet
from realtime.playback.output import Output
from realtime.playback.recorder import HEADER, WavRecorder, read_played, repair_wav
from realtime.playback.ring import FrameRing
from realtime.playback.settings import PlayerSettings
from realtime.playback.sinks import ClockDrain, WavSink

RATE_HZ = 48000


def noise(n_frames: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_frames, 2)).astype(np.float32)


@given(
    capacity=st.integers(1, 50), steps=st.lists(st.tuples(st.booleans(), st.integers(0, 70)), min_size=1, max_size=60)
)
def test_the_ring_gives_back_what_went_in_in_order(capacity: int, steps: list[tuple[bool, int]]) -> None:
    ring, sent, got = FrameRing(capacity), 0, 0
    for writes, n_frames in steps:
        if writes:
            block = np.repeat(np.arange(sent, sent + n_frames, dtype=np.float32)[:, None], 2, axis=1)
            taken = ring.write(block)
            assert taken == min(n_frames, capacity - (sent - got))
            sent += taken
        else:
            out = np.full((n_frames, 2), -1, np.float32)
            read = ring.read_into(out)
            assert read == min(n_frames, sent - got)
            np.testing.assert_array_equal(out[:read, 0], np.arange(got, got + read))
            assert (out[read:] == -1).all()
            got += read
        assert (ring.written, ring.read, ring.fill) == (sent, got, sent - got)


def test_two_threads_pass_every_frame_once_and_in_order() -> None:
    ring, n_frames, got = FrameRing(4099), 200_000, []

    def consume() -> None:
        out, n_read = np.empty((610, 2), np.float32), 0
        while n_read < n_frames:
            n = ring.read_into(out)
            got.append(out[:n, 0].copy())
            n_read += n
            time.sleep(0)  # hands over the interpreter; a spinning thread would keep it for 5 ms

    thread = threading.Thread(target=consume)
    thread.start()
    left = np.repeat(np.arange(n_frames, dtype=np.float32)[:, None], 2, axis=1)
    while len(left):
        left = left[ring.write(left[:530]) :]
        time.sleep(0)
    thread.join()
    np.testing.assert_array_equal(np.concatenate(got), np.arange(n_frames))


def test_the_recording_is_bit_for_bit_what_was_written(tmp_path: Path) -> None:
    clock = VirtualClock(2)
    sink = WavSink(tmp_path / "played.wav", RATE_HZ, clock=clock)
    sound = noise(RATE_HZ)
    sink.write(sound)
    sink.close()
    recording = read_played(tmp_path / "played.wav")
    assert recording.rate_hz == RATE_HZ
    assert len(recording.frames) == sink.stats().frames_played
    np.testing.assert_array_equal(recording.frames[: len(sound)], sound)
    assert not recording.frames[len(sound) :].any()
    elsewhere, rate_hz = soundfile.read(tmp_path / "played.wav", dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(elsewhere, recording.frames)


def test_after_an_underrun_a_frame_is_in_the_recording_where_the_outlet_says(tmp_path: Path) -> None:
    clock = VirtualClock(2)
    sink = WavSink(tmp_path / "played.wav", RATE_HZ, clock=clock)
    sound = noise(4800)
    sink.write(sound[:1000])  # breaks off within the third period
    clock.sleep_until(0.205)
    sink.write(sound[1000:])
    position = sink.outlet.position_of(2000)
    sink.close()
    frames = read_played(tmp_path / "played.wav").frames
    assert position > 2000
    np.testing.assert_array_equal(frames[position : position + 2768], sound[2000:-32])  # between fade-in and fade-out
    np.testing.assert_array_equal(frames[:960], sound[:960])
    assert not frames[1000 : sink.outlet.position_of(1000)].any()


def test_sound_fades_out_of_and_into_an_underrun_without_a_click(tmp_path: Path) -> None:
    clock = VirtualClock(2)
    sink = WavSink(tmp_path / "played.wav", RATE_HZ, clock=clock)
    sink.write(np.full((1000, 2), 0.5, np.float32))
    clock.sleep_until(0.105)
    sink.write(np.full((2000, 2), 0.5, np.float32))
    sink.close()
    frames = read_played(tmp_path / "played.wav").frames
    last_loud = int(np.flatnonzero(frames[:, 0])[-1])
    assert np.abs(np.diff(frames[: last_loud - 31, 0])).max() <= 0.5 / 30


def test_an_existing_recording_is_never_overwritten(tmp_path: Path) -> None:
    paths = []
    for _ in range(3):
        recorder = WavRecorder(tmp_path / "played.wav", RATE_HZ)
        recorder.take(noise(100, seed=len(paths)))
        recorder.close()
        paths.append(recorder.path)
    assert [path.name for path in paths] == ["played.wav", "played-1.wav", "played-2.wav"]
    for seed, path in enumerate(paths):
        np.testing.assert_array_equal(read_played(path).frames, noise(100, seed=seed))


@given(cut=st.integers(0, 8 * 300), claimed=st.integers(0, 300))
def test_a_recording_cut_at_any_byte_is_readable_up_to_its_last_whole_frame(
    cut: int, claimed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "played.wav"
    recorder = WavRecorder(path, RATE_HZ)
    recorder.take(noise(300))
    recorder.close()
    whole = path.read_bytes()
    head = bytearray(whole[: HEADER.size])
    struct.pack_into("<I", head, HEADER.size - 4, min(claimed, cut // 8) * 8)  # a header behind its data
    path.write_bytes(bytes(head) + whole[HEADER.size : HEADER.size + cut])
    np.testing.assert_array_equal(read_played(path).frames, noise(300)[: cut // 8])
    assert repair_wav(path) == cut // 8
    with path.open("rb") as file:
        assert struct.unpack("<I", file.read(HEADER.size)[-4:])[0] == cut // 8 * 8
    np.testing.assert_array_equal(read_played(path).frames, noise(300)[: cut // 8])
    if cut >= 8:
        assert soundfile.info(path).frames == cut // 8


def test_a_file_that_is_no_recording_is_refused_with_a_sentence(tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    with wave.open(str(other), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(b"\0" * 200)
    for read in (read_played, repair_wav):
        with pytest.raises(PlaybackError, match=r"not a recording of the player.*Give a played\.wav"):
            read(other)


def test_a_recording_survives_the_kill_of_its_writer(tmp_path: Path) -> None:
    program = """
import sys, numpy as np
from pathlib import Path
from realtime.playback.sinks import WavSink
sink, frame = WavSink(Path(sys.argv[1]), 48000), 0
while True:
    sink.write(np.repeat(np.arange(frame, frame + 480, dtype=np.float32)[:, None], 2, axis=1))
    frame += 480
    print(sink.stats().frames_played, flush=True)
"""
    path = tmp_path / "played.wav"
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    played = next(n for line in process.stdout if (n := int(line)) > RATE_HZ)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    counted = read_played(path).frames[:, 0]
    assert len(counted) > played - RATE_HZ  # flushed each second or more often
    sound = counted[counted > 0]
    np.testing.assert_array_equal(sound[-480:], np.arange(sound[-1] - 479, sound[-1] + 1))
    header_frames = soundfile.info(path).frames
    assert 0 < header_frames <= len(counted)


def test_a_full_disk_is_told_and_the_clock_goes_on(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    recorder = WavRecorder(tmp_path / "played.wav", RATE_HZ)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder._file.fileno())  # every write from now on fails as on a full disk
    os.close(full)
    clock = VirtualClock(2)
    outlet = Outlet(RATE_HZ, 0.3, Gate(RATE_HZ), recorder)
    drain = ClockDrain(outlet, clock)
    outlet.ring.write(noise(4800))
    clock.sleep_until(0.505)
    recorder.close()
    assert "cannot be written" in recorder.failure
    assert "No space left" in recorder.failure
    assert outlet.stats().frames_played == RATE_HZ // 2
    drain.close()


def test_frames_that_a_stalled_disk_loses_are_silence_of_the_same_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.playback.recorder.TAPE_S", 0.01)
    monkeypatch.setattr("realtime.playback.recorder.FLUSH_PERIOD_S", 3600.0)
    recorder = WavRecorder(tmp_path / "played.wav", RATE_HZ)
    recorder.take(noise(400, 1))
    recorder.take(noise(400, 2))  # 80 of 400 fit
    assert recorder.lost_frames == 320
    recorder._flush()
    recorder.take(noise(100, 3))
    recorder.close()
    frames = read_played(recorder.path).frames
    np.testing.assert_array_equal(frames[:400], noise(400, 1))
    np.testing.assert_array_equal(frames[400:480], noise(400, 2)[:80])
    assert not frames[480:800].any()
    np.testing.assert_array_equal(frames[800:], noise(100, 3))


class FakeCard:
    """A sound card behind the calls of `sounddevice.OutputStream`; the test turns its crank."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.latency = 0.042
        self.device = 0
        self.calls: list[str] = []
        self.heard: list[NDArray[np.float32]] = []

    def start(self) -> None:
        self.calls.append("start")

    def abort(self, ignore_errors: bool = True) -> None:
        self.calls.append("abort")

    def stop(self, ignore_errors: bool = True) -> None:
        self.calls.append("stop")

    def close(self, ignore_errors: bool = True) -> None:
        self.calls.append("close")

    def ask(self, n_frames: int, underflow: bool = False) -> None:
        out = np.full((n_frames, 2), np.nan, np.float32)
        self.options["callback"](out, n_frames, None, SimpleNamespace(output_underflow=underflow))
        self.heard.append(out)


def portaudio(open_stream: Callable[..., FakeCard]) -> SimpleNamespace:
    """The part of `sounddevice` that the drain uses."""
    return SimpleNamespace(
        OutputStream=open_stream,
        query_devices=lambda _device: {"name": "Fake card"},
        _terminate=lambda: None,
        _initialize=lambda: None,
    )


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[FakeCard]:
    made: list[FakeCard] = []

    def open_stream(**options: Any) -> FakeCard:
        made.append(FakeCard(**options))
        return made[-1]

    monkeypatch.setitem(sys.modules, "sounddevice", portaudio(open_stream))
    return made


def test_a_sound_card_gets_the_frames_and_the_recording_exactly_the_same(cards: list[FakeCard], tmp_path: Path) -> None:
    recorder = WavRecorder(tmp_path / "played.wav", RATE_HZ)
    sink = DeviceSink(RATE_HZ, recorder=recorder)
    sound = noise(5000)
    sink.write(sound)
    for n_frames in (256, 512, 333, 3899, 500):
        cards[0].ask(n_frames, underflow=n_frames == 333)
    heard = np.concatenate(cards[0].heard)
    sink.close()
    np.testing.assert_array_equal(heard[:4900], sound[:4900])
    np.testing.assert_array_equal(read_played(recorder.path).frames, heard)
    assert (sink.stats().underruns, sink.drain.device_underruns) == (1, 1)
    assert cards[0].options["samplerate"] == RATE_HZ
    assert cards[0].calls == ["start", "stop", "close"]


def fail_by_end(card: FakeCard, drain: Any) -> None:
    card.options["finished_callback"]()


def fail_by_silence(card: FakeCard, drain: Any) -> None:
    drain._called_s -= 10.0


@pytest.mark.parametrize("fail", [fail_by_end, fail_by_silence])
def test_when_the_card_is_lost_time_and_recording_go_on_and_no_frame_is_missing(
    fail: Callable[[FakeCard, Any], None], cards: list[FakeCard], tmp_path: Path
) -> None:
    output = Output(PlayerSettings(played_wav=tmp_path / "played.wav", sink="auto"), Gate(RATE_HZ), noise(20_000)[:500])
    sound = noise(20_000)
    output.write(sound[500:1000])
    cards[0].ask(600)
    assert (output.kind, output.take_failures()) == ("device", [])
    fail(cards[0], output.drain)
    output.write(sound[1000:])
    assert output.kind == "wav"
    [failure] = output.take_failures()
    assert failure.startswith("The sound card is lost")
    assert cards[0].calls[-2:] == ["abort", "close"]
    output.close()
    played = read_played(tmp_path / "played.wav").frames
    np.testing.assert_array_equal(played[: len(sound) - 32], sound[:-32])  # the end fades out


def test_a_card_that_comes_back_is_taken_again_and_fades_in(cards: list[FakeCard], tmp_path: Path) -> None:
    settings = PlayerSettings(played_wav=tmp_path / "played.wav", sink="auto")
    output = Output(settings, Gate(RATE_HZ), noise(480), retry_s=0.01)
    fail_by_end(cards[0], output.drain)
    output.write(np.full((4800, 2), 0.25, np.float32))
    while not (recovered := output.take_recovered()):
        output.write(noise(0))
    assert (recovered, output.kind) == ("Fake card", "device")
    assert cards[1].options["device"] == "Fake card"  # no other: its gain would not be known
    output.write(np.full((4800, 2), 0.25, np.float32))
    cards[1].ask(4800)
    heard = cards[1].heard[-1]
    assert 0.0 < np.abs(heard).max() <= 0.25 * 4800 / RATE_HZ + 1e-4  # a tenth of the way up in a tenth of a second
    output.close()


def test_stop_drops_what_the_card_has_taken_already_and_rearming_opens_it_again(
    cards: list[FakeCard], tmp_path: Path
) -> None:
    gate = Gate(RATE_HZ)
    settings = PlayerSettings(played_wav=tmp_path / "played.wav", sink="device")
    output = Output(settings, gate, noise(480), retry_s=0.01)
    output.stop()
    assert cards[0].calls == ["start", "abort"]
    for _ in range(20):
        output.write(noise(480))
    assert (output.kind, len(cards)) == ("wav", 1)  # stays closed while STOP holds
    [failure] = output.take_failures()
    assert failure.startswith("STOP: the sound card is closed")
    gate.rearm()
    while not output.take_recovered():
        output.write(noise(0))
    assert (output.kind, len(cards)) == ("device", 2)
    output.close()


def test_a_card_that_asks_again_after_a_pause_is_not_lost(
    cards: list[FakeCard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(PlayerSettings(played_wav=tmp_path / "played.wav", sink="auto"), Gate(RATE_HZ), noise(0))
    fail_by_silence(cards[0], output.drain)
    monkeypatch.setattr("time.sleep", lambda _seconds: cards[0].ask(10))  # the callback runs while check looks again
    output.write(noise(1000))
    monkeypatch.undo()
    assert (output.kind, output.take_failures()) == ("device", [])
    cards[0].ask(2000)
    output.close()


def test_auto_takes_the_clock_where_there_is_no_card_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**_options: Any) -> FakeCard:
        raise RuntimeError("Error querying device -1")

    monkeypatch.setitem(sys.modules, "sounddevice", portaudio(refuse))
    output = Output(PlayerSettings(played_wav=tmp_path / "played.wav", sink="auto"), Gate(RATE_HZ), noise(0))
    assert output.kind == "wav"
    assert "Error querying device -1" in output.no_device
    output.close()
    with pytest.raises(PlaybackError, match="Error querying device -1"):
        Output(PlayerSettings(played_wav=tmp_path / "played.wav", sink="device"), Gate(RATE_HZ), noise(0))
