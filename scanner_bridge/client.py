"""The bridge's end: what it is given is on this host's disk at once, and with the live program as soon as it can be."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np

from scanner_bridge.errors import SpoolError, TransportError
from scanner_bridge.keys import ClientKeys
from scanner_bridge.link import Link
from scanner_bridge.outbox import Outbox
from scanner_bridge.sender import TIMEOUT_S, WINDOW
from scanner_bridge.spool import DEFAULT_LIMIT_BYTES, MAX_AGE_S, Spool, default_folder
from scanner_bridge.spool_stream import SpooledStream
from scanner_bridge.volume import Message, RunEnd, RunHeader
from scanner_bridge.wire import encode

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ALARM_AT = (0.5, 0.8, 0.95)


def _never() -> bool:
    return False


class BridgeClient:
    """Sends runs to the live program; each message is held on disk until it was stored there.

    What an earlier bridge left in the spool is delivered first. A header of the run that it was in the
    middle of goes on with that run; one of another run ends it.

    Parameters
    ----------
    endpoint : str
        Where the live program listens, like ``tcp://192.168.2.5:5555``.
    keys : ClientKeys, optional
        Encrypt, and prove who we are.
    spool : Path, optional
        Folder for what waits; None takes `scanner_bridge.spool.default_folder`.
    limit_bytes : int
        How much may wait. With less room `send` waits, which holds the source back.
    window, timeout_s
        See `scanner_bridge.sender.Sender`.

    Raises
    ------
    SpoolError
        The spool's folder cannot be had.
    TransportError
        The address cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        keys: ClientKeys | None = None,
        spool: Path | None = None,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        window: int = WINDOW,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.endpoint = endpoint
        self._spool = Spool(spool or default_folder(endpoint), limit_bytes)
        self._outbox = Outbox(self._spool, window=window, timeout_s=timeout_s)
        self._stream: SpooledStream | None = None
        self._alarmed = 0.0
        self._trouble = ""
        try:
            self._link = Link(endpoint, self._outbox, keys)
        except TransportError:
            self._spool.close()
            raise
        self._tell_what_was_left()

    @property
    def run(self) -> SpooledStream | None:
        """The run in progress, as the spool has it: what earlier lives of the bridge sent of it included."""
        return self._stream

    def send(self, message: Message, *, cancelled: Callable[[], bool] = _never) -> None:
        """Put a message on disk for delivery; waits only while the disk has no room for it.

        A volume that was given before, with the same voxels, is dropped.

        Parameters
        ----------
        message : RunHeader, Volume or RunEnd
            What to send; a run begins with its header.
        cancelled : callable
            Asked every 100 ms while waiting; true gives up with SpoolError.

        Raises
        ------
        WireError
            The message cannot cross the wire.
        SpoolError
            The wait for room was cancelled.
        TransportError
            The live program refused this run, the client is closed, or no run is in progress.
        """
        frames = encode(message)
        n_bytes = sum(map(len, frames))
        if isinstance(message, RunHeader):
            self._begin(message, cancelled)
        elif self._stream is None or self._stream.end is not None:
            when = "before any run header" if self._stream is None else "after its run's end"
            raise TransportError(f"a {type(message).__name__} came {when}: a run begins with its header")
        elif not self._stream.knows(message, frames):
            stream = self._stream
            self._taken(n_bytes, lambda: stream.append(message, frames), cancelled)
        with self._link.changed:
            self._link.wake()
        self._watch_fill()

    def flush(self, timeout_s: float, *, cancelled: Callable[[], bool] = _never) -> None:
        """Wait until everything is stored on the other side; TransportError when that takes longer or is cancelled."""
        until_s = time.monotonic() + timeout_s
        with self._link.changed:
            while self._outbox.unacknowledged and not self._link.stopped:
                remaining_s = until_s - time.monotonic()
                if remaining_s <= 0:
                    raise TransportError(self._stalled(f"waited {timeout_s:g} s"))
                if cancelled():
                    raise TransportError(self._stalled("the wait was cancelled"))
                self._link.changed.wait(min(0.1, remaining_s))
            self._raise_when_stopped()

    @property
    def unacknowledged(self) -> int:
        """How many messages the live program has not said it stored."""
        with self._link.changed:
            return self._outbox.unacknowledged

    @property
    def state(self) -> str:
        """What is known of the connection, for people."""
        return self._link.state

    def close(self) -> None:
        """Stop at once; what was not acknowledged stays in the spool. May be called twice."""
        self._link.close()
        self._spool.close()
        self._stream = None

    def __enter__(self) -> "BridgeClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, header: RunHeader, cancelled: Callable[[], bool]) -> None:
        """Go on with the run the spool is in the middle of, or end that and begin another."""
        left = self._spool.last
        if left is not None and left.end is None and not left.damaged:
            if _same_run(left.header, header):
                logger.warning(
                    "run %s goes on where it was cut off: %d volumes are in the spool or stored",
                    header.run_id,
                    left.n_volumes,
                )
                self._go_on_with(left)
                return
            end = RunEnd(left.header.run_id, left.n_volumes, "aborted", "another run began")
            self._taken(0, lambda: left.append(end, encode(end)), cancelled)
        self._go_on_with(self._taken(0, lambda: self._spool.begin(header), cancelled))

    def _go_on_with(self, stream: SpooledStream) -> None:
        with self._link.changed:
            self._outbox.go_on_with(stream)
        self._stream = stream

    def _taken(self, n_bytes: int, put: Callable[[], T], cancelled: Callable[[], bool]) -> T:
        """Do what puts something on disk, as soon as there is room."""
        while True:
            with self._link.changed:
                self._raise_when_stopped()
                has_room = self._spool.has_room(n_bytes)
            try:
                if not has_room:
                    raise SpoolError(
                        f"the spool {self._spool.folder} holds {self._spool.n_bytes / 1e6:.1f} MB and may hold "
                        f"{self._spool.limit_bytes / 1e6:.1f} MB: the source waits until the live program stores some"
                    )
                done = put()
            except SpoolError as error:
                self._complain(str(error))
                if cancelled():
                    raise
            else:
                self._trouble = ""
                return done
            with self._link.changed:
                self._link.changed.wait(0.1)

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            logger.error("%s (%s)", trouble, self._link.state)

    def _watch_fill(self) -> None:
        """Alarm well before the spool is full, once for each mark that is passed."""
        with self._link.changed:
            fill = self._outbox.n_bytes_unacknowledged / self._spool.limit_bytes
            n_messages = self._outbox.unacknowledged
        passed = max((mark for mark in _ALARM_AT if fill >= mark), default=0.0)
        if passed > self._alarmed:
            logger.error(
                "the spool %s is %.0f %% full: %d messages are not stored by the live program at %s (%s)",
                self._spool.folder,
                100 * fill,
                n_messages,
                self.endpoint,
                self._link.state,
            )
        self._alarmed = passed

    def _tell_what_was_left(self) -> None:
        for stream in self._spool.streams:
            logger.warning(
                "the spool holds %d messages of run %s that were not stored: they are delivered first",
                stream.unacknowledged,
                stream.header.run_id,
            )
        for stream in self._spool.stale:
            logger.warning(
                "the spool %s holds %d messages of run %s for more than %g h: they are kept and not sent; "
                "see innerear bridge spool",
                self._spool.folder,
                stream.unacknowledged,
                stream.header.run_id,
                MAX_AGE_S / 3600,
            )

    def _raise_when_stopped(self) -> None:
        if self._link.failure is not None:
            raise TransportError(str(self._link.failure)) from self._link.failure
        if self._link.stopped:
            raise TransportError(f"the connection to {self.endpoint} was closed: open a new one to send more")

    def _stalled(self, wait: str) -> str:
        return (
            f"{self._outbox.unacknowledged} messages are not stored by the live program at {self.endpoint} ({wait}; "
            f"{self._link.state}): they stay in {self._spool.folder} and are sent when this bridge is started again"
        )


def _same_run(one: RunHeader, other: RunHeader) -> bool:
    """Whether two headers announce the same acquisition; clocks and sentences may differ."""
    return (
        (one.run_id, one.shape, one.dtype, one.tr_s) == (other.run_id, other.shape, other.dtype, other.tr_s)
        and np.array_equal(one.affine, other.affine)
    )  # fmt: skip
