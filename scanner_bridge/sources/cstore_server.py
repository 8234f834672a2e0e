"""A DICOM C-STORE receiver that trusts nobody: known titles, bounded objects, bounded time, nothing on disk.

pynetdicom speaks the protocol. What it leaves open is closed here: no peer sends more between two messages
than one object may have, and a peer that connects and says nothing holds up nobody, over TLS neither.
"""

import contextlib
import logging
import socket
import ssl
import threading
from collections import deque
from socketserver import BaseServer
from typing import Any

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from scanner_bridge.errors import SourceError
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.dicom_object import ENHANCED_MR_IMAGE, MR_IMAGE
from scanner_bridge.sources.store_settings import StoreSettings

logger = logging.getLogger(__name__)

IMAGES = (MR_IMAGE, ENHANCED_MR_IMAGE)
SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip

_VERIFICATION = "1.2.840.10008.1.1"
_MAX_PDU_BYTES = 256 * 1024
_MAX_ASSOCIATIONS = 64  # also of those who have said nothing yet
_GREETING_S = 5.0
_GREETING_BYTES = 1024 * 1024
_SILENCE_S = 60.0
_ROOM_S = 20.0
_SUCCESS, _OUT_OF_RESOURCES = 0x0000, 0xA700


class StoreServer:
    """Listens, and queues the objects that known peers store. Close it after use.

    Parameters
    ----------
    address : Address
        Where to listen.
    settings : StoreSettings
        Who we are, who may send, encryption, bounds. Who may not is refused with a sentence in the log.

    Raises
    ------
    SourceError
        The port is taken, or the TLS files cannot be used.
    """

    def __init__(self, address: Address, settings: StoreSettings) -> None:
        self._objects: deque[bytes] = deque()
        self._n_queued_bytes = 0
        self._changed = threading.Condition()
        self._max_object_bytes = settings.max_object_bytes
        entity: Any = AE(settings.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.allow)
        entity.maximum_pdu_size = _MAX_PDU_BYTES
        entity.maximum_associations = _MAX_ASSOCIATIONS
        entity.acse_timeout = _GREETING_S
        entity.dimse_timeout = entity.network_timeout = _SILENCE_S
        for image in IMAGES:
            entity.add_supported_context(image, SYNTAXES)
        entity.add_supported_context(_VERIFICATION)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_ACCEPTED, self._admit),
            (evt.EVT_DIMSE_RECV, _reset),
            (evt.EVT_REJECTED, _rejected),
        ]
        context = settings.tls.context(ssl.Purpose.CLIENT_AUTH) if settings.tls is not None else None
        try:
            self._server: Any = entity.make_server(
                (address.host, address.port), ssl_context=context, evt_handlers=handlers, server_class=_Server,
                request_handler=_Handler,
            )  # fmt: skip
        except (OSError, OverflowError) as error:
            raise SourceError(
                f"cannot listen for C-STORE at {address}: {error}; another program may hold the port: "
                "end it, or name another address"
            ) from error
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="C-STORE", daemon=True)
        self._thread.start()

    def next_object(self, wait_s: float) -> bytes | None:
        """The next stored object as a DICOM file, or None after `wait_s`."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._objects), wait_s):
                return None
            content = self._objects.popleft()
            self._n_queued_bytes -= len(content)
            self._changed.notify_all()
            return content

    def close(self) -> None:
        """Stop listening, and abort who is connected; may be called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            for association in self._server.active_associations:
                if association.is_established:
                    association.abort()
                    association.join(_ROOM_S)
            self._server.close_left_over(dead_only=False)

    def _store(self, event: Any) -> int:
        """Queue an object; a sender that is faster than we are waits, and is told to come again."""
        content = event.encoded_dataset()
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(len(content)), _ROOM_S):
                logger.warning("an object was refused: %d bytes wait to be read", self._n_queued_bytes)
                return _OUT_OF_RESOURCES
            self._objects.append(content)
            self._n_queued_bytes += len(content)
            self._changed.notify_all()
        return _SUCCESS

    def _has_room(self, n_bytes: int) -> bool:
        return not self._objects or self._n_queued_bytes + n_bytes <= self._max_object_bytes

    def _admit(self, event: Any) -> None:
        """Known titles: from now on whole objects may come."""
        connection = event.assoc.dul.socket.socket
        connection.at_most, connection.n_received = self._max_object_bytes, 0
        connection.settimeout(_SILENCE_S)


class _Metered:
    """A connected socket from which no more than so many bytes are taken until it is reset."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self._name = name
        self.at_most = _GREETING_BYTES
        self.n_received = 0

    def recv(self, n_bytes: int) -> bytes:
        """As of a socket; OSError, which ends the connection, when it is too much."""
        if self.n_received > self.at_most:
            logger.warning("%s is cut off: it sent more than %d bytes at once", self._name, self.at_most)
            raise OSError("object too large")
        data: bytes = self._connection.recv(n_bytes)
        self.n_received += len(data)
        return data

    def shutdown(self, how: int) -> None:
        """As of a socket, but nothing where the peer is gone: pynetdicom would then leave it open."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(how)

    def close(self) -> None:
        """As of a socket; whoever waits for it notices."""
        self.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Server(ThreadedAssociationServer):
    """Handshakes are left to each connection's own thread."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections: dict[Any, _Metered] = {}

    def keep(self, association: Any, connection: _Metered) -> None:
        """Remember whose a connection is: pynetdicom forgets some without closing them."""
        self.close_left_over(dead_only=True)
        self._connections[association] = connection

    def close_left_over(self, *, dead_only: bool) -> None:
        """Close the connections of associations that have ended, or of all."""
        for association, connection in list(self._connections.items()):
            if not dead_only or (association.ident is not None and not association.is_alive()):
                connection.close()
                self._connections.pop(association, None)

    def get_request(self) -> tuple[Any, Any]:
        """Accept one connection; see `socketserver`."""
        assert self.socket is not None
        connection, address = self.socket.accept()
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def shutdown(self) -> None:
        """Stop accepting, and close the port; pynetdicom's own wants a list of servers that it keeps."""
        BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in a sentence that a connection failed before it was one."""
        logger.warning("a C-STORE connection from %s failed", client_address[0], exc_info=logger.isEnabledFor(10))


class _Handler(RequestHandler):
    server: _Server

    def handle(self) -> None:
        """Meter a connection, and hand it to pynetdicom; see `socketserver`."""
        connection: Any = self.request
        connection.settimeout(_GREETING_S)
        if isinstance(connection, ssl.SSLSocket):
            try:
                connection.do_handshake()
            except OSError as error:
                logger.warning(
                    "%s is refused at the C-STORE port: no TLS connection (%s)", self.client_address[0], error
                )
                connection.close()
                return
        self.request = _Metered(connection, str(self.client_address[0]))
        super().handle()

    def _create_association(self) -> Any:
        association = super()._create_association()
        self.server.keep(association, self.request)
        return association


def _reset(event: Any) -> None:
    event.assoc.dul.socket.socket.n_received = 0


def _rejected(event: Any) -> None:
    remote = event.assoc.requestor
    logger.warning(
        "%s is refused at the C-STORE port: it calls itself %r and wants %r; name it with --allow, or correct it there",
        remote.address, remote.ae_title, event.assoc.requestor.primitive.called_ae_title,
    )  # fmt: skip
