"""One series of DICOM objects: which slices of which volumes have come, and the volumes that are whole. Pure."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import SourceError, UnfinishedError
from scanner_bridge.sources.dicom_image import Acquisition, Image, Slices, since_first
from scanner_bridge.sources.dicom_rules import RULES
from scanner_bridge.sources.slice_stack import SAME_PLACE_MM, SliceStack, is_even, normal_of, stack_of
from scanner_bridge.sources.verdict import Verdict
from scanner_bridge.volume import RunHeader, Volume


@dataclass(frozen=True, eq=False)
class _Slice:
    """One slice that came; its time is NaN where it is not stated."""

    position_mm: NDArray[np.float64]
    pixels: NDArray[Any]
    slope: float
    inter: float
    time_s: float


def run_name(series_number: int, series_uid: str) -> str:
    """A series under a name that tells repeated series apart and leads to no one: number, hash of its UID."""
    return f"series-{series_number}-{hashlib.sha256(series_uid.encode()).hexdigest()[:8]}"


class SeriesAssembly:
    """The volumes of one series, made of objects in any order.

    A volume is whole when it has as many slices as the headers announce. Where they announce nothing,
    the number is that of the first two volumes with the same places, or of all that came when
    `finish` is called.

    Attributes
    ----------
    run_id, number, maker, name : str, int, str, str
        Names of the series, and of the scanner's maker; a PAR/REC run has the number 0.
    acquisition : Acquisition or None
        What its objects share; None while all of them were left alone.
    left_alone : Counter of str
        How many objects each rule left alone.
    """

    def __init__(self, run_id: str, number: int, maker: str) -> None:
        self.run_id = run_id
        self.number = number
        self.maker = maker
        self.name = f"DICOM series {number}" if number else "PAR/REC"
        self.acquisition: Acquisition | None = None
        self.left_alone: Counter[str] = Counter()
        self._header: RunHeader | None = None
        self._stack: SliceStack | None = None
        self._n_slices: int | None = None
        self._tr_s: float | None = None
        self._began_s: dict[int, float] = {}
        self._open: dict[int, list[_Slice]] = {}
        self._ready: dict[int, Volume] = {}
        self._done: set[int] = set()
        self._checksums: dict[str, int] = {}

    @property
    def header(self) -> RunHeader | None:
        """The run's header; None until a first volume is whole."""
        return self._header

    @property
    def ready(self) -> tuple[int, ...]:
        """Volumes that are whole and not yet taken, in order."""
        return tuple(sorted(self._ready))

    @property
    def whole(self) -> tuple[int, ...]:
        """All volumes that were ever whole, in order."""
        return tuple(sorted(self._done))

    @property
    def partial(self) -> dict[int, str]:
        """Volumes that are not whole, in order, with how much of them is there."""
        wanted = self._n_slices or "an unknown number of"
        return {index: f"{len(slices)} of {wanted} slices" for index, slices in sorted(self._open.items())}

    @property
    def missing(self) -> str:
        """Why no volume is whole, in words."""
        if self._tr_s is None and self._n_slices is not None:
            return f"{self.name} states no repetition time, and one volume alone does not tell it"
        return f"no volume of {self.name} is whole: slices are missing"

    def pop(self, index: int) -> Volume:
        """Take a whole volume out; KeyError where it is not ready."""
        return self._ready.pop(index)

    def add(self, image: Image, checksum: int) -> Verdict:
        """Take an object of this series in.

        Parameters
        ----------
        image : Image
            Its slices.
        checksum : int
            Of its bytes: tells a repetition from a contradiction.
        """
        indices = tuple(slices.index for slices in image.volumes)
        refused = self._refused(image, checksum, indices)
        if refused is not None:
            return refused
        if self.acquisition is None:
            self.acquisition = image.acquisition
            self._n_slices, self._tr_s = image.acquisition.n_slices, image.acquisition.tr_s
        self._checksums[image.uid] = checksum
        for slices in image.volumes:
            self._open.setdefault(slices.index, []).extend(_single(slices))
            if slices.begin_s is not None and self._tr_s is None:
                self._began_s[slices.index] = slices.begin_s
        try:
            whole = self._make_whole(indices)
        except SourceError as error:
            for index in indices:
                self._open.pop(index, None)
            return self._conflict("protocol", str(error), indices)
        return Verdict("complete" if whole else "part", "", self.run_id, whole or indices)

    def finish(self) -> tuple[int, ...]:
        """No more objects will come: volumes whose number of slices was never stated are whole if they are even.

        Returns
        -------
        indices : tuple of int
            Volumes that are whole now.
        """
        if self._n_slices is None and self._open and self.acquisition is not None:
            longest = max(self._open.values(), key=len)
            if is_even(self.acquisition, _positions(longest)):
                self._n_slices = len(longest)
                return self._make_whole(tuple(self._open))
        return ()

    def _refused(self, image: Image, checksum: int, indices: tuple[int, ...]) -> Verdict | None:
        """Why an object is not taken in; None for one that is."""
        if image.uid in self._checksums:
            if self._checksums[image.uid] == checksum:
                return Verdict("repeated", "it came before", self.run_id, indices)
            return self._conflict("second-image", "it came before with other content: the first one counts", indices)
        if self._is_localizer(image):
            self._open.clear()
            self.left_alone["localizer"] += 1
            return Verdict("skipped", f"{RULES['localizer']}: its slices cross", self.run_id, rule="localizer")
        changed = self._changed(image)
        if changed:
            return self._conflict("protocol", f"{changed}: the protocol was changed, start a new run", indices)
        for slices in image.volumes:
            if slices.index in self._done or self._overlaps(slices):
                reason = f"it is a second image of volume {slices.index}: the first one counts"
                return self._conflict("second-image", reason, indices)
        return None

    def _conflict(self, rule: str, reason: str, indices: tuple[int, ...]) -> Verdict:
        return Verdict("conflicting", reason, self.run_id, indices, rule)

    def _is_localizer(self, image: Image) -> bool:
        """Whether slices of one series cross each other before any volume is whole: few headers say it otherwise."""
        before, now = self.acquisition, image.acquisition
        if self.left_alone["localizer"]:
            return True
        if before is None or self._header is not None or (before.layout, now.layout) != ("slices", "slices"):
            return False
        return bool(abs(normal_of(before) @ normal_of(now)) < 0.9)

    def _changed(self, image: Image) -> str:
        """What of an object is no longer as it was in the series, in words."""
        before, now = self.acquisition, image.acquisition
        if before is None:
            return ""
        if now != before and (difference := _difference(now, before)):
            return difference
        if self._header is None or self._stack is None:
            return ""
        for slices in image.volumes:
            if not all(self._stack.holds(position) for position in slices.positions_mm):
                return "its slices lie elsewhere"
            stored = slices.pixels.dtype.newbyteorder("<").str
            if self._header.dtype not in (stored, "<f4"):
                return f"its voxels are {stored}, wanted {self._header.dtype}"
        return ""

    def _overlaps(self, slices: Slices) -> bool:
        there = self._open.get(slices.index)
        if not there:
            return False
        apart_mm = np.abs(_positions(there)[:, np.newaxis] - slices.positions_mm).max(axis=2)
        return bool((apart_mm <= SAME_PLACE_MM).any())

    def _make_whole(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        """Make whole what can be, of these volumes; of all open ones when the number of slices was just learnt."""
        if self._n_slices is None or self._tr_s is None:
            self._learn_slices()
            self._learn_tr()
            indices = tuple(self._open)
        if self._n_slices is None or self._tr_s is None:
            return ()
        whole = tuple(index for index in sorted(indices) if len(self._open.get(index, ())) >= self._n_slices)
        for index in whole:
            self._ready[index] = self._volume(index, self._open[index])
            del self._open[index]
            self._done.add(index)
        return whole

    def _learn_tr(self) -> None:
        """The TR, once two volumes say when they began."""
        if self._tr_s is None and len(self._began_s) > 1:
            first, second = sorted(self._began_s)[:2]
            tr_s = (self._began_s[second] - self._began_s[first]) / (second - first)
            self._tr_s = tr_s if tr_s > 0 else None

    def _learn_slices(self) -> None:
        """The number of slices, once a third volume begins and the first two have the same places at even distances.

        Two are not enough: files that come out of turn give two volumes the same few slices, too.
        """
        if self._n_slices is not None or self.acquisition is None or len(self._open) < 3:
            return
        normal = normal_of(self.acquisition)
        first, second = (_positions(self._open[index]) for index in sorted(self._open)[:2])
        if len(first) == len(second) > 1 and is_even(self.acquisition, first):
            if np.allclose(np.sort(first @ normal), np.sort(second @ normal), atol=SAME_PLACE_MM):
                self._n_slices = len(first)

    def _volume(self, index: int, slices: list[_Slice]) -> Volume:
        """A whole volume where the series lies; the first one makes the header."""
        run, tr_s = self.acquisition, self._tr_s
        assert run is not None
        assert tr_s is not None  # nothing is whole before it is known
        if self._stack is None:
            self._stack = stack_of(run, _positions(slices))
        normal = normal_of(run)
        ordered = sorted(slices, key=lambda one: float(one.position_mm @ normal))
        scales = {(one.slope, one.inter) for one in ordered}
        scaled = len(scales) > 1 or (self._header is not None and self._header.dtype == "<f4")
        if scaled:  # one slope cannot say it
            scales = {(1.0, 0.0)}
            if self._header is not None and self._header.dtype != "<f4":
                raise UnfinishedError("its slices have different scales, and those of the run had one: start a new run")
        planes = np.stack([_scaled(one) if scaled else one.pixels for one in ordered])
        data = planes.transpose(2, 1, 0)[:, ::-1, :]
        if self._header is None:
            self._header = self._new_header(data, ordered, run.n_volumes, tr_s)
        slope, inter = scales.pop()
        return Volume(index, data, self._stack.affine, tr_s, self.run_id, slope=slope, inter=inter)

    def _new_header(self, data: NDArray[Any], slices: list[_Slice], n_volumes: int | None, tr_s: float) -> RunHeader:
        assert self._stack is not None
        times = np.array([one.time_s for one in slices])
        passed = since_first(times) if np.isfinite(times).all() else None
        return RunHeader(
            run_id=self.run_id,
            shape=(data.shape[0], data.shape[1], data.shape[2]),
            dtype=data.dtype.newbyteorder("<").str,
            affine=self._stack.affine,
            tr_s=tr_s,
            n_volumes=n_volumes,
            slice_times_s=None if passed is None else tuple(float(time_s) for time_s in passed),
            source=f"{self.name}, {self.maker}",  # free texts of the header may hold a name
        )


def _difference(now: Acquisition, before: Acquisition) -> str:
    """In what two objects' acquisitions differ, in words; nothing where it is no more than rounding."""
    sizes = [f"{run.rows} x {run.columns} pixels ({run.layout})" for run in (now, before)]
    if sizes[0] != sizes[1]:
        return f"its slices are {sizes[0]}, wanted {sizes[1]}"
    if abs((now.tr_s or 0.0) - (before.tr_s or 0.0)) > 1e-6:
        return f"its TR is {now.tr_s or 0.0:g} s, wanted {before.tr_s or 0.0:g} s"
    if not np.allclose(now.orientation + now.spacing_mm, before.orientation + before.spacing_mm, atol=1e-4):
        return "its slices have another orientation or spacing"
    return ""


def _single(slices: Slices) -> list[_Slice]:
    n_slices = len(slices.pixels)
    times = np.full(n_slices, np.nan) if slices.times_s is None else slices.times_s
    return [
        _Slice(slices.positions_mm[at], slices.pixels[at], slices.slopes[at], slices.inters[at], times[at])
        for at in range(n_slices)
    ]


def _positions(slices: list[_Slice]) -> NDArray[np.float64]:
    return np.array([one.position_mm for one in slices])


def _scaled(one: _Slice) -> NDArray[np.float32]:
    return (one.pixels * one.slope + one.inter).astype(np.float32)
