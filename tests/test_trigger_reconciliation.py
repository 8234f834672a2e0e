"""Pulses beside volumes: whatever happens to the pulses is named, and no index is ever another."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner_bridge.reconciliation import Reconciliation, reconcile

TR_S = 1.5
START_S = 1000.0


@dataclass(frozen=True)
class Scan:
    """What happened at the scanner: which pulses were heard how often, which volumes came."""

    pulses_s: list[float]
    volumes_s: dict[int, float]
    missing: set[int]
    lost: set[int]
    extra: list[int]
    n_dummies: int
    base_delay_s: float

    def reconciled(self) -> Reconciliation:
        return reconcile(self.pulses_s, self.volumes_s, TR_S)


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    n = draw(st.integers(8, 60))
    some = st.sets(st.integers(0, n - 1), max_size=n // 4)
    missing, volumes_lost, doubled = draw(some), draw(some), draw(some)
    n_dummies, late_start = draw(st.integers(0, 6)), draw(st.integers(0, n // 4))
    missing = missing | set(range(late_start))
    heard = ([number for number in range(-n_dummies, 0)] if not late_start else []) + sorted(set(range(n)) - missing)
    doubled &= set(heard)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    drift = 1 + draw(st.floats(-1e-4, 1e-4))
    base_delay_s = draw(st.floats(0.0, 0.8)) * TR_S
    pulses_s = [START_S + number * TR_S * drift + rng.uniform(-0.04, 0.04) * TR_S for number in heard]
    after_s = draw(st.floats(0.002, 0.6)) * TR_S
    pulses_s += [START_S + number * TR_S * drift + after_s for number in doubled]
    came = sorted(set(range(n)) - volumes_lost)
    jitter = np.where(rng.random(n) < 0.3, rng.exponential(1.0, n), 0.0) * TR_S  # some come whole volumes late
    jitter[came[0]] = 0.0
    volumes_s = {index: START_S + (index + 1) * TR_S * drift + base_delay_s + jitter[index] for index in came}
    return Scan(pulses_s, volumes_s, missing & set(came), volumes_lost & set(heard), sorted(doubled),
                0 if late_start else n_dummies, base_delay_s)


@given(scans())
def test_whatever_happens_to_pulses_every_volume_keeps_its_index_and_its_own_pulse(scan: Scan) -> None:
    found = scan.reconciled()
    assert set(found.pulse_s) == set(scan.volumes_s) - scan.missing
    for index, pulse_s in found.pulse_s.items():
        assert abs(pulse_s - (START_S + index * TR_S)) < 0.25 * TR_S  # its own, whichever else came or did not


@given(scans())
def test_every_pulse_that_is_missing_doubled_a_dummy_or_without_a_volume_is_named(scan: Scan) -> None:
    found = scan.reconciled()
    last = max(scan.volumes_s)
    assert set(found.missing) == scan.missing
    assert set(found.lost) == {index for index in scan.lost if index <= last}
    assert sorted(found.extra) == [index for index in scan.extra if index <= last]
    assert found.n_before == scan.n_dummies
    assert len(found.pulse_s) + len(found.lost) + len(found.extra) + found.n_before + found.n_after == found.n_pulses


@given(scans(), st.randoms(use_true_random=False))
def test_the_order_in_which_pulses_are_told_does_not_matter(scan: Scan, random: object) -> None:
    shuffled = list(scan.pulses_s)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert reconcile(shuffled, scan.volumes_s, TR_S) == scan.reconciled()


def clean(n: int, delay_s: float = 0.3) -> dict[int, float]:
    return {index: START_S + (index + 1) * TR_S + delay_s for index in range(n)}


def grid(*numbers: int) -> list[float]:
    return [START_S + number * TR_S for number in numbers]


def test_a_clean_run_says_how_far_volumes_lie_behind_their_pulses() -> None:
    found = reconcile(grid(*range(10)), clean(10), TR_S).summary()
    assert (found.n_pulses, found.n_missing, found.n_extra, found.n_before, found.n_after) == (10, 0, 0, 0, 0)
    assert found.offset_s == pytest.approx(TR_S + 0.3)
    assert found.jitter_s == pytest.approx(0, abs=1e-9)
    assert found.sentence == "10 pulses for 10 volumes; a volume 1.800 s after its pulse, ± 0.0 ms"


def test_the_sentence_names_volumes_as_ranges_and_no_more_than_fit() -> None:
    pulses = [*grid(-2, -1, 0, 1, 5, 6, 8, 10), START_S + 6 * TR_S + 0.01]
    said = reconcile(pulses, clean(10), TR_S).sentence()
    assert "no pulse for volumes 2-4, 7, 9" in said
    assert "more than one pulse for volumes 6" in said
    assert "2 pulses before the first volume" in said
    assert "1 pulses after the last volume" in said
    every_other = reconcile(grid(*range(0, 32000, 2)), clean(32000), TR_S).sentence()
    assert every_other.endswith("39 and more")
    assert len(every_other) < 1000


def test_a_pulse_without_a_volume_is_no_surplus_pulse() -> None:
    volumes = clean(10)
    del volumes[4]
    found = reconcile(grid(*range(10)), volumes, TR_S)
    assert (found.lost, found.missing, found.extra) == ((4,), (), ())
    assert "a pulse but no volume 4" in found.sentence()


def test_volumes_that_come_more_than_a_repetition_time_late_need_to_be_told_and_the_report_says_so() -> None:
    late = clean(10, delay_s=1.3 * TR_S)
    untold = reconcile(grid(*range(10)), late, TR_S)
    assert untold.late_by == 1
    assert untold.sentence().endswith("later: if so, say so by delay_s")
    told = reconcile(grid(*range(10)), late, TR_S, delay_s=TR_S)
    assert (told.missing, told.n_before, told.late_by) == ((), 0, 0)


def test_a_bridge_that_joins_a_run_in_its_middle_finds_the_same_pulses() -> None:
    volumes = {index: time_s for index, time_s in clean(20).items() if index >= 12}
    found = reconcile(grid(*range(12, 20)), volumes, TR_S)
    assert (sorted(found.pulse_s), found.missing, found.n_before) == (list(range(12, 20)), (), 0)


def test_clocks_that_drift_apart_for_an_hour_are_followed() -> None:
    times = START_S + np.arange(2400) * TR_S * (1 + 3e-4)
    volumes = {index: float(time_s + TR_S + 0.4) for index, time_s in enumerate(times)}
    found = reconcile(times.tolist(), volumes, TR_S)
    assert len(found.pulse_s) == 2400


@pytest.mark.parametrize(("pulses", "volumes"), [([], clean(3)), (grid(0, 1), {}), ([], {})])
def test_without_pulses_or_volumes_there_is_nothing_to_measure(pulses: list[float], volumes: dict[int, float]) -> None:
    found = reconcile(pulses, volumes, TR_S)
    assert found.missing == tuple(volumes)
    assert (found.n_before, found.offset_s, found.jitter_s) == (len(pulses), None, None)
    assert found.sentence().startswith(f"{len(pulses)} pulses for {len(volumes)} volumes")
