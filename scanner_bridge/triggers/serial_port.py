"""A byte on a serial line for every pulse, as trigger boxes and USB adapters send it."""

import time

import serial

from scanner_bridge.errors import TriggerError
from scanner_bridge.triggers.settings import TriggerSettings


class SerialTrigger:
    """Pulses from a serial line; the kernel queues every byte.

    Parameters
    ----------
    settings : TriggerSettings
        `device`, `baud`, and `key`: the one byte that is a pulse; empty takes any.

    Raises
    ------
    TriggerError
        The line cannot be opened.
    """

    def __init__(self, settings: TriggerSettings) -> None:
        self._key = settings.key.encode()
        try:
            self._line = serial.Serial(settings.device, settings.baud, exclusive=True)
            self._line.reset_input_buffer()  # pulses of earlier runs
        except (serial.SerialException, ValueError, OSError) as error:
            raise TriggerError(
                f"cannot open the serial line {settings.device} at {settings.baud} baud: {error}; plug it in, "
                "name the right one, or let this user into its group (dialout)"
            ) from error

    def wait(self, timeout_s: float) -> tuple[float, ...]:
        """See `scanner_bridge.ports.TriggerSource`."""
        try:
            self._line.timeout = timeout_s
            first: bytes = self._line.read(1)
            now_s = time.monotonic()
            came = first + (self._line.read(self._line.in_waiting) if first else b"")
        except (serial.SerialException, OSError) as error:
            raise TriggerError(f"the serial line {self._line.port} was lost: {error}; plug it in again") from error
        return (now_s,) * (came.count(self._key) if self._key else len(came))

    def close(self) -> None:
        """Let go of the line."""
        self._line.close()
