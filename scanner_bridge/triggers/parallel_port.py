"""A TTL level on a status pin of a parallel port, through the Linux kernel's ppdev interface.

ppdev gives user programs a parallel port without privileges to its addresses: claim it, then read the
status register by ioctl (linux/ppdev.h). The register is read every half millisecond, so that
pulses of 1 ms and more are seen; most ports are set up without an interrupt, which would do without
reading. What happens below `PpdevRegister.read` needs a host with such a port and runs in no test.
"""

import errno
import fcntl
import os
import time
from typing import Protocol

from scanner_bridge.errors import TriggerError
from scanner_bridge.triggers.settings import STATUS_PINS, TriggerSettings

PPCLAIM = 0x708B  # _IO('p', 0x8b)
PPRELEASE = 0x708C  # _IO('p', 0x8c)
PPRSTATUS = 0x80017081  # _IOR('p', 0x81, unsigned char)

_LOOK_S = 0.0005
_INVERTED_BY_HARDWARE = STATUS_PINS[11]


class StatusRegister(Protocol):
    """The eight status bits of a parallel port."""

    def read(self) -> int:
        """The bits as they are now; TriggerError when the port has gone."""
        ...

    def close(self) -> None:
        """Let go of the port; may be called twice."""
        ...


class PpdevRegister:
    """The register of a port behind ppdev.

    Parameters
    ----------
    device : str
        Like ``/dev/parport0``.

    Raises
    ------
    TriggerError
        There is no such port, or another program holds it.
    """

    def __init__(self, device: str) -> None:
        self._device, self._fd = device, -1
        try:
            self._fd = os.open(device, os.O_RDWR)
            fcntl.ioctl(self._fd, PPCLAIM)
        except OSError as error:
            self._release()
            hint = "it is no parallel port" if error.errno == errno.ENOTTY else "load the modules parport_pc and ppdev"
            raise TriggerError(
                f"cannot claim the parallel port {device}: {error.strerror}; {hint}, name the right one, or let this "
                "user into its group (lp)"
            ) from error

    def read(self) -> int:
        """The status bits as they are now."""
        status = bytearray(1)
        try:
            fcntl.ioctl(self._fd, PPRSTATUS, status)
        except OSError as error:
            raise TriggerError(f"the port {self._device} was lost: {error.strerror}; claim it again") from error
        return status[0]

    def close(self) -> None:
        """Release the port."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, PPRELEASE)
        self._release()

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class ParallelTrigger:
    """A pulse for every rise (or fall) of one pin; a level that is there at the start is none.

    Parameters
    ----------
    settings : TriggerSettings
        `pin`, `inverted`.
    register : StatusRegister
        Where the pin's level is read; closed with this.
    """

    def __init__(self, settings: TriggerSettings, register: StatusRegister) -> None:
        self._register = register
        self._bit = STATUS_PINS[settings.pin]
        self._active_low = settings.inverted != (self._bit == _INVERTED_BY_HARDWARE)
        self._was_active = self._active()

    def wait(self, timeout_s: float) -> tuple[float, ...]:
        """See `scanner_bridge.ports.TriggerSource`."""
        until_s = time.monotonic() + timeout_s
        while True:
            was_active, self._was_active = self._was_active, self._active()
            now_s = time.monotonic()
            if self._was_active and not was_active:
                return (now_s,)
            if now_s >= until_s:
                return ()
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Let go of the port."""
        self._register.close()

    def _active(self) -> bool:
        return bool(self._register.read() & self._bit) != self._active_low
