"""Stores recorded DICOM files over C-STORE, as a scanner's auto-send does."""

import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE

from scanner_bridge.emitters.connecting import connect
from scanner_bridge.errors import SourceError
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.cstore_server import IMAGES, SYNTAXES
from scanner_bridge.sources.store_settings import Tls

_TIMEOUT_S = 30.0


@dataclass
class CStoreEmitter:
    """A scanner that stores its images with a receiver.

    Parameters
    ----------
    address : Address
        Where the receiver listens.
    called, calling : str
        Its title, and ours.
    tls : Tls or None
        Encrypt.
    wait_s : float
        How long to wait for the receiver.
    sleep : callable
        How to wait; it may raise to end it.
    """

    address: Address
    called: str
    calling: str
    tls: Tls | None = None
    wait_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    _association: Any = field(default=None, init=False)
    _connection: Any = field(default=None, init=False)

    def send(self, path: Path) -> None:
        """Store one file.

        Raises
        ------
        SourceError
            Nobody is there, we are refused, or the file is not taken.
        """
        if self._association is None or not self._association.is_established:
            self.close()
            self._association = self._associate()
            self._connection = self._association.dul.socket.socket
        try:
            status = self._association.send_c_store(pydicom.dcmread(path))
        except (OSError, ValueError, RuntimeError, AttributeError, pydicom.errors.InvalidDicomError) as error:
            raise SourceError(f"{path.name} cannot be stored at {self.address}: {error}") from error
        code = status.get("Status")
        if code is None:
            raise SourceError(f"the receiver at {self.address} went away while it was sent {path.name}")
        if code != 0:
            raise SourceError(f"the receiver at {self.address} does not take {path.name}: status {code:04X}")

    def close(self) -> None:
        """Release the association; may be called twice."""
        if self._association is not None and self._association.is_established:
            with contextlib.suppress(RuntimeError):
                self._association.release()
        if self._connection is not None:
            self._connection.close()  # pynetdicom leaves it open when the receiver was faster

    def _associate(self) -> Any:
        connect(self.address, self.wait_s, sleep=self.sleep).close()
        entity: Any = AE(self.calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _TIMEOUT_S
        for image in IMAGES:
            for syntax in SYNTAXES:  # one context each, so that files are sent as they are
                entity.add_requested_context(image, syntax)
        tls = (self.tls.context(ssl.Purpose.SERVER_AUTH), self.address.host) if self.tls is not None else None
        association = entity.associate(self.address.host, self.address.port, ae_title=self.called, tls_args=tls)
        if association.is_rejected:
            raise SourceError(
                f"{self.address} refuses {self.calling} as a sender to {self.called}: correct the titles on one side"
            )
        if not association.is_established:
            raise SourceError(
                f"who listens at {self.address} does not speak C-STORE with us: compare TLS on both sides"
            )
        return association
