"""The same volumes give the same bits: whatever follows, however they are stored, wherever it runs."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import _multiarray_umath

from realtime.errors import VolumeError
from realtime.preprocessing import CausalScaler, Preprocessor, PreprocessorSettings, PreprocessorState
from tests.preprocessing_phantom import make_phantom, wandering

ROOT = Path(__file__).resolve().parents[1]
PHANTOM = make_phantom((18, 20, 12), (9.0, 9.0, 10.0))
VOXELS = PHANTOM.head_voxels(60)
TISSUES = np.zeros(PHANTOM.shape, np.uint8)
TISSUES[tuple(PHANTOM.head_voxels(260)[60:].T)] = np.repeat([1, 2], 100)
SETTINGS = PreprocessorSettings(tr_s=1.0, drift_tau_s=8.0, settle_s=2.0, alignment_fwhm_mm=12.0, alignment_points=300)
EVERYTHING = replace(SETTINGS, drift="trend", nuisance_motion=24, nuisance_tissues=True, smoothing_fwhm_mm=20.0,
                     slice_times_s=tuple((k % 4) / 4 for k in range(12)))
N_VOLUMES = 8
RUN = [PHANTOM.volume(motion, 10.0, seed=t).astype(np.int16) for t, motion in enumerate(wandering(N_VOLUMES))]


def make(settings=SETTINGS):
    return Preprocessor(PHANTOM.volume(), PHANTOM.affine, VOXELS, settings, np.full(60, 0.01, np.float32), TISSUES)


def play(pre, volumes):
    """Digest of every output of each step; None is a lost volume."""
    digests = []
    for volume in volumes:
        if volume is None:
            pre.skip()
            digests.append("lost")
            continue
        step = pre.push(volume)
        tissues = None if step.tissue_percent is None else step.tissue_percent.tolist()
        numbers = (step.framewise_displacement_mm, step.censored, step.ready, step.gain, step.iterations,
                   step.converged, step.dvars_percent, step.tsnr, tissues)
        digests.append(hashlib.sha256(step.features.tobytes() + step.samples.tobytes() + step.motion.tobytes()
                                      + step.pose.tobytes() + repr(numbers).encode()).hexdigest())
    return digests


def play_both(volumes):
    """Digests with the least and with the most that the settings can ask for."""
    return play(make(), volumes) + play(make(EVERYTHING), volumes)


@st.composite
def runs(draw):
    """Volumes of the phantom in any order, lost ones, empty ones, noise."""
    empty, noise = np.zeros(PHANTOM.shape, np.int16), np.random.default_rng(0).integers(0, 900, PHANTOM.shape)
    return draw(st.lists(st.sampled_from([*RUN, None, empty, noise]), min_size=1, max_size=8))


@settings(deadline=None, max_examples=25)
@given(runs(), runs(), runs(), st.sampled_from([SETTINGS, EVERYTHING]))
def test_features_of_the_past_do_not_depend_on_the_future(past, future, other_future, chosen):
    one, other = play(make(chosen), past + future), play(make(chosen), past + other_future)
    assert one[: len(past)] == other[: len(past)]


@settings(deadline=None, max_examples=25)
@given(runs(), st.data(), st.sampled_from([SETTINGS, EVERYTHING]))
def test_a_restored_state_goes_on_bit_for_bit(run, data, chosen):
    cut = data.draw(st.integers(0, len(run)))
    pre = make(chosen)
    play(pre, run[:cut])
    payload = pre.state().to_bytes()
    restored = Preprocessor.restore(PreprocessorState.from_bytes(payload))
    assert restored.state().to_bytes() == payload
    assert play(restored, run[cut:]) == play(pre, run[cut:])


@pytest.mark.parametrize("store", [
    np.asfortranarray, np.ascontiguousarray, lambda v: v.astype(">i2"), lambda v: v.astype(np.float32),
    lambda v: v.astype(np.float64), lambda v: v.astype(">f8"), lambda v: v.astype(np.uint16),
    lambda v: v.astype(np.int64), lambda v: np.repeat(v, 2, axis=0)[::2], lambda v: v[::-1].copy()[::-1],
], ids=["F", "C", "big-endian int16", "float32", "float64", "big-endian float64", "uint16", "int64", "strided",
        "reversed"])
def test_memory_order_type_and_byte_order_do_not_change_a_bit(store):
    stored = [store(volume) for volume in RUN]
    copies = [volume.copy() for volume in stored]
    assert play(make(), stored) == play(make(), RUN)
    assert play(make(EVERYTHING), stored) == play(make(EVERYTHING), RUN)
    for volume, copy in zip(stored, copies, strict=True):
        np.testing.assert_array_equal(volume, copy)


@pytest.mark.parametrize("chosen", [SETTINGS, EVERYTHING], ids=["the least", "everything"])
def test_the_scaler_alone_repeats_the_features_of_a_run_from_its_samples(chosen):
    pre, scaler = make(chosen), CausalScaler(60, chosen, np.full(60, 0.01, np.float32))
    scored = 0
    for volume in [*RUN, None, *RUN]:
        if volume is None:
            pre.skip()
            scaler.skip()
            continue
        step = pre.push(volume)
        np.testing.assert_array_equal(scaler.push(step.samples, step.censored, step.pose, step.tissue_percent),
                                      step.features)
        scored += bool(step.features.any())
    assert scored > N_VOLUMES


def test_the_warm_up_changes_nothing():
    pre = make()
    play(pre, RUN[:4])
    before = pre.state().to_bytes()
    pre.warm_up()
    assert pre.state().to_bytes() == before


def test_outputs_and_states_are_the_callers_to_keep():
    pre = make()
    step, state = pre.push(RUN[0]), pre.state()
    kept = state.to_bytes()
    step.features[:], step.motion[:] = 1.0, 1.0
    play(pre, RUN[1:])
    assert state.to_bytes() == kept
    assert play(Preprocessor.restore(state), RUN[1:]) == play(Preprocessor.restore(state), RUN[1:])
    assert (step.features == 1.0).all()
    assert (step.motion == 1.0).all()


def test_damaged_states_are_refused():
    payload = make().state().to_bytes()
    other_format = payload.replace(b"cessor-3", b"cessor-9")
    for damaged in (b"", payload[:-1], payload[: len(payload) // 2], b"\x90", other_format):
        with pytest.raises(VolumeError, match="not a preprocessor state"):
            PreprocessorState.from_bytes(damaged)


_PRINT_DIGEST = """
from tests.test_preprocessing_reproducibility import RUN, play_both
print(play_both([*RUN, None, *RUN]))
"""


def oldest_numpy():
    """Setting that makes numpy use none of the instruction sets it would choose at run time."""
    return " ".join(name for name in _multiarray_umath.__cpu_dispatch__ if _multiarray_umath.__cpu_features__[name])


def start(changes):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **changes}
    return subprocess.Popen([sys.executable, "-c", _PRINT_DIGEST], cwd=ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.timeout(900)
def test_processors_of_different_ages_give_the_same_bits():
    features = llvm.get_host_cpu_features()
    targets = [{"NUMBA_CPU_NAME": "generic", "NPY_DISABLE_CPU_FEATURES": oldest_numpy()},
               {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F", "OPENBLAS_CORETYPE": "Prescott"}]
    if all(features.get(name) for name in ("avx2", "fma", "bmi2")):
        targets.append({"NUMBA_CPU_NAME": "haswell"})
    if features.get("avx512f") and features.get("avx512dq"):
        targets.append({"NUMBA_CPU_NAME": "skylake-avx512"})
    wanted = str(play_both([*RUN, None, *RUN]))
    for pair in (targets[:2], targets[2:]):  # two at a time: compiling for a new target takes 14 s
        for changes, process in [(changes, start(changes)) for changes in pair]:
            out, problem = process.communicate(timeout=400)
            assert process.returncode == 0, problem
            assert out.strip() == wanted, f"{changes} differs from this processor"
