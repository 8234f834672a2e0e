"""Volumes of a sender that speaks Pyneal's protocol over ZeroMQ: we are Pyneal's side of it, the bound one."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import zmq
from numpy.typing import NDArray

from scanner_bridge.errors import ProtocolError, SourceError
from scanner_bridge.sources import pyneal_codec as codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.grid import MAX_VOLUME_BYTES
from scanner_bridge.sources.sequence import Sequence
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)

_TICK_MS = 50
_LAST_WORDS_MS = 500
_OPTIONS = {
    zmq.LINGER: _LAST_WORDS_MS,
    zmq.RCVHWM: 4,
    zmq.SNDHWM: 4,
    zmq.MAXMSGSIZE: MAX_VOLUME_BYTES,
    zmq.HANDSHAKE_IVL: 3000,
}
_STOP = b"STOP"


class PynealSource:
    """One run over Pyneal's PAIR socket. The port is taken when it is made.

    The sender waits for our answer to every volume, and says which it is. It never says that a run is over:
    that is so after `settings.expect` volumes, or after `settings.follow_s` without one; then, and when we
    close, it hears STOP. ZeroMQ pairs us with the first peer that connects and keeps every other out.

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
        self._sleep = sleep
        self._clock = clock
        self._first: _Received | None = None
        self._run_id = f"pyneal-{secrets.token_hex(4)}"
        self._greeted = False
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        wanted = settings.address(codec.DEFAULT_PORT)
        try:
            for option, value in _OPTIONS.items():
                self._socket.setsockopt(option, value)
            self._socket.bind(f"tcp://{wanted}")
        except zmq.ZMQError as error:
            self.close()
            raise SourceError(
                f"cannot listen for Pyneal at {wanted}: {error}; another program may hold the port: "
                "end it, or name another address"
            ) from error
        endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.address = Address(wanted.host, int(endpoint.rpartition(":")[2]))

    @property
    def header(self) -> RunHeader:
        """The run's header, once its first volume has come; SourceError when none does within `wait_s`."""
        if self._first is None:
            self._first = self._receive(self._settings.wait_s)
        if self._first is None:
            raise SourceError(
                f"no volume came from Pyneal's scanner side at {self.address} within {self._settings.wait_s:g} s: "
                "check pynealHost and pynealScannerPort there"
            )
        grid = self._first.header.grid
        return RunHeader(
            run_id=self._run_id,
            shape=grid.shape,
            dtype=grid.stored_dtype,
            affine=grid.affine,
            tr_s=grid.tr_s,
            n_volumes=self._settings.expect,
            source="Pyneal scanner side, volumes numbered by their headers",
        )

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run; SourceError when the protocol changes in it."""
        run, received = self.header, self._first
        sequence = None
        while received is not None:
            header = received.header
            sequence = sequence or Sequence(header.grid)
            reason = sequence.refusal(header.index, header.grid)
            if reason:
                logger.warning("volume %d is left alone: %s", header.index, reason)
            else:
                yield Volume(header.index, received.voxels, run.affine, run.tr_s, run.run_id)
            if self._is_last(header.index):
                return
            received = self._receive(self._settings.follow_s or None)

    def close(self) -> None:
        """Tell the sender to stop, and leave the port; may be called twice."""
        if self._socket.closed:
            return
        if self._greeted:
            self._answer(_STOP)
        self._socket.close()
        self._context.term()

    def _is_last(self, index: int) -> bool:
        return index + 1 == self._settings.expect

    def _receive(self, wait_s: float | None) -> "_Received | None":
        """The next volume, answered, or None when none came within `wait_s`."""
        since_s = self._clock()
        while wait_s is None or self._clock() - since_s < wait_s:
            self._sleep(0)
            if not self._socket.poll(_TICK_MS):
                continue
            try:
                received = self._understand(self._socket.recv_multipart())
            except ProtocolError as error:
                logger.warning("a message at the Pyneal port %d is left alone: %s", self.address.port, error)
                self._answer(b"not understood")  # its sender waits for some answer
                continue
            if received is not None:
                return received
        return None

    def _understand(self, parts: list[bytes]) -> "_Received | None":
        if len(parts) == 1 and parts[0].startswith(codec.HELLO) and len(parts[0]) <= codec.MAX_HELLO_BYTES:
            self._answer(parts[0])
            return None
        if len(parts) != 2:
            raise ProtocolError(f"it has {len(parts)} parts, wanted a greeting ('hello ...') or a header and voxels")
        header = codec.decode_header(parts[0])
        received = _Received(header, codec.decode_voxels(parts[1], header))
        self._answer(codec.reply(header.index, stop=self._is_last(header.index)))
        self._greeted = not self._is_last(header.index)
        return received

    def _answer(self, words: bytes) -> None:
        try:
            self._socket.send(words, zmq.NOBLOCK)
        except zmq.Again:
            logger.warning("the Pyneal sender has gone before it was answered")


@dataclass(frozen=True)
class _Received:
    header: codec.PynealHeader
    voxels: NDArray[Any]
