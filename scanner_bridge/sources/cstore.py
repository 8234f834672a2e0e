"""Volumes of a scanner, or a PACS, that sends its images over DICOM C-STORE while they are taken."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.assembly import SeriesAssembly
from scanner_bridge.sources.cstore_server import StoreServer
from scanner_bridge.sources.ordering import Ordering
from scanner_bridge.sources.series import Assembler
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.sources.verdict import Verdict
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)

DEFAULT_PORT = 11112
_TICK_S = 0.05


class CStoreSource:
    """One series that a peer stores here. The port is taken when it is made.

    The first series of which a volume is whole is the run, or the one that `settings.series` names; the
    others are left alone. The run ends with its last announced volume, or when nothing of it came in
    `settings.follow_s` of listening. Objects stay in memory, and have numbers of ours: no name from the
    wire is used.

    Parameters
    ----------
    settings : SourceSettings
        `listen`, `wait_s`, `follow_s`, `expect`, `series` and `store` count here.
    sleep, clock : callable
        Called at least every 50 ms of waiting, may raise to end it; monotonic seconds.

    Raises
    ------
    SourceError
        The port cannot be had, or the TLS files cannot be used.
    """

    def __init__(
        self,
        settings: SourceSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        wanted = settings.address(DEFAULT_PORT)
        assert settings.store is not None  # the settings see to it
        self._store = settings.store
        self._server = StoreServer(wanted, settings.store)
        self.address = Address(wanted.host, self._server.port)
        self._assembler = Assembler()
        self._run: SeriesAssembly | None = None
        self._n_objects = 0
        # only time spent listening counts: a process that was held up finds what came meanwhile still waiting
        self._listened_s = self._last_new_s = 0.0

    @property
    def header(self) -> RunHeader:
        """The run's header, once its first volume is whole; SourceError when none is within `wait_s`."""
        until_s = self._clock() + self._settings.wait_s
        while self._run is None or self._run.header is None:
            if self._clock() >= until_s:
                raise SourceError(self._nothing_came())
            self._take_next()
        header = self._run.header
        return header if self._settings.expect is None else replace(header, n_volumes=self._settings.expect)

    def __iter__(self) -> Iterator[Volume]:
        """Volumes in order of their index; one that is not whole a TR after a later one is left out."""
        header, run = self.header, self._run
        assert run is not None  # its header is known
        ordering = Ordering(header.tr_s, header.n_volumes)
        while True:
            for index in run.ready:
                if index < ordering.next_index:
                    run.pop(index)
                    logger.warning("volume %d came too late", index)
            over = 0 < self._settings.follow_s <= self._listened_s - self._last_new_s
            if over:
                run.finish()
            step = ordering.step(run.ready, self._listened_s, over=over)
            if step.kind == "volume":
                yield run.pop(step.index)
            elif step.kind == "gap":
                logger.warning("volumes %d to %d did not come", step.index, step.last)
            elif step.kind == "end":
                return
            else:
                self._take_next()

    def close(self) -> None:
        """Leave the port and whoever is connected; may be called twice."""
        self._server.close()

    def _take_next(self) -> None:
        """Take one more object in, if one comes within a moment."""
        self._sleep(0)
        began_s = self._clock()
        content = self._server.next_object(_TICK_S)
        self._listened_s += min(self._clock() - began_s, _TICK_S)
        if content is None:
            return
        self._n_objects += 1
        verdict = self._assembler.take(f"object {self._n_objects}", content)
        series = self._assembler.series.get(verdict.run_id)
        if series is None:
            self._tell(verdict)
            return
        if self._run is None and series.header is not None and self._settings.series in (None, series.number):
            self._run = series
        if series is self._run or self._run is None:
            self._last_new_s = self._listened_s
            self._tell(verdict)
        if self._run is not None and series is not self._run:
            for index in series.ready:
                series.pop(index)

    def _tell(self, verdict: Verdict) -> None:
        if verdict.began:
            logger.warning("%s", verdict.began)
        if verdict.kind in ("conflicting", "foreign", "unfinished"):
            logger.warning("%s", verdict.reason)

    def _nothing_came(self) -> str:
        told = f"no volume was stored at {self.address} within {self._settings.wait_s:g} s"
        if self._n_objects:
            return f"{told}, though {self._n_objects} objects came: see what was said of them"
        return f"{told}: let {', '.join(self._store.allow)} send to {self._store.ae_title} there"
