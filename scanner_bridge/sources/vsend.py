"""Volumes that a scanner sends with vsend, as MURFI receives them: a header and pixels, one volume after another."""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from scanner_bridge.errors import PeerGone, SourceError
from scanner_bridge.sources import vsend_codec as codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.door import Door, Greeting, Timing
from scanner_bridge.sources.sequence import Sequence
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)

_HEADER = Greeting(codec.decode_header, lambda data, header: header.size, codec.MAX_GREETING_BYTES)


class VsendSource:
    """One run over vsend. The port is taken when it is made.

    Every volume carries its number, and may come over a connection of its own: a volume whose connection
    breaks is lost, the run is not. Of images that the scanner has corrected for motion and those that it
    has not, the kind that comes first is the run; the others are left alone, and so are other series and
    scans that are not EPI. The run ends with the last announced volume, or after `settings.follow_s`.

    Parameters
    ----------
    settings : SourceSettings
        `listen`, `wait_s`, `follow_s` and `expect` count here.
    sleep, clock : callable
        Called at least every 50 ms of waiting, may raise to end it; monotonic seconds.

    Raises
    ------
    SourceError
        The port cannot be had.
    """

    def __init__(
        self,
        settings: SourceSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._door = Door(settings.address(codec.DEFAULT_PORT), "vsend", Timing(sleep, clock))
        self.address = Address(self._door.address.host, self._door.port)
        self._first: _Received | None = None
        self._left_alone: set[str] = set()

    @property
    def header(self) -> RunHeader:
        """The run's header, once its first volume has come; SourceError when none does within `wait_s`."""
        first = self._begun()
        header, grid = first.header, first.header.grid
        return RunHeader(
            run_id=f"vsend-{hashlib.sha256(header.series_uid.encode()).hexdigest()[:8]}",
            shape=grid.shape,
            dtype=grid.stored_dtype,
            affine=grid.affine,
            tr_s=grid.tr_s,
            n_volumes=self._settings.expect or header.n_volumes,
            source=f"vsend from {first.address}, volumes numbered by their headers",
        )

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run; SourceError when the protocol changes in it."""
        run = self.header
        received: _Received | None = self._begun()
        sequence = Sequence(self._begun().header.grid)
        while received is not None:
            header = received.header
            reason = self._refusal(header) or sequence.refusal(header.index, header.grid)
            if reason:
                self._leave_alone(header, reason)
            else:
                yield Volume(header.index, received.voxels, run.affine, run.tr_s, run.run_id)
            if header.index + 1 == run.n_volumes and not self._refusal(header):
                return
            received = self._receive(self._settings.follow_s or math.inf)

    def close(self) -> None:
        """Leave the port and whoever is connected; may be called twice."""
        self._door.close()

    def _begun(self) -> "_Received":
        while self._first is None:
            received = self._receive(self._settings.wait_s)
            if received is None:
                raise SourceError(
                    f"no volume came over vsend at {self.address} within {self._settings.wait_s:g} s: "
                    "check that the scanner sends to this computer and port"
                )
            reason = _not_epi(received.header)
            if reason:
                self._leave_alone(received.header, reason)
            else:
                self._first = received
        return self._first

    def _receive(self, wait_s: float) -> "_Received | None":
        """The next whole volume, or None when none has begun within `wait_s`."""
        while True:
            admitted = self._door.admit(_HEADER, wait_s)
            if admitted is None:
                return None
            visitor, header = admitted.visitor, admitted.greeting
            try:
                data = self._door.read(visitor, header.n_pixel_bytes, f"volume {header.index}")
            except PeerGone as error:
                visitor.close()
                logger.warning("volume %d is lost: %s", header.index, error)
                continue
            self._door.keep(visitor)
            return _Received(header, codec.decode_pixels(data, header), visitor.address)

    def _refusal(self, header: codec.VsendHeader) -> str:
        """Why an image is not of the run that began; empty when it is."""
        first = self._begun().header
        if header.series_uid != first.series_uid:
            return "it is of another series"
        if header.is_motion_corrected != first.is_motion_corrected:
            return f"the run is of images that are {'' if first.is_motion_corrected else 'not '}corrected for motion"
        return _not_epi(header)

    def _leave_alone(self, header: codec.VsendHeader, reason: str) -> None:
        if reason not in self._left_alone:
            logger.warning("an image numbered %d is left alone, and all like it: %s", header.index, reason)
        self._left_alone.add(reason)


@dataclass(frozen=True)
class _Received:
    header: codec.VsendHeader
    voxels: NDArray[Any]
    address: str


def _not_epi(header: codec.VsendHeader) -> str:
    scan = header.scan_type
    return f"the scan is {scan[:20]!r}, wanted EPI" if scan and "EPI" not in scan.upper() else ""
