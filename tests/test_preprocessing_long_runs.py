"""A run compiles nothing, collects nothing, leaks nothing and does not wander, however long it is."""

import contextlib
import gc
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realtime.errors import VolumeError
from realtime.preprocessing import Preprocessor, PreprocessorSettings, PreprocessorState, compiled_signatures
from scanner_bridge.volume import WIRE_DTYPES, Volume, scanner_units
from tests.preprocessing_phantom import make_phantom, rigid
from tests.test_preprocessing_reproducibility import EVERYTHING, PHANTOM, RUN, SETTINGS, make, play

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("chosen", ["SETTINGS", "EVERYTHING"])
def test_nothing_is_compiled_after_the_warm_up(chosen):
    # in a process of its own: in this one, other tests have compiled everything already
    program = f"from tests.test_preprocessing_long_runs import troubled_run; troubled_run('{chosen}')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, timeout=150)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert before == after > 10


def troubled_run(chosen):
    """Print how many kernels there are before and after volumes of several types, with several kinds of trouble."""
    settings = replace({"SETTINGS": SETTINGS, "EVERYTHING": EVERYTHING}[chosen], drift_tau_s=120.0)
    pre = make(settings)
    pre.warm_up()
    before = compiled_signatures()
    damaged = RUN[0].astype(np.float64)
    damaged[3, 3, 3] = np.nan
    play(pre, [RUN[0], RUN[1].astype(">f4"), None, np.zeros(PHANTOM.shape), damaged, np.asfortranarray(RUN[2]), *RUN])
    play(pre, RUN[-1:] * 14)  # at rest, until tSNR has enough volumes
    for dtype in WIRE_DTYPES:
        for order in "CF":
            whole = np.clip(RUN[1] // 8, 0, 120).astype(dtype, order=order)  # fits the smallest type
            for slope in (1.0, 2.5):
                scaled = scanner_units(Volume(0, whole, PHANTOM.affine, 1.0, slope=slope))
                pre.push(scaled, np.array(PHANTOM.affine, order=order))
    pre.push(RUN[0], rigid((0.0, 0.0, 0.0), (30.0, 0.0, 0.0)) @ PHANTOM.affine)
    with contextlib.suppress(VolumeError):
        pre.push(np.full(PHANTOM.shape, np.nan))
    Preprocessor.restore(PreprocessorState.from_bytes(pre.state().to_bytes())).push(RUN[1])
    print(before, compiled_signatures())


def test_a_run_needs_no_collection_of_the_oldest_generation():
    pre = make()
    pre.warm_up()
    play(pre, RUN)
    gc.collect()
    gc.freeze()
    try:
        before = gc.get_stats()[2]["collections"]
        for _ in range(60):
            for volume in RUN:
                pre.push(volume)
        assert gc.get_stats()[2]["collections"] == before
    finally:
        gc.unfreeze()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_volumes_take_no_more_memory_and_end_where_they_began():
    phantom = make_phantom((32, 32, 18), (6.0, 6.0, 7.0))
    truths = [rigid((0.2 * k, -0.1 * k, 0.15 * k), (0.1 * k, 0.2 * k, -0.1 * k)) for k in (0, 1, 2, 1, 0, -1, -2, -1)]
    volumes = [phantom.volume(truth, 10.0, seed=t).astype(np.int16) for t, truth in enumerate(truths)]
    pre = Preprocessor(phantom.volume(), phantom.affine, phantom.head_voxels(2000),
                       PreprocessorSettings(tr_s=1.0, alignment_points=8000))
    errors_mm = np.array([phantom.error_mm(pre.push(volume).motion, truth)
                          for volume, truth in zip(volumes * 2, truths * 2, strict=True)])
    tracemalloc.start()
    try:
        pre.push(volumes[0])
        size = tracemalloc.get_traced_memory()[0]
        for t in range(1, 10_001):
            step = pre.push(volumes[t % 8])
        grown = tracemalloc.get_traced_memory()[0] - size
    finally:
        tracemalloc.stop()
    last_mm = [phantom.error_mm(pre.push(volume).motion, truth)
               for volume, truth in zip(volumes[1:], truths[1:], strict=True)]
    assert step.trusted
    assert grown < 50_000
    np.testing.assert_allclose(last_mm, errors_mm[9:], atol=0.002)
