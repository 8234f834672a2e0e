"""Sends volumes as a scanner sends them to MURFI: a connection, a header and pixels for each."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from scanner_bridge.emitters.connecting import connect, send_all
from scanner_bridge.sources import vsend_codec as codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.grid import Grid
from scanner_bridge.volume import RunHeader, Volume, scanner_units


@dataclass
class VsendEmitter:
    """A scanner that speaks vsend; TR is rounded to milliseconds, positions to float32.

    Parameters
    ----------
    address : Address
        Where MURFI, or the bridge, listens.
    wait_s : float
        How long to wait for it.
    sleep : callable
        How to wait; it may raise to end it.
    layout, sizes, mosaic : as in `vsend_codec.encode`
        How the sender's compiler lays out the header, whether sizes come before it, whether slices are tiles.
    """

    address: Address
    wait_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    layout: codec.Layout = "aligned"
    sizes: bool = True
    mosaic: bool = True

    def send(self, run: RunHeader, volume: Volume) -> bool:
        """See `VolumeEmitter`."""
        voxels = scanner_units(volume)
        header = codec.VsendHeader(
            grid=Grid(run.shape, voxels.dtype.newbyteorder("<").str, run.affine, run.tr_s),
            series_uid=run.run_id,
            scan_type="EPI",
            index=volume.index,
            n_volumes=run.n_volumes,
            is_mosaic=self.mosaic,
            is_motion_corrected=False,
            size=0,
        )
        message = codec.encode(voxels, header, layout=self.layout, sizes=self.sizes)
        with connect(self.address, self.wait_s, sleep=self.sleep) as connection:
            send_all(connection, message, self.address)
        return True

    def close(self) -> None:
        """Nothing to hang up: every volume had a connection of its own."""
