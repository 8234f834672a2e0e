"""Nothing louder than the ceiling, whatever comes in; mute and STOP where sound leaves."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from realtime.playback.safety import Gate, SafetyChain, gain_of_db

RATE_HZ = 48000
LOOKAHEAD = 240
BLOCK = 480


def run(chain: SafetyChain, sound: NDArray[np.float32], block: int = BLOCK) -> NDArray[np.float32]:
    whole = sound[: len(sound) // block * block]
    return np.concatenate([chain.process(whole[start : start + block]) for start in range(0, len(whole), block)])


def stereo(mono: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.repeat(np.asarray(mono, np.float32)[:, None], 2, axis=1)


def sine(level: float, seconds: float = 1.0, hz: float = 440.0) -> NDArray[np.float32]:
    return stereo(level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ))


@settings(deadline=None, max_examples=60)
@given(
    blocks=st.lists(arrays(np.float32, (LOOKAHEAD, 2), elements=st.floats(width=32)), min_size=1, max_size=5),
    volume_db=st.floats(-60, 12),
    ceiling_dbfs=st.floats(-60, 0),
)
def test_no_input_whatever_passes_the_ceiling(
    blocks: list[NDArray[np.float32]], volume_db: float, ceiling_dbfs: float
) -> None:
    chain = SafetyChain(RATE_HZ, volume_db, ceiling_dbfs)
    for block in [*blocks, np.zeros((LOOKAHEAD, 2), np.float32)]:
        out = chain.process(block)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert float(np.abs(out).max()) <= 10 ** (ceiling_dbfs / 20)


@settings(deadline=None, max_examples=40)
@given(levels=st.lists(st.floats(0, 100), min_size=2, max_size=12), seed=st.integers(0, 99))
def test_the_limiter_alone_keeps_the_ceiling_so_that_the_clamp_has_nothing_to_do(
    levels: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sound = np.concatenate([level * rng.uniform(-1, 1, (LOOKAHEAD, 2)) for level in levels]).astype(np.float32)
    chain = SafetyChain(RATE_HZ, 0.0, -1.0)
    for start in range(0, len(sound), LOOKAHEAD):
        limited = chain._limit(sound[start : start + LOOKAHEAD].astype(np.float64))
        assert np.abs(limited).max() <= gain_of_db(-1.0) * (1 + 1e-9)


def test_the_clamp_alone_keeps_the_ceiling_so_that_the_limiter_need_not_be_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = SafetyChain(RATE_HZ, 0.0, -3.0)
    monkeypatch.setattr(chain, "_limit", lambda chunk: chunk)
    out = chain.process(sine(50.0, 0.01))
    assert float(np.abs(out).max()) == pytest.approx(gain_of_db(-3.0), rel=1e-6)
    assert float(np.abs(out).max()) <= gain_of_db(-3.0)


def test_sound_under_the_ceiling_passes_bit_for_bit_five_milliseconds_later() -> None:
    chain = SafetyChain(RATE_HZ, 0.0, -1.0)
    sound = sine(0.5)
    out = run(chain, sound)
    assert chain.delay_frames == LOOKAHEAD
    assert not out[:LOOKAHEAD].any()
    np.testing.assert_array_equal(out[LOOKAHEAD:], sound[: len(out) - LOOKAHEAD])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=10))
def test_how_sound_is_cut_into_blocks_does_not_change_a_bit(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    sound = (rng.uniform(-3, 3, (sum(sizes) * LOOKAHEAD, 2))).astype(np.float32)
    whole = SafetyChain(RATE_HZ, -3.0, -6.0).process(sound)
    chain = SafetyChain(RATE_HZ, -3.0, -6.0)
    edges = [0, *(LOOKAHEAD * n for n in itertools.accumulate(sizes))]
    parts = [chain.process(sound[start:end]) for start, end in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_loud_passage_is_turned_down_not_clipped_and_comes_back() -> None:
    sound = np.concatenate([sine(0.5), sine(4.0), sine(0.5, 3.0)])
    out = run(SafetyChain(RATE_HZ, 0.0, -6.0), sound)
    loud = out[RATE_HZ + 5000 : 2 * RATE_HZ - 5000, 0]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
    tone = round(440 * len(loud) / RATE_HZ)
    harmonics = spectrum.copy()
    harmonics[tone - 20 : tone + 21] = 0
    assert harmonics.max() < 0.02 * spectrum[tone]  # a clipped sine has a third harmonic of a quarter or so
    assert np.abs(loud).max() == pytest.approx(gain_of_db(-6.0), rel=0.02)
    assert np.abs(out[-RATE_HZ:]).max() == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_with_a_bad_sample_is_silence_and_counted(bad: float) -> None:
    chain = SafetyChain(RATE_HZ, 0.0, -1.0)
    run(chain, sine(0.5, 0.1))
    block = sine(0.5, 0.01)
    block[17, 1] = bad
    chain.process(block)
    muted = chain.process(sine(0.5, 0.01))
    assert not muted[:LOOKAHEAD].any()
    assert chain.read_level().bad_blocks == 1
    back = run(chain, sine(0.5, 0.2))
    assert np.abs(back[-BLOCK:]).max() == pytest.approx(0.5, rel=0.01)


def test_volume_moves_along_a_ramp() -> None:
    chain = SafetyChain(RATE_HZ, 0.0, 0.0)
    ones = np.full((BLOCK, 2), 0.5, np.float32)
    for _ in range(3):
        chain.process(ones)
    chain.set_volume_db(-20.0)
    out = np.concatenate([chain.process(ones) for _ in range(20)])[:, 0]
    assert np.abs(np.diff(out)).max() <= 0.5 / (0.05 * RATE_HZ) * 1.01
    assert out[-1] == pytest.approx(0.05, rel=1e-3)


def test_a_fade_out_is_final_and_takes_its_time() -> None:
    chain = SafetyChain(RATE_HZ, -6.0, -1.0)
    run(chain, sine(0.5, 0.1))
    chain.fade_out(0.5)
    chain.set_volume_db(0.0)
    out = run(chain, sine(0.5, 1.0))
    assert np.abs(out[: RATE_HZ // 4]).max() > 0.1
    assert not out[round(0.51 * RATE_HZ) :].any()
    assert chain.faded_out


def test_the_meter_reads_peak_and_power_since_it_was_last_read() -> None:
    chain = SafetyChain(RATE_HZ, 0.0, 0.0)
    run(chain, sine(0.5))
    run(chain, sine(0.1))
    chain.read_level()
    run(chain, sine(0.1))
    level = chain.read_level()
    assert level.peak_dbfs == pytest.approx(-20.0, abs=0.05)
    assert level.rms_dbfs == pytest.approx(-23.0, abs=0.05)
    assert chain.read_level().peak_dbfs == -np.inf


def test_blocks_that_are_no_multiple_of_the_lookahead_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted a multiple of 240"):
        SafetyChain(RATE_HZ, 0.0, 0.0).process(np.zeros((100, 2), np.float32))


def gated(gate: Gate, n_frames: int) -> NDArray[np.float32]:
    frames = np.ones((n_frames, 2), np.float32)
    gate.apply(frames)
    return frames[:, 0]


def test_mute_is_silence_within_ten_milliseconds_and_comes_back_as_softly() -> None:
    gate = Gate(RATE_HZ)
    assert (gated(gate, 100) == 1).all()
    gate.mute(True)
    down = gated(gate, 1000)
    gate.mute(False)
    up = gated(gate, 1000)
    assert np.abs(np.diff(np.concatenate([[1.0], down, up]))).max() <= 1 / 480 + 1e-6
    assert not down[480:].any()
    assert (up[480:] == 1).all()


def test_stop_is_final() -> None:
    gate = Gate(RATE_HZ)
    gate.stop()
    gated(gate, 480)
    gate.mute(True)
    gate.mute(False)
    assert gate.stopped
    assert not gated(gate, 10_000).any()


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_the_gates_ramp_does_not_depend_on_the_blocks(sizes: list[int]) -> None:
    gates = [Gate(RATE_HZ), Gate(RATE_HZ)]
    for gate in gates:
        gate.mute(True)
    parts = np.concatenate([gated(gates[0], size) for size in sizes])
    np.testing.assert_allclose(parts, gated(gates[1], sum(sizes)), atol=1e-6)
