"""Sends volumes as Pyneal's scanner side does: a greeting, then one volume at a time, each answered."""

import contextlib
import time
from collections.abc import Callable

import zmq

from scanner_bridge.errors import SourceError
from scanner_bridge.sources import pyneal_codec as codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.grid import Grid
from scanner_bridge.volume import RunHeader, Volume, scanner_units

_TICK_MS = 50
_HELLO = b"hello from pyneal_scanner"


class PynealEmitter:
    """A scanner side of Pyneal.

    Parameters
    ----------
    address : Address
        Where Pyneal, or the bridge, listens.
    wait_s : float
        How long to wait for each of its answers.
    sleep : callable
        Called while waiting; it may raise to end the wait.
    """

    def __init__(self, address: Address, wait_s: float = 30.0, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._address = address
        self._wait_s = wait_s
        self._sleep = sleep
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._greeted = False

    def send(self, run: RunHeader, volume: Volume) -> bool:
        """See `VolumeEmitter`; the receiver wants no more when its answer says STOP."""
        voxels = scanner_units(volume)
        grid = Grid(run.shape, voxels.dtype.newbyteorder("<").str, run.affine, run.tr_s)
        header = codec.PynealHeader(volume.index, grid)
        if not self._greeted:
            self._greet()
        self._say(codec.encode_header(header), codec.encode_voxels(voxels, header))
        return b"STOP" not in self._answer()

    def close(self) -> None:
        """Hang up: the protocol has no word for the end."""
        self._socket.close()
        self._context.term()

    def _greet(self) -> None:
        try:
            self._socket.connect(f"tcp://{self._address}")
        except zmq.ZMQError as error:
            raise SourceError(f"cannot connect to {self._address}: {error}; give HOST:PORT") from error
        self._say(_HELLO)
        if self._answer() != _HELLO:
            raise SourceError(f"who listens at {self._address} does not speak Pyneal's protocol: name another address")
        self._greeted = True

    def _say(self, *parts: bytes) -> None:
        with contextlib.suppress(zmq.Again):  # no answer will come, and that is said there
            self._socket.send_multipart(parts, zmq.NOBLOCK)

    def _answer(self) -> bytes:
        until_s = time.monotonic() + self._wait_s
        while time.monotonic() < until_s:
            self._sleep(0)
            if self._socket.poll(_TICK_MS):
                return self._socket.recv()
        raise SourceError(f"no answer from {self._address} within {self._wait_s:g} s: start the receiver there")
