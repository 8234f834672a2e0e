"""Nothing louder than the ceiling, whatever comes in; mute and STOP where sound leaves."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import signal

from realtime.playback import kernels
from realtime.playback.gate import Gate
from realtime.playback.levels import gain_of_db
from realtime.playback.safety import MARGIN_DB, ChainSettings, SafetyChain, interpolation_filters
from realtime.playback.veil import DULLEST_HZ, Veil
from tests import naive_playback as naive
from tests.playback_fuzz import fuzz

RATE_HZ = 48000
LOOKAHEAD = 240
BLOCK = 480


DELAY = LOOKAHEAD + 12


def make(volume_db: float, ceiling_dbfs: float, eq_taps: NDArray[np.float64] | None = None) -> SafetyChain:
    return SafetyChain(ChainSettings(RATE_HZ, volume_db, ceiling_dbfs, eq_taps=eq_taps))


def run(chain: SafetyChain, sound: NDArray[np.float32], block: int = BLOCK) -> NDArray[np.float32]:
    whole = sound[: len(sound) // block * block]
    return np.concatenate([chain.process(whole[start : start + block]) for start in range(0, len(whole), block)])


def stereo(mono: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.repeat(np.asarray(mono, np.float32)[:, None], 2, axis=1)


def sine(level: float, seconds: float = 1.0, hz: float = 440.0) -> NDArray[np.float32]:
    return stereo(level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ))


@settings(deadline=None, max_examples=25)
@given(
    blocks=st.lists(arrays(np.float32, (LOOKAHEAD, 2), elements=st.floats(width=32)), min_size=1, max_size=5),
    volume_db=st.floats(-60, 12),
    ceiling_dbfs=st.floats(-60, 0),
)
def test_no_input_whatever_passes_the_ceiling(
    blocks: list[NDArray[np.float32]], volume_db: float, ceiling_dbfs: float
) -> None:
    chain = make(volume_db, ceiling_dbfs)
    for block in [*blocks, np.zeros((LOOKAHEAD, 2), np.float32)]:
        out = chain.process(block)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert float(np.abs(out).max()) <= 10 ** (ceiling_dbfs / 20)


def true_peak_db(sound: NDArray[np.float32]) -> float:
    """By a resampler that is not ours; silence on either side, so that the cut itself makes no peak."""
    padded = np.pad(sound.astype(np.float64), ((200, 200), (0, 0)))
    return 20 * float(np.log10(np.abs(signal.resample_poly(padded, 8, 1, axis=0)).max()))


@settings(deadline=None, max_examples=40)
@given(
    levels_db=st.lists(st.floats(-40, 120), min_size=2, max_size=12),
    kind=st.sampled_from(["uniform", "signs", "sparse", "nyquist"]),
    seed=st.integers(0, 99),
)
def test_no_true_peak_passes_the_ceiling_whatever_comes_in(levels_db: list[float], kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_frames = len(levels_db) * LOOKAHEAD
    shapes = {
        "uniform": rng.uniform(-1, 1, (n_frames, 2)),
        "signs": np.sign(rng.uniform(-1, 1, (n_frames, 2))),
        "sparse": rng.uniform(-1, 1, (n_frames, 2)) * (rng.uniform(0, 1, (n_frames, 2)) < 0.02),
        "nyquist": np.repeat(np.cos(np.pi * np.arange(n_frames) * rng.uniform(0.8, 1))[:, None], 2, axis=1),
    }
    sound = shapes[kind] * 10 ** (np.repeat(levels_db, LOOKAHEAD)[:, None] / 20)
    out = run(make(0.0, -1.0), np.concatenate([sound, np.zeros((4 * LOOKAHEAD, 2))]).astype(np.float32))
    assert true_peak_db(out) <= -1.0 + 0.1


def test_a_tone_whose_samples_miss_its_peak_is_limited_by_its_peak() -> None:
    frames = np.arange(RATE_HZ)
    tone = stereo(10 ** (2 / 20) * np.sin(np.pi / 2 * frames + np.pi / 4))  # +2 dBTP, its samples are at -1 dBFS
    out = run(make(0.0, -1.0), tone)[LOOKAHEAD * 4 : -LOOKAHEAD]
    assert np.abs(out).max() == pytest.approx(gain_of_db(-1.0 - MARGIN_DB - 3.01), rel=0.01)


def test_the_clamp_alone_keeps_the_ceiling_so_that_the_limiter_need_not_be_trusted() -> None:
    chain = make(0.0, -3.0)
    chain.arrays[-1][0] = 1e9  # a limiter that limits nothing
    out = run(chain, sine(50.0, 0.1))
    assert float(np.abs(out).max()) == pytest.approx(gain_of_db(-3.0), rel=1e-6)
    assert float(np.abs(out).max()) <= gain_of_db(-3.0)


@pytest.mark.parametrize(
    ("n_blocks", "n_taps"), [(30_000, 1), (30_000, 16), pytest.param(10_000_000, 16, marks=pytest.mark.long)]
)
@pytest.mark.timeout(3600)
def test_millions_of_blocks_of_any_kind_leave_nothing_above_the_ceiling(n_blocks: int, n_taps: int) -> None:
    fuzzed = fuzz(n_blocks, seed=n_blocks + n_taps, n_taps=n_taps)
    assert fuzzed.bad_blocks > n_blocks / 100
    assert (fuzzed.not_finite, fuzzed.above_ceiling) == (0, 0)
    assert fuzzed.true_peak_over_db <= 0.1


def test_sound_under_the_ceiling_passes_bit_for_bit_five_milliseconds_later() -> None:
    chain = make(0.0, -1.0)
    sound = sine(0.5)
    out = run(chain, sound)
    assert chain.delay_frames == DELAY
    assert not out[:DELAY].any()
    np.testing.assert_array_equal(out[DELAY:], sound[: len(out) - DELAY])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=10))
def test_how_sound_is_cut_into_blocks_does_not_change_a_bit(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    sound = (rng.uniform(-3, 3, (sum(sizes) * LOOKAHEAD, 2))).astype(np.float32)
    whole = make(-3.0, -6.0).process(sound)
    chain = make(-3.0, -6.0)
    edges = [0, *(LOOKAHEAD * n for n in itertools.accumulate(sizes))]
    parts = [chain.process(sound[start:end]) for start, end in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_loud_passage_is_turned_down_not_clipped_and_comes_back() -> None:
    sound = np.concatenate([sine(0.4), sine(4.0), sine(0.4, 3.0)])
    out = run(make(0.0, -6.0), sound)
    loud = out[RATE_HZ + 5000 : 2 * RATE_HZ - 5000, 0]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
    tone = round(440 * len(loud) / RATE_HZ)
    harmonics = spectrum.copy()
    harmonics[tone - 20 : tone + 21] = 0
    assert harmonics.max() < 0.02 * spectrum[tone]  # a clipped sine has a third harmonic of a quarter or so
    assert np.abs(loud).max() == pytest.approx(gain_of_db(-6.0 - MARGIN_DB), rel=0.02)
    assert np.abs(out[-RATE_HZ:]).max() == pytest.approx(0.4, rel=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_chunk_with_a_bad_sample_is_silence_and_counted(bad: float) -> None:
    chain = make(0.0, -1.0)
    run(chain, sine(0.5, 0.1))
    block = sine(0.5, 0.01)
    block[17, 1] = bad
    before = chain.process(block)
    muted = chain.process(sine(0.5, 0.01))
    assert not np.concatenate([before, muted])[DELAY : DELAY + LOOKAHEAD].any()
    assert chain.bad_chunks == 1
    back = run(chain, sine(0.5, 0.2))
    assert np.abs(back[-BLOCK:]).max() == pytest.approx(0.5, rel=0.01)


def test_volume_moves_along_a_ramp() -> None:
    chain = make(0.0, 0.0)
    ones = np.full((BLOCK, 2), 0.5, np.float32)
    for _ in range(3):
        chain.process(ones)
    chain.set_volume_db(-20.0)
    out = np.concatenate([chain.process(ones) for _ in range(20)])[:, 0]
    assert np.abs(np.diff(out)).max() <= 0.5 / (0.05 * RATE_HZ) * 1.01
    assert out[-1] == pytest.approx(0.05, rel=1e-3)


def test_a_fade_out_is_final_and_takes_its_time() -> None:
    chain = make(-6.0, -1.0)
    run(chain, sine(0.5, 0.1))
    chain.fade_out(0.5)
    chain.set_volume_db(0.0)
    out = run(chain, sine(0.5, 1.0))
    assert np.abs(out[: RATE_HZ // 4]).max() > 0.1
    assert not out[round(0.52 * RATE_HZ) :].any()
    assert chain.faded_out


def test_the_meter_reads_peak_and_power_since_it_was_last_read() -> None:
    chain = make(0.0, 0.0)
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
        make(0.0, 0.0).process(np.zeros((100, 2), np.float32))


@pytest.mark.parametrize("n_taps", [1, 2, 64, 512])
def test_the_equaliser_filters_as_the_library_does(n_taps: int) -> None:
    rng = np.random.default_rng(n_taps)
    taps = rng.normal(0, 0.1, (2, n_taps))
    sound = rng.uniform(-0.1, 0.1, (10 * BLOCK, 2)).astype(np.float32)
    out = run(make(0.0, 0.0, taps), sound)
    for channel in range(2):
        wanted = signal.lfilter(taps[channel], [1.0], sound[:, channel].astype(np.float64))
        np.testing.assert_allclose(out[DELAY:, channel], wanted[:-DELAY], atol=1e-7)


def test_a_bad_block_leaves_nothing_in_the_equaliser() -> None:
    chain = make(0.0, -1.0, np.full((2, 512), 0.01))
    block = sine(0.5, 0.01)
    block[3, 0] = np.inf
    chain.process(block)
    assert np.isfinite(run(chain, sine(0.5, 0.1))).all()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99), n_chunk=st.integers(13, 40))
def test_the_compiled_limiter_is_the_naive_one(seed: int, n_chunk: int) -> None:
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 1, (8 * n_chunk, 2)) * np.repeat(10 ** rng.uniform(-1, 1, 8), n_chunk)[:, None]
    filters = interpolation_filters()
    buffer, state = np.zeros((2 * n_chunk + 12, 2)), np.ones(2)
    bounds = np.array([0.7, 0.1, 0.7 / np.abs(filters).sum(axis=1).max()])
    chunks = sound.copy().reshape(8, n_chunk, 2)
    for chunk in chunks:
        kernels.limit(chunk, buffer, state, filters, bounds)
    wanted = naive.limited(sound, n_chunk, filters, 0.7, 0.1)
    np.testing.assert_allclose(chunks.reshape(-1, 2), wanted, atol=1e-12)


def test_the_compiled_equaliser_is_the_naive_one() -> None:
    rng = np.random.default_rng(0)
    sound, taps = rng.normal(0, 1, (60, 2)), rng.normal(0, 1, (2, 7))
    line, out = np.concatenate([np.zeros((2, 6)), sound.T], axis=1), np.zeros((60, 2))
    kernels.equalise(line, np.ascontiguousarray(taps[:, ::-1]), out)
    np.testing.assert_allclose(out, naive.equalised(sound, taps), atol=1e-12)


def gated(gate: Gate, n_frames: int) -> NDArray[np.float32]:
    frames = np.ones((n_frames, 2), np.float32)
    gate.apply(frames)
    return frames[:, 0]


def test_mute_is_silence_within_five_milliseconds_and_comes_back_as_softly() -> None:
    gate = Gate(RATE_HZ)
    assert (gated(gate, 100) == 1).all()
    gate.mute(True)
    down = gated(gate, 1000)
    gate.mute(False)
    up = gated(gate, 1000)
    assert np.abs(np.diff(np.concatenate([[1.0], down, up]))).max() <= 1 / 240 + 1e-6
    assert not down[240:].any()
    assert (up[240:] == 1).all()


def test_stop_holds_whatever_else_is_asked_until_it_is_taken_back() -> None:
    gate = Gate(RATE_HZ)
    gate.stop()
    gated(gate, 480)
    gate.mute(True)
    gate.mute(False)
    gate.drop()
    assert gate.stopped
    assert not gated(gate, 10_000).any()
    gate.rearm()
    assert (gated(gate, 1000)[240:] == 1).all()


def test_sound_that_broke_off_can_come_back_slowly() -> None:
    gate = Gate(RATE_HZ)
    gate.drop(rise_s=1.0)
    rise = gated(gate, RATE_HZ)
    assert rise[RATE_HZ // 2] == pytest.approx(0.5, abs=0.01)
    gate.mute(True)
    assert not gated(gate, 480)[240:].any()  # down as fast as ever


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_the_gates_ramp_does_not_depend_on_the_blocks(sizes: list[int]) -> None:
    gates = [Gate(RATE_HZ), Gate(RATE_HZ)]
    for gate in gates:
        gate.mute(True)
    parts = np.concatenate([gated(gates[0], size) for size in sizes])
    np.testing.assert_allclose(parts, gated(gates[1], sum(sizes)), atol=1e-6)


# clarity ---------------------------------------------------------------------------------------


def veiled(sound: np.ndarray, clarity: float, settled: bool = True) -> np.ndarray:
    veil = Veil(RATE_HZ, LOOKAHEAD)
    veil.set_clarity(clarity)
    if settled:
        for _ in range(60):
            veil.process(np.zeros((LOOKAHEAD, 2), np.float32))
    return np.concatenate([veil.process(sound[at:at + LOOKAHEAD]).copy() for at in range(0, len(sound), LOOKAHEAD)])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
def test_no_clarity_makes_anything_louder(seed: int, clarity: float, settled: bool) -> None:
    sound = np.random.default_rng(seed).uniform(-1, 1, (8 * LOOKAHEAD, 2)).astype(np.float32)
    assert np.abs(veiled(sound, clarity, settled)).max() <= np.abs(sound).max()


def test_clear_sound_is_itself_bit_for_bit_and_dull_sound_is_what_the_two_low_passes_leave() -> None:
    sound = np.random.default_rng(4).uniform(-1, 1, (20 * LOOKAHEAD, 2)).astype(np.float32)
    np.testing.assert_array_equal(veiled(sound, 1.0), sound)
    kept = 1 - np.exp(-2 * np.pi * DULLEST_HZ / RATE_HZ)
    slow = sound.astype(np.float64)
    for _ in range(2):
        slow = signal.lfilter([kept], [1, kept - 1], slow, axis=0)
    np.testing.assert_allclose(veiled(sound, 0.0), slow, atol=1e-6)


def test_highs_rise_with_clarity() -> None:
    tone = np.tile(np.sin(2 * np.pi * 3000 * np.arange(100 * LOOKAHEAD) / RATE_HZ)[:, None], 2).astype(np.float32)
    levels = [float(np.std(veiled(tone, clarity)[20 * LOOKAHEAD:])) for clarity in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert levels == sorted(levels)
    assert levels[0] < 0.01 * levels[-1]


def test_a_chunk_of_no_numbers_is_muted_by_the_chain_and_leaves_no_trace_in_the_veil() -> None:
    chain = SafetyChain(ChainSettings(RATE_HZ, 0.0, -3.0))
    chain.set_clarity(0.3)
    sound = np.full((40 * LOOKAHEAD, 2), 0.1, np.float32)
    sound[10 * LOOKAHEAD + 3] = np.nan
    out = chain.process(sound)
    assert np.isfinite(out).all()
    assert chain.bad_chunks == 1
    assert out[-1, 0] == pytest.approx(0.1, abs=1e-3)
