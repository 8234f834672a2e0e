"""Sends volumes as Dimon does to AFNI: a control line, then header commands and bare images."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.emitters.connecting import connect, send_all
from scanner_bridge.errors import SourceError
from scanner_bridge.sources import afni_codec as codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.grid import Grid
from scanner_bridge.volume import RunHeader, Volume, scanner_units

_AS = {"<i2": "<i2", "<i4": "<i4", "<f4": "<f4", "|u1": "|u1", "|i1": "<i2", "<u2": "<i4", "<f8": "<f4"}
"""What AFNI's protocol carries instead of what it does not; only float64 loses by it."""


@dataclass
class AfniEmitter:
    """A sender of AFNI's real-time protocol. It numbers nothing: what is lost shifts what follows.

    Parameters
    ----------
    address : Address
        The control port of AFNI, or of the bridge.
    data_port : int
        Where the receiver is told to take the images.
    by_slice : bool
        Whether slices are sent one by one, odd ones first, or whole volumes.
    wait_s : float
        How long to wait for the receiver.
    sleep : callable
        How to wait; it may raise to end it.
    """

    address: Address
    data_port: int = codec.DATA_PORT
    by_slice: bool = False
    wait_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    _connection: socket.socket | None = field(default=None, init=False)
    _run: codec.AfniRun | None = field(default=None, init=False)

    def send(self, run: RunHeader, volume: Volume) -> bool:
        """See `VolumeEmitter`; volumes after the first keep its type."""
        voxels = scanner_units(volume)
        if self._run is None or self._connection is None:
            self._run = self._described(run, voxels)
            self._connection = self._open(self._run)
        send_all(self._connection, codec.encode_image(voxels, self._run), self.address)
        return True

    def close(self) -> None:
        """End the run with AFNI's marker, and hang up."""
        if self._connection is not None and self._run is not None:
            try:
                send_all(self._connection, codec.encode_end(self._run), self.address)
            except SourceError:
                pass  # the receiver has gone before the end: it knows that the run is over
            self._connection.close()
            self._connection = None

    def _described(self, run: RunHeader, voxels: NDArray[Any]) -> codec.AfniRun:
        dtype = voxels.dtype.newbyteorder("<").str
        if dtype not in _AS:
            raise SourceError(f"AFNI's protocol carries no {np.dtype(dtype).name} voxels: send them over another")
        n_slices = run.shape[2]
        order = (*range(0, n_slices, 2), *range(1, n_slices, 2)) if self.by_slice else ()
        return codec.AfniRun(Grid(run.shape, _AS[dtype], run.affine, run.tr_s), order, run.slice_times_s)

    def _open(self, run: codec.AfniRun) -> socket.socket:
        with connect(self.address, self.wait_s, sleep=self.sleep) as control:
            send_all(control, codec.encode_control(self.address.host, self.data_port), self.address)
        data = Address(self.address.host, self.data_port)
        connection = connect(data, self.wait_s, sleep=self.sleep)
        send_all(connection, codec.encode_commands(run), data)
        return connection
