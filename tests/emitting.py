"""A live export over a real socket: an emitter in a thread, and the source that hears it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from realtime.broker import free_port
from scanner_bridge.emitters.afni import AfniEmitter
from scanner_bridge.emitters.cstore import CStoreEmitter
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.pyneal import PynealEmitter
from scanner_bridge.emitters.recorded import recorded_files
from scanner_bridge.emitters.rehearsal import Pace, VolumeEmitter, send_files, send_volumes
from scanner_bridge.emitters.vsend import VsendEmitter
from scanner_bridge.ports import VolumeSource
from scanner_bridge.sources import open_source
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.cstore import CStoreSource
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.sources.store_settings import StoreSettings
from scanner_bridge.volume import Volume

WAIT_S = 20.0
VOLUME_KINDS = ("afni", "pyneal", "vsend")
TITLES = StoreSettings("INNEREAR", ("SCANNER",))


def emitter(kind: str, address: Address, **options: Any) -> VolumeEmitter:
    if kind == "afni":
        return AfniEmitter(address, free_port(), wait_s=WAIT_S, **options)
    return {"pyneal": PynealEmitter, "vsend": VsendEmitter}[kind](address, wait_s=WAIT_S, **options)


def listening(kind: str, **changes: Any) -> Any:
    """A network source at a free port of this host."""
    return open_source(SourceSettings(kind=kind, **{"listen": "127.0.0.1:0", "wait_s": WAIT_S, **changes}))


@contextmanager
def doing(action: Callable[[], object]) -> Iterator[None]:
    """Something that happens meanwhile; what it raises is raised here."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


@contextmanager
def emitted(
    kind: str,
    source: VolumeSource,
    disturbance: Disturbance = Disturbance(),  # noqa: B008  # a frozen value
    *,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[VolumeSource]:
    """A network source that hears another source's volumes."""
    opened = listening(kind, **settings)
    sender = emitter(kind, opened.address, **(options or {}))
    try:
        with doing(lambda: send_volumes(source, sender, Pace(None), disturbance)):
            try:
                yield opened
            finally:
                opened.close()
    finally:
        opened.close()


@contextmanager
def stored(path: Path) -> Iterator[VolumeSource]:
    """A C-STORE receiver with which a recorded series is stored."""
    clock = StandingClock()
    asked = SourceSettings(kind="cstore", listen="127.0.0.1:0", wait_s=WAIT_S, store=TITLES, follow_s=1.0)
    opened = CStoreSource(asked, clock=clock)
    sender = CStoreEmitter(opened.address, "INNEREAR", "SCANNER")
    try:
        with clock.standing_for(lambda: send_files(recorded_files(path), sender, Pace(None), Disturbance())):
            yield opened
    finally:
        opened.close()


class StandingClock:
    """Stands while something is sent, so that a loaded machine ends no run; then runs at every look at it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._over = threading.Event()

    def __call__(self) -> float:
        if self._over.is_set():
            self._now_s += 0.05
        return self._now_s

    @contextmanager
    def standing_for(self, action: Callable[[], object]) -> Iterator[None]:
        """Something that is sent meanwhile."""

        def act() -> None:
            try:
                action()
            finally:
                self._over.set()

        with doing(act):
            yield


def simulated(**changes: Any) -> Any:
    return open_source(SourceSettings(kind="simulated", **{"n_volumes": 5, "shape": (8, 7, 5), **changes}))


def assert_heard(heard: list[Volume], sent: list[Volume]) -> None:
    assert [volume.index for volume in heard] == [volume.index for volume in sent]
    for one, other in zip(heard, sent, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        assert one.data.dtype == other.data.dtype
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)
        assert one.tr_s == other.tr_s


def put(source: Any, *messages: bytes) -> None:
    for message in messages:
        with socket.create_connection((source.address.host, source.address.port)) as connection:
            connection.sendall(message)
