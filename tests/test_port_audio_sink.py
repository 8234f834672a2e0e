"""What every AudioSink must do, checked on each one that can be made here, in virtual time."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.clock import Clock, VirtualClock
from realtime.playback.device_sink import DeviceSink
from realtime.playback.sinks import NullSink, WavSink
from realtime.ports import AudioSink

RATE_HZ = 48000
PERIOD = RATE_HZ // 100


def _null(_folder: Path, clock: Clock) -> AudioSink:
    return NullSink(RATE_HZ, clock=clock)


def _wav(folder: Path, clock: Clock) -> AudioSink:
    return WavSink(folder / "played.wav", RATE_HZ, clock=clock)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(n_threads=2)  # the test's and the sink's


@pytest.fixture(params=[_null, _wav], ids=["null", "wav"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock) -> Iterator[AudioSink]:
    make: Callable[[Path, Clock], AudioSink] = request.param
    sink = make(tmp_path, clock)
    yield sink
    sink.close()


def noise(n_frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (n_frames, 2)).astype(np.float32)


def test_the_rate_is_the_one_asked_for(sink: AudioSink) -> None:
    assert sink.rate_hz == RATE_HZ


def test_writing_more_than_the_ring_holds_takes_the_time_that_it_lasts(sink: AudioSink, clock: VirtualClock) -> None:
    sink.write(noise(2 * RATE_HZ))
    assert clock.now_s() == pytest.approx(2.0 - 0.3, abs=0.011)


def test_a_block_that_fits_is_taken_at_once(sink: AudioSink, clock: VirtualClock) -> None:
    sink.write(noise(RATE_HZ // 10))
    assert clock.now_s() == 0.0


def test_frames_leave_at_the_rate_although_nothing_is_written(sink: AudioSink, clock: VirtualClock) -> None:
    clock.sleep_until(1.005)
    assert sink.stats().frames_played == RATE_HZ
    assert sink.stats().underruns == 100
    assert sink.stats().peak == 0.0


def test_sound_that_keeps_coming_never_runs_dry(sink: AudioSink) -> None:
    for _ in range(100):
        sink.write(noise(PERIOD))
    sink.close()
    assert sink.stats().underruns == 0
    assert sink.stats().frames_played >= 100 * PERIOD
    assert sink.stats().peak == pytest.approx(0.5, abs=1e-3)


def test_frames_leave_one_rate_apart(sink: AudioSink, clock: VirtualClock) -> None:
    start_s = sink.time_of_frame(0)
    for _ in range(100):
        sink.write(noise(PERIOD))
    assert sink.time_of_frame(RATE_HZ) == pytest.approx(start_s + 1.0, abs=1e-9)
    assert sink.time_of_frame(0) == pytest.approx(start_s, abs=1e-9)
    assert start_s <= PERIOD / RATE_HZ


def test_an_underrun_delays_the_frames_after_it(sink: AudioSink, clock: VirtualClock) -> None:
    sink.write(noise(PERIOD))
    planned_s = sink.time_of_frame(PERIOD)
    clock.sleep_until(0.105)  # one block left, nine periods of silence
    assert sink.time_of_frame(PERIOD) == pytest.approx(planned_s + 9 * 0.01, abs=1e-9)
    assert sink.stats().underruns == 9


def test_close_plays_out_what_is_queued_and_may_be_called_twice(sink: AudioSink, clock: VirtualClock) -> None:
    sink.write(noise(RATE_HZ // 4))
    sink.close()
    assert sink.stats().frames_played >= RATE_HZ // 4
    assert sink.stats().underruns == 0
    assert clock.now_s() >= 0.25
    sink.close()


def test_a_closed_sink_refuses_sound_with_a_sentence(sink: AudioSink) -> None:
    sink.close()
    with pytest.raises(PlaybackError, match=r"closed.*Open a new sink"):
        sink.write(noise(PERIOD))


def test_the_callers_block_may_be_reused(sink: AudioSink) -> None:
    block = noise(PERIOD)
    sink.write(block)
    block[:] = 0.9
    sink.close()
    assert sink.stats().peak < 0.6


def test_without_a_sound_card_the_device_sink_says_what_to_install() -> None:
    with suppress(OSError):
        import sounddevice

        if len(sounddevice.query_devices()):
            pytest.skip("this machine has a sound card")
    with pytest.raises(PlaybackError, match=r"sound card cannot be opened.*libportaudio2.*'wav'"):
        DeviceSink(RATE_HZ)
