"""However files arrive in a watched folder, what is published is what the headers say, in order, and on time.

Lost, shuffled, delayed, duplicated and half-written files of every way to cut a run into files, in virtual time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.dicom_folder import DicomFolderSource
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import Volume
from tests import dicom_builder as build

POLL_S, FOLLOW_S = 0.05, 6.0
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a case takes seconds to shrink, and is small already
_SLICES = range(build.N_SLICES)
KINDS: dict[str, tuple[tuple[bytes, ...], ...]] = {
    "GE slices": tuple(tuple(build.ge_slice(v, k) for k in _SLICES) for v in range(build.N_VOLUMES)),
    "Philips slices": tuple(tuple(build.philips_slice(v, k) for k in _SLICES) for v in range(build.N_VOLUMES)),
    "Siemens XA slices": tuple(tuple(build.xa_classic_slice(v, k) for k in _SLICES) for v in range(build.N_VOLUMES)),
    "a frame stack per volume": tuple((build.enhanced([v]),) for v in range(build.N_VOLUMES)),
}
"""Files of every volume."""
UNTOLD = "Siemens XA slices"
"""No header says how many slices a volume has: it is known when a third volume begins, the first two being whole."""


def truths() -> dict[str, dict[int, Volume]]:
    found = {}
    for kind, volumes in KINDS.items():
        assembler = Assembler()
        for content in (one for files in volumes for one in files):
            assembler.take("x", content)
        (series,) = assembler.series.values()
        found[kind] = {index: series.pop(index) for index in series.ready}
        assert len(found[kind]) == build.N_VOLUMES
    return found


TRUTHS = truths()


@dataclass(frozen=True)
class Fate:
    """What becomes of one file: None never comes; `half_s` before it is whole, its first part is there."""

    whole_s: float | None
    half_s: float = 0.0
    share: float = 0.5
    copies: int = 1


class Room:
    """A folder in which files appear as virtual time goes by."""

    def __init__(self, folder: Path, program: list[tuple[float, Callable[[], object]]]) -> None:
        self.folder, self.now_s = folder, 0.0
        self._program = sorted(program, key=lambda step: step[0])

    def clock(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        while self._program and self._program[0][0] <= self.now_s:
            self._program.pop(0)[1]()


def program(folder: Path, volumes: tuple[tuple[bytes, ...], ...], fates: list[list[Fate]],
            names: list[int]) -> list[tuple[float, Callable[[], object]]]:
    steps: list[tuple[float, Callable[[], object]]] = []
    number = 0
    for files, of_files in zip(volumes, fates, strict=True):
        for content, fate in zip(files, of_files, strict=True):
            for copy in range(fate.copies if fate.whole_s is not None else 1):
                path = folder / f"{names[number]:03d}-{copy}.dcm"
                part = content[: int(len(content) * fate.share)]
                begin_s = (fate.whole_s or 0.0) - fate.half_s
                if fate.half_s or fate.whole_s is None:
                    steps.append((begin_s, lambda path=path, part=part: path.write_bytes(part)))
                if fate.whole_s is not None:
                    steps.append((fate.whole_s + 0.2 * copy, lambda path=path, it=content: path.write_bytes(it)))
            number += 1
    return steps


fates = st.builds(Fate, st.one_of(st.none(), *[st.floats(0.5, 3.5)] * 8), st.sampled_from([0.0, 0.0, 0.3]),
                  st.floats(0.05, 0.98), st.sampled_from([1, 1, 1, 2]))


@st.composite
def arrivals(draw: st.DrawFn, kind: str) -> tuple[list[list[Fate]], list[int]]:
    """Fates of all files, and the order of their names, which means nothing."""
    volumes = KINDS[kind]
    troubled = draw(st.sets(st.integers(2 if kind == UNTOLD else 0, len(volumes) - 1)))
    found = []
    for index, files in enumerate(volumes):
        on_time = Fate(0.5 + 0.8 * index)
        found.append([draw(fates) if index in troubled and draw(st.booleans()) else on_time for _ in files])
    n_files = sum(map(len, volumes))
    return found, draw(st.permutations(range(n_files)))


def check(kind: str, found: list[list[Fate]], names: list[int]) -> None:
    whole_s = {index: max(fate.whole_s for fate in files if fate.whole_s is not None)
               for index, files in enumerate(found) if all(fate.whole_s is not None for fate in files)}
    known_s = min((fate.whole_s for files in found[2:] for fate in files if fate.whole_s is not None), default=FOLLOW_S)
    if kind == UNTOLD:
        whole_s = {index: max(at_s, known_s) for index, at_s in whole_s.items()}
    published: list[tuple[int, float]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        room = Room(folder, program(folder, KINDS[kind], found, names))
        asked = SourceSettings(path=folder, follow_s=FOLLOW_S, wait_s=8.0, poll_s=POLL_S, watching="poll")
        source = DicomFolderSource(folder, asked, sleep=room.sleep, clock=room.clock)
        try:
            tr_s = source.header.tr_s
            for volume in source:
                published.append((volume.index, room.now_s))
                np.testing.assert_array_equal(volume.data, TRUTHS[kind][volume.index].data)
                np.testing.assert_allclose(volume.affine, TRUTHS[kind][volume.index].affine)
        except SourceError:
            assert any(fate.whole_s is None for files in found for fate in files)  # half a file is left at the end
        if not published:
            assert not whole_s
            return
    indices = [index for index, _ in published]
    assert indices == sorted(set(indices))
    assert set(indices) <= set(whole_s)
    slack_s = 3 * POLL_S
    for index in set(whole_s) - set(indices):  # whole, and yet left out: it came more than a TR after a later one
        later = [whole_s[other] for other in whole_s if other > index]
        assert later
        assert whole_s[index] > min(later) + tr_s - slack_s
    for index, left_s in published:
        assert left_s <= max(whole_s[index], min(whole_s.values())) + tr_s + slack_s


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(data=st.data())
def test_what_is_published_is_what_the_headers_say_in_order_and_on_time(kind: str, data: st.DataObject) -> None:
    check(kind, *data.draw(arrivals(kind)))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=1300, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(data=st.data())
def test_five_thousand_disorders_change_nothing(kind: str, data: st.DataObject) -> None:
    check(kind, *data.draw(arrivals(kind)))


def test_two_holes_of_one_burst_are_given_up_together() -> None:
    never, burst = Fate(None, share=0.3), Fate(1.0)
    check("a frame stack per volume", [[never], [burst], [never], [burst]], [0, 1, 2, 3])
