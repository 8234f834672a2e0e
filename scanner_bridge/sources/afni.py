"""Volumes of a sender that speaks AFNI's real-time protocol, such as Dimon: we are AFNI's side of it."""

import itertools
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scanner_bridge.errors import PeerGone, SourceError
from scanner_bridge.sources import afni_codec as codec
from scanner_bridge.sources.address import Address
from scanner_bridge.sources.door import Door, Greeting, Timing, Visitor
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunHeader, Volume

logger = logging.getLogger(__name__)

_DATA_CHANNEL_S = 30.0


def _to_nul(data: bytes, said: object) -> int:
    return data.index(0) + 1


_CONTROL = Greeting(codec.decode_control, _to_nul, codec.MAX_CONTROL_BYTES)
_COMMANDS = Greeting(codec.decode_commands, _to_nul, codec.MAX_COMMAND_BYTES)


class AfniSource:
    """One run over AFNI's control and data channel. The port is taken when it is made.

    The protocol numbers no volume: they are counted as they come, and what is lost on the sender's side
    shifts those after it. The run ends with the connection, with AFNI's end marker, after
    `settings.expect` volumes, or after `settings.follow_s` without one.

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
        self._timing = Timing(sleep, clock)
        self._control = Door(settings.address(codec.DEFAULT_PORT), "AFNI control", self._timing)
        self.address = Address(self._control.address.host, self._control.port)
        self._stream: _Stream | None = None
        self._header: RunHeader | None = None

    @property
    def header(self) -> RunHeader:
        """The run's header, once a sender has announced it; SourceError when none does within `wait_s`."""
        if self._header is None:
            self._header = _header(self._opened(), self._settings.expect)
        return self._header

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run; SourceError when the sender leaves in the middle of one."""
        header, stream = self.header, self._opened()
        for index in itertools.count():
            if index == self._settings.expect:
                return
            data = self._volume_bytes(stream, index)
            if data is None:
                return
            self._control.turn_away(f"a run is coming from {stream.visitor.name}")
            voxels = codec.decode_image(data, stream.run)
            yield Volume(index, voxels, header.affine, header.tr_s, header.run_id)

    def close(self) -> None:
        """Leave the connection and both ports; may be called twice."""
        self._control.close()
        if self._stream is not None:
            self._stream.visitor.close()
            self._stream.door.close()

    def _opened(self) -> "_Stream":
        """The data channel, waited for until a sender has opened one and said what it sends."""
        until_s = self._timing.clock() + self._settings.wait_s
        while self._stream is None:
            control = self._control.admit(_CONTROL, max(0.0, until_s - self._timing.clock()))
            if control is None:
                raise SourceError(
                    f"no AFNI sender announced itself at {self.address} within {self._settings.wait_s:g} s: "
                    "start Dimon or rtfeedme with -host naming this computer"
                )
            control.visitor.close()
            self._stream = self._open_data(control.visitor, control.greeting)
        return self._stream

    def _open_data(self, sender: Visitor, port: int) -> "_Stream | None":
        try:
            door = Door(Address(self.address.host, port), "AFNI data", self._timing, owner=sender.address)
        except SourceError as error:
            logger.warning("%s wants to send to port %d: %s", sender.name, port, error)
            return None
        admitted = door.admit(_COMMANDS, _DATA_CHANNEL_S)
        if admitted is None:
            logger.warning("%s announced itself, but sent no header within %g s", sender.name, _DATA_CHANNEL_S)
            door.close()
            return None
        return _Stream(door, admitted.visitor, admitted.greeting)

    def _volume_bytes(self, stream: "_Stream", index: int) -> bytes | None:
        """The next volume of the first channel, or None at the end of the run."""
        run, images = stream.run, []
        for number in range((len(run.slice_order) or 1) * run.n_channels):
            try:
                image = stream.door.read(
                    stream.visitor, run.n_image_bytes, f"volume {index}", self._settings.follow_s or None
                )
            except PeerGone as error:
                if number == 0 and not stream.visitor.buffer:
                    return None
                raise PeerGone(f"{error}: the run ends with volume {index - 1}") from error
            if image.startswith(codec.END_MARKER):
                return None
            if number % run.n_channels == 0:
                images.append(image)
        return b"".join(images)


@dataclass(frozen=True)
class _Stream:
    door: Door
    visitor: Visitor
    run: codec.AfniRun


def _header(stream: _Stream, n_volumes: int | None) -> RunHeader:
    grid, n_channels = stream.run.grid, stream.run.n_channels
    channel = f", channel 1 of {n_channels}" if n_channels > 1 else ""
    return RunHeader(
        run_id=f"afni-{secrets.token_hex(4)}",
        shape=grid.shape,
        dtype=grid.stored_dtype,
        affine=grid.affine,
        tr_s=grid.tr_s,
        n_volumes=n_volumes,
        slice_times_s=stream.run.slice_times_s,
        source=f"AFNI real-time from {stream.visitor.address}{channel}, volumes counted as they came",
    )
